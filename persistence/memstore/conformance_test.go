package memstore

import (
	"context"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/eventtest"
	"github.com/stabilize-dev/go-stabilize/conformance/queuetest"
	"github.com/stabilize-dev/go-stabilize/conformance/storetest"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t) })
}

func TestEvents(t *testing.T) {
	eventtest.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t) })
}

func TestQueue(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) conformance.QueueHarness { return conformance.AsQueue(newHarness(t)) })
}

// TestStress is cheap here: nothing is written to a disk.
func TestStress(t *testing.T) {
	t.Run("store", func(t *testing.T) {
		storetest.RunStress(t, func(t *testing.T) conformance.Harness { return newHarness(t) })
	})
	t.Run("events", func(t *testing.T) {
		eventtest.RunStress(t, func(t *testing.T) conformance.Harness { return newHarness(t) })
	})
	t.Run("queue", func(t *testing.T) {
		queuetest.RunStress(t, func(t *testing.T) conformance.QueueHarness { return conformance.AsQueue(newHarness(t)) })
	})
}

// harness opens two handles on one Data.
type harness struct {
	data          *Data
	clock         *stabilize.ManualClock
	first, second *Store
}

func newHarness(t testing.TB) *harness {
	h := &harness{data: NewData(), clock: stabilize.NewManualClock(start())}
	h.open()
	t.Cleanup(func() {
		must(t, h.first.Close())
		must(t, h.second.Close())
	})
	return h
}

func (h *harness) open() {
	h.first, h.second = open(h.data, h.clock, nil), open(h.data, h.clock, nil)
}

func (h *harness) Store() persistence.Store      { return h.first }
func (h *harness) Second() persistence.Store     { return h.second }
func (h *harness) Clock() *stabilize.ManualClock { return h.clock }

// Lacks implements conformance.Lacking: there are no rows, queries or limits, and
// no database that could break, be opened in another way, or have an old schema.
func (h *harness) Lacks() []conformance.Power {
	return append(conformance.DatabasePowers(),
		conformance.CanTamper, conformance.CanTamperEvents, conformance.CanBreakEvents, conformance.CanLimit, conformance.CanCountQueries, conformance.CanExplain)
}

func (h *harness) Reopen() persistence.Store {
	for _, s := range []*Store{h.first, h.second} {
		if err := s.Close(); err != nil {
			panic(err) // Close of a memory store cannot fail
		}
	}
	h.open()
	return h.first
}

// Rows implements conformance.RowCounter.
func (h *harness) Rows(context.Context) (map[string]int, error) { return h.data.Rows(), nil }

// SetVersion implements conformance.VersionSetter.
func (h *harness) SetVersion(_ context.Context, id string, version int64) error {
	return h.data.SetVersion(id, version)
}
