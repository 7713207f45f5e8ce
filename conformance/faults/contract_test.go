package faults_test

import (
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/eventtest"
	"github.com/stabilize-dev/go-stabilize/conformance/faults"
	"github.com/stabilize-dev/go-stabilize/conformance/queuetest"
	"github.com/stabilize-dev/go-stabilize/conformance/storetest"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// A handle with nothing planned keeps the whole contract of what it wraps.

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) conformance.Harness { return newHarness() })
}

func TestEvents(t *testing.T) {
	eventtest.Run(t, func(t *testing.T) conformance.Harness { return newHarness() })
}

func TestQueue(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) conformance.QueueHarness { return conformance.AsQueue(newHarness()) })
}

type harness struct {
	data          *memstore.Data
	clock         *stabilize.ManualClock
	first, second faults.Store
}

func newHarness() *harness {
	h := &harness{data: memstore.NewData(), clock: stabilize.NewManualClock(start())}
	h.first, h.second = h.open(), h.open()
	return h
}

func (h *harness) open() faults.Store {
	return faults.Wrap(memstore.Open(h.data, memstore.Config{Clock: h.clock}), faults.Plan{Clock: h.clock})
}

func (h *harness) Store() persistence.Store      { return h.first }
func (h *harness) Second() persistence.Store     { return h.second }
func (h *harness) Clock() *stabilize.ManualClock { return h.clock }

func (h *harness) Reopen() persistence.Store {
	_, _ = h.first.Close(), h.second.Close()
	h.first, h.second = h.open(), h.open()
	return h.first
}

// Lacks implements conformance.Lacking: the harness looks at nothing from inside.
func (h *harness) Lacks() []conformance.Power {
	return append(conformance.DatabasePowers(),
		conformance.CanTamper, conformance.CanTamperEvents, conformance.CanBreakEvents, conformance.CanLimit, conformance.CanCountQueries, conformance.CanExplain,
		conformance.CanCountRows, conformance.CanSetVersion)
}

type (
	refresher interface{ persistence.Refresher }
	keys      interface{ persistence.WaitingKeys }
	limited   struct{}
	notifier  interface{ queue.Notifier }
)

func (limited) MaxPayload() int64 { return 17 }

// powers tells which optional powers a store has.
func powers(s persistence.Store) (p [4]bool) {
	_, p[0] = s.(persistence.Refresher)
	_, p[1] = s.(persistence.WaitingKeys)
	_, p[2] = s.(persistence.Limits)
	_, p[3] = s.(queue.Notifier)
	return p
}

// TestPowers: the handle has the powers of its store and no others.
func TestPowers(t *testing.T) {
	m := memstore.New(memstore.Config{})
	type bare struct{ persistence.Store }
	b := bare{m}
	stores := []persistence.Store{
		b,
		struct {
			bare
			refresher
		}{b, m},
		struct {
			bare
			keys
		}{b, m},
		struct {
			bare
			refresher
			keys
		}{b, m, m},
		struct {
			bare
			limited
		}{b, limited{}},
		struct {
			bare
			refresher
			limited
		}{b, m, limited{}},
		struct {
			bare
			keys
			limited
		}{b, m, limited{}},
		struct {
			bare
			refresher
			keys
			limited
		}{b, m, m, limited{}},
		struct {
			bare
			notifier
		}{b, m},
		struct {
			bare
			refresher
			notifier
		}{b, m, m},
		struct {
			bare
			keys
			notifier
		}{b, m, m},
		m,
		struct {
			bare
			limited
			notifier
		}{b, limited{}, m},
		struct {
			bare
			refresher
			limited
			notifier
		}{b, m, limited{}, m},
		struct {
			bare
			keys
			limited
			notifier
		}{b, m, limited{}, m},
		struct {
			*memstore.Store
			limited
		}{m, limited{}},
	}
	seen := map[[4]bool]bool{}
	for _, s := range stores {
		want, w := powers(s), faults.Wrap(s, faults.Plan{})
		if got := powers(w); got != want {
			t.Errorf("the store has %v, its handle %v", want, got)
		}
		if l, ok := w.(persistence.Limits); ok && l.MaxPayload() != 17 {
			t.Errorf("MaxPayload is %d", l.MaxPayload())
		}
		seen[want] = true
	}
	if len(seen) != 16 {
		t.Errorf("%d of 16 sets were looked at", len(seen))
	}
}
