package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// ends are the groups CX and CB of the store: ended contexts, closed handles.
func ends() []check {
	return []check{
		clause("CX-01", "Every method called with a canceled context returns an error matching context.Canceled and has done nothing.", cx01),
		clause("CX-05", "After a canceled call the same handle serves the next call.", cx05),
		clause("CX-06", "The methods walked by CX-01 and CB-02 are found by reflection, so that a new one is covered the day it is added.", cx06),
		clause("CB-01", "Closing twice returns nil twice, and leaves the other handles open.", cb01),
		clause("CB-02", "Every method after Close returns ErrClosed.", cb02),
		clause("CB-03", "When a handle is closed while calls are under way, each finishes as it would have or returns ErrClosed, and what finished is stored.", cb03),
	}
}

// calls is one call of every method that takes a context, on the workflow w.
func (e *env) calls() map[string]func(context.Context, persistence.Store) error {
	c := &persistence.Commit{WorkflowID: "w", Expect: 1, Messages: []queue.Outgoing{about("w", "m")}}
	return map[string]func(context.Context, persistence.Store) error{
		"CommitBatch": func(ctx context.Context, s persistence.Store) error {
			errs := s.CommitBatch(ctx, []*persistence.Commit{c, kit.Creation(kit.Workflow("new", e.Now()))})
			if len(errs) != 2 {
				return stabilize.Invalid("CommitBatch", "%d errors for 2 commits", len(errs))
			}
			if errors.Is(errs[0], stabilize.ErrClosed) != errors.Is(errs[1], stabilize.ErrClosed) || (errs[0] == nil) != (errs[1] == nil) {
				return stabilize.Invalid("CommitBatch", "different errors: %v", errs)
			}
			return errs[0]
		},
		"Load":    func(ctx context.Context, s persistence.Store) error { _, err := s.Load(ctx, "w"); return err },
		"Summary": func(ctx context.Context, s persistence.Store) error { _, err := s.Summary(ctx, "w"); return err },
		"Query": func(ctx context.Context, s persistence.Store) error {
			_, err := s.Query(ctx, persistence.Query{})
			return err
		},
		"Delete": func(ctx context.Context, s persistence.Store) error { return s.Delete(ctx, "w") },
		"Prune": func(ctx context.Context, s persistence.Store) error {
			_, err := s.Prune(ctx, &stabilize.Header{ID: "w", Version: 1, Status: stabilize.Succeeded})
			return err
		},
		"Admissions": func(ctx context.Context, s persistence.Store) error { _, err := s.Admissions(ctx, "k"); return err },
		"Refresh": func(ctx context.Context, s persistence.Store) error {
			r, ok := s.(persistence.Refresher)
			if !ok {
				_, err := s.Load(ctx, "w")
				return err
			}
			_, err := r.Refresh(ctx, "w", 0)
			return err
		},
		"Unfinished": func(ctx context.Context, s persistence.Store) error {
			l, ok := s.(persistence.Watcher)
			if !ok {
				_, err := s.Load(ctx, "w")
				return err
			}
			_, err := l.Unfinished(ctx, "w")
			return err
		},
	}
}

func cx01(e *env) {
	e.create("w", "s")
	same := e.unchanged("w")
	ctx, cancel := context.WithCancel(e.Ctx())
	cancel()
	for name, call := range e.calls() {
		e.Want(context.Canceled, call(ctx, e.a), "%s with a canceled context", name)
		same("after %s with a canceled context", name)
	}
	e.absent(e.b, "new", "its creation was canceled")
}

func cx05(e *env) {
	e.create("w", "s")
	ctx, cancel := context.WithCancel(e.Ctx())
	cancel()
	for name, call := range e.calls() {
		if call(ctx, e.a) == nil {
			e.Errorf("%s with a canceled context returned no error", name)
		}
		for _, s := range []persistence.Store{e.a, e.b} {
			w := e.load(s, "w")
			if err := e.one(s, kit.Update(w, "after "+name, "s")); err != nil {
				e.Errorf("after %s was canceled, a commit returned %v", name, err)
			}
		}
	}
}

func cx06(e *env) {
	calls := e.calls()
	for _, m := range kit.ContextMethods[persistence.WorkflowStore]() {
		if calls[m] == nil {
			e.Errorf("the suite does not know how to call WorkflowStore.%s", m)
		}
		delete(calls, m)
	}
	delete(calls, "Refresh")
	delete(calls, "Unfinished")
	for m := range calls {
		e.Errorf("the suite calls %s, which WorkflowStore does not have", m)
	}
}

func cb01(e *env) {
	e.create("w", "s")
	for i := range 2 {
		if err := e.b.Close(); err != nil {
			e.Errorf("closing number %d returned %v", i+1, err)
		}
	}
	e.commit(e.a, kit.Update(e.load(e.a, "w"), "still open", "s"))
	if got := e.load(e.h.Reopen(), "w").Reason; got != "still open" {
		e.Errorf("after closing and reopening the workflow says %q", got)
	}
}

func cb02(e *env) {
	e.create("w", "s")
	same := e.see(e.a, "w", nil)
	e.Must(e.b.Close(), "closing")
	for name, call := range e.calls() {
		e.Want(stabilize.ErrClosed, call(e.Ctx(), e.b), "%s after Close", name)
	}
	e.Same(same, e.see(e.a, "w", nil), "what the other handle sees after calls on the closed one")
	e.absent(e.a, "new", "the handle was closed")
}

func cb03(e *env) {
	for round := range e.Effort.Of(5, 2) {
		ids := kit.Numbered(fmt.Sprintf("w%d-%%d", round), 8)
		e.createAll(ids, nil, "s")
		handle := e.h.Reopen()
		e.a, e.b = handle, e.h.Second()
		done := make([]int64, len(ids))
		var closed atomic.Bool
		errs := kit.Race(len(ids)+1, func(i int) error {
			if i == len(ids) {
				defer closed.Store(true)
				return e.b.Close()
			}
			w := kit.Workflow(ids[i], e.Now(), "s")
			more := true
			for v := int64(1); more; v++ {
				more = !closed.Load() // one last commit after Close has returned
				w.Version = v
				err := e.one(e.b, kit.Update(w, "x", "s"))
				switch {
				case errors.Is(err, stabilize.ErrClosed):
					return nil
				case errors.Is(err, stabilize.ErrTransient):
					return nil // refused, for now
				case err != nil:
					return err
				default:
					done[i] = v
				}
				if _, err := e.b.Load(e.Ctx(), ids[i]); err != nil && !errors.Is(err, stabilize.ErrClosed) && !errors.Is(err, stabilize.ErrTransient) {
					return err
				}
			}
			return nil
		})
		e.Must(kit.First(errs), "closing while calls are under way")
		for i, id := range ids {
			if got := e.summary(e.a, id).Version; got != done[i]+1 {
				e.Errorf("%s is at version %d after %d commits that succeeded", id, got, done[i])
			}
		}
	}
}
