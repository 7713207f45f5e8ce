package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/stabilize-dev/go-stabilize/resilience"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// jumpClock is at once where a timer wants it to be, and notes how long that was.
type jumpClock struct {
	*stabilize.ManualClock
	waits []time.Duration
}

func newJumpClock() *jumpClock {
	return &jumpClock{ManualClock: stabilize.NewManualClock(time.Unix(0, 0))}
}

func (c *jumpClock) Timer(d time.Duration) (<-chan time.Time, func()) {
	c.waits = append(c.waits, d)
	timer, stop := c.ManualClock.Timer(d)
	c.Advance(d)
	return timer, stop
}

func TestJitterStaysBetweenHalfAndAllOfTheBackoff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := resilience.Jitter{
			Backoff: stabilize.Backoff{
				Initial: time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "initial")),
				Max:     time.Duration(rapid.Int64Range(0, int64(48*time.Hour)).Draw(t, "max")),
				Factor:  rapid.Float64Range(0, 10).Draw(t, "factor"),
			},
			Random: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)).Float64,
		}
		for n := range 70 {
			full := j.Backoff.Delay(n)
			if d := j.Delay(n); d < full/2 || d > full {
				t.Fatalf("after failure %d: %s of a backoff of %s", n, d, full)
			}
		}
		if at := (resilience.Jitter{Backoff: j.Backoff}); at.Delay(3) != j.Backoff.Delay(3) {
			t.Fatalf("without a source the delay is %s, not %s", at.Delay(3), j.Backoff.Delay(3))
		}
	})
	spread := map[time.Duration]bool{}
	j := resilience.Jitter{Random: rand.New(rand.NewPCG(1, 2)).Float64}
	for range 100 {
		spread[j.Delay(1)] = true
	}
	if len(spread) < 90 {
		t.Errorf("100 delays take %d values only", len(spread))
	}
}

func TestRetryUntilItWorks(t *testing.T) {
	clock := newJumpClock()
	backoff := stabilize.Backoff{Initial: time.Second, Factor: 3, Max: 5 * time.Second}
	calls := 0
	err := resilience.Retry(t.Context(), clock, resilience.Policy{Backoff: resilience.Jitter{Backoff: backoff}}, func(context.Context) error {
		calls++
		switch calls {
		case 5:
			return nil
		case 4:
			return &stabilize.TransientError{RetryAfter: time.Minute}
		}
		return stabilize.Transient(errors.New("not yet"))
	})
	want := []time.Duration{time.Second, 3 * time.Second, 5 * time.Second, time.Minute}
	if err != nil || calls != 5 || !slices.Equal(clock.waits, want) {
		t.Errorf("%d calls, waits %v, want %v; error %v", calls, clock.waits, want, err)
	}
}

func TestRetryGivesUp(t *testing.T) {
	transient, final := stabilize.Transient(errors.New("again")), stabilize.Permanent(errors.New("never"))
	conflict := &stabilize.ConflictError{WorkflowID: "w"}
	both := resilience.Any(stabilize.ErrTransient, stabilize.ErrConflict)
	for _, c := range []struct {
		name   string
		policy resilience.Policy
		errs   []error // the last one for ever
		calls  int
		class  error
	}{
		{"a final error at once", resilience.Policy{}, []error{final}, 1, stabilize.ErrPermanent},
		{"a final error after transient ones", resilience.Policy{}, []error{transient, transient, final}, 3, stabilize.ErrPermanent},
		{"ten tries unless told otherwise", resilience.Policy{}, []error{transient}, 10, stabilize.ErrTransient},
		{"as many tries as told", resilience.Policy{Tries: 3}, []error{transient}, 3, stabilize.ErrTransient},
		{"one try", resilience.Policy{Tries: 1}, []error{transient}, 1, stabilize.ErrTransient},
		{"a conflict, which was not named", resilience.Policy{}, []error{conflict}, 1, stabilize.ErrConflict},
		{"a conflict, which was named", resilience.Policy{Tries: 4, When: both}, []error{transient, conflict}, 4, stabilize.ErrConflict},
		{"no limit", resilience.Policy{Tries: -1}, append(slices.Repeat([]error{transient}, 50), final), 51, stabilize.ErrPermanent},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock, calls := newJumpClock(), 0
			err := resilience.Retry(t.Context(), clock, c.policy, func(context.Context) error {
				calls++
				return c.errs[min(calls, len(c.errs))-1]
			})
			if calls != c.calls || !errors.Is(err, c.class) || len(clock.waits) != calls-1 {
				t.Errorf("%d calls, %d waits, error %v; want %d calls and %v", calls, len(clock.waits), err, c.calls, c.class)
			}
		})
	}
}

func TestRetryStopsWithItsContext(t *testing.T) {
	gone := errors.New("gone")
	t.Run("before the first try", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(gone)
		err := resilience.Retry(ctx, newJumpClock(), resilience.Policy{}, func(context.Context) error {
			t.Error("it was tried")
			return nil
		})
		if !errors.Is(err, gone) {
			t.Errorf("error %v, want the cause", err)
		}
	})
	t.Run("while waiting", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			clock := stabilize.NewManualClock(time.Unix(0, 0))
			ctx, cancel := context.WithCancelCause(t.Context())
			done := make(chan error, 1)
			calls := 0
			go func() {
				done <- resilience.Retry(ctx, clock, resilience.Policy{}, func(context.Context) error {
					calls++
					return stabilize.Transient(errors.New("broken pipe"))
				})
			}()
			synctest.Wait() // it waits for a clock that nobody moves
			cancel(gone)
			err := <-done
			if calls != 1 || !errors.Is(err, gone) || errors.Is(err, stabilize.ErrTransient) {
				t.Errorf("%d calls, error %v, want one and the cause", calls, err)
			}
			if want := "gone while waiting to try again; the last error was: transient failure: broken pipe"; err.Error() != want {
				t.Errorf("the text is %q, want %q", err, want)
			}
			if !clock.NextTimer().IsZero() {
				t.Error("the timer was not released")
			}
		})
	})
}

func ExampleRetry() {
	clock := newJumpClock()
	policy := resilience.Policy{Tries: 5, When: resilience.Any(stabilize.ErrTransient, stabilize.ErrConflict)}
	try := 0
	err := resilience.Retry(context.Background(), clock, policy, func(context.Context) error {
		if try++; try < 3 {
			return stabilize.Transient(errors.New("connection refused"))
		}
		return nil
	})
	fmt.Println(try, clock.waits, err)
	// Output: 3 [1s 2s] <nil>
}
