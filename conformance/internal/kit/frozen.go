package kit

import (
	"context"
	"errors"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Bound is how long a call may wait for another before it is said to be blocked
// by it: longer than any store's own patience.
func (e *Env) Bound() time.Duration {
	if e.Effort == conformance.Least {
		return 2 * time.Second
	}
	return 30 * time.Second
}

// Frozen makes all calls, with a deadline of 200 ms, while the database is frozen,
// and fails for those that have not returned after 2 s. When it returns the
// database is thawed and all calls have ended.
func (e *Env) Frozen(f conformance.Freezer, calls map[string]func(context.Context) error) {
	e.Helper()
	thaw, err := f.Freeze(e.Ctx())
	e.Must(err, "freezing the database")
	defer func() { e.Must(thaw(), "thawing the database") }()
	type result struct {
		name string
		err  error
	}
	results := make(chan result, len(calls))
	deadline := 200 * time.Millisecond
	if e.Effort == conformance.Least {
		deadline = 10 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(e.Ctx(), deadline)
	defer cancel()
	limit, end := context.WithTimeout(e.Ctx(), 2*time.Second)
	defer end()
	open := map[string]bool{}
	for name, call := range calls {
		open[name] = true
		go func() { results <- result{name, call(ctx)} }()
	}
	for late := limit.Done(); len(open) > 0; {
		select {
		case r := <-results:
			delete(open, r.name)
			if late != nil && !errors.Is(r.err, context.DeadlineExceeded) && !errors.Is(r.err, stabilize.ErrUnknownOutcome) && !errors.Is(r.err, stabilize.ErrTransient) {
				e.Errorf("%s on a frozen database returned %s, want one that matches context.DeadlineExceeded, ErrTransient or ErrUnknownOutcome", r.name, Quote(r.err))
			}
		case <-late:
			late = nil
			for name := range open {
				e.Errorf("%s with a deadline of %v did not return from a frozen database within 2 s", name, deadline)
			}
			e.Must(thaw(), "thawing the database")
		}
	}
}
