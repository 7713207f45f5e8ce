package storetest

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/mutant"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// The words that mutations are written in.

type (
	hooks = mutant.Hooks
	ctxt  = context.Context
	store = persistence.Store
)

// one commits one commit.
func one(s store, ctx ctxt, c *persistence.Commit) error {
	return s.CommitBatch(ctx, []*persistence.Commit{c})[0]
}

// commits replaces the handling of each commit of a batch on its own.
func commits(f func(s store, ctx ctxt, c *persistence.Commit) error) func() *hooks {
	return func() *hooks {
		return &hooks{CommitBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
			if len(cs) == 0 {
				return nil
			}
			errs := make([]error, len(cs))
			for i, c := range cs {
				if c == nil {
					errs[i] = one(s, ctx, c)
				} else {
					errs[i] = f(s, ctx, c)
				}
			}
			return errs
		}}
	}
}

// edited changes a copy of each commit before it is applied.
func edited(f func(c *persistence.Commit)) func() *hooks {
	return commits(func(s store, ctx ctxt, c *persistence.Commit) error {
		if c.Validate() != nil && len(c.Stages) > 0 && c.Stages[0] == nil {
			return one(s, ctx, c)
		}
		for _, st := range c.Stages {
			for _, t := range st.Tasks {
				if t == nil {
					return one(s, ctx, c)
				}
			}
		}
		copied := copyCommit(c)
		f(copied)
		return one(s, ctx, copied)
	})
}

// failed has a say in what becomes of each commit that was refused.
func failed(f func(s store, ctx ctxt, c *persistence.Commit, err error) error) func() *hooks {
	return commits(func(s store, ctx ctxt, c *persistence.Commit) error {
		if err := one(s, ctx, c); err != nil {
			return f(s, ctx, c, err)
		}
		return nil
	})
}

// loaded changes each loaded workflow.
func loaded(f func(w *stabilize.Workflow)) func() *hooks {
	return func() *hooks {
		return &hooks{Load: func(s store, ctx ctxt, id string) (*stabilize.Workflow, error) {
			w, err := s.Load(ctx, id)
			if err != nil {
				return nil, err
			}
			f(w)
			changed := w.Clone() // without the index of what it was
			changed.Index()
			return changed, nil
		}}
	}
}

// texts changes every value of each loaded workflow as text.
func texts(f func(key, raw string) (string, string)) func() *hooks {
	return loaded(func(w *stabilize.Workflow) {
		for _, v := range valuesOf(w) {
			if *v == nil {
				continue
			}
			out := stabilize.Values{}
			for k, raw := range *v {
				k, text := f(k, string(raw))
				out[k] = json.RawMessage(text)
			}
			*v = out
		}
	})
}

func values1(f func(raw string) string) func() *hooks {
	return texts(func(k, raw string) (string, string) { return k, f(raw) })
}

func valuesOf(w *stabilize.Workflow) []*stabilize.Values {
	out := []*stabilize.Values{&w.Context, &w.Trigger.Parameters, &w.Trigger.Payload}
	for _, s := range w.Stages {
		out = append(out, &s.Context, &s.Outputs)
	}
	return out
}

// queried changes each page.
func queried(f func(q persistence.Query, p *persistence.Page)) func() *hooks {
	return func() *hooks {
		return &hooks{Query: func(s store, ctx ctxt, q persistence.Query) (persistence.Page, error) {
			p, err := s.Query(ctx, q)
			if err == nil {
				f(q, &p)
			}
			return p, err
		}}
	}
}

// asked changes each query.
func asked(f func(q *persistence.Query)) func() *hooks {
	return func() *hooks {
		return &hooks{Query: func(s store, ctx ctxt, q persistence.Query) (persistence.Page, error) {
			f(&q)
			return s.Query(ctx, q)
		}}
	}
}

// matched replaces the filter by application.
func matched(same func(want, got string) bool) func() *hooks {
	return func() *hooks {
		return &hooks{Query: func(s store, ctx ctxt, q persistence.Query) (persistence.Page, error) {
			if q.Application == "" {
				return s.Query(ctx, q)
			}
			want := q.Application
			q.Application, q.Limit = "", 1000
			p, err := s.Query(ctx, q)
			var out persistence.Page
			for _, h := range p.Workflows {
				if same(want, h.Application) {
					out.Workflows = append(out.Workflows, h)
				}
			}
			return out, err
		}}
	}
}

// summarized changes each header read alone.
func summarized(f func(h *stabilize.Header, err error) (*stabilize.Header, error)) func() *hooks {
	return func() *hooks {
		return &hooks{Summary: func(s store, ctx ctxt, id string) (*stabilize.Header, error) { return f(s.Summary(ctx, id)) }}
	}
}

// at is the present version.
func at(s store, ctx ctxt, id string) int64 {
	h, err := s.Summary(ctx, id)
	if err != nil {
		return 0
	}
	return h.Version
}

// force applies a commit on whatever version there is.
func force(s store, ctx ctxt, c *persistence.Commit) error {
	forced := *c
	forced.Expect = at(s, ctx, c.WorkflowID)
	return one(s, ctx, &forced)
}

// locked is a set that hooks share.
type locked[K comparable, V any] struct {
	mu sync.Mutex
	m  map[K]V
}

func (l *locked[K, V]) get(k K) (V, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v, ok := l.m[k]
	return v, ok
}

func (l *locked[K, V]) set(k K, v V) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.m == nil {
		l.m = map[K]V{}
	}
	l.m[k] = v
}

// change is get and set in one step.
func (l *locked[K, V]) change(k K, to func(was V) V) V {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.m == nil {
		l.m = map[K]V{}
	}
	l.m[k] = to(l.m[k])
	return l.m[k]
}

// watched changes what is found unfinished.
func watched(f func(s store, ctx ctxt, ids, found []string) []string) func() *hooks {
	return func() *hooks {
		return &hooks{Unfinished: func(s store, ctx ctxt, ids []string) ([]string, error) {
			found, err := s.(persistence.Watcher).Unfinished(ctx, ids...)
			if err != nil {
				return nil, err
			}
			return f(s, ctx, ids, found), nil
		}}
	}
}
