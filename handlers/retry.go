package handlers

import (
	"context"
	"time"

	"github.com/stabilize-dev/go-stabilize/resilience"
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
// ErrTransient, because the store was briefly unable, with growing delays on
// the clock in between. decide must look at a fresh snapshot each time. When the
// tries are used up the last error is returned; when ctx ends, its cause.
func RetryOnConcurrencyError(ctx context.Context, clock stabilize.Clock, policy ConflictPolicy, decide func(context.Context) error) error {
	return retryOn(ctx, clock, policy, concurrencyErrors(), decide)
}

func concurrencyErrors() []error { return []error{stabilize.ErrConflict, stabilize.ErrTransient} }

func retryOn(ctx context.Context, clock stabilize.Clock, policy ConflictPolicy, passing []error, decide func(context.Context) error) error {
	policy = policy.orDefault()
	return resilience.Retry(ctx, clock, resilience.Policy{
		Tries: policy.Attempts, Backoff: resilience.Jitter{Backoff: policy.Backoff}, When: resilience.Any(passing...),
	}, decide)
}
