package sqlstore

import (
	"context"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// databaseClock is the time of the database, so that hosts whose clocks are wrong
// agree about leases and timers. How far ours is off is measured when the store is
// opened and again from time to time; in between our clock's monotonic reading
// goes on from there, and Now never goes back.
type databaseClock struct {
	mu    sync.Mutex
	local time.Time     // when it was measured last
	there time.Time     // what the database said then
	last  time.Time     // Now
	every time.Duration // between two measurements
}

const measureEvery = 30 * time.Second

// Now implements stabilize.Clock.
func (c *databaseClock) Now() time.Time {
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
func (c *databaseClock) Timer(d time.Duration) (<-chan time.Time, func()) {
	return stabilize.SystemClock{}.Timer(d)
}

// stale reports that it is time to measure.
func (c *databaseClock) stale() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.local) > c.every
}

// set notes what the database said between two of our instants: in the middle, we
// suppose, so it is off by no more than half the time that the answer took.
func (c *databaseClock) set(sent, received, there time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.local, c.there = sent.Add(received.Sub(sent)/2), there
}

// followClock measures the database's clock, if the store follows it and has not
// lately. Without an answer the clock goes on as it was; the call that follows
// will say what is wrong.
func (s *Store) followClock(ctx context.Context, db bun.IDB) {
	c, ok := s.cfg.Clock.(*databaseClock)
	if !ok || !c.stale() {
		return
	}
	best := time.Duration(-1)
	for range 3 {
		var us int64
		sent := time.Now()
		err := db.QueryRowContext(ctx, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").Scan(&us)
		received := time.Now()
		if err != nil {
			return
		}
		if took := received.Sub(sent); best < 0 || took < best { // the quickest answer tells most
			best = took
			c.set(sent, received, fromMicros(us))
		}
	}
}

// Clock implements persistence.Clocked.
func (s *Store) Clock() stabilize.Clock { return s.cfg.Clock }
