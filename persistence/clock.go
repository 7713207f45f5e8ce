package persistence

import (
	"context"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// DatabaseClock is the time of a database, so that hosts whose clocks are wrong agree
// about leases and timers. How far ours is off is measured by Follow; in between our
// clock's monotonic reading goes on from there, and Now never goes back. Safe for
// concurrent use.
type DatabaseClock struct {
	mu    sync.Mutex
	local time.Time // when it was measured last
	there time.Time // what the database said then
	last  time.Time // Now
}

// NewDatabaseClock returns one that says what the machine's does until it was measured.
func NewDatabaseClock() *DatabaseClock { return &DatabaseClock{} }

const measureEvery = 30 * time.Second

// Now implements stabilize.Clock.
func (c *DatabaseClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.local.IsZero() {
		return stabilize.Instant(now) // before the first answer nothing is stored
	}
	if now = stabilize.Instant(c.there.Add(now.Sub(c.local))); now.After(c.last) {
		c.last = now
	}
	return c.last
}

// Timer implements stabilize.Clock.
func (c *DatabaseClock) Timer(d time.Duration) (<-chan time.Time, func()) {
	return stabilize.SystemClock{}.Timer(d)
}

// Follow asks the database what time it is, if that was not done within the last 30
// seconds: three times, and the quickest answer counts. Without one the clock goes on as it
// was; the call that follows will say what is wrong.
func (c *DatabaseClock) Follow(ctx context.Context, ask func(context.Context) (time.Time, error)) {
	if !c.stale() {
		return
	}
	var best struct{ sent, received, there time.Time }
	for n := range 3 {
		sent := time.Now()
		there, err := ask(ctx)
		received := time.Now()
		if err != nil {
			return
		}
		if n == 0 || received.Sub(sent) < best.received.Sub(best.sent) {
			best.sent, best.received, best.there = sent, received, there
		}
	}
	c.Set(best.sent, best.received, best.there) // not before: Now does not go back from what a slow answer made it say
}

func (c *DatabaseClock) stale() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.local) > measureEvery
}

// Expire has the next Follow ask.
func (c *DatabaseClock) Expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.local.IsZero() {
		elapsed := measureEvery + 1
		c.local, c.there = c.local.Add(-elapsed), c.there.Add(-elapsed)
	}
}

// Set notes what the database said between two of our instants: in the middle, we
// suppose, so it is off by no more than half the time that the answer took.
func (c *DatabaseClock) Set(sent, received, there time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.local, c.there = sent.Add(received.Sub(sent)/2), there
}
