package resilience

import (
	"context"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/bulkhead"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// The bounds of the waits that a Bulkhead or a Limiter asks for. Nobody is sent
// away for longer than maxAway: what was expected may not come true.
const (
	minAway = 10 * time.Millisecond
	maxAway = 10 * time.Second
)

// Bulkhead bounds how many calls are under way at once. As many again may wait
// inside and go in as soon as a place is free, in order; the others are sent
// away, each until a wait inside is likely to be free for it. Safe for
// concurrent use.
type Bulkhead struct {
	clock  stabilize.Clock
	size   int
	places bulkhead.Bulkhead[any]

	mu      sync.Mutex
	inside  int           // with a place or waiting for one
	typical time.Duration // how long a call takes, lately
	next    time.Time     // when the last of those sent away will be back
}

// NewBulkhead makes a Bulkhead of size places, at least one.
func NewBulkhead(clock stabilize.Clock, size int) *Bulkhead {
	size = max(size, 1)
	return &Bulkhead{clock: clock, size: size, places: bulkhead.New[any](uint(size)), typical: 100 * time.Millisecond}
}

// Enter takes a place, waiting for one if there is room to wait, and returns
// leave, which must be called once: with true if the call was made. Or it
// returns how long to stay away before trying again. If ctx ends while it waits
// it returns its cause.
func (b *Bulkhead) Enter(ctx context.Context) (leave func(called bool), away time.Duration, err error) {
	b.mu.Lock()
	if b.inside >= 2*b.size {
		defer b.mu.Unlock()
		return nil, b.sendAway(), nil
	}
	b.inside++
	b.mu.Unlock()
	if b.places.AcquirePermit(ctx) != nil {
		b.left(0)
		return nil, 0, context.Cause(ctx)
	}
	began := b.clock.Now()
	return func(called bool) {
		b.places.ReleasePermit()
		if called {
			b.left(max(b.clock.Now().Sub(began), time.Microsecond))
		} else {
			b.left(0)
		}
	}, 0, nil
}

func (b *Bulkhead) left(took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inside--
	if took > 0 {
		b.typical += (took - b.typical) / 4
	}
}

// sendAway returns how long to stay away: those sent away come back one after
// the other, as fast as places become free; mu held.
func (b *Bulkhead) sendAway() time.Duration {
	now := b.clock.Now()
	if b.next.Before(now) {
		b.next = now
	}
	b.next = b.next.Add(b.typical / time.Duration(b.size))
	if last := now.Add(maxAway); b.next.After(last) {
		b.next = last
	}
	return max(b.next.Sub(now), minAway)
}
