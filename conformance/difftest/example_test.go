package difftest_test

import (
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/difftest"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// harness is that of one's own store: here the memory store once more.
type harness struct {
	data          *memstore.Data
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

// In a test file of one's own store these are tests.
func ExampleRun() {
	newHarness := func(*testing.T) conformance.Harness {
		h := &harness{data: memstore.NewData(), clock: stabilize.NewManualClock(time.Unix(1_700_000_000, 0))}
		h.open()
		return h
	}
	_ = func(t *testing.T) { difftest.Run(t, newHarness) }
	// By night, with other seeds each time:
	_ = func(t *testing.T) {
		difftest.RunDifferential(t, newHarness, difftest.From(uint64(time.Now().Unix()))) // each finding says its seed
	}
}
