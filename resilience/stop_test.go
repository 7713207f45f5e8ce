package resilience_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/resilience"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := stabilize.NewManualClock(time.Unix(0, 0))
		ctx, cancel := resilience.WithTimeout(t.Context(), clock, time.Minute, "task build")
		defer cancel()
		clock.Advance(time.Minute - stabilize.Precision)
		synctest.Wait()
		if ctx.Err() != nil {
			t.Fatalf("it ended early: %v", context.Cause(ctx))
		}
		clock.Advance(stabilize.Precision)
		<-ctx.Done()
		cause, ok := errors.AsType[*stabilize.TimeoutError](context.Cause(ctx))
		if !ok || cause.What != "task build" || cause.After != time.Minute {
			t.Errorf("the cause is %v", context.Cause(ctx))
		}
	})
}

func TestTimeoutIsReleased(t *testing.T) {
	for name, end := range map[string]func(own, parent context.CancelFunc){
		"by its own cancel":    func(own, _ context.CancelFunc) { own() },
		"by the end of parent": func(_, parent context.CancelFunc) { parent() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clock := stabilize.NewManualClock(time.Unix(0, 0))
				parent, stop := context.WithCancel(t.Context())
				ctx, cancel := resilience.WithTimeout(parent, clock, time.Minute, "x")
				end(cancel, stop)
				<-ctx.Done()
				synctest.Wait()
				if !clock.NextTimer().IsZero() {
					t.Error("the timer is still waiting")
				}
				clock.Advance(time.Hour)
				if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) || errors.Is(cause, stabilize.ErrTimeout) {
					t.Errorf("the cause is %v", cause)
				}
				cancel()
				stop()
			})
		})
	}
}

func TestTimeoutOfNothingIsOver(t *testing.T) {
	ctx, cancel := resilience.WithTimeout(t.Context(), stabilize.NewManualClock(time.Unix(0, 0)), 0, "x")
	defer cancel()
	if !errors.Is(context.Cause(ctx), stabilize.ErrTimeout) {
		t.Errorf("the cause is %v", context.Cause(ctx))
	}
}

func TestGuard(t *testing.T) {
	plain := errors.New("plain")
	if err := resilience.Guard(func() error { return plain }); !errors.Is(err, plain) {
		t.Errorf("the error of the function became %v", err)
	}
	var nothing map[string]int
	for _, c := range []struct {
		name string
		fn   func()
		text string
	}{
		{"text", func() { panic("boom") }, "panic: boom"},
		{"an error", func() { panic(&fs.PathError{Op: "open", Path: "x", Err: stabilize.ErrTransient}) }, "panic: open x: transient failure"},
		{"nil", func() { panic(any(nil)) }, "panic: panic called with nil argument"}, //nolint:govet // that is the case
		{"the runtime", func() { nothing["x"] = 1 }, "panic: assignment to entry in nil map"},
		{"an error whose text panics", func() { panic((*fs.PathError)(nil)) }, "panic: <nil>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := resilience.Guard(func() error { c.fn(); return nil })
			p, ok := errors.AsType[*resilience.PanicError](err)
			switch {
			case !ok || !strings.HasPrefix(err.Error(), c.text):
				t.Fatalf("the error is %v, want %q", err, c.text)
			case !errors.Is(err, stabilize.ErrPermanent) || errors.Is(err, stabilize.ErrTransient):
				t.Errorf("%v is not of the class ErrPermanent alone", err)
			case !strings.Contains(string(p.Stack), "TestGuard"):
				t.Errorf("the stack does not show where it was:\n%s", p.Stack)
			}
		})
	}
	err := resilience.Guard(func() error { panic(&fs.PathError{Path: "x"}) })
	if pathErr, ok := errors.AsType[*fs.PathError](err); !ok || pathErr.Path != "x" {
		t.Error("the error that was panicked with cannot be reached")
	}
}
