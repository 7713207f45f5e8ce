package handlers

import (
	"context"
	"errors"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// ConflictPolicy bounds the tries of RetryOnConcurrencyError.
type ConflictPolicy struct {
	Attempts int               // 0: 50
	Backoff  stabilize.Backoff // zero: 1 ms growing to 100 ms
}

func (p ConflictPolicy) orDefault() ConflictPolicy {
	if p.Attempts <= 0 {
		p.Attempts = 50
	}
	if p.Backoff == (stabilize.Backoff{}) {
		p.Backoff = stabilize.Backoff{Initial: time.Millisecond, Max: 100 * time.Millisecond, Factor: 1.5}
	}
	return p
}

// RetryOnConcurrencyError calls decide until it answers anything but a
// concurrency error: ErrConflict, because another worker was faster, and
// ErrTransient, because the store was briefly unable. The first try after a
// conflict comes at once, the later ones after growing delays on the clock.
// decide must look at a fresh snapshot each time. When the tries are used up
// the last error is returned; when ctx ends, its error.
func RetryOnConcurrencyError(ctx context.Context, clock stabilize.Clock, policy ConflictPolicy, decide func(try int) error) error {
	policy = policy.orDefault()
	for try := 0; ; try++ {
		err := decide(try)
		conflict := errors.Is(err, stabilize.ErrConflict)
		if err == nil || !conflict && !errors.Is(err, stabilize.ErrTransient) || try+1 >= policy.Attempts {
			return err
		}
		if conflict && try == 0 {
			continue
		}
		timer, stop := clock.Timer(policy.Backoff.Delay(try))
		select {
		case <-ctx.Done():
			stop()
			return ctx.Err()
		case <-timer:
		}
		stop()
	}
}
