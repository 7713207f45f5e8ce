package conformance

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Run runs every check in a sub-test named by its id, on a harness of its own.
// Nothing is skipped: a check that needs a power which the harness declares the
// backend lacks (Lacking) is no sub-test, and the log says so; a power that is
// missing without being declared, or there in spite of it, is a failure that
// names it. Suites call it.
func Run[H any](t *testing.T, checks []Check[H], newHarness func(*testing.T) H, handle func(H) any) {
	effort := Full
	if testing.Short() {
		effort = Short
	}
	probe := newHarness(t)
	lacks := lackedBy(probe)
	var lacking []string
	for _, c := range checks {
		run, problem := admit(c.Needs, has(c.Needs, probe, handle(probe)), slices.Contains(lacks, c.Needs))
		switch {
		case problem != "":
			t.Errorf("%s: %s", c.ID, problem)
		case !run:
			lacking = append(lacking, fmt.Sprintf("%s (%s)", c.ID, c.Needs))
		default:
			t.Run(c.ID, func(t *testing.T) { c.Run(Named(t, c.Clause), newHarness(t), effort) })
		}
	}
	t.Logf("%d of %d clauses apply", len(checks)-len(lacking), len(checks))
	if len(lacking) > 0 {
		t.Logf("this backend declares that it lacks: %s", strings.Join(lacking, ", "))
	}
}

// admit decides whether a clause that needs a power is run, or what is wrong
// with what the harness declares.
func admit(needs Power, present, lacked bool) (run bool, problem string) {
	switch {
	case present && lacked && needs != "":
		return false, fmt.Sprintf("the harness declares that the backend lacks %s, and it has it", needs)
	case !present && !lacked:
		return false, fmt.Sprintf("the backend has no %s, and the harness does not declare that it lacks it (conformance.Lacking)", needs)
	default:
		return present, ""
	}
}

// Named makes every failure of t say which promise was broken.
func Named(t T, c Clause) T { return named{t, c} }

type named struct {
	T
	clause Clause
}

func (n named) Errorf(format string, args ...any) {
	n.Helper()
	n.T.Errorf("%s", n.text(format, args))
}

func (n named) Fatalf(format string, args ...any) {
	n.Helper()
	n.T.Fatalf("%s", n.text(format, args))
}

func (n named) text(format string, args []any) string {
	return fmt.Sprintf("%s is broken. Promised: %s\nSeen: %s", n.clause.ID, n.clause.Sentence, fmt.Sprintf(format, args...))
}

// Outcome is how a recorded check went.
type Outcome struct {
	Failures []string
	Skipped  string // why, if it was skipped
	Log      []string
}

// Failed reports whether the check found a broken promise.
func (o Outcome) Failed() bool { return len(o.Failures) > 0 }

// Record runs one check without failing a test, and tells how it went. A panic
// counts as a failure. It is how a suite is tested itself.
func Record[H any](ctx context.Context, name string, c Check[H], h H, handle any, effort Effort) Outcome {
	if !has(c.Needs, h, handle) {
		return Outcome{Skipped: "needs " + string(c.Needs)}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &recorder{ctx: ctx, name: name}
	t := Named(r, c.Clause)
	done := make(chan struct{})
	go func() { // Fatalf ends the goroutine it is called in
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				t.Errorf("panic: %v", p)
			}
		}()
		c.Run(t, h, effort)
	}()
	<-done
	r.mu.Lock()
	defer r.mu.Unlock()
	return Outcome{Failures: slices.Clone(r.out.Failures), Skipped: r.out.Skipped, Log: slices.Clone(r.out.Log)}
}

type recorder struct {
	ctx  context.Context
	name string
	mu   sync.Mutex
	out  Outcome
}

func (r *recorder) Helper()                  {}
func (r *recorder) Name() string             { return r.name }
func (r *recorder) Context() context.Context { return r.ctx }

func (r *recorder) Logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out.Log = append(r.out.Log, fmt.Sprintf(format, args...))
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out.Failures = append(r.out.Failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Skipf(format string, args ...any) {
	r.mu.Lock()
	r.out.Skipped = fmt.Sprintf(format, args...)
	r.mu.Unlock()
	runtime.Goexit()
}
