package queuetest

import (
	"context"
	"errors"
	"slices"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/mutant"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Queues that are wrong only when their database is hostile, or is opened anew.
func mutantsOfCrashes() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "CR-03", Does: "gives back what was delivered when it is opened anew", Hooks: func() *hooks {
			var opened set
			return &hooks{
				Reopened: func() { opened.add("yes") },
				Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
					if opened.has("yes") {
						_ = s.Retire(ctx, "lost")
					}
					return s.Claim(ctx, w, room)
				},
			}
		}},
		{Clause: "CR-05", Does: "replays a dead letter in two steps", Also: []string{"VL-23"}, May: []string{"VL-22"}, Hooks: func() *hooks {
			return &hooks{ReplayDead: func(s store, ctx ctxt, id string) error {
				dead, err := s.ListDead(ctx, "", 1000)
				if err != nil {
					return err
				}
				for _, d := range dead {
					if d.ID != id || d.Reason != queue.DeadExhausted {
						continue
					}
					m, err := queue.NewRegistry().Decode(id, d.Kind, d.Body)
					if err != nil {
						return s.ReplayDead(ctx, id)
					}
					if err := s.DiscardDead(ctx, id); err != nil {
						return err
					}
					return s.Push(ctx, queue.Outgoing{ID: id, Message: m, MaxAttempts: d.MaxAttempts})
				}
				return s.ReplayDead(ctx, id)
			}}
		}},
		{Clause: "CR-06", Does: "goes back with its sequence when it is opened anew", Hooks: func() *hooks {
			var opened set
			return &hooks{
				Reopened: func() { opened.add("yes") },
				Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
					ds, err := s.Claim(ctx, w, room)
					if opened.has("yes") && len(ds) == 2 && ds[0].ID == "first" {
						slices.Reverse(ds)
					}
					return ds, err
				},
			}
		}},
		{Clause: "CR-07", Does: "takes the end of the connection for the end of the list", Hooks: func() *hooks {
			return &hooks{ListDead: func(s store, ctx ctxt, after string, limit int) ([]queue.DeadLetter, error) {
				list, err := s.ListDead(ctx, after, limit)
				if errors.Is(err, stabilize.ErrTransient) {
					return nil, nil
				}
				return list, err
			}}
		}},
		{Clause: "CX-02", Does: "does not heed a deadline", Hooks: func() *hooks {
			return &hooks{Depth: func(s store, ctx ctxt) (queue.Depth, error) {
				if _, ok := ctx.Deadline(); ok {
					ctx = context.WithoutCancel(ctx)
				}
				return s.Depth(ctx)
			}}
		}},
	}
}
