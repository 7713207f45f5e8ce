package queuetest

import (
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/mutant"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Queues that are wrong about what a worker holds and gives back.
func mutantsOfLeases() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "VL-15", Does: "rounds a TTL up to a second", Hooks: func() *hooks {
			return &hooks{Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
				if w.TTL > 0 {
					w.TTL = max(w.TTL, time.Second)
				}
				return s.Claim(ctx, w, room)
			}}
		}},
		{Clause: "VL-17", Does: "cuts a cause after 255 bytes", Hooks: func() *hooks {
			return &hooks{Release: func(s store, ctx ctxt, r queue.Receipt, at time.Time, cause error) error {
				if cause != nil && len(cause.Error()) > 255 {
					cause = errors.New(cause.Error()[:254])
				}
				return s.Release(ctx, r, at, cause)
			}}
		}},
		{Clause: "VL-17", Does: "keeps the cause of the release before when there is none", Hooks: func() *hooks {
			var mu sync.Mutex
			last := map[string]string{}
			h := delivered(func(d *queue.Delivery) {
				mu.Lock()
				defer mu.Unlock()
				last[d.Token] = d.LastError
			})()
			h.Release = func(s store, ctx ctxt, r queue.Receipt, at time.Time, cause error) error {
				mu.Lock()
				defer mu.Unlock()
				if text := last[r.Token]; cause == nil && text != "" {
					cause = errors.New(text)
				}
				return s.Release(ctx, r, at, cause)
			}
			return h
		}},
		{Clause: "VL-33", Does: "wakes who waits on the first handle alone", Hooks: func() *hooks {
			var mu sync.Mutex
			var first store
			return &hooks{Wake: func(s store) <-chan struct{} {
				mu.Lock()
				defer mu.Unlock()
				if first == nil {
					first = s
				}
				if s != first {
					return nil
				}
				return s.(queue.Notifier).Wake()
			}}
		}},
		{Clause: "VL-40", Does: "frees what the claimer itself held before it renews", Hooks: func() *hooks {
			return &hooks{Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
				if list, _ := s.Pending(ctx, "w"); len(list) == 1 && list[0].ID == "held" && !list[0].Leased && list[0].Attempts > 0 {
					_ = s.Retire(ctx, w.ID)
				}
				return s.Claim(ctx, w, room)
			}}
		}},
		{Clause: "VL-40", Does: "lists nothing in the heartbeat of a worker that had lapsed", Hooks: func() *hooks {
			return &hooks{Heartbeat: func(s store, ctx ctxt, w queue.Worker) (queue.Leases, error) {
				list, _ := s.Pending(ctx, "w")
				l, err := s.Heartbeat(ctx, w)
				if len(list) == 1 && list[0].ID == "held" && !list[0].Leased {
					l.Held = nil
				}
				return l, err
			}}
		}},
		{Clause: "VL-42", Does: "does not list in a heartbeat what was delivered before", Hooks: func() *hooks {
			var again set
			h := delivered(func(d *queue.Delivery) {
				if d.Attempts > 1 {
					again.add(d.Token)
				}
			})()
			h.Heartbeat = func(s store, ctx ctxt, w queue.Worker) (queue.Leases, error) {
				l, err := s.Heartbeat(ctx, w)
				l.Held = slices.DeleteFunc(l.Held, func(r queue.Receipt) bool { return again.has(r.Token) })
				return l, err
			}
			return h
		}},
		{Clause: "VL-42", Does: "frees a hundred messages of a worker with each claim", Hooks: func() *hooks {
			return &hooks{Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
				ds, err := s.Claim(ctx, w, room)
				freed := 0
				return slices.DeleteFunc(ds, func(d queue.Delivery) bool {
					if d.Attempts > 1 {
						freed++
					}
					if freed <= 100 {
						return false
					}
					_ = s.Return(ctx, d.Receipt())
					return true
				}), err
			}}
		}},
		{Clause: "VL-43", Does: "takes the tokens of a worker that has retired", Hooks: func() *hooks {
			var retired set
			return &hooks{
				Retire: func(s store, ctx ctxt, worker string) error {
					if worker == "retiree" {
						l, _ := s.Heartbeat(ctx, queue.Worker{ID: worker, TTL: time.Minute})
						for _, r := range l.Held {
							retired.add(r.Token)
						}
					}
					return s.Retire(ctx, worker)
				},
				Ack: func(s store, ctx ctxt, rs []queue.Receipt) error {
					err := s.Ack(ctx, rs...)
					if errors.Is(err, stabilize.ErrLeaseLost) && retired.has(rs[0].Token) {
						discard(s, ctx, rs[0].ID)
						return nil
					}
					return err
				},
			}
		}},
		{Clause: "VL-44", Does: "keeps max attempts in 16 bits", Hooks: delivered(func(d *queue.Delivery) {
			d.MaxAttempts = min(d.MaxAttempts, math.MaxInt16)
		})},
		{Clause: "VL-44", Does: "keeps attempts in 8 bits", Hooks: delivered(func(d *queue.Delivery) {
			d.Attempts = min(d.Attempts, math.MaxUint8)
		})},
	}
}

func mutantsOfCounts() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "VL-27", Does: "looks for the oldest in the control lane", Hooks: func() *hooks {
			return &hooks{Depth: func(s store, ctx ctxt) (queue.Depth, error) {
				d, err := s.Depth(ctx)
				work, _ := s.Pending(ctx, "workflow")
				control, _ := s.Pending(ctx, "")
				if len(work) == 1 && work[0].ID == "old run" && len(control) == 1 {
					d.Oldest = control[0].Due
				}
				return d, err
			}}
		}},
		{Clause: "VL-27", Does: "does not count what has no attempts left", Hooks: func() *hooks {
			return &hooks{Depth: func(s store, ctx ctxt) (queue.Depth, error) {
				d, err := s.Depth(ctx)
				if list, _ := s.Pending(ctx, ""); len(list) == 1 && list[0].ID == "spent" && !list[0].Leased && list[0].Attempts == 1 {
					d.Ready, d.Oldest = 0, time.Time{}
				}
				return d, err
			}}
		}},
	}
}
