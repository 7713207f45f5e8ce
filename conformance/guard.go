package conformance

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"
)

// watched is the T of one clause in a sub-test. The clause runs in a goroutine of
// its own, so that one that hangs can be given up: from then on it says nothing.
type watched struct {
	*testing.T
	ctx context.Context

	mu      sync.Mutex
	first   string // failure
	givenUp bool
}

func (w *watched) Context() context.Context { return w.ctx }

func (w *watched) Logf(format string, args ...any) {
	w.T.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.givenUp {
		w.T.Logf(format, args...)
	}
}

func (w *watched) Errorf(format string, args ...any) {
	w.T.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.givenUp {
		return
	}
	if w.first == "" {
		w.first = fmt.Sprintf(format, args...)
	}
	w.T.Errorf(format, args...)
}

func (w *watched) Fatalf(format string, args ...any) {
	w.T.Helper()
	w.Errorf(format, args...)
	runtime.Goexit()
}

// guard runs a clause. One that takes longer than limit is said to hang: it
// fails with the stacks of its goroutines, all goroutines are written to dump
// (what a test logs is lost if the process dies of it), and it is left behind.
func (w *watched) guard(t T, limit time.Duration, label string, dump io.Writer, run func()) {
	done := make(chan struct{})
	go func() { // Fatalf ends the goroutine it is called in
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				t.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		run()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return
	case <-timer.C:
	}
	stacks := labelled(label)
	fmt.Fprintf(dump, "%s hangs; all goroutines:\n\n%s\n", w.Name(), allStacks())
	t.Errorf("the clause did not end within %v. Its goroutines:\n%s", limit, strings.Join(stacks, "\n\n"))
	w.mu.Lock()
	w.givenUp = true
	w.mu.Unlock()
}

func allStacks() []byte {
	for size := 1 << 20; ; size *= 2 {
		b := make([]byte, size)
		if n := runtime.Stack(b, true); n < size || size >= 1<<26 {
			return b[:n]
		}
	}
}
