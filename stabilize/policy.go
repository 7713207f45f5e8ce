package stabilize

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// RetryPolicy says what is tried again, how often and when. A panic is never
// tried again. The zero value tries transient failures again, 9 times.
type RetryPolicy struct {
	// MaxFailures is the failure after which the task ends TERMINAL. 0 means
	// the default of 10, 1 means no second try.
	MaxFailures int
	// Backoff is the delay before the next try, unless a TransientError names one.
	Backoff Backoff
	// Jitter is the part of each delay of the Backoff, from 0 to 1, that may be
	// taken off so that tasks that failed together do not come back together. How
	// much follows from the task's id and the number of the failure alone.
	Jitter float64

	// When tells the errors worth another try, those of class ErrPermanent aside,
	// which are final; AnyError says yes to plain errors too. nil: those of class
	// ErrTransient, and a VerificationError that asks for it. A run that took longer than its RunTimeout and whose type has no OnTimeout is
	// asked about with a *TimeoutError; code that ignores its context may then run beside its
	// next try. When must be pure; its panic is the task's.
	When func(error) bool
	// Never names errors that are final whatever their class and When say; they
	// are matched with errors.Is.
	Never []error

	// MaxDeliveries is how often one run is handed to a worker before the task
	// ends TERMINAL with the code DEAD_LETTER: a limit for tasks that kill their
	// worker, over which code has no say. 0 means the queue's default of 10.
	MaxDeliveries int
}

// Limit returns MaxFailures or its default.
func (p RetryPolicy) Limit() int {
	if p.MaxFailures <= 0 {
		return 10
	}
	return p.MaxFailures
}

// Retries reports whether the error is worth another try. It runs the user's
// When and methods of the error.
func (p RetryPolicy) Retries(err error) bool {
	for _, never := range p.Never {
		if errors.Is(err, never) {
			return false
		}
	}
	if p.When != nil {
		return !errors.Is(err, ErrPermanent) && p.When(err)
	}
	if v, ok := errors.AsType[*VerificationError](err); ok {
		return v.Retry
	}
	return errors.Is(err, ErrTransient)
}

// Delay returns how long to wait after the n-th failure of a task, n counting
// from 1. It is the same whenever and wherever it is asked.
func (p RetryPolicy) Delay(taskID string, n int) time.Duration {
	d := p.Backoff.Delay(n)
	if p.Jitter <= 0 {
		return d
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s", n, taskID))
	part := float64(binary.BigEndian.Uint64(sum[:])>>11) / (1 << 53)
	return (d - time.Duration(min(p.Jitter, 1)*part*float64(d))).Truncate(Precision)
}

// Check returns ErrInvalid, naming what is wrong after field.
func (p RetryPolicy) Check(field string) error {
	switch {
	case p.MaxFailures < 0:
		return Invalid(field, "max failures %d is negative", p.MaxFailures)
	case p.MaxDeliveries < 0:
		return Invalid(field, "max deliveries %d is negative", p.MaxDeliveries)
	case !(p.Jitter >= 0 && p.Jitter <= 1): // NaN too
		return Invalid(field, "jitter %v is not between 0 and 1", p.Jitter)
	}
	for i, never := range p.Never {
		if never == nil {
			return Invalid(field, "error %d of Never is nil", i)
		}
	}
	return p.Backoff.Check(field)
}

// AnyError is a RetryPolicy.When: plain errors and runs whose time was over are
// tried again too, an error of class ErrPermanent and a VerificationError that
// does not ask for it are not.
func AnyError(err error) bool {
	if v, ok := errors.AsType[*VerificationError](err); ok {
		return v.Retry
	}
	return !errors.Is(err, ErrPermanent)
}

// Backoff is a growing delay.
type Backoff struct {
	Initial time.Duration // after the first failure; 0: one second
	Max     time.Duration // never longer; 0: one minute
	Factor  float64       // growth per failure; 0: 2
}

// Delay returns how long to wait after the n-th failure, n counting from 1.
func (b Backoff) Delay(n int) time.Duration {
	if b.Initial <= 0 {
		b.Initial = time.Second
	}
	if b.Max <= 0 {
		b.Max = time.Minute
	}
	if b.Factor <= 0 {
		b.Factor = 2
	}
	d := float64(b.Initial) * math.Pow(b.Factor, float64(max(n-1, 0)))
	if d >= float64(b.Max) || math.IsInf(d, 0) || math.IsNaN(d) {
		return b.Max
	}
	return time.Duration(d)
}

// Check returns ErrInvalid, naming what is wrong after field.
func (b Backoff) Check(field string) error {
	switch {
	case b.Initial < 0:
		return Invalid(field, "backoff of %s is negative", b.Initial)
	case b.Max < 0:
		return Invalid(field, "longest backoff of %s is negative", b.Max)
	case !(b.Factor >= 0) || math.IsInf(b.Factor, 1):
		return Invalid(field, "backoff factor %v is negative or no number", b.Factor)
	}
	return nil
}

// BreakerPolicy stops running a task type in one process for a while when too
// many of its last runs failed, so that what it calls can recover. A run that
// meets an open breaker is put off: that is no failure, burns no try and is
// neither poll nor delivery.
type BreakerPolicy struct {
	// Failures among the last Window runs open the breaker. 0 means 5 Failures,
	// and a Window of as many as Failures: all in a row.
	Failures int
	Window   int
	// Delay is how long the breaker stays open. 0 means 30 s.
	Delay time.Duration
	// Trials is how many runs are let through after that, and must all go well
	// before the breaker closes; one that fails opens it again. 0 means 1.
	Trials int
	// Counts tells the errors that count as failures; every other answer shows
	// that what the task calls is there. nil: those that are tried again. A panic
	// and a run whose time was over always count. Counts must be pure; its panic
	// is the task's.
	Counts func(error) bool
}

// Defaults returns the policy with its zero values filled in.
func (p BreakerPolicy) Defaults() BreakerPolicy {
	if p.Failures == 0 {
		p.Failures = 5
	}
	if p.Window == 0 {
		p.Window = p.Failures
	}
	if p.Delay == 0 {
		p.Delay = 30 * time.Second
	}
	if p.Trials == 0 {
		p.Trials = 1
	}
	return p
}

// Check returns ErrInvalid, naming what is wrong after field.
func (p BreakerPolicy) Check(field string) error {
	if p.Failures < 0 || p.Window < 0 || p.Delay < 0 || p.Trials < 0 {
		return Invalid(field, "a number of the breaker is negative")
	}
	if d := p.Defaults(); d.Window < d.Failures {
		return Invalid(field, "%d failures never happen in a window of %d runs", d.Failures, d.Window)
	}
	return nil
}

// RateLimit bounds how often a task type is run in one process. A run over the
// limit is put off until its turn comes, as with a BreakerPolicy.
type RateLimit struct {
	// Runs may begin in each Per, evenly spread. Runs 0 is no limit; Per 0 means
	// one second.
	Runs int
	Per  time.Duration
	// Burst is how many may begin at once after a rest. 0 means 1.
	Burst int
}

// Check returns ErrInvalid, naming what is wrong after field.
func (l RateLimit) Check(field string) error {
	switch {
	case l.Runs < 0 || l.Per < 0 || l.Burst < 0:
		return Invalid(field, "a number of the rate limit is negative")
	case l.Runs == 0 && (l.Per > 0 || l.Burst > 0):
		return Invalid(field, "the rate limit allows no run")
	}
	return nil
}
