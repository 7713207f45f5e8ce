package storetest

import (
	"errors"
	"slices"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/mutant"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Stores that are wrong at the edges of a step: in what a commit or a deletion
// takes with it, and what it leaves.
func mutantsOfSteps() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "OC-07", Does: "finds nothing new since a version that is above its own", Hooks: func() *hooks {
			return &hooks{Refresh: func(s store, ctx ctxt, id string, since int64) (*persistence.Delta, error) {
				if now := at(s, ctx, id); now > 0 {
					since = min(since, now)
				}
				return s.(persistence.Refresher).Refresh(ctx, id, since)
			}}
		}},
		{Clause: "AC-17", Does: "does not take what it is to discard for handled", Hooks: commits(func(s store, ctx ctxt, c *persistence.Commit) error {
			for _, r := range c.Handled {
				if slices.Contains(c.Discard, r.ID) {
					return &stabilize.LeaseLostError{Kind: "message", ID: r.ID}
				}
			}
			return one(s, ctx, c)
		})},
		{Clause: "AC-17", Does: "discards dead letters too", Also: []string{"AC-19"}, Hooks: commits(func(s store, ctx ctxt, c *persistence.Commit) error {
			for _, id := range c.Discard {
				if id == "dead" {
					_ = s.DiscardDead(ctx, id)
				}
			}
			return one(s, ctx, c)
		})},
		{Clause: "AC-19", Does: "stores before it removes", Hooks: commits(func(s store, ctx ctxt, c *persistence.Commit) error {
			if i := slices.IndexFunc(c.Messages, func(m queue.Outgoing) bool { return m.ID != "" && c.Frees(m.ID) }); i >= 0 && c.Validate() == nil {
				return &stabilize.ExistsError{Kind: "message", ID: c.Messages[i].ID}
			}
			return one(s, ctx, c)
		})},
		{Clause: "AC-19", Does: "lets a commit have the id of a dead letter that it discards", Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrExists) && len(c.Discard) == 1 && c.Discard[0] == "dead" {
				_ = s.DiscardDead(ctx, "dead")
				return one(s, ctx, c)
			}
			return err
		})},
		{Clause: "RT-15", Does: "deletes what belongs to workflows that exist", Hooks: func() *hooks {
			return &hooks{Delete: func(s store, ctx ctxt, ids []string) error {
				ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
					_, err := s.Summary(ctx, id)
					return errors.Is(err, stabilize.ErrNotFound)
				})
				return s.Delete(ctx, ids...)
			}}
		}},
		{Clause: "RT-27", Does: "deletes one workflow after the other", Hooks: func() *hooks {
			looked := make(chan struct{}, 1) // kept when nobody waits yet: who has seen them looks no more
			return &hooks{
				Query: func(s store, ctx ctxt, q persistence.Query) (persistence.Page, error) {
					p, err := s.Query(ctx, q)
					if len(p.Workflows) == 3 {
						select {
						case looked <- struct{}{}:
						default:
						}
					}
					return p, err
				},
				Delete: func(s store, ctx ctxt, ids []string) error {
					if len(ids) != 4 {
						return s.Delete(ctx, ids...)
					}
					if err := s.Delete(ctx, ids[0]); err != nil {
						return err
					}
					<-looked // by a reader that sees the other three
					return s.Delete(ctx, ids[1:]...)
				},
			}
		}},
		{Clause: "CR-10", Does: "deletes one workflow after the other", Hooks: func() *hooks {
			return &hooks{Delete: func(s store, ctx ctxt, ids []string) error {
				if len(ids) != 3 {
					return s.Delete(ctx, ids...)
				}
				for _, id := range ids {
					if err := s.Delete(ctx, id); err != nil {
						return err
					}
				}
				return nil
			}}
		}},
		{Clause: "PG-03", Does: "has a token for another page whenever one is full", Hooks: queried(func(q persistence.Query, p *persistence.Page) {
			if _, err := q.Check(); err == nil && len(p.Workflows) == q.Limit && p.Next == "" {
				p.Next = q.MakeToken(persistence.PlaceOf(p.Workflows[q.Limit-1]))
			}
		})},
		{Clause: "CL-08", Does: "gives back under every key", Hooks: commits(func(s store, ctx ctxt, c *persistence.Commit) error {
			err := one(s, ctx, c)
			if err == nil && c.Admission != nil && c.Admission.Op == persistence.LeavePlace && c.Admission.Key == "k" {
				_ = force(s, ctx, &persistence.Commit{WorkflowID: c.WorkflowID, Admission: place(persistence.LeavePlace, "other key", 1)})
			}
			return err
		})},
		{Clause: "CL-15", Does: "keeps the limit with which a turn was taken", Hooks: func() *hooks {
			var first locked[string, int]
			return edited(func(c *persistence.Commit) {
				if c.Admission == nil || c.Admission.Op != persistence.WaitForPlace {
					return
				}
				turn := c.WorkflowID + " under " + c.Admission.Key
				if limit, ok := first.get(turn); ok {
					c.Admission.Limit = limit
				} else {
					first.set(turn, c.Admission.Limit)
				}
			})()
		}},
	}
}
