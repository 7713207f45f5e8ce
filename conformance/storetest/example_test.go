package storetest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/storetest"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// harness is all that a store of one's own must bring: here on the memory store.
type harness struct {
	data          *memstore.Data // the database
	clock         *stabilize.ManualClock
	first, second *memstore.Store
}

func (h *harness) Store() persistence.Store      { return h.first }
func (h *harness) Second() persistence.Store     { return h.second }
func (h *harness) Clock() *stabilize.ManualClock { return h.clock }

// Lacks implements conformance.Lacking: what is not brought is declared.
func (h *harness) Lacks() []conformance.Power {
	return append(conformance.DatabasePowers(), conformance.CanCountRows, conformance.CanTamper, conformance.CanSetVersion,
		conformance.CanLimit, conformance.CanCountQueries, conformance.CanExplain)
}

func (h *harness) Reopen() persistence.Store {
	_, _ = h.first.Close(), h.second.Close() // of a memory store: never an error
	h.open()
	return h.first
}

func (h *harness) open() {
	cfg := memstore.Config{Clock: h.clock}
	h.first, h.second = memstore.Open(h.data, cfg), memstore.Open(h.data, cfg)
}

// In a test file of one's own store this is TestStore.
func ExampleRun() {
	test := func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) conformance.Harness {
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
	for _, c := range storetest.Clauses() {
		if strings.HasPrefix(c.ID, "OC-0") && c.Needs != "" {
			fmt.Println(c.ID, "needs", c.Needs)
		}
	}
	// Output: OC-07 needs Refresh
}
