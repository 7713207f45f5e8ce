package storetest

import (
	"slices"
	"strconv"
	"strings"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/mutant"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// pruned prunes, and then deletes what that left though it may go. What a commit that
// came meanwhile kept is no longer as read.
func pruned(may func(s store, ctx ctxt, h *stabilize.Header) bool) func() *hooks {
	return func() *hooks {
		return &hooks{Prune: func(s store, ctx ctxt, finished []*stabilize.Header) (int, error) {
			n, err := s.Prune(ctx, finished...)
			if err != nil {
				return n, err
			}
			var ids []string
			for _, h := range finished {
				if _, err := s.Summary(ctx, h.ID); err == nil && may(s, ctx, h) && !slices.Contains(ids, h.ID) {
					ids = append(ids, h.ID)
				}
			}
			if len(ids) == 0 {
				return n, nil
			}
			return n + len(ids), s.Delete(ctx, ids...)
		}}
	}
}

func asRead(s store, ctx ctxt, h *stabilize.Header) bool {
	now, err := s.Summary(ctx, h.ID)
	return err == nil && persistence.IsAsRead(h, now.Version, now.CreatedAt)
}

func hasMessages(s store, ctx ctxt, id string) bool {
	pending, _ := s.Pending(ctx, id)
	return len(pending) > 0
}

func hasDead(s store, ctx ctxt, id string) bool {
	dead, _ := s.ListDead(ctx, "", 100)
	for _, d := range dead {
		if d.WorkflowID == id {
			return true
		}
	}
	return false
}

// Stores that prune too much, too little, or at the wrong moment.
func mutantsOfPruning() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "RT-28", Does: "counts what it was given", Also: []string{"RT-29", "RT-30"}, Hooks: func() *hooks {
			return &hooks{Prune: func(s store, ctx ctxt, finished []*stabilize.Header) (int, error) {
				n, err := s.Prune(ctx, finished...)
				if err != nil || len(finished) == 1 {
					return n, err
				}
				return len(finished), nil
			}}
		}},
		{Clause: "RT-28", Does: "prunes what has not ended", Hooks: func() *hooks {
			return &hooks{Prune: func(s store, ctx ctxt, finished []*stabilize.Header) (int, error) {
				finished = slices.Clone(finished)
				for i, h := range finished {
					if h != nil && h.Status == stabilize.Paused {
						finished[i] = h.Clone()
						finished[i].Status = stabilize.Canceled
					}
				}
				return s.Prune(ctx, finished...)
			}}
		}},
		{Clause: "RT-29", Does: "prunes what was changed since", Hooks: pruned(func(s store, ctx ctxt, h *stabilize.Header) bool {
			return (asRead(s, ctx, h) || !strings.HasPrefix(h.ID, "race")) && !hasMessages(s, ctx, h.ID) && !hasDead(s, ctx, h.ID)
		})},
		{Clause: "RT-29", Does: "takes a workflow of that id and version for the one that was read", Hooks: func() *hooks {
			return &hooks{Prune: func(s store, ctx ctxt, finished []*stabilize.Header) (int, error) {
				finished = slices.Clone(finished)
				for i, h := range finished {
					if h == nil {
						continue
					}
					if now, err := s.Summary(ctx, h.ID); err == nil {
						finished[i] = h.Clone()
						finished[i].CreatedAt = now.CreatedAt
					}
				}
				return s.Prune(ctx, finished...)
			}}
		}},
		{Clause: "RT-30", Does: "does not look for messages", Hooks: pruned(func(s store, ctx ctxt, h *stabilize.Header) bool {
			return asRead(s, ctx, h) && !hasDead(s, ctx, h.ID)
		})},
		{Clause: "RT-30", Does: "does not look for dead letters", Hooks: pruned(func(s store, ctx ctxt, h *stabilize.Header) bool {
			return asRead(s, ctx, h) && !hasMessages(s, ctx, h.ID)
		})},
		{Clause: "OC-17", Does: "looks first, and deletes then", Hooks: func() *hooks {
			var looked, committed locked[string, chan struct{}]
			const rounds = 100
			for i := range rounds {
				id := "race" + strconv.Itoa(i)
				looked.set(id, make(chan struct{}))
				committed.set(id, make(chan struct{}))
			}
			h := commits(func(s store, ctx ctxt, c *persistence.Commit) error {
				if !strings.HasPrefix(c.WorkflowID, "race") || c.Expect != 1 {
					return one(s, ctx, c)
				}
				seen, _ := looked.get(c.WorkflowID)
				<-seen
				done, _ := committed.get(c.WorkflowID)
				defer close(done)
				return one(s, ctx, c)
			})()
			h.Prune = func(s store, ctx ctxt, finished []*stabilize.Header) (int, error) {
				if len(finished) != 1 || finished[0] == nil || !strings.HasPrefix(finished[0].ID, "race") {
					return s.Prune(ctx, finished...)
				}
				id := finished[0].ID
				if !asRead(s, ctx, finished[0]) {
					return 0, nil
				}
				seen, _ := looked.get(id)
				close(seen)
				done, _ := committed.get(id)
				<-done
				return 1, s.Delete(ctx, id)
			}
			return h
		}},
	}
}
