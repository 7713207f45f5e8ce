package resilience

import (
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Outcome is what a Breaker learns of a call that it let through.
type Outcome uint8

// The outcomes.
const (
	Unknown Outcome = iota // it was given up: this tells nothing
	Good
	Bad
)

// Breaker lets calls through until too many fail, then none for a while, then
// some to try. Counting and thresholds are failsafe-go's; when the while is
// over is decided on the clock passed in, which failsafe-go cannot be given.
// Safe for concurrent use.
type Breaker struct {
	clock   stabilize.Clock
	policy  stabilize.BreakerPolicy
	changed func(state string)

	mu      sync.Mutex
	circuit circuitbreaker.CircuitBreaker[any]
	state   circuitbreaker.State
	round   int // grows when the state changes: what began before counts no more
	opened  time.Time
}

// NewBreaker makes a closed Breaker of a policy that its Check accepts. changed
// is told of each new state ("closed", "open", "half-open") before anything else
// happens to the Breaker, so it must not call it; nil: nobody is.
func NewBreaker(clock stabilize.Clock, p stabilize.BreakerPolicy, changed func(state string)) *Breaker {
	p = p.Defaults()
	if changed == nil {
		changed = func(string) {}
	}
	return &Breaker{
		clock: clock, policy: p, changed: changed,
		circuit: circuitbreaker.NewBuilder[any]().
			WithFailureThresholdRatio(uint(p.Failures), uint(p.Window)).
			WithSuccessThreshold(uint(p.Trials)).Build(),
	}
}

// Try lets a call through and returns done, which must be called once with what
// became of it; or it returns how long to wait before trying again.
func (b *Breaker) Try() (done func(Outcome), wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == circuitbreaker.OpenState {
		now := b.clock.Now()
		if now.Before(b.opened) { // the clock was set back
			b.opened = now
		}
		if left := b.policy.Delay - now.Sub(b.opened); left > 0 {
			return nil, left
		}
		b.circuit.HalfOpen()
		b.moved()
	}
	if !b.circuit.TryAcquirePermit() { // half-open, and its trials are under way
		return nil, min(b.policy.Delay, time.Second)
	}
	round := b.round
	return func(o Outcome) { b.settle(round, o) }, 0
}

func (b *Breaker) settle(round int, o Outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if round != b.round {
		return
	}
	switch o {
	case Good:
		b.circuit.RecordSuccess()
	case Bad:
		b.circuit.RecordFailure()
	default:
		if b.state == circuitbreaker.HalfOpenState { // let another try in its place
			b.circuit.Open()
			b.circuit.HalfOpen()
			b.round++
		}
	}
	b.moved()
}

// moved takes note of a new state, if it is one.
func (b *Breaker) moved() {
	state := b.circuit.State()
	if state == b.state {
		return
	}
	b.state = state
	b.round++
	if state == circuitbreaker.OpenState {
		b.opened = b.clock.Now()
	}
	b.changed(state.String())
}
