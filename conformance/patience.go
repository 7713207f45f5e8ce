package conformance

import (
	"sync"
	"time"
)

const (
	// enough is after how many leaks, or clauses that hang, a suite knows the store.
	enough = 3
	// What is left of the grace after one leak, and after enough.
	shortGrace, leastGrace = 2 * time.Second, 100 * time.Millisecond
)

// patience is how long the clauses of one suite wait for what was told to end. A
// store that leaks or hangs everywhere shall fail in seconds, not in hours.
type patience struct {
	limit time.Duration // of a clause

	mu           sync.Mutex
	leaks, hangs int
}

// grace is how long what a clause opened may take to end after it.
func (p *patience) grace() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.leaks >= enough:
		return min(p.limit, leastGrace)
	case p.leaks > 0:
		return min(p.limit, shortGrace)
	default:
		return min(p.limit, 10*time.Second)
	}
}

func (p *patience) leaked() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaks++
}

func (p *patience) hung() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hangs++
}

// over reports whether so many clauses hung that no more are begun.
func (p *patience) over() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hangs >= enough
}
