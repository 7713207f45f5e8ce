package stabilize_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func TestBackoff(t *testing.T) {
	for _, c := range []struct {
		b    stabilize.Backoff
		want []time.Duration // after the first failure, the second, ...
	}{
		{stabilize.Backoff{}, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, time.Minute, time.Minute}},
		{stabilize.Backoff{Initial: time.Millisecond, Factor: 10, Max: time.Second}, []time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, time.Second, time.Second}},
		{stabilize.Backoff{Initial: time.Second, Factor: 1}, []time.Duration{time.Second, time.Second}},
		{stabilize.Backoff{Initial: time.Hour}, []time.Duration{time.Minute}},
	} {
		for i, want := range c.want {
			if got := c.b.Delay(i + 1); got != want {
				t.Errorf("%+v after failure %d: %s, want %s", c.b, i+1, got, want)
			}
		}
		if c.b.Delay(0) != c.b.Delay(1) || c.b.Delay(-5) != c.b.Delay(1) || c.b.Delay(math.MaxInt) > max(c.b.Max, time.Minute) {
			t.Errorf("%+v in the extremes: %s, %s, %s", c.b, c.b.Delay(0), c.b.Delay(-5), c.b.Delay(math.MaxInt))
		}
	}
}

func TestWhatIsTriedAgain(t *testing.T) {
	plain, quota := errors.New("plain"), errors.New("quota")
	late := &stabilize.TimeoutError{What: "it", After: time.Second}
	refused, again := &stabilize.VerificationError{}, &stabilize.VerificationError{Retry: true}
	onlyQuota := func(err error) bool { return errors.Is(err, quota) }
	for _, c := range []struct {
		name   string
		policy stabilize.RetryPolicy
		yes    []error
		no     []error
	}{
		{
			"by class", stabilize.RetryPolicy{},
			[]error{stabilize.Transient(plain), fmt.Errorf("wrapped: %w", stabilize.ErrTransient), again},
			[]error{plain, late, stabilize.Permanent(plain), refused, context.Canceled},
		},
		{
			"any error", stabilize.RetryPolicy{When: stabilize.AnyError},
			[]error{stabilize.Transient(plain), plain, late, again},
			[]error{stabilize.Permanent(plain), fmt.Errorf("wrapped: %w", stabilize.Permanent(plain)), refused},
		},
		{
			"as the type says", stabilize.RetryPolicy{When: onlyQuota},
			[]error{quota, fmt.Errorf("wrapped: %w", quota)},
			[]error{plain, stabilize.Transient(plain), errors.Join(quota, stabilize.ErrPermanent)},
		},
		{
			"but never those", stabilize.RetryPolicy{When: stabilize.AnyError, Never: []error{quota, stabilize.ErrTimeout}},
			[]error{plain, stabilize.Transient(plain)},
			[]error{quota, fmt.Errorf("wrapped: %w", quota), late},
		},
		{
			"never beats the class", stabilize.RetryPolicy{Never: []error{quota}},
			[]error{stabilize.Transient(quota)}, // the cause is for reading
			[]error{fmt.Errorf("%w: %w", stabilize.ErrTransient, quota)},
		},
	} {
		for _, err := range c.yes {
			if !c.policy.Retries(err) {
				t.Errorf("%s: %v is not tried again", c.name, err)
			}
		}
		for _, err := range c.no {
			if c.policy.Retries(err) {
				t.Errorf("%s: %v is tried again", c.name, err)
			}
		}
	}
}

func TestJitterFollowsFromTheTaskAndTheFailure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := stabilize.RetryPolicy{
			Backoff: stabilize.Backoff{Initial: time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "initial"))},
			Jitter:  rapid.Float64Range(0, 1).Draw(t, "jitter"),
		}
		id, n := rapid.String().Draw(t, "id"), rapid.IntRange(1, 100).Draw(t, "n")
		full := p.Backoff.Delay(n)
		d := p.Delay(id, n)
		if least := full - time.Duration(p.Jitter*float64(full)) - stabilize.Precision; d < least || d > full {
			t.Fatalf("%s, want from %s to %s", d, least, full)
		}
		if d != p.Delay(id, n) {
			t.Fatal("the same failure of the same task waits differently")
		}
	})
	p := stabilize.RetryPolicy{Backoff: stabilize.Backoff{Initial: time.Second, Factor: 1}, Jitter: 0.5}
	different := map[time.Duration]bool{}
	var sum time.Duration
	for i := range 100 {
		d := p.Delay("task", i+1) + p.Delay(fmt.Sprint("task", i), 1)
		different[d], sum = true, sum+d
	}
	if mean := sum / 200; len(different) < 95 || mean < 700*time.Millisecond || mean > 800*time.Millisecond {
		t.Errorf("%d different delays with a mean of %s", len(different), mean)
	}
	if p.Jitter = 0; p.Delay("task", 1) != time.Second {
		t.Errorf("without jitter the delay is %s", p.Delay("task", 1))
	}
}

func TestPoliciesThatCannotWorkAreRefused(t *testing.T) {
	retry := func(p stabilize.RetryPolicy) stabilize.FuncOption { return stabilize.WithRetry(p) }
	backoff := func(b stabilize.Backoff) stabilize.FuncOption { return retry(stabilize.RetryPolicy{Backoff: b}) }
	for says, option := range map[string]stabilize.FuncOption{
		"max failures -1":   retry(stabilize.RetryPolicy{MaxFailures: -1}),
		"max deliveries -1": retry(stabilize.RetryPolicy{MaxDeliveries: -1}),
		"jitter -0.1":       retry(stabilize.RetryPolicy{Jitter: -0.1}),
		"jitter 1.1":        retry(stabilize.RetryPolicy{Jitter: 1.1}),
		"jitter NaN":        retry(stabilize.RetryPolicy{Jitter: math.NaN()}),
		"of Never":          retry(stabilize.RetryPolicy{Never: []error{errors.New("x"), nil}}),
		"backoff of -1s":    backoff(stabilize.Backoff{Initial: -time.Second}),
		"longest backoff":   backoff(stabilize.Backoff{Max: -time.Second}),
		"factor -1":         backoff(stabilize.Backoff{Factor: -1}),
		"factor NaN":        backoff(stabilize.Backoff{Factor: math.NaN()}),
		"factor +Inf":       backoff(stabilize.Backoff{Factor: math.Inf(1)}),
		"bulkhead of -1":    stabilize.WithBulkhead(-1),
		"timeout of -1s":    stabilize.WithTimeout(-time.Second),
		"the breaker":       stabilize.WithBreaker(stabilize.BreakerPolicy{Delay: -1}),
		"a window of 2":     stabilize.WithBreaker(stabilize.BreakerPolicy{Failures: 3, Window: 2}),
		"the rate limit is": stabilize.WithRateLimit(stabilize.RateLimit{Runs: -1}),
		"allows no run":     stabilize.WithRateLimit(stabilize.RateLimit{Per: time.Second}),
	} {
		r := stabilize.NewRegistry()
		err := r.AddTask("t", stabilize.Func(func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil }, option))
		if !errors.Is(err, stabilize.ErrInvalid) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), `"t"`) {
			t.Errorf("%s: %v", says, err)
		}
		if _, _, err := r.Task("t"); err == nil {
			t.Errorf("%s: it was registered all the same", says)
		}
	}
	r := stabilize.NewRegistry()
	err := r.AddTask("t", stabilize.Func(func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil },
		stabilize.WithBreaker(stabilize.BreakerPolicy{}), stabilize.WithBulkhead(0), stabilize.WithRateLimit(stabilize.RateLimit{})))
	if err != nil {
		t.Errorf("the zero policies: %v", err)
	}
}
