package queuetest

import (
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/mutant"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Queues that are wrong about how messages die, and in which order they come back.
func mutantsOfDying() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "VL-26", Does: "takes room for what cannot be decoded", Hooks: func() *hooks {
			return &hooks{Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
				if room != (queue.Room{Control: 1, Work: 1}) {
					return s.Claim(ctx, w, room)
				}
				before, _ := s.Depth(ctx)
				ds, err := s.Claim(ctx, w, room)
				after, _ := s.Depth(ctx)
				return slices.DeleteFunc(ds, func(d queue.Delivery) bool {
					if after.Dead == before.Dead || d.ID != "good" {
						return false
					}
					_ = s.Return(ctx, d.Receipt())
					return true
				}), err
			}}
		}},
		{Clause: "VL-45", Does: "does nothing but renew when there is no room", Hooks: func() *hooks {
			return &hooks{Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
				if room == (queue.Room{}) {
					_, err := s.Heartbeat(ctx, w)
					return nil, err
				}
				return s.Claim(ctx, w, room)
			}}
		}},
		{Clause: "VL-38", Does: "begins anew after an id that is no dead letter", Hooks: func() *hooks {
			return &hooks{ListDead: func(s store, ctx ctxt, after string, limit int) ([]queue.DeadLetter, error) {
				list, err := s.ListDead(ctx, after, limit)
				if errors.Is(err, stabilize.ErrNotFound) {
					return s.ListDead(ctx, "", limit)
				}
				return list, err
			}}
		}},
		{Clause: "VL-38", Does: "lists those that died together in the order of storing", Hooks: func() *hooks {
			return &hooks{ListDead: func(s store, ctx ctxt, after string, limit int) ([]queue.DeadLetter, error) {
				list, err := s.ListDead(ctx, after, limit)
				if len(list) == 2 && list[0].ID == "stored second" {
					slices.Reverse(list)
				}
				return list, err
			}}
		}},
		{Clause: "VL-46", Does: "hands out the bodies that it keeps", Hooks: func() *hooks {
			var mu sync.Mutex
			kept := map[string][]byte{}
			return buried(func(d *queue.DeadLetter) {
				mu.Lock()
				defer mu.Unlock()
				if body, ok := kept[d.ID]; ok {
					d.Body = body
				}
				kept[d.ID] = d.Body
			})()
		}},
		{Clause: "OR-06", Does: "puts what was returned behind its equals", Hooks: claimed(func(w queue.Worker, _ queue.Room, ds []queue.Delivery) []queue.Delivery {
			if w.ID == "equals" && len(ds) == 3 && ds[0].ID == "z" && ds[0].Attempts == 1 {
				slices.Reverse(ds)
			}
			return ds
		})},
		{Clause: "OR-06", Does: "gives what is replayed its old place", Hooks: claimed(func(_ queue.Worker, _ queue.Room, ds []queue.Delivery) []queue.Delivery {
			if len(ds) == 3 && ds[1].ID == "replayed" {
				ds[0], ds[1] = ds[1], ds[0]
			}
			return ds
		})},
		{Clause: "CR-05", Does: "tells a workflow of its dead letter in a step of its own", Hooks: func() *hooks {
			return &hooks{Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
				ds, err := s.Claim(ctx, w, room)
				if err != nil || room != (queue.Room{}) || w.ID != "worker" {
					return ds, err
				}
				list, err := s.Pending(ctx, "w")
				for _, m := range list {
					n, ok := m.Message.(queue.DeadLettered)
					if !ok || strings.HasPrefix(m.ID, "late ") {
						continue
					}
					discard(s, ctx, m.ID)
					if err := s.Push(ctx, queue.Outgoing{ID: "late " + m.ID, Message: n}); err != nil {
						return ds, err
					}
				}
				return ds, err
			}}
		}},
	}
}
