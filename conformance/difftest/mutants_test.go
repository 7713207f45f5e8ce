package difftest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/mutant"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// enough seeds for the rarest of the planted defects, with a good deal to spare.
const enough = 60

// TestPlantedDefects: each defect is found, and told in a few operations.
func TestPlantedDefects(t *testing.T) {
	all := append(defects(), defectsUnderFaults()...)
	if len(all) < 30 {
		t.Errorf("only %d defects are planted", len(all))
	}
	for _, d := range all {
		t.Run(strings.ReplaceAll(d.does, " ", "-"), func(t *testing.T) {
			t.Parallel()
			f := d.find(t)
			if f == nil {
				t.Fatalf("a store that %s was not found with %d seeds", d.does, enough)
			}
			if len(f.ops) > 8 {
				t.Errorf("a store that %s was told in %d operations:\n%s", d.does, len(f.ops), f)
			}
			t.Logf("a store that %s:\n%s", d.does, f)
		})
	}
}

// defect is a memory store broken on purpose.
type defect struct {
	does   string
	faulty bool // it takes faults to see it
	hooks  func() *hooks
}

func (d defect) find(t *testing.T) *finding {
	t.Helper()
	fresh := func() conformance.Harness { return mutant.New(newMemory(), d.hooks()) }
	for seed := range uint64(enough) {
		if f := explore(t.Context(), seed+1, options{steps: 120, shrinks: 300, faulty: d.faulty}, fresh); f != nil {
			return f
		}
	}
	return nil
}

// TestFindingIsRepeated: the same seed tells the same.
func TestFindingIsRepeated(t *testing.T) {
	d := defects()[0]
	a, b := d.find(t), d.find(t)
	if a == nil || b == nil || a.String() != b.String() {
		t.Errorf("the same defect was told in two ways:\n%v\n%v", a, b)
	}
	if text := a.String(); !strings.Contains(text, "seed ") || !strings.Contains(text, ">>>") {
		t.Errorf("the finding does not tell its seed or where it went wrong:\n%s", text)
	}
}

type (
	hooks = mutant.Hooks
	ctxt  = context.Context
	store = persistence.Store
)

func one(s store, ctx ctxt, c *persistence.Commit) error {
	return s.CommitBatch(ctx, []*persistence.Commit{c})[0]
}

// edited changes what is committed, of a copy.
func edited(f func(c *persistence.Commit)) func() *hooks {
	return func() *hooks {
		return &hooks{CommitBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
			out := make([]*persistence.Commit, len(cs))
			for i, c := range cs {
				dup := *c
				if c.Header != nil {
					dup.Header = c.Header.Clone()
				}
				dup.Stages = slices.Clone(c.Stages)
				for j, st := range dup.Stages {
					dup.Stages[j] = st.Clone()
				}
				dup.Messages = slices.Clone(c.Messages)
				f(&dup)
				out[i] = &dup
			}
			return s.CommitBatch(ctx, out)
		}}
	}
}

// failing has a look at each commit that was refused.
func failing(f func(s store, ctx ctxt, c *persistence.Commit, err error) error) func() *hooks {
	return func() *hooks {
		return &hooks{CommitBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
			errs := s.CommitBatch(ctx, cs)
			for i, err := range errs {
				if err != nil {
					errs[i] = f(s, ctx, cs[i], err)
				}
			}
			return errs
		}}
	}
}

func loaded(f func(w *stabilize.Workflow)) func() *hooks {
	return func() *hooks {
		return &hooks{Load: func(s store, ctx ctxt, id string) (*stabilize.Workflow, error) {
			w, err := s.Load(ctx, id)
			if err == nil {
				f(w)
			}
			return w, err
		}}
	}
}

func claimed(f func(s store, ctx ctxt, ds []queue.Delivery) []queue.Delivery) func() *hooks {
	return func() *hooks {
		return &hooks{Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
			ds, err := s.Claim(ctx, w, room)
			return f(s, ctx, ds), err
		}}
	}
}

// pruned deletes too what is finished and fits f.
func pruned(f func(s store, ctx ctxt, h *stabilize.Header) bool) func() *hooks {
	return func() *hooks {
		return &hooks{Prune: func(s store, ctx ctxt, finished []*stabilize.Header) (int, error) {
			if err := persistence.CheckPrune(finished); err != nil {
				return 0, err
			}
			more := 0
			for _, h := range finished {
				if f(s, ctx, h) && s.Delete(ctx, h.ID) == nil {
					more++
				}
			}
			n, err := s.Prune(ctx, finished...)
			return n + more, err
		}}
	}
}

func asked(f func(q *persistence.Query)) func() *hooks {
	return func() *hooks {
		return &hooks{Query: func(s store, ctx ctxt, q persistence.Query) (persistence.Page, error) {
			f(&q)
			return s.Query(ctx, q)
		}}
	}
}

func defects() []defect {
	return slices.Concat(defectsOfWorkflows(), defectsOfMessages())
}

func defectsOfWorkflows() []defect {
	return []defect{
		{does: "forgets the events of a commit that discards messages", hooks: edited(func(c *persistence.Commit) {
			if len(c.Discard) > 0 {
				c.Events = nil
			}
		})},
		{does: "stores the messages of a stale commit", hooks: failing(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrConflict) {
				_ = s.Push(ctx, unleased(c.Messages)...)
			}
			return err
		})},
		{does: "acknowledges for a commit that got no place", hooks: failing(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrNoPlace) {
				_ = s.Ack(ctx, c.Handled...)
			}
			return err
		})},
		{does: "applies a commit whose lease was lost", hooks: failing(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrLeaseLost) {
				free := *c
				free.Handled = nil
				return one(s, ctx, &free)
			}
			return err
		})},
		{does: "lets in more than the limit", hooks: failing(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrNoPlace) {
				free := *c
				more := *c.Admission
				more.Limit, free.Admission = 100, &more
				return one(s, ctx, &free)
			}
			return err
		})},
		{does: "gives a conflict two classes", hooks: failing(func(_ store, _ ctxt, _ *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrConflict) {
				return errors.Join(err, stabilize.ErrTransient)
			}
			return err
		})},
		{does: "lets the driver's error through", hooks: failing(func(_ store, _ ctxt, _ *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrExists) {
				return errors.New("UNIQUE constraint failed")
			}
			return err
		})},
		{does: "tells the wrong version in a conflict", hooks: failing(func(_ store, _ ctxt, c *persistence.Commit, err error) error {
			var conflict *stabilize.ConflictError
			if errors.As(err, &conflict) {
				return &stabilize.ConflictError{WorkflowID: c.WorkflowID, Expected: c.Expect, Actual: c.Expect}
			}
			return err
		})},
		{does: "forgets the time a stage started", hooks: edited(func(c *persistence.Commit) {
			for _, st := range c.Stages {
				st.StartedAt = time.Time{}
			}
		})},
		{does: "forgets the outputs of a task that is updated", hooks: edited(func(c *persistence.Commit) {
			for _, st := range c.Stages {
				for _, task := range st.Tasks {
					if c.Expect > 1 {
						task.Failure = nil
					}
				}
			}
		})},
		{does: "drops a key of the header's context", hooks: loaded(func(w *stabilize.Workflow) { delete(w.Context, "int") })},
		{does: "keeps the second removed stage", hooks: edited(func(c *persistence.Commit) {
			if len(c.Stages) > 1 && len(c.Removed) > 0 {
				c.Removed = nil
			}
		})},
		{does: "orders stages by id", hooks: loaded(func(w *stabilize.Workflow) {
			slices.SortFunc(w.Stages, func(a, b *stabilize.Stage) int { return strings.Compare(a.ID, b.ID) })
		})},
		{does: "gives every stage the workflow's version", hooks: loaded(func(w *stabilize.Workflow) {
			for _, s := range w.Stages {
				s.Version = w.Version
			}
		})},
		{does: "changes the caller's header", hooks: func() *hooks {
			return &hooks{CommitBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
				errs := s.CommitBatch(ctx, cs)
				for i, c := range cs {
					if errs[i] == nil && c.Header != nil {
						c.Header.Version++
					}
				}
				return errs
			}}
		}},
		{does: "raises the version by two for a commit without state", hooks: func() *hooks {
			return &hooks{CommitBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
				errs := s.CommitBatch(ctx, cs)
				for i, c := range cs {
					if errs[i] == nil && c.Expect > 0 && c.Header == nil && len(c.Stages) == 0 {
						_ = one(s, ctx, &persistence.Commit{WorkflowID: c.WorkflowID, Expect: c.Expect + 1})
					}
				}
				return errs
			}}
		}},
		{does: "stops a batch at the first refused commit", hooks: func() *hooks {
			return &hooks{CommitBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
				errs := make([]error, len(cs))
				for i, c := range cs {
					if errs[i] = one(s, ctx, c); errs[i] != nil {
						for j := i + 1; j < len(cs); j++ {
							errs[j] = errs[i]
						}
						break
					}
				}
				return errs
			}}
		}},
		{does: "keeps admission keys in lower case", hooks: edited(func(c *persistence.Commit) {
			if c.Admission != nil {
				low := *c.Admission
				low.Key = strings.ToLower(low.Key)
				c.Admission = &low
			}
		})},
		{does: "does not give back a place", hooks: edited(func(c *persistence.Commit) {
			if c.Admission != nil && c.Admission.Op == persistence.LeavePlace {
				c.Admission = nil
			}
		})},
		{does: "lists who waits backwards", hooks: func() *hooks {
			return &hooks{Admissions: func(s store, ctx ctxt, key string) (persistence.Admissions, error) {
				a, err := s.Admissions(ctx, key)
				slices.Reverse(a.Waiting)
				return a, err
			}}
		}},
		{does: "leaves the messages of a deleted workflow", hooks: func() *hooks {
			return &hooks{Delete: func(s store, ctx ctxt, ids []string) error {
				var left []queue.Outgoing
				for _, id := range ids {
					stored, _ := s.Pending(ctx, id)
					for _, m := range stored {
						left = append(left, queue.Outgoing{ID: m.ID, Message: m.Message, At: m.Due})
					}
				}
				if err := s.Delete(ctx, ids...); err != nil {
					return err
				}
				_ = s.Push(ctx, left...)
				return nil
			}}
		}},
		{does: "deletes the first of several only", hooks: func() *hooks {
			return &hooks{Delete: func(s store, ctx ctxt, ids []string) error { return s.Delete(ctx, ids[:1]...) }}
		}},
		{does: "prunes what is not as it was read", hooks: pruned(func(s store, ctx ctxt, h *stabilize.Header) bool {
			now, err := s.Summary(ctx, h.ID)
			return err == nil && (now.Version != h.Version || !now.CreatedAt.Equal(h.CreatedAt))
		})},
		{does: "prunes what has a message", hooks: pruned(func(s store, ctx ctxt, h *stabilize.Header) bool {
			pending, err := s.Pending(ctx, h.ID)
			return err == nil && len(pending) > 0
		})},
		{does: "counts what it was asked to prune", hooks: func() *hooks {
			return &hooks{Prune: func(s store, ctx ctxt, finished []*stabilize.Header) (int, error) {
				_, err := s.Prune(ctx, finished...)
				return len(finished), err
			}}
		}},
		{does: "compares applications without trailing space", hooks: asked(func(q *persistence.Query) { q.Application = strings.TrimRight(q.Application, " ") })},
		{does: "looks at the first status alone", hooks: asked(func(q *persistence.Query) { q.Statuses = q.Statuses[:min(1, len(q.Statuses))] })},
		{does: "takes a start bound as exclusive", hooks: asked(func(q *persistence.Query) {
			if !q.StartedFrom.IsZero() && (q.StartedBefore.IsZero() || q.StartedBefore.After(q.StartedFrom)) {
				q.StartedFrom = q.StartedFrom.Add(stabilize.Precision)
			}
		})},
		{does: "skips one between pages", hooks: func() *hooks {
			return &hooks{Query: func(s store, ctx ctxt, q persistence.Query) (persistence.Page, error) {
				p, err := s.Query(ctx, q)
				if q.Token != "" && len(p.Workflows) > 0 {
					p.Workflows = p.Workflows[1:]
				}
				return p, err
			}}
		}},
		{does: "starts anew with another query's token", hooks: func() *hooks {
			return &hooks{Query: func(s store, ctx ctxt, q persistence.Query) (persistence.Page, error) {
				p, err := s.Query(ctx, q)
				if q.Token != "" && errors.Is(err, stabilize.ErrInvalid) {
					q.Token = ""
					return s.Query(ctx, q)
				}
				return p, err
			}}
		}},
		{does: "forgets that a stage was removed when it refreshes", hooks: func() *hooks {
			return &hooks{Refresh: func(s store, ctx ctxt, id string, since int64) (*persistence.Delta, error) {
				d, err := s.(persistence.Refresher).Refresh(ctx, id, since)
				if d != nil {
					d.Whole = false
				}
				return d, err
			}}
		}},
		{does: "takes one that waits for a place as ended", hooks: func() *hooks {
			return &hooks{Unfinished: func(s store, ctx ctxt, ids []string) ([]string, error) {
				found, err := s.(persistence.Watcher).Unfinished(ctx, ids...)
				return slices.DeleteFunc(found, func(id string) bool {
					h, err := s.Summary(ctx, id)
					return err == nil && h.Status == stabilize.Buffered
				}), err
			}}
		}},
		{does: "lists the limit of the youngest who waits", hooks: func() *hooks {
			return &hooks{WaitingKeys: func(s store, ctx ctxt) ([]persistence.WaitingKey, error) {
				keys, err := s.(persistence.WaitingKeys).WaitingKeys(ctx)
				for i := range keys {
					keys[i].Limit++
				}
				return keys, err
			}}
		}},
	}
}

func unleased(ms []queue.Outgoing) []queue.Outgoing {
	ms = slices.Clone(ms)
	for i := range ms {
		ms[i].Lease = nil
	}
	return ms
}
