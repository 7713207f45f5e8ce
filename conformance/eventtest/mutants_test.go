package eventtest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/mutant"
	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

type (
	hooks = mutant.Hooks
	ctxt  = context.Context
	store = persistence.Store
)

// broken is a log with methods replaced; nil leaves one as it is.
type broken struct {
	events.Log
	read  func(l events.Log, ctx ctxt, q events.Query) (events.Page, error)
	count func(l events.Log, ctx ctxt, q events.Query) (int64, error)
	get   func(l events.Log, ctx ctxt, id string) (*events.Event, error)
	last  func(l events.Log, ctx ctxt) (events.Position, error)
}

func (b broken) Read(ctx ctxt, q events.Query) (events.Page, error) {
	if b.read != nil {
		return b.read(b.Log, ctx, q)
	}
	return b.Log.Read(ctx, q)
}

func (b broken) Count(ctx ctxt, q events.Query) (int64, error) {
	if b.count != nil {
		return b.count(b.Log, ctx, q)
	}
	return b.Log.Count(ctx, q)
}

func (b broken) Get(ctx ctxt, id string) (*events.Event, error) {
	if b.get != nil {
		return b.get(b.Log, ctx, id)
	}
	return b.Log.Get(ctx, id)
}

func (b broken) Last(ctx ctxt) (events.Position, error) {
	if b.last != nil {
		return b.last(b.Log, ctx)
	}
	return b.Log.Last(ctx)
}

// logs breaks the log of every handle.
func logs(b broken) func() *hooks {
	return func() *hooks {
		return &hooks{EventLog: func(s store) events.Log {
			b := b
			b.Log = persistence.EventLogOf(s)
			return b
		}}
	}
}

// seen changes each event that is read or got.
func seen(f func(e *events.Event)) broken {
	return broken{
		read: func(l events.Log, ctx ctxt, q events.Query) (events.Page, error) {
			page, err := l.Read(ctx, q)
			for i := range page.Events {
				f(&page.Events[i])
			}
			return page, err
		},
		get: func(l events.Log, ctx ctxt, id string) (*events.Event, error) {
			e, err := l.Get(ctx, id)
			if err == nil {
				f(e)
			}
			return e, err
		},
	}
}

// asked changes each query, of pages and counts.
func asked(f func(q *events.Query)) broken {
	return broken{
		read:  func(l events.Log, ctx ctxt, q events.Query) (events.Page, error) { f(&q); return l.Read(ctx, q) },
		count: func(l events.Log, ctx ctxt, q events.Query) (int64, error) { f(&q); return l.Count(ctx, q) },
	}
}

// commits replaces the handling of each commit of a batch on its own.
func commits(f func(s store, ctx ctxt, c *persistence.Commit) error) *hooks {
	return &hooks{CommitBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
		errs := make([]error, len(cs))
		for i, c := range cs {
			errs[i] = f(s, ctx, c)
		}
		return errs
	}}
}

func one(s store, ctx ctxt, c *persistence.Commit) error {
	return s.CommitBatch(ctx, []*persistence.Commit{c})[0]
}

func mutations() []mutant.Mutation {
	return slices.Concat(mutantsOfStoring(), mutantsOfReading(), mutantsOfCrashes())
}

// ghosts are events that were stored though they should not, or stay though they should
// not, put before those that are there.
type ghosts struct {
	mu   sync.Mutex
	list []events.Event
}

func (g *ghosts) add(evs []events.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range evs {
		e := evs[i].Clone()
		e.Position = events.MakePosition(0) + events.Position(e.ID) // before all others, and its own
		g.list = append(g.list, e)
	}
}

// haunt makes a log's first page begin with them.
func (g *ghosts) haunt(h *hooks) *hooks {
	h.EventLog = func(s store) events.Log {
		return broken{Log: persistence.EventLogOf(s), read: func(l events.Log, ctx ctxt, q events.Query) (events.Page, error) {
			page, err := l.Read(ctx, q)
			g.mu.Lock()
			defer g.mu.Unlock()
			if err == nil && q.After == "" && !q.Descending {
				var begin []events.Event
				for i := range g.list {
					if q.Selects(&g.list[i]) {
						begin = append(begin, g.list[i])
					}
				}
				page.Events = append(begin, page.Events...)
			}
			return page, err
		}}
	}
	return h
}

func mutantsOfStoring() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "EV-01", Does: "forgets who asked for what happened", Hooks: logs(seen(func(e *events.Event) { e.By = "" }))},
		{Clause: "EV-01", Does: "keeps whole seconds of the time", Hooks: func() *hooks {
			return commits(func(s store, ctx ctxt, c *persistence.Commit) error {
				c2 := *c
				c2.Events = slices.Clone(c.Events)
				for i := range c2.Events {
					if !c2.Events[i].At.IsZero() {
						c2.Events[i].At = c2.Events[i].At.Truncate(1e9)
					}
				}
				return one(s, ctx, &c2)
			})
		}},
		{Clause: "EV-02", Does: "keeps the events that stand before a bad one", Hooks: func() *hooks {
			var g ghosts
			return g.haunt(commits(func(s store, ctx ctxt, c *persistence.Commit) error {
				err := one(s, ctx, c)
				if errors.Is(err, stabilize.ErrInvalid) && c.WorkflowID != "" && len(c.Events) > 1 && c.Validate() != nil {
					g.add(c.Events[:1])
				}
				return err
			}))
		}},
		{Clause: "EV-02", Does: "leaves out a bad event and applies the rest", Hooks: func() *hooks {
			return commits(func(s store, ctx ctxt, c *persistence.Commit) error {
				err := one(s, ctx, c)
				if len(c.Events) == 3 && c.Events[1].At.IsZero() {
					c2 := *c
					c2.Events = c.Events[:1]
					err = one(s, ctx, &c2)
				}
				return err
			})
		}},
		{Clause: "EV-03", Does: "orders events of one commit by their ids", Hooks: logs(broken{
			read: func(l events.Log, ctx ctxt, q events.Query) (events.Page, error) {
				page, err := l.Read(ctx, q)
				for from := 0; from < len(page.Events); {
					to := from
					for to < len(page.Events) && page.Events[to].WorkflowID == page.Events[from].WorkflowID && page.Events[to].Version == page.Events[from].Version {
						to++
					}
					if to-from > 500 {
						slices.SortFunc(page.Events[from:to], func(a, b events.Event) int { return strings.Compare(a.ID, b.ID) })
					}
					from = to
				}
				return page, err
			},
		})},
		{Clause: "EV-04", Does: "lets the events of the second commit take the place of the first's", Hooks: func() *hooks {
			var mu sync.Mutex
			changed := map[string]string{}
			h := commits(func(s store, ctx ctxt, c *persistence.Commit) error {
				err := one(s, ctx, c)
				if errors.Is(err, stabilize.ErrConflict) {
					mu.Lock()
					defer mu.Unlock()
					for _, e := range c.Events {
						changed[e.ID] = e.Reason
					}
				}
				return err
			})
			h.EventLog = func(s store) events.Log {
				b := seen(func(e *events.Event) {
					mu.Lock()
					defer mu.Unlock()
					if reason, ok := changed[e.ID]; ok {
						e.Reason = reason
					}
				})
				b.Log = persistence.EventLogOf(s)
				return b
			}
			return h
		}},
		{Clause: "EV-07", Does: "waits for a number that was drawn and never used", Also: []string{"EV-02", "EV-04", "EV-13", "EV-24"}, Hooks: func() *hooks {
			var mu sync.Mutex
			var gap events.Position
			h := commits(func(s store, ctx ctxt, c *persistence.Commit) error {
				before, _ := persistence.EventLogOf(s).Last(ctx)
				err := one(s, ctx, c)
				if err != nil && before != "" {
					mu.Lock()
					defer mu.Unlock()
					if gap == "" {
						gap = before
					}
				}
				return err
			})
			h.EventLog = func(s store) events.Log {
				return broken{Log: persistence.EventLogOf(s), read: func(l events.Log, ctx ctxt, q events.Query) (events.Page, error) {
					page, err := l.Read(ctx, q)
					mu.Lock()
					defer mu.Unlock()
					page.Events = slices.DeleteFunc(page.Events, func(e events.Event) bool { return gap != "" && e.Position > gap })
					return page, err
				}}
			}
			return h
		}},
		{Clause: "EV-13", Does: "keeps the events of a commit whose lease was lost", Hooks: func() *hooks {
			var g ghosts
			return g.haunt(commits(func(s store, ctx ctxt, c *persistence.Commit) error {
				err := one(s, ctx, c)
				if errors.Is(err, stabilize.ErrLeaseLost) {
					g.add(c.Events)
				}
				return err
			}))
		}},
		{Clause: "EV-13", Does: "drops the events of what is committed beside a commit that gets no place", Hooks: func() *hooks {
			return &hooks{CommitBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
				if len(cs) == 2 && cs[0].Admission != nil {
					c2 := *cs[1]
					c2.Events = nil
					return s.CommitBatch(ctx, []*persistence.Commit{cs[0], &c2})
				}
				return s.CommitBatch(ctx, cs)
			}}
		}},
		{Clause: "EV-14", Does: "makes an empty event of what it cannot decode", Hooks: logs(broken{
			get: func(l events.Log, ctx ctxt, id string) (*events.Event, error) {
				e, err := l.Get(ctx, id)
				if errors.Is(err, stabilize.ErrCorrupt) {
					return &events.Event{ID: id}, nil
				}
				return e, err
			},
		})},
		{Clause: "EV-14", Does: "stops for ever at what it cannot decode", Hooks: logs(broken{
			read: func(l events.Log, ctx ctxt, q events.Query) (events.Page, error) {
				page, err := l.Read(ctx, q)
				if c, ok := errors.AsType[*stabilize.CorruptError](err); ok {
					all, _ := l.Read(ctx, events.Query{Limit: 2})
					c.ID = string(all.Next)
				}
				return page, err
			},
		})},
		{Clause: "EV-18", Does: "drops fields that it does not know", Also: []string{"EV-21"}, Hooks: logs(seen(func(e *events.Event) { e.Unknown = nil }))},
		{Clause: "EV-18", Does: "reads every event as one of its own schema", Hooks: logs(seen(func(e *events.Event) {
			if e.Schema > 50 {
				e.Schema = events.SchemaVersion
			}
		}))},
		{Clause: "EV-20", Does: "leaves the events of what it prunes", Hooks: func() *hooks {
			var g ghosts
			return g.haunt(&hooks{Prune: func(s store, ctx ctxt, finished []*stabilize.Header) (int, error) {
				page, err := persistence.EventLogOf(s).Read(ctx, events.Query{WorkflowID: finished[0].ID})
				if err != nil {
					return 0, err
				}
				n, err := s.Prune(ctx, finished...)
				if n > 0 {
					g.add(page.Events)
				}
				return n, err
			}})
		}},
		{Clause: "EV-20", Does: "gives a position anew when its event is deleted", Hooks: func() *hooks {
			// As a table whose next number is one more than the greatest there is.
			return &hooks{EventLog: func(s store) events.Log {
				return broken{Log: persistence.EventLogOf(s), read: func(l events.Log, ctx ctxt, q events.Query) (events.Page, error) {
					n, err := l.Count(ctx, events.Query{})
					if err != nil {
						return events.Page{}, err
					}
					if q.After != "" && n < 100 {
						q.After += "0"
						if at, err := q.After[:len(q.After)-1].Numbers(1); err == nil && at[0] > 100 {
							return events.Page{Next: q.After}, nil
						}
						q.After = q.After[:len(q.After)-1]
					}
					return l.Read(ctx, q)
				}}
			}}
		}},
		{Clause: "EV-21", Does: "hands out what it keeps", Hooks: func() *hooks {
			var mu sync.Mutex
			kept := map[string]events.Event{}
			return logs(seen(func(e *events.Event) {
				mu.Lock()
				defer mu.Unlock()
				if k, ok := kept[e.ID]; ok {
					*e = k
					return
				}
				kept[e.ID] = *e // with what it points to
			}))()
		}},
		{Clause: "EV-21", Does: "keeps what it was given", Hooks: func() *hooks {
			var mu sync.Mutex
			given := map[string]map[string]json.RawMessage{}
			h := commits(func(s store, ctx ctxt, c *persistence.Commit) error {
				mu.Lock()
				for i := range c.Events {
					given[c.Events[i].ID] = c.Events[i].Unknown
				}
				mu.Unlock()
				return one(s, ctx, c)
			})
			h.EventLog = func(s store) events.Log {
				b := seen(func(e *events.Event) {
					mu.Lock()
					defer mu.Unlock()
					e.Unknown = given[e.ID]
				})
				b.Log = persistence.EventLogOf(s)
				return b
			}
			return h
		}},
	}
}

func mutantsOfReading() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "EV-06", Does: "shows a commit a while after those that came behind it", Hooks: lateArrivals},
		{Clause: "EV-08", Does: "begins with the event at the position", Also: []string{"EV-09", "EV-10", "EV-14", "EV-25"}, May: []string{"EV-06"}, Hooks: logs(broken{
			read: func(l events.Log, ctx ctxt, q events.Query) (events.Page, error) {
				page, err := l.Read(ctx, q)
				if err == nil && q.After != "" && !q.Descending && len(q.Types) == 0 {
					all, err := l.Read(ctx, events.Query{Limit: 100_000})
					if err != nil {
						return page, err
					}
					for _, e := range all.Events {
						if e.Position == q.After && q.Selects(&events.Event{WorkflowID: e.WorkflowID, Position: e.Position + "0"}) {
							page.Events = append([]events.Event{e}, page.Events...)
						}
					}
				}
				return page, err
			},
		})},
		{Clause: "EV-08", Does: "reads more than it was asked for", Hooks: logs(broken{
			read: func(l events.Log, ctx ctxt, q events.Query) (events.Page, error) {
				if q.Limit > 2 && q.Limit < 10 {
					q.Limit++
				}
				return l.Read(ctx, q)
			},
		})},
		{Clause: "EV-08", Does: "does not pass what is not selected", Hooks: logs(broken{
			read: func(l events.Log, ctx ctxt, q events.Query) (events.Page, error) {
				page, err := l.Read(ctx, q)
				if len(page.Events) == 0 {
					page.Next = q.After
				}
				return page, err
			},
		})},
		{Clause: "EV-09", Does: "gives the position that was the last when it was asked before", Hooks: func() *hooks {
			var mu sync.Mutex
			var was events.Position
			asked := 0
			return logs(broken{last: func(l events.Log, ctx ctxt) (events.Position, error) {
				mu.Lock()
				defer mu.Unlock()
				p, err := l.Last(ctx)
				before := was
				was = p
				if asked++; asked > 2 {
					return before, err
				}
				return p, err
			}})()
		}},
		{Clause: "EV-10", Does: "selects what happened at the moment before which it is asked", Also: []string{"EV-11"}, Hooks: logs(asked(func(q *events.Query) {
			if !q.AtBefore.IsZero() && q.AtFrom.IsZero() {
				q.AtBefore = q.AtBefore.Add(1000)
			}
		}))},
		{Clause: "EV-10", Does: "ignores the task when the stage is given", Also: []string{"EV-11"}, Hooks: logs(asked(func(q *events.Query) {
			if q.StageID != "" {
				q.TaskID = ""
			}
		}))},
		{Clause: "EV-10", Does: "knows but the first type", Also: []string{"EV-11"}, Hooks: logs(asked(func(q *events.Query) {
			if len(q.Types) > 2 {
				q.Types = q.Types[:1]
			}
		}))},
		{Clause: "EV-11", Does: "ignores the time when it counts", Hooks: logs(broken{
			count: func(l events.Log, ctx ctxt, q events.Query) (int64, error) {
				if q.AtFrom.Before(q.AtBefore) {
					q.AtFrom = q.AtBefore.AddDate(-1, 0, 0)
				}
				return l.Count(ctx, q)
			},
		})},
		{Clause: "EV-11", Does: "counts no more than the limit", Hooks: logs(broken{
			count: func(l events.Log, ctx ctxt, q events.Query) (int64, error) {
				n, err := l.Count(ctx, q)
				if q.Limit > 0 {
					n = min(n, int64(q.Limit))
				}
				return n, err
			},
		})},
		{Clause: "EV-12", Does: "never finds anything", Also: []string{"EV-14", "EV-18", "EV-21", "EV-23"}, Hooks: logs(broken{
			get: func(_ events.Log, _ ctxt, id string) (*events.Event, error) {
				return nil, &stabilize.NotFoundError{Kind: "event", ID: id}
			},
		})},
		{Clause: "EV-12", Does: "takes one workflow of an id for another", Hooks: logs(broken{
			get: func(l events.Log, ctx ctxt, id string) (*events.Event, error) {
				e, err := l.Get(ctx, id)
				of, bad := events.ParseID(id)
				if !errors.Is(err, stabilize.ErrNotFound) || bad != nil {
					return e, err
				}
				page, err := l.Read(ctx, events.Query{WorkflowID: of.WorkflowID, Limit: 1})
				if err != nil || len(page.Events) == 0 {
					return nil, &stabilize.NotFoundError{Kind: "event", ID: id}
				}
				first, _ := events.ParseID(page.Events[0].ID)
				of.Birth = first.Birth
				if e, err = l.Get(ctx, of.String()); err != nil {
					return nil, &stabilize.NotFoundError{Kind: "event", ID: id}
				}
				return e, nil
			},
		})},
		{Clause: "EV-22", Does: "takes a negative limit for none", Hooks: logs(asked(func(q *events.Query) { q.Limit = max(q.Limit, 0) }))},
		{Clause: "EV-22", Does: "begins anew behind a position that it does not know", Hooks: logs(asked(func(q *events.Query) {
			if q.After == "x" {
				q.After = ""
			}
		}))},
		{Clause: "EV-23", Does: "goes on when the context has ended", Hooks: logs(broken{
			last: func(l events.Log, ctx ctxt) (events.Position, error) { return l.Last(context.WithoutCancel(ctx)) },
		})},
		{Clause: "EV-23", Does: "counts when it is closed", Hooks: logs(broken{
			count: func(l events.Log, ctx ctxt, q events.Query) (int64, error) {
				n, err := l.Count(ctx, q)
				if errors.Is(err, stabilize.ErrClosed) {
					return 0, nil
				}
				return n, err
			},
		})},
	}
}

// lateArrivals numbers events when a commit begins, and shows them when it is done: what
// begins first may be shown last, as with a sequence of the database. Here each third
// read does not see the newest event but one.
func lateArrivals() *hooks {
	var mu sync.Mutex
	reads := 0
	return logs(broken{read: func(l events.Log, ctx ctxt, q events.Query) (events.Page, error) {
		page, err := l.Read(ctx, q)
		mu.Lock()
		defer mu.Unlock()
		if n := len(page.Events); n > 1 && strings.Contains(page.Events[n-2].WorkflowID, "-") && q.Limit == 0 {
			if reads++; reads%3 == 0 {
				page.Events = slices.Delete(page.Events, n-2, n-1)
			}
		}
		return page, err
	}})()
}

func mutantsOfCrashes() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "EV-24", Does: "keeps the events of a commit that did not arrive", Hooks: func() *hooks {
			var g ghosts
			return g.haunt(commits(func(s store, ctx ctxt, c *persistence.Commit) error {
				err := one(s, ctx, c)
				if errors.Is(err, stabilize.ErrTransient) {
					g.add(c.Events)
				}
				return err
			}))
		}},
		{Clause: "EV-25", Does: "takes the end of the connection for the end of the log", Hooks: logs(broken{
			read: func(l events.Log, ctx ctxt, q events.Query) (events.Page, error) {
				page, err := l.Read(ctx, q)
				if errors.Is(err, stabilize.ErrTransient) {
					last, _ := l.Last(ctx)
					return events.Page{Next: last}, nil
				}
				return page, err
			},
		})},
	}
}
