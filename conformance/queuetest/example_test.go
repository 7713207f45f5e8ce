package queuetest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/queuetest"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// harness is all that a queue of one's own must bring: here the memory store's.
type harness struct {
	data          *memstore.Data // the database
	clock         *stabilize.ManualClock
	first, second *memstore.Store
}

func (h *harness) Queue() queue.Queue            { return h.first }
func (h *harness) Second() queue.Queue           { return h.second }
func (h *harness) Clock() *stabilize.ManualClock { return h.clock }
func (h *harness) Close(q queue.Queue) error     { return q.(*memstore.Store).Close() }

// Lacks implements conformance.Lacking.
func (h *harness) Lacks() []conformance.Power { return conformance.DatabasePowers() }

func (h *harness) Reopen() queue.Queue {
	_, _ = h.first.Close(), h.second.Close() // of a memory store: never an error
	h.open()
	return h.first
}

func (h *harness) open() {
	cfg := memstore.Config{Clock: h.clock}
	h.first, h.second = memstore.Open(h.data, cfg), memstore.Open(h.data, cfg)
}

func newHarness() *harness {
	h := &harness{data: memstore.NewData(), clock: stabilize.NewManualClock(time.Unix(1_700_000_000, 0))}
	h.open()
	return h
}

// In a test file of one's own queue this is TestQueue. One who has a whole store
// gives conformance.AsQueue its harness.
func ExampleRun() {
	test := func(t *testing.T) {
		queuetest.Run(t, func(t *testing.T) conformance.QueueHarness {
			h := newHarness()
			t.Cleanup(func() { _, _ = h.first.Close(), h.second.Close() })
			return h
		})
	}
	_ = test
}

// The clauses are data.
func ExampleClauses() {
	for _, c := range queuetest.Clauses() {
		if c.ID == "VL-10" {
			fmt.Println(c.Sentence)
		}
	}
	// Output: Acknowledging with the token of a lease that lapsed and was given to another returns ErrLeaseLost and removes nothing.
}

// A queue alone passes, through the harness that has nothing but queues.
func TestQueueAlone(t *testing.T) {
	queuetest.Run(t, func(*testing.T) conformance.QueueHarness { return newHarness() })
}
