package resilience

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Jitter is a backoff whose delays are spread, so that those who failed
// together do not come back together.
type Jitter struct {
	stabilize.Backoff
	// Random returns numbers in [0, 1); math/rand/v2.Float64, or a seeded source
	// in a test. It must be safe for concurrent use if the Jitter is used so.
	// nil: delays are not spread.
	Random func() float64
}

// Delay returns how long to wait after the n-th failure, n counting from 1:
// between half of the backoff's delay and all of it.
func (j Jitter) Delay(n int) time.Duration {
	d := j.Backoff.Delay(n)
	if j.Random == nil {
		return d
	}
	half := d / 2
	return d - half + time.Duration(j.Random()*float64(half))
}

// Policy says how Retry repeats.
type Policy struct {
	// Tries is how often the function is called at most. 0: 10; negative: until
	// the context ends.
	Tries   int
	Backoff Jitter
	// When tells the errors worth another try. nil: those of ErrTransient. See Any.
	When func(error) bool
}

// Any returns a classifier that says yes to errors of one of the classes.
func Any(classes ...error) func(error) bool {
	return func(err error) bool {
		for _, class := range classes {
			if errors.Is(err, class) {
				return true
			}
		}
		return false
	}
}

// Retry calls fn until it succeeds, fails with an error not worth another try,
// or the tries are used up; it returns fn's last error, so that its class
// stays. A TransientError that names a RetryAfter sets the next delay. If ctx
// ends between two tries its cause is returned, and the last error is in the
// text; with ctx ended already, fn is not called.
func Retry(ctx context.Context, clock stabilize.Clock, p Policy, fn func(context.Context) error) error {
	if p.Tries == 0 {
		p.Tries = 10
	}
	if p.When == nil {
		p.When = Any(stabilize.ErrTransient)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for n := 1; ; n++ {
		err := fn(ctx)
		switch {
		case err == nil || !p.When(err):
			return err
		case n == p.Tries:
			return fmt.Errorf("after %d tries: %w", n, err)
		}
		delay := p.Backoff.Delay(n)
		if t, ok := errors.AsType[*stabilize.TransientError](err); ok && t.RetryAfter > 0 {
			delay = t.RetryAfter
		}
		if ended := Sleep(ctx, clock, delay); ended != nil {
			return fmt.Errorf("%w while waiting to try again; the last error was: %s", ended, err.Error())
		}
	}
}

// Sleep waits on the clock. If ctx ends first it returns its cause.
func Sleep(ctx context.Context, clock stabilize.Clock, d time.Duration) error {
	timer, stop := clock.Timer(d)
	defer stop()
	select {
	case <-timer:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
