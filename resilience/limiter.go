package resilience

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Limiter bounds how often something begins. One that comes too early gets a
// turn of its own to come back at, so that those who wait are served in order
// and never all come back at once. Safe for concurrent use.
type Limiter struct {
	clock stabilize.Clock

	mu     sync.Mutex
	rate   *rate.Limiter
	turns  map[string]time.Time
	purged time.Time
}

// NewLimiter makes a Limiter of a limit with Runs that its Check accepts.
func NewLimiter(clock stabilize.Clock, l stabilize.RateLimit) *Limiter {
	if l.Per == 0 {
		l.Per = time.Second
	}
	each := rate.Limit(float64(l.Runs) / l.Per.Seconds())
	return &Limiter{clock: clock, rate: rate.NewLimiter(each, max(l.Burst, 1)), turns: map[string]time.Time{}}
}

// Take returns 0 if the key may begin now, else how long to wait before asking
// again with the same key.
func (l *Limiter) Take(key string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.Now()
	l.purge(now)
	if turn, ok := l.turns[key]; ok {
		if turn.After(now) {
			return turn.Sub(now)
		}
		delete(l.turns, key)
		return 0
	}
	r := l.rate.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	switch {
	case wait <= 0:
		return 0
	case wait > maxAway: // too far off to be promised
		r.CancelAt(now)
		return maxAway
	}
	// Up to the precision of due times, so that nobody is back a little early.
	wait = wait.Truncate(stabilize.Precision) + stabilize.Precision
	l.turns[key] = now.Add(wait)
	return wait
}

// purge forgets the turns that nobody took.
func (l *Limiter) purge(now time.Time) {
	if now.Sub(l.purged) < maxAway && !now.Before(l.purged) {
		return
	}
	l.purged = now
	for key, turn := range l.turns {
		if turn.Before(now.Add(-maxAway)) || turn.After(now.Add(2*maxAway)) {
			delete(l.turns, key)
		}
	}
}
