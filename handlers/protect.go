package handlers

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/resilience"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// protection holds the bulkheads, breakers and rate limits of the task types in
// this process.
type protection struct {
	mu    sync.Mutex
	types map[string]*guard
}

// guard is what stands before the code of one task type; nil parts are absent.
type guard struct {
	bulkhead *resilience.Bulkhead
	breaker  *resilience.Breaker
	limiter  *resilience.Limiter
}

// of returns the guard of a task type, nil if it has none.
func (p *protection) of(clock stabilize.Clock, log *slog.Logger, name string, powers stabilize.Powers) *guard {
	if powers.Bulkhead <= 0 && powers.Breaker == nil && powers.RateLimit.Runs <= 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if g := p.types[name]; g != nil {
		return g
	}
	g := &guard{}
	if powers.Bulkhead > 0 {
		g.bulkhead = resilience.NewBulkhead(clock, powers.Bulkhead)
	}
	if powers.Breaker != nil {
		g.breaker = resilience.NewBreaker(clock, *powers.Breaker, func(state string) {
			log.Warn("a circuit breaker changed", "taskType", name, "state", state)
		})
	}
	if powers.RateLimit.Runs > 0 {
		g.limiter = resilience.NewLimiter(clock, powers.RateLimit)
	}
	if p.types == nil {
		p.types = map[string]*guard{}
	}
	p.types[name] = g
	return g
}

// pass is the leave to run code. ended must be called once, when the code has
// returned or was not called after all; answered before it or after, with what
// the run came to.
type pass struct {
	ended    func(called bool)
	answered func(resilience.Outcome)
}

// enter asks for leave to run the task's code. Without a pass the run is put
// off for so long, and why, or, if that is 0, ctx has ended.
func (g *guard) enter(ctx context.Context, taskID string) (_ *pass, wait time.Duration, why string) {
	p := &pass{ended: func(bool) {}, answered: func(resilience.Outcome) {}}
	if g.bulkhead != nil {
		leave, away, err := g.bulkhead.Enter(ctx)
		if err != nil || away > 0 {
			return nil, away, stabilize.ReasonBulkhead
		}
		p.ended = leave
	}
	if g.breaker != nil {
		done, wait := g.breaker.Try()
		if wait > 0 {
			p.ended(false)
			return nil, wait, stabilize.ReasonBreaker
		}
		p.answered = done
	}
	if g.limiter != nil {
		if wait := g.limiter.Take(taskID); wait > 0 {
			p.answered(resilience.Unknown)
			p.ended(false)
			return nil, wait, stabilize.ReasonRateLimit
		}
	}
	return p, 0, ""
}

// outcome is what a breaker learns of an answer.
func (a *answer) outcome(ctx context.Context) resilience.Outcome {
	switch {
	case ctx.Err() != nil:
		return resilience.Unknown
	case a.failed != nil && a.failed.counts:
		return resilience.Bad
	default:
		return resilience.Good
	}
}
