package storetest

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/mutant"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Stores that are wrong only when their database is hostile, or when they are
// opened in some way.

func mutantsOfCrashes() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "CR-01", Does: "takes a lost reply for a refusal", Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrUnknownOutcome) && c.Admission != nil {
				return stabilize.Transient(err)
			}
			return err
		})},
		{Clause: "CR-01", Does: "stores the messages in a step of their own", Hooks: commits(func(s store, ctx ctxt, c *persistence.Commit) error {
			if c.Admission == nil || len(c.Messages) != 1 || c.Messages[0].ID != "out-"+c.WorkflowID || ctx.Done() == nil {
				return one(s, ctx, c)
			}
			rest := copyCommit(c)
			rest.Messages = nil
			if err := one(s, ctx, rest); err != nil {
				return err
			}
			return s.Push(ctx, c.Messages...)
		}), Also: []string{"CX-04"}},
		{Clause: "CR-04", Does: "acknowledges what a commit handled when the lease lapses", Also: []string{"CR-01", "CX-04"}, Hooks: edited(func(c *persistence.Commit) {
			if len(c.Handled) == 1 && c.Handled[0].ID == "in-"+c.WorkflowID {
				c.Handled = nil
			}
		})},
		{Clause: "CR-07", Does: "takes the end of the connection for the end of the list", Hooks: func() *hooks {
			return &hooks{Query: func(s store, ctx ctxt, q persistence.Query) (persistence.Page, error) {
				p, err := s.Query(ctx, q)
				if errors.Is(err, stabilize.ErrTransient) {
					return persistence.Page{}, nil
				}
				return p, err
			}}
		}},
		{Clause: "CR-08", Does: "keeps a broken connection", Hooks: func() *hooks {
			var calls atomic.Int32 // by the eighth the database has restarted, whether a call was on its way or not
			return commits(func(s store, ctx ctxt, c *persistence.Commit) error {
				if c.Header != nil && strings.HasPrefix(c.Header.Reason, "restarted ") && calls.Add(1) > 8 {
					return stabilize.Transient(errors.New("bad connection"))
				}
				return one(s, ctx, c)
			})()
		}},
		{Clause: "CX-02", Does: "does not heed a deadline", Hooks: func() *hooks {
			return &hooks{Load: func(s store, ctx ctxt, id string) (*stabilize.Workflow, error) {
				if _, ok := ctx.Deadline(); ok {
					ctx = context.WithoutCancel(ctx)
				}
				return s.Load(ctx, id)
			}}
		}},
		{Clause: "CX-04", Does: "says that it was canceled though it committed", Hooks: commits(func(s store, ctx ctxt, c *persistence.Commit) error {
			err := one(s, ctx, c)
			if err == nil && ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		})},
	}
}

func mutantsOfHandles() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "IS-06", Does: "takes a connection while it holds the only one", Hooks: func() *hooks {
			return &hooks{Open: mutant.Openers{Narrow: func(good conformance.NarrowOpener, ctx ctxt) (store, error) {
				s, err := good.OpenNarrow(ctx)
				pool := make(chan struct{}, 1)
				take := func(ctx ctxt) error {
					select {
					case pool <- struct{}{}:
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				}
				return &mutant.Store{Good: s, Hooks: &hooks{Query: func(s store, ctx ctxt, q persistence.Query) (persistence.Page, error) {
					for range 2 {
						if err := take(ctx); err != nil {
							return persistence.Page{}, err
						}
						defer func() { <-pool }()
					}
					return s.Query(ctx, q)
				}}}, err
			}}}
		}},
		{Clause: "IS-07", Does: "has one lock for readers and writers", Hooks: func() *hooks {
			var all sync.RWMutex
			return &hooks{
				Load: func(s store, ctx ctxt, id string) (*stabilize.Workflow, error) {
					all.RLock()
					defer all.RUnlock()
					return s.Load(ctx, id)
				},
				CommitBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
					all.Lock()
					defer all.Unlock()
					return s.CommitBatch(ctx, cs)
				},
			}
		}},
		{Clause: "IS-08", Does: "has the same tables whatever the prefix", Hooks: func() *hooks {
			return &hooks{Open: mutant.Openers{Tenant: func(good conformance.TenantOpener, ctx ctxt, name string) (store, error) {
				if strings.HasPrefix(name, "two") {
					name = "one_"
				}
				return good.OpenTenant(ctx, name)
			}}}
		}},
		{Clause: "BI-07", Does: "cuts what is hostile out of a prefix", Hooks: func() *hooks {
			return &hooks{Open: mutant.Openers{Tenant: func(good conformance.TenantOpener, ctx ctxt, name string) (store, error) {
				return good.OpenTenant(ctx, regexp.MustCompile(`[^a-z_]`).ReplaceAllString(name, "")+"_")
			}}}
		}},
		{Clause: "CB-07", Does: "closes what it was given", Hooks: func() *hooks { return given(true) }},
		{Clause: "CB-07", Does: "leaves open what it opened", Hooks: func() *hooks { return given(false) }},
	}
}

// given opens handles as if none, or all, were given their database handles.
func given(wrong bool) *hooks {
	return &hooks{Open: mutant.Openers{Given: func(good conformance.GivenOpener, ctx ctxt, given bool) (store, func(ctxt) bool, error) {
		if given == wrong {
			given = !given
		}
		return good.OpenGiven(ctx, given)
	}}}
}

// brokenDatabase replaces how a database is opened.
type brokenDatabase struct {
	conformance.Database

	open func(d conformance.Database, ctx ctxt, migrate bool) (store, error)
}

func (b brokenDatabase) Open(ctx ctxt, migrate bool) (store, error) {
	return b.open(b.Database, ctx, migrate)
}

func opened(open func(d conformance.Database, ctx ctxt, migrate bool) (store, error)) func() *hooks {
	return func() *hooks {
		return &hooks{Open: mutant.Openers{Database: func(d conformance.Database) conformance.Database { return brokenDatabase{d, open} }}}
	}
}

// note adds something to the schema of a broken store's database.
func note(d conformance.Database, text string) {
	u := d.(*database)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.notes = append(u.notes, text)
}

func mutantsOfMigrations() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "MG-01", Does: "applies a migration again to tables that hold something", Hooks: opened(func(d conformance.Database, ctx ctxt, migrate bool) (store, error) {
			s, err := d.Open(ctx, migrate)
			if err == nil && migrate && at(s, ctx, "w") > 0 {
				note(d, "again")
			}
			return s, err
		})},
		{Clause: "MG-02", Does: "lets the fifth migrator apply everything once more", Hooks: func() *hooks {
			var opens locked[conformance.Database, int]
			return opened(func(d conformance.Database, ctx ctxt, migrate bool) (store, error) {
				if opens.change(d, func(n int) int { return n + 1 }) == 5 {
					note(d, "again")
				}
				return d.Open(ctx, migrate)
			})()
		}},
		{Clause: "MG-04", Does: "records a migration before it is done", Hooks: opened(func(d conformance.Database, ctx ctxt, migrate bool) (store, error) {
			s, err := d.Open(ctx, migrate)
			if u := d.(*database); err != nil && migrate && !errors.Is(err, stabilize.ErrSchemaTooNew) {
				u.mu.Lock()
				defer u.mu.Unlock()
				u.applied = steps()
			}
			return s, err
		})},
		{Clause: "MG-06", Does: "takes a newer database for its own unless it is to migrate", Hooks: opened(func(d conformance.Database, ctx ctxt, migrate bool) (store, error) {
			s, err := d.Open(ctx, migrate)
			if errors.Is(err, stabilize.ErrSchemaTooNew) && !migrate {
				return d.(*database).handle(), nil
			}
			return s, err
		})},
		{Clause: "MG-07", Does: "lets the driver's error about a missing table through", Also: []string{"MG-04"}, Hooks: opened(func(d conformance.Database, ctx ctxt, migrate bool) (store, error) {
			s, err := d.Open(ctx, migrate)
			return &mutant.Store{Good: s, Hooks: &hooks{Delete: func(s store, ctx ctxt, ids []string) error {
				err := s.Delete(ctx, ids...)
				if errors.Is(err, stabilize.ErrSchemaMissing) {
					return errors.New("no such table: workflows")
				}
				return err
			}}}, err
		})},
		{Clause: "MG-08", Does: "migrates unasked", Also: []string{"MG-04", "MG-07"}, Hooks: opened(func(d conformance.Database, ctx ctxt, _ bool) (store, error) { return d.Open(ctx, true) })},
	}
}
