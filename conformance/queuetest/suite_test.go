package queuetest

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/mutant"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// memory is a harness of the memory store.
type memory struct {
	mutant.Link

	data          *memstore.Data
	clock         *stabilize.ManualClock
	first, second persistence.Store
}

func newMemory() *memory {
	m := &memory{data: memstore.NewData(), clock: stabilize.NewManualClock(time.Date(2025, 5, 6, 7, 8, 9, 0, time.UTC))}
	m.open()
	return m
}

func (m *memory) open() {
	cfg := memstore.Config{Clock: m.clock}
	m.first, m.second = m.Handle(memstore.Open(m.data, cfg), true), m.Handle(memstore.Open(m.data, cfg), false)
}

func (m *memory) Store() persistence.Store      { return m.first }
func (m *memory) Second() persistence.Store     { return m.second }
func (m *memory) Clock() *stabilize.ManualClock { return m.clock }

func (m *memory) Reopen() persistence.Store {
	_, _ = m.first.Close(), m.second.Close() // of a memory store: never an error
	m.open()
	return m.first
}

func harnessOf(_ *testing.T, hooks *mutant.Hooks) (conformance.QueueHarness, any) {
	h := conformance.AsQueue(mutant.New(newMemory(), hooks))
	return h, h.Queue()
}

// inProcess is the suite without the clause that starts processes.
func inProcess() []check {
	return slices.DeleteFunc(checks(), func(c check) bool { return c.ID == "VL-06" })
}

func TestSound(t *testing.T) { mutant.Sound(t, inProcess(), harnessOf) }

func TestMutants(t *testing.T) { mutant.Check(t, inProcess(), mutations(), without(), harnessOf) }

// A queue that takes due times for local ones passes everything in UTC, but not
// VL-06, which runs this very test in processes that live elsewhere.
func TestLocalTime(t *testing.T) {
	local := func() *mutant.Hooks {
		return &mutant.Hooks{Push: func(s persistence.Store, ctx context.Context, msgs []queue.Outgoing) error {
			msgs = slices.Clone(msgs)
			for i := range msgs {
				if at := msgs[i].At.UTC(); !msgs[i].At.IsZero() {
					msgs[i].At = time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), time.Local)
				}
			}
			return s.Push(ctx, msgs...)
		}}
	}
	if os.Getenv("CONFORMANCE_LOCAL_TIME") != "" {
		conformance.Run(t, checks(), func(t *testing.T) conformance.QueueHarness {
			h, _ := harnessOf(t, local())
			return h
		}, func(h conformance.QueueHarness) any { return h.Queue() })
		return
	}
	t.Setenv("CONFORMANCE_LOCAL_TIME", "1")
	i := slices.IndexFunc(checks(), func(c check) bool { return c.ID == "VL-06" })
	h, handle := harnessOf(t, &mutant.Hooks{})
	out := conformance.Record(t.Context(), t.Name()+"/VL-06", checks()[i], h, handle, conformance.Least)
	if len(out.Failures) != 2 {
		t.Errorf("VL-06 found %d of 2 zones in which the queue is wrong: %v", len(out.Failures), out.Failures)
	}
}
