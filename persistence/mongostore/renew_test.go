//go:build unix

package mongostore_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// halting is the clock of a process that stands still when it has read it.
type halting struct {
	*stabilize.ManualClock

	reads atomic.Int64
	halt  atomic.Pointer[func(read int64)] // nil: it goes on
}

func (c *halting) Now() time.Time {
	now := c.ManualClock.Now()
	if halt := c.halt.Load(); halt != nil {
		(*halt)(c.reads.Add(1))
	}
	return now
}

// renewal is how a worker's lease is renewed, at what age of it, and for how long whoever
// does it stands still: not until it lapses.
type renewal struct {
	name       string
	claims     bool
	due        bool // there is something to claim
	age, pause time.Duration
}

const leaseTTL = 100 * time.Second

func renewals() []renewal {
	const due = leaseTTL * 2 / 5 // a claim renews it by then
	return []renewal{
		{name: "heartbeat", pause: leaseTTL * 9 / 10},
		{name: "claim of nothing, soon", claims: true, pause: leaseTTL * 9 / 10},
		{name: "claim of nothing", claims: true, age: due, pause: leaseTTL / 2},
		{name: "claim of something, soon", claims: true, due: true, pause: leaseTTL * 9 / 10},
		{name: "claim of something", claims: true, due: true, age: due, pause: leaseTTL / 2},
	}
}

// lateOn has a renewal made on a store. While the worker stands still its lease is renewed
// by another handle, which interrupt does: then the lease lasts for as long as that gave it.
func (r renewal) lateOn(t *testing.T, h *harness, s persistence.Store, id string, during func(interrupt func(), call func() error) error) {
	t.Helper()
	w, room := queue.Worker{ID: "slow " + id, TTL: leaseTTL}, queue.Room{Control: 10}
	push := func(name string) {
		t.Helper()
		h.must(t, h.second.Push(t.Context(), queue.Outgoing{ID: name + id, Message: queue.StartWaitingWorkflows{Key: "k"}}))
	}
	push("held ")
	held, err := h.second.Claim(t.Context(), w, room)
	h.must(t, err)
	before, err := h.second.Heartbeat(t.Context(), w)
	h.must(t, err)
	h.clock.Advance(r.age)
	if r.due {
		push("due ")
	}
	h.must(t, during(func() {
		h.clock.Advance(r.pause)
		if _, err := h.second.Heartbeat(context.Background(), w); err != nil {
			t.Error(err)
		}
	}, func() error {
		if !r.claims {
			_, err := s.Heartbeat(t.Context(), w)
			return err
		}
		got, err := s.Claim(t.Context(), w, room)
		held = append(held, got...)
		return err
	}))
	h.clock.Advance(leaseTTL - stabilize.Precision)
	got, err := h.second.Claim(t.Context(), queue.Worker{ID: "heir " + id, TTL: leaseTTL}, room)
	h.must(t, err)
	after, err := h.second.Heartbeat(t.Context(), w)
	h.must(t, err)
	if len(got) > 0 || after.Fence != before.Fence || len(after.Held) != len(held) {
		t.Errorf("%s: just before its lease ends a worker has the fence %d, before %d, and holds %d of %d messages; somebody else was given %d",
			id, after.Fence, before.Fence, len(after.Held), len(held), len(got))
	}
	for _, receipt := range after.Held {
		h.must(t, h.second.Ack(t.Context(), receipt))
	}
	for _, name := range []string{"slow ", "heir "} {
		h.must(t, h.second.Retire(t.Context(), name+id))
	}
}

// A call that stands still when it has read the clock, whichever time, does not cut short
// the lease that another call of the worker has renewed meanwhile: also when that happens
// to it twice.
func TestLateRenewals(t *testing.T) {
	t.Parallel()
	for _, r := range renewals() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			for times := range int64(2) {
				h := newHarness(t, servers.One())
				clock := &halting{ManualClock: h.clock}
				cfg := h.config(0)
				cfg.Clock = clock
				slow, err := h.extra(mongostore.Open(t.Context(), cfg))
				h.must(t, err)
				var came atomic.Bool
				for at := int64(1); at == 1 || came.Load(); at++ {
					came.Store(false)
					r.lateOn(t, h, slow, fmt.Sprint(at, " and ", times, " more"), func(interrupt func(), call func() error) error {
						halt := func(read int64) {
							if read >= at && read <= at+times {
								came.Store(true)
								interrupt()
							}
						}
						clock.reads.Store(0)
						clock.halt.Store(&halt)
						defer clock.halt.Store(nil)
						return call()
					})
					if at == 1 && !came.Load() {
						t.Error("it did not look at the clock")
					}
				}
			}
		})
	}
}

// Nor does one that stands still between reading the lease and renewing it.
func TestLateUpdatesOfLeases(t *testing.T) {
	t.Parallel()
	for _, r := range renewals() {
		if r.claims && r.age == 0 {
			continue // it updates nothing
		}
		h := newHarness(t, servers.One())
		r.lateOn(t, h, h.first, r.name, func(interrupt func(), call func() error) error {
			reached, resume := h.hold("update", "workers")
			defer h.links[0].Intercept(nil)
			done := make(chan error, 1)
			go func() { done <- call() }()
			<-reached
			interrupt()
			resume()
			return <-done
		})
	}
}
