package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/stabilize-dev/go-stabilize/resilience"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// breakerRig drives a Breaker on a clock that stands still.
type breakerRig struct {
	*testing.T
	*resilience.Breaker
	*stabilize.ManualClock
	states []string
}

func newBreakerRig(t *testing.T, p stabilize.BreakerPolicy) *breakerRig {
	r := &breakerRig{T: t, ManualClock: stabilize.NewManualClock(time.Unix(0, 0))}
	r.Breaker = resilience.NewBreaker(r.ManualClock, p, func(s string) { r.states = append(r.states, s) })
	return r
}

func (r *breakerRig) pass() func(resilience.Outcome) {
	r.Helper()
	done, wait := r.Try()
	if done == nil || wait != 0 {
		r.Fatalf("it does not let through, for %s; states %v", wait, r.states)
	}
	return done
}

func (r *breakerRig) calls(outcomes ...resilience.Outcome) {
	r.Helper()
	for _, o := range outcomes {
		r.pass()(o)
	}
}

func (r *breakerRig) refused(want time.Duration) {
	r.Helper()
	if done, wait := r.Try(); done != nil || wait != want {
		r.Fatalf("refused %v for %s, want %s; states %v", done == nil, wait, want, r.states)
	}
}

func (r *breakerRig) want(states ...string) {
	r.Helper()
	if !slices.Equal(r.states, states) {
		r.Fatalf("states %v, want %v", r.states, states)
	}
}

func TestBreaker(t *testing.T) {
	const good, bad, unknown = resilience.Good, resilience.Bad, resilience.Unknown
	half := 30 * time.Second / 2
	t.Run("failures in a row open it for its delay", func(t *testing.T) {
		r := newBreakerRig(t, stabilize.BreakerPolicy{})
		r.calls(bad, bad, bad, bad, good, bad, bad, bad, bad, unknown, bad)
		r.refused(30 * time.Second)
		r.Advance(half)
		r.refused(half)
		r.Advance(half - stabilize.Precision)
		r.refused(stabilize.Precision)
		r.Advance(stabilize.Precision)
		trial := r.pass()
		r.refused(time.Second) // one trial at once
		trial(good)
		r.want("open", "half-open", "closed")
		r.calls(bad, bad, bad, bad, good)
		r.want("open", "half-open", "closed")
	})
	t.Run("so many among the last so many", func(t *testing.T) {
		r := newBreakerRig(t, stabilize.BreakerPolicy{Failures: 2, Window: 4})
		r.calls(bad, good, good, good, bad, good, bad)
		r.want("open")
	})
	t.Run("a failed trial opens it again", func(t *testing.T) {
		r := newBreakerRig(t, stabilize.BreakerPolicy{Failures: 1, Delay: time.Minute, Trials: 2})
		r.calls(bad)
		r.Advance(time.Minute)
		r.calls(good, bad)
		r.refused(time.Minute)
		r.Advance(time.Minute)
		r.calls(good, good)
		r.want("open", "half-open", "open", "half-open", "closed")
	})
	t.Run("a trial that was given up is followed by another", func(t *testing.T) {
		r := newBreakerRig(t, stabilize.BreakerPolicy{Failures: 1})
		r.calls(bad)
		r.Advance(time.Minute)
		r.calls(unknown, unknown, good)
		r.want("open", "half-open", "closed")
	})
	t.Run("what began before counts no more", func(t *testing.T) {
		r := newBreakerRig(t, stabilize.BreakerPolicy{Failures: 1})
		slow, slower := r.pass(), r.pass()
		r.calls(bad)
		r.Advance(time.Minute)
		trial := r.pass()
		slow(good)
		r.refused(time.Second)
		trial(good)
		slower(bad)
		r.want("open", "half-open", "closed")
	})
	t.Run("a clock set back makes it wait no longer than its delay", func(t *testing.T) {
		r := newBreakerRig(t, stabilize.BreakerPolicy{Failures: 1})
		r.calls(bad)
		r.Advance(-time.Hour)
		r.refused(30 * time.Second)
		r.Advance(30 * time.Second)
		r.calls(good)
	})
}

func TestBulkhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := stabilize.SystemClock{}
		b := resilience.NewBulkhead(clock, 2)
		var mu sync.Mutex
		var log []string
		call := func(name string) (away time.Duration) {
			leave, away, err := b.Enter(t.Context())
			if err != nil || away > 0 {
				return away
			}
			mu.Lock()
			log = append(log, fmt.Sprint(name, " at ", time.Since(start(t))))
			mu.Unlock()
			time.Sleep(time.Minute)
			leave(true)
			return 0
		}
		for _, name := range []string{"a", "b", "c", "d"} {
			go call(name)
			synctest.Wait()
		}
		first, second := call("e"), call("f")
		if first <= 0 || second <= first {
			t.Errorf("sent away for %s and %s, want one after the other", first, second)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		mu.Lock()
		got := slices.Sorted(slices.Values(log)) // two places are free at once: who enters first is open
		mu.Unlock()
		if want := []string{"a at 0s", "b at 0s", "c at 1m0s", "d at 1m0s"}; !slices.Equal(got, want) {
			t.Errorf("called %v, want %v", got, want)
		}
		if call("g") != 0 {
			t.Error("all places are free and one is sent away")
		}
	})
}

// start is the beginning of time in a bubble.
func start(t *testing.T) time.Time {
	t.Helper()
	return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
}

func TestBulkheadForgetsThoseWhoGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := resilience.NewBulkhead(stabilize.SystemClock{}, 1)
		leave, _, _ := b.Enter(t.Context())
		gone := errors.New("gone")
		for range 5 {
			ctx, cancel := context.WithCancelCause(t.Context())
			result := make(chan error)
			go func() {
				_, _, err := b.Enter(ctx)
				result <- err
			}()
			synctest.Wait()
			cancel(gone)
			if err := <-result; !errors.Is(err, gone) {
				t.Fatalf("the error is %v, want the cause", err)
			}
		}
		leave(true)
		if again, away, err := b.Enter(t.Context()); again == nil || away != 0 || err != nil {
			t.Errorf("the free place is not given: %s, %v", away, err)
		}
	})
}

// Those sent away come back as fast as places become free, and never later than
// ten seconds.
func TestBulkheadKnowsHowLongACallTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, took := range []time.Duration{20 * time.Millisecond, 10 * time.Second} {
			b := resilience.NewBulkhead(stabilize.SystemClock{}, 1)
			for range 30 {
				leave, _, _ := b.Enter(t.Context())
				time.Sleep(took)
				leave(true)
			}
			leave, _, _ := b.Enter(t.Context())
			go func() { _, _, _ = b.Enter(t.Context()) }()
			synctest.Wait()
			for i := range 100 {
				_, away, _ := b.Enter(t.Context())
				want := min(time.Duration(i+1)*took, 10*time.Second)
				if away < want*9/10 || away > want*11/10 {
					t.Fatalf("calls of %s: number %d is sent away for %s, want about %s", took, i+1, away, want)
				}
			}
			leave(true)
		}
	})
}

func TestLimiter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := stabilize.RateLimit{
			Runs:  rapid.IntRange(1, 50).Draw(t, "runs"),
			Per:   time.Duration(rapid.Int64Range(1, 10_000).Draw(t, "ms")) * time.Millisecond,
			Burst: rapid.IntRange(0, 5).Draw(t, "burst"),
		}
		clock := stabilize.NewManualClock(time.Unix(1e9, 0))
		l := resilience.NewLimiter(clock, limit)
		due := map[string]time.Time{}
		for i := range rapid.IntRange(1, 30).Draw(t, "n") {
			due[fmt.Sprint("k", i)] = clock.Now()
		}
		var began []time.Time
		for tries := 0; len(due) > 0; tries++ {
			var key string
			for k, at := range due {
				if key == "" || at.Before(due[key]) || at.Equal(due[key]) && k < key {
					key = k
				}
			}
			clock.Set(due[key])
			if wait := l.Take(key); wait > 0 {
				due[key] = stabilize.Instant(clock.Now().Add(wait))
			} else {
				began = append(began, clock.Now())
				delete(due, key)
			}
			if tries > 20_000 {
				t.Fatal("it does not end")
			}
		}
		each, burst := limit.Per/time.Duration(limit.Runs), max(limit.Burst, 1)
		for i := burst; i < len(began); i++ {
			gap := began[i].Sub(began[i-burst])
			if gap < each-2*stabilize.Precision {
				t.Fatalf("%d began within %s, with one per %s: %v", burst+1, gap, each, began)
			}
		}
	})
}

// A turn that nobody comes back for holds nobody up for long.
func TestLimiterForgetsTurns(t *testing.T) {
	clock := stabilize.NewManualClock(time.Unix(1e9, 0))
	l := resilience.NewLimiter(clock, stabilize.RateLimit{Runs: 10})
	for i := range 100_000 {
		l.Take(fmt.Sprint("gone", i))
	}
	clock.Advance(12 * time.Second)
	if wait := l.Take("new"); wait != 0 {
		t.Errorf("12 s later a new one waits for %s", wait)
	}
}

func ExampleBreaker() {
	clock := stabilize.NewManualClock(time.Unix(0, 0))
	b := resilience.NewBreaker(clock, stabilize.BreakerPolicy{Failures: 2, Delay: time.Minute}, func(state string) { fmt.Println(state) })
	for range 2 {
		done, _ := b.Try()
		done(resilience.Bad)
	}
	_, wait := b.Try()
	fmt.Println(wait)
	clock.Advance(wait)
	done, _ := b.Try()
	done(resilience.Good)
	// Output:
	// open
	// 1m0s
	// half-open
	// closed
}
