package controltest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/controltest"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// harness is all that a store of one's own must bring: here the memory store's.
type harness struct {
	data          *memstore.Data // the database
	clock         *stabilize.ManualClock
	first, second *memstore.Store
}

func (h *harness) Store() persistence.Store      { return h.first }
func (h *harness) Second() persistence.Store     { return h.second }
func (h *harness) Clock() *stabilize.ManualClock { return h.clock }

func (h *harness) Reopen() persistence.Store {
	_, _ = h.first.Close(), h.second.Close() // of a memory store: never an error
	h.open()
	return h.first
}

func (h *harness) open() {
	cfg := memstore.Config{Clock: h.clock}
	h.first, h.second = memstore.Open(h.data, cfg), memstore.Open(h.data, cfg)
}

// In a test file of one's own store this is TestControl.
func ExampleRun() {
	test := func(t *testing.T) {
		controltest.Run(t, func(t *testing.T) conformance.Harness {
			h := &harness{data: memstore.NewData(), clock: stabilize.NewManualClock(time.Unix(1_700_000_000, 0))}
			h.open()
			t.Cleanup(func() { _, _ = h.first.Close(), h.second.Close() })
			return h
		})
	}
	_ = test
}

// The clauses are data.
func ExampleClauses() {
	for _, c := range controltest.Clauses() {
		if c.ID == "IR-06" {
			fmt.Println(c.Sentence)
		}
	}
	// Output: An empty reason for a cancel is stored as absent.
}
