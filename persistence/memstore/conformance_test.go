package memstore

import (
	"context"
	"reflect"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/queuetest"
	"github.com/stabilize-dev/go-stabilize/conformance/storetest"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t) })
}

func TestQueue(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) conformance.QueueHarness { return conformance.AsQueue(newHarness(t)) })
}

// TestStress is cheap here: nothing is written to a disk.
func TestStress(t *testing.T) {
	t.Run("store", func(t *testing.T) {
		storetest.RunStress(t, func(t *testing.T) conformance.Harness { return newHarness(t) })
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
		conformance.CanTamper, conformance.CanLimit, conformance.CanCountQueries, conformance.CanExplain)
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

// Rows implements conformance.RowCounter over every map and slice of Data, so
// that a new one is counted the day it is added.
func (h *harness) Rows(context.Context) (map[string]int, error) {
	h.data.mu.Lock()
	defer h.data.mu.Unlock()
	rows := map[string]int{"leased": h.data.leased}
	v := reflect.ValueOf(h.data).Elem()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		switch f.Name {
		case "workers", "wakes", "nobody", "spent", "lanes": // handles and workers; lanes are counted below
			continue
		}
		switch f.Type.Kind() {
		case reflect.Map, reflect.Slice:
			rows[f.Name] = v.Field(i).Len()
		}
	}
	rows["lanes"] = len(h.data.lanes[0]) + len(h.data.lanes[1]) + len(h.data.spent)
	rows["seats"] = 0
	for _, g := range h.data.gates {
		rows["seats"] += g.holding.Len() + g.waiting.Len()
	}
	return rows, nil
}

// SetVersion implements conformance.VersionSetter.
func (h *harness) SetVersion(_ context.Context, id string, version int64) error {
	h.data.mu.Lock()
	defer h.data.mu.Unlock()
	o := h.data.owners[id]
	if o == nil || o.workflow == nil {
		return &stabilize.NotFoundError{Kind: "workflow", ID: id}
	}
	o.workflow.version = version
	for i, s := range o.workflow.slots {
		if s != nil {
			c := s.Clone()
			c.Version = version
			o.workflow.slots[i] = c
		}
	}
	return nil
}
