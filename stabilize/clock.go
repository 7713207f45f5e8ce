package stabilize

import (
	"sync"
	"time"
)

// Clock is the only source of time in the module, so that a test or a
// simulation can own it. Now is in UTC and cut to Precision, which is what
// every store keeps. Implementations are safe for concurrent use.
type Clock interface {
	Now() time.Time
	// Timer returns a channel that receives once after d, and a stop function
	// that releases it and must be called when the channel is no longer read.
	Timer(d time.Duration) (<-chan time.Time, func())
}

// Precision of every stored instant.
const Precision = time.Microsecond

// Instant returns t as stores keep it: UTC, cut to Precision, no monotonic
// reading. The zero time stays zero and means "absent".
func Instant(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(Precision)
}

// SystemClock is the machine's clock.
type SystemClock struct{}

// Now implements Clock.
func (SystemClock) Now() time.Time { return time.Now().UTC().Truncate(Precision) }

// Timer implements Clock.
func (SystemClock) Timer(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

// ManualClock stands still until it is moved. Timers fire when Advance or Set
// passes their time. It may be set back; timers then wait accordingly longer.
type ManualClock struct {
	mu     sync.Mutex
	now    time.Time
	timers map[*manualTimer]struct{}
	leader Clock // followed; nil: it stands still
}

type manualTimer struct {
	at time.Time
	c  chan time.Time
}

// NewManualClock starts at the given instant.
func NewManualClock(start time.Time) *ManualClock {
	return &ManualClock{now: Instant(start), timers: map[*manualTimer]struct{}{}}
}

// Now implements Clock.
func (c *ManualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leader != nil {
		return Instant(c.leader.Now())
	}
	return c.now
}

// Timer implements Clock.
func (c *ManualClock) Timer(d time.Duration) (<-chan time.Time, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leader != nil {
		return c.leader.Timer(d)
	}
	t := &manualTimer{at: c.now.Add(d), c: make(chan time.Time, 1)}
	if d <= 0 {
		t.c <- c.now
		return t.c, func() {}
	}
	c.timers[t] = struct{}{}
	return t.c, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.timers, t)
	}
}

// Advance moves the clock by d, which may be negative.
func (c *ManualClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(c.now.Add(d))
}

// Set moves the clock to t.
func (c *ManualClock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(Instant(t))
}

// Follow has the clock go as another one from now on, as if somebody moved it all
// the time. Timers that wait already fire at once. It is called once, and the
// clock is not moved by hand afterwards.
func (c *ManualClock) Follow(leader Clock) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader = leader
	for t := range c.timers {
		t.c <- Instant(leader.Now())
		delete(c.timers, t)
	}
}

// NextTimer returns when the earliest waiting timer fires, or the zero time.
func (c *ManualClock) NextTimer() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	var next time.Time
	for t := range c.timers {
		if next.IsZero() || t.at.Before(next) {
			next = t.at
		}
	}
	return next
}

func (c *ManualClock) set(now time.Time) {
	c.now = now
	for t := range c.timers {
		if !t.at.After(now) {
			t.c <- now
			delete(c.timers, t)
		}
	}
}

// Instants calls f for every instant of the header, to bring them to a stored
// form. Stores use it, so that none is forgotten.
func (h *Header) Instants(f func(*time.Time)) {
	f(&h.CreatedAt)
	f(&h.StartedAt)
	f(&h.EndedAt)
	f(&h.StartExpiry)
	if h.Cancel != nil {
		f(&h.Cancel.At)
	}
	if h.Pause != nil {
		f(&h.Pause.At)
		f(&h.Pause.ResumedAt)
	}
	for i := range h.Signals {
		f(&h.Signals[i].At)
	}
}

// Instants is Header.Instants for a stage with its tasks and body.
func (s *Stage) Instants(f func(*time.Time)) {
	f(&s.StartedAt)
	f(&s.EndedAt)
	f(&s.StartExpiry)
	for _, t := range s.Tasks {
		f(&t.StartedAt)
		f(&t.EndedAt)
		if t.Wait != nil {
			f(&t.Wait.Due)
			if t.Wait.Received != nil {
				f(&t.Wait.Received.At)
			}
		}
	}
	if s.State != nil {
		f(&s.State.PausedAt)
		if s.State.Origin != nil {
			f(&s.State.Origin.At)
		}
	}
	if s.Rules != nil {
		for _, c := range s.Rules.Body {
			c.Instants(f)
		}
	}
}
