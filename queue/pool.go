package queue

import "sync/atomic"

// pool runs functions on goroutines that it keeps: a mailbox or a task run is
// short and its stack grows deep, and growing a fresh stack each time was a
// tenth of the engine's time.
type pool struct {
	work  chan func()
	quit  chan struct{}
	spare atomic.Int32
}

// maxSpare is how many goroutines wait for work at most.
const maxSpare = 64

func newPool() *pool { return &pool{work: make(chan func()), quit: make(chan struct{})} }

// run runs fn at once, on a waiting goroutine or a new one.
func (p *pool) run(fn func()) {
	select {
	case p.work <- fn:
	default:
		go p.serve(fn)
	}
}

func (p *pool) serve(fn func()) {
	for {
		fn()
		if p.spare.Add(1) > maxSpare {
			p.spare.Add(-1)
			return
		}
		select {
		case fn = <-p.work:
			p.spare.Add(-1)
		case <-p.quit:
			return
		}
	}
}

// close lets the waiting goroutines go; those at work go when they are done.
func (p *pool) close() { close(p.quit) }
