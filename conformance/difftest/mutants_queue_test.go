package difftest

import (
	"errors"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func defectsOfMessages() []defect {
	return []defect{
		{does: "delivers in the reverse order", hooks: claimed(func(_ store, _ ctxt, ds []queue.Delivery) []queue.Delivery {
			slices.Reverse(ds)
			return ds
		})},
		{does: "stores the messages of a commit backwards", hooks: edited(func(c *persistence.Commit) { slices.Reverse(c.Messages) })},
		{does: "counts no attempts", hooks: claimed(func(_ store, _ ctxt, ds []queue.Delivery) []queue.Delivery {
			for i := range ds {
				ds[i].Attempts = 1
			}
			return ds
		})},
		{does: "sends a workflow along as it is not", hooks: claimed(func(s store, ctx ctxt, ds []queue.Delivery) []queue.Delivery {
			for i := range ds {
				if w, err := s.Load(ctx, queue.WorkflowOf(ds[i].Message)); err == nil {
					w.Version++
					ds[i].Workflow = w
				}
			}
			return ds
		})},
		{does: "loses what it delivers after another", hooks: claimed(func(s store, ctx ctxt, ds []queue.Delivery) []queue.Delivery {
			if len(ds) > 2 {
				_ = s.Ack(ctx, ds[2].Receipt())
			}
			return ds
		})},
		{does: "forgets a message's own count of attempts", hooks: edited(func(c *persistence.Commit) {
			for i := range c.Messages {
				c.Messages[i].MaxAttempts = min(c.Messages[i].MaxAttempts, 0)
			}
		})},
		{does: "delivers a second late", hooks: func() *hooks {
			return &hooks{Release: func(s store, ctx ctxt, r queue.Receipt, at time.Time, cause error) error {
				if !at.IsZero() {
					at = at.Add(time.Second)
				}
				return s.Release(ctx, r, at, cause)
			}}
		}},
		{does: "forgets why a message was released", hooks: func() *hooks {
			return &hooks{Release: func(s store, ctx ctxt, r queue.Receipt, at time.Time, _ error) error {
				return s.Release(ctx, r, at, nil)
			}}
		}},
		{does: "counts the attempt of a message that was returned", hooks: func() *hooks {
			return &hooks{Return: func(s store, ctx ctxt, r queue.Receipt) error { return s.Release(ctx, r, time.Time{}, nil) }}
		}},
		{does: "acknowledges nothing after one that was lost", hooks: func() *hooks {
			return &hooks{Ack: func(s store, ctx ctxt, rs []queue.Receipt) error {
				for _, r := range rs {
					if err := s.Ack(ctx, r); err != nil {
						return err
					}
				}
				return nil
			}}
		}},
		{does: "takes the id for a receipt", hooks: func() *hooks {
			return &hooks{Ack: func(s store, ctx ctxt, rs []queue.Receipt) error {
				err := s.Ack(ctx, rs...)
				if errors.Is(err, stabilize.ErrLeaseLost) {
					for _, r := range rs {
						_ = one(s, ctx, &persistence.Commit{Discard: []string{r.ID}})
					}
					return nil
				}
				return err
			}}
		}},
		{does: "does not discard", hooks: edited(func(c *persistence.Commit) { c.Discard = nil })},
		{does: "ignores the lease that a message is born with", hooks: edited(func(c *persistence.Commit) {
			for i := range c.Messages {
				c.Messages[i].Lease = nil
			}
		})},
		{does: "leases to a worker that is not there", hooks: func() *hooks {
			return &hooks{CommitBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
				for _, c := range cs {
					for _, m := range c.Messages {
						if m.Lease != nil {
							_, _ = s.Heartbeat(ctx, workerOf(m.Lease.Worker))
						}
					}
				}
				return s.CommitBatch(ctx, cs)
			}}
		}},
		{does: "gives workers a longer lease than they asked for", hooks: func() *hooks {
			return &hooks{Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
				w.TTL *= 2
				return s.Claim(ctx, w, room)
			}}
		}},
		{does: "keeps the fence of a retired worker", hooks: func() *hooks {
			fences := map[string]int64{}
			return &hooks{Heartbeat: func(s store, ctx ctxt, w queue.Worker) (queue.Leases, error) {
				l, err := s.Heartbeat(ctx, w)
				if err == nil && fences[w.ID] != 0 {
					l.Fence = fences[w.ID]
				}
				fences[w.ID] = l.Fence
				return l, err
			}}
		}},
		{does: "retires nobody", hooks: func() *hooks {
			return &hooks{Retire: func(store, ctxt, string) error { return nil }}
		}},
		{does: "takes any room", hooks: func() *hooks {
			return &hooks{Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
				room.Control, room.Work = max(room.Control, 0), max(room.Work, 0)
				return s.Claim(ctx, w, room)
			}}
		}},
		{does: "counts what is delayed as ready", hooks: func() *hooks {
			return &hooks{Depth: func(s store, ctx ctxt) (queue.Depth, error) {
				d, err := s.Depth(ctx)
				d.Ready, d.Delayed = d.Ready+d.Delayed, 0
				return d, err
			}}
		}},
		{does: "lists dead letters again from the start", hooks: func() *hooks {
			return &hooks{ListDead: func(s store, ctx ctxt, after string, limit int) ([]queue.DeadLetter, error) {
				if list, err := s.ListDead(ctx, after, limit); err != nil {
					return list, err
				}
				return s.ListDead(ctx, "", limit)
			}}
		}},
		{does: "replays a dead letter without removing it", hooks: func() *hooks {
			return &hooks{ReplayDead: func(s store, ctx ctxt, id string) error {
				list, err := s.ListDead(ctx, "", 1000)
				for _, d := range list {
					if d.ID == id {
						return s.Push(ctx, queue.Outgoing{Message: queue.StartWaitingWorkflows{Key: "x1"}})
					}
				}
				return errors.Join(err, s.ReplayDead(ctx, id))
			}}
		}},
		{does: "tells no workflow of its dead letters", hooks: claimed(func(s store, ctx ctxt, ds []queue.Delivery) []queue.Delivery {
			return slices.DeleteFunc(ds, func(d queue.Delivery) bool {
				_, is := d.Message.(queue.DeadLettered)
				if is {
					_ = s.Ack(ctx, d.Receipt())
				}
				return is
			})
		})},
		{does: "reads numbers as floats", hooks: claimed(func(_ store, _ ctxt, ds []queue.Delivery) []queue.Delivery {
			for i := range ds {
				if m, ok := ds[i].Message.(queue.SignalStage); ok {
					m.Data = m.Data.Clone()
					m.Data["number"] = []byte("9007199254740992")
					ds[i].Message = m
				}
			}
			return ds
		})},
		{does: "panics when nothing is pending", hooks: func() *hooks {
			return &hooks{Pending: func(s store, ctx ctxt, id string) ([]queue.Stored, error) {
				list, err := s.Pending(ctx, id)
				_ = list[0]
				return list, err
			}}
		}},
		{does: "reads from a cache of the handle's own", hooks: func() *hooks {
			type key struct {
				s  store
				id string
			}
			cache := map[key]*stabilize.Header{}
			return &hooks{
				Reopened: func() { clear(cache) },
				Summary: func(s store, ctx ctxt, id string) (*stabilize.Header, error) {
					if h := cache[key{s, id}]; h != nil {
						return h.Clone(), nil
					}
					h, err := s.Summary(ctx, id)
					if err == nil {
						cache[key{s, id}] = h.Clone()
					}
					return h, err
				},
				CommitBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
					for _, c := range cs {
						delete(cache, key{s, c.WorkflowID})
					}
					return s.CommitBatch(ctx, cs)
				},
			}
		}},
		{does: "forgets who holds a place when it is opened anew", hooks: func() *hooks {
			reopened := false
			return &hooks{
				Reopened: func() { reopened = true },
				Admissions: func(s store, ctx ctxt, key string) (persistence.Admissions, error) {
					a, err := s.Admissions(ctx, key)
					if reopened {
						a.Holding = nil
					}
					return a, err
				},
			}
		}},
	}
}

// defectsUnderFaults are seen only by who looks what an unknown outcome has left.
func defectsUnderFaults() []defect {
	unknown := func(of func(c *persistence.Commit) bool, half func(c *persistence.Commit)) func() *hooks {
		return func() *hooks {
			return &hooks{CommitBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
				if !of(cs[0]) {
					return s.CommitBatch(ctx, cs)
				}
				c := *cs[0]
				half(&c)
				if err := one(s, ctx, &c); err != nil {
					return []error{err}
				}
				return []error{stabilize.ErrUnknownOutcome}
			}}
		}
	}
	return []defect{
		{does: "loses the messages with the reply", faulty: true, hooks: unknown(
			func(c *persistence.Commit) bool { return len(c.Messages) == 2 },
			func(c *persistence.Commit) { c.Messages = nil },
		)},
		{does: "loses the stages with the reply", faulty: true, hooks: unknown(
			func(c *persistence.Commit) bool { return c.Expect > 0 && len(c.Stages) > 0 },
			func(c *persistence.Commit) { c.Stages = nil },
		)},
		{does: "loses the acknowledgement with the reply", faulty: true, hooks: unknown(
			func(c *persistence.Commit) bool { return len(c.Handled) > 0 },
			func(c *persistence.Commit) { c.Handled = nil },
		)},
		{does: "says it may be tried again although it is done", faulty: true, hooks: func() *hooks {
			return &hooks{CommitBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
				errs := s.CommitBatch(ctx, cs)
				if errs[0] == nil && len(cs[0].Stages) == 2 {
					errs[0] = stabilize.ErrTransient
				}
				return errs
			}}
		}},
		{does: "goes back to before the last commit when it is opened anew", faulty: true, hooks: func() *hooks {
			var lastStage *persistence.Commit
			reopened := false
			return &hooks{
				Reopened: func() { reopened = true },
				CommitBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
					errs := s.CommitBatch(ctx, cs)
					if c := cs[0]; errs[0] == nil && c.Expect == 0 && c.WorkflowID != "" {
						lastStage = c
					}
					return errs
				},
				Load: func(s store, ctx ctxt, id string) (*stabilize.Workflow, error) {
					if reopened && lastStage != nil && lastStage.WorkflowID == id {
						reopened = false
						_ = s.Delete(ctx, id)
					}
					return s.Load(ctx, id)
				},
			}
		}},
	}
}
