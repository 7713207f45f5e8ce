package certify_test

import (
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/certify"
	"github.com/stabilize-dev/go-stabilize/conformance/difftest"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// harness is that of one's own store: here on the memory store.
type harness struct {
	data          *memstore.Data // the database
	clock         *stabilize.ManualClock
	first, second persistence.Store
}

func newHarness(t *testing.T) conformance.Harness {
	h := &harness{data: memstore.NewData(), clock: stabilize.NewManualClock(time.Unix(1_700_000_000, 0))}
	h.first, h.second = h.Open(), h.Open()
	t.Cleanup(func() { _, _ = h.first.Close(), h.second.Close() })
	return h
}

func (h *harness) Store() persistence.Store      { return h.first }
func (h *harness) Second() persistence.Store     { return h.second }
func (h *harness) Clock() *stabilize.ManualClock { return h.clock }

func (h *harness) Reopen() persistence.Store {
	_, _ = h.first.Close(), h.second.Close() // of a memory store: never an error
	h.first, h.second = h.Open(), h.Open()
	return h.first
}

// Open implements patterns.Opener.
func (h *harness) Open() persistence.Store {
	return memstore.Open(h.data, memstore.Config{Clock: h.clock})
}

// Lacks implements conformance.Lacking.
func (h *harness) Lacks() []conformance.Power {
	return append(conformance.DatabasePowers(),
		conformance.CanCountRows, conformance.CanTamper, conformance.CanTamperEvents, conformance.CanBreakEvents, conformance.CanSetVersion, conformance.CanLimit,
		conformance.CanCountQueries, conformance.CanExplain)
}

// In a test file of one's own store, everything at each speed.
func Example() {
	_ = func(t *testing.T) { certify.Run(t, newHarness) }       // seconds
	_ = func(t *testing.T) { certify.RunStress(t, newHarness) } // minutes
	_ = func(t *testing.T) {
		certify.RunDifferential(t, newHarness, difftest.From(uint64(time.Now().UnixNano())))
	} // a night
}

// A program that prints the certificate of one's own store.
func ExampleMain() {
	_ = func() /* main */ { certify.Main("my store", newHarness) }
}
