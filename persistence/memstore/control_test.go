package memstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/controltest"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func TestControl(t *testing.T) { controltest.Run(t, newTwo) }

// TestControlStress is cheap here: nothing is written to a disk.
func TestControlStress(t *testing.T) { controltest.RunStress(t, newTwo) }

// two is two handles on one Data, for suites that import the engine, which imports
// this package.
type two struct {
	data          *memstore.Data
	clock         *stabilize.ManualClock
	first, second *memstore.Store
}

func newTwo(t *testing.T) conformance.Harness {
	h := &two{data: memstore.NewData(), clock: stabilize.NewManualClock(time.Date(2025, 5, 6, 7, 8, 9, 0, time.UTC))}
	h.open()
	t.Cleanup(func() {
		if err := errors.Join(h.first.Close(), h.second.Close()); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *two) open() {
	cfg := memstore.Config{Clock: h.clock}
	h.first, h.second = memstore.Open(h.data, cfg), memstore.Open(h.data, cfg)
}

func (h *two) Store() persistence.Store      { return h.first }
func (h *two) Second() persistence.Store     { return h.second }
func (h *two) Clock() *stabilize.ManualClock { return h.clock }

func (h *two) Reopen() persistence.Store {
	_, _ = h.first.Close(), h.second.Close() // of a memory store: never an error
	h.open()
	return h.first
}
