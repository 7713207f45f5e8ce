package resilience

import (
	"context"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// WithTimeout returns a context that ends after d on the clock, with a
// *stabilize.TimeoutError about what as its cause (context.Cause). It has no
// Deadline, which would be of the machine's clock. cancel must be called when
// the context is no longer used.
func WithTimeout(ctx context.Context, clock stabilize.Clock, d time.Duration, what string) (_ context.Context, cancel context.CancelFunc) {
	ctx, end := context.WithCancelCause(ctx)
	late := &stabilize.TimeoutError{What: what, After: d}
	if d <= 0 {
		end(late)
		return ctx, func() {}
	}
	timer, stop := clock.Timer(d)
	go func() {
		defer stop()
		select {
		case <-timer:
			end(late)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { end(nil) }
}
