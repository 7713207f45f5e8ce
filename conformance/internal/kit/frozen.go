package kit

import (
	"context"
	"errors"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

type impatient struct{}

// Impatient shortens the waits for what is to be found hanging: a clause that is to
// fail may as well fail for a stall.
func Impatient(ctx context.Context) context.Context {
	return context.WithValue(ctx, impatient{}, true)
}

// waits returns how long to wait before something is said to hang.
func (e *Env) waits(long time.Duration) time.Duration {
	if e.Ctx().Value(impatient{}) != nil {
		return 2 * time.Second
	}
	return long
}

// Bound is how long a call may wait for another before it is said to be blocked
// by it: longer than any store's own patience.
func (e *Env) Bound() time.Duration { return e.waits(30 * time.Second) }

// Frozen makes all calls, with a deadline of 200 ms, while the database is frozen,
// and fails for those that do not return: longer than any machine stands still, and
// not as long as a store that does not heed its context has patience. When it returns
// the database is thawed and all calls have ended.
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
	patience := e.waits(8 * time.Second)
	limit, end := context.WithTimeout(e.Ctx(), patience)
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
				e.Errorf("%s with a deadline of %v did not return from a frozen database within %v", name, deadline, patience)
			}
			e.Must(thaw(), "thawing the database")
		}
	}
}
