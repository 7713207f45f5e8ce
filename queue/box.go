package queue

import (
	"context"
	"time"
)

// Box is the mailbox of one workflow, as its Handler sees it. Its methods may
// be called only from within Handle. A nil Box stands for none: it has no room
// and runs nothing.
type Box struct {
	p     *Processor
	key   string
	inbox []Item
	busy  bool
	owned int // work slots of the runs whose answers are being handled
}

// serve handles what waits until nothing does.
func (b *Box) serve() {
	p := b.p
	defer p.jobs.Done()
	for {
		p.mu.Lock()
		items := b.inbox
		b.inbox = nil
		if len(items) == 0 {
			b.busy = false
			delete(p.boxes, b.key)
			p.checkIdle()
			p.mu.Unlock()
			return
		}
		kept := items[:0]
		for _, it := range items {
			if it.Delivery != nil {
				h := p.held[it.Delivery.ID]
				if h == nil || h.delivery != it.Delivery {
					continue // lost while it waited here
				}
				h.handling = true
				if it.Value != nil && h.slot && h.lane == Work {
					h.slot = false
					b.owned++
				}
			}
			kept = append(kept, it)
		}
		ctx := p.work
		p.mu.Unlock()
		if len(kept) > 0 {
			p.cfg.Handler.Handle(ctx, b, kept)
		}
		b.giveBackOwned()
	}
}

func (b *Box) giveBackOwned() {
	p := b.p
	p.mu.Lock()
	if b.owned > 0 {
		p.workFree += b.owned
		b.owned = 0
		p.roomMade()
	}
	p.mu.Unlock()
}

// Key returns the workflow's id, or a name of its own for a message of none.
func (b *Box) Key() string {
	if b == nil {
		return ""
	}
	return b.key
}

// Worker returns the id for Outgoing.Lease.
func (b *Box) Worker() string {
	if b == nil {
		return ""
	}
	return b.p.worker.ID
}

// Reserve takes up to n places for runs whose messages a commit is about to
// store leased, and returns how many it got: none before the worker has a lease.
// The runs whose answers are being handled make place first. Each place is used
// by Adopt or given back by Unreserve.
func (b *Box) Reserve(n int) int {
	if b == nil || n <= 0 {
		return 0
	}
	p := b.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.leased || p.stopping || p.stopRequested() {
		return 0 // the next claim, or the next worker, shall have them
	}
	own := min(n, b.owned)
	b.owned -= own
	free := max(0, min(n-own, p.workFree)) // below 0 where a store delivers more than was asked for
	p.workFree -= free
	return own + free
}

// Expect names the messages that a commit is about to store leased to this
// worker, so that nobody takes them for orphans before it is known.
func (b *Box) Expect(messageIDs ...string) {
	if b == nil || len(messageIDs) == 0 {
		return
	}
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	for _, id := range messageIDs {
		b.p.expected[id] = true
	}
}

// Unreserve gives the places reserved for those messages back.
func (b *Box) Unreserve(messageIDs ...string) {
	if b == nil || len(messageIDs) == 0 {
		return
	}
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	for _, id := range messageIDs {
		delete(b.p.expected, id)
	}
	b.p.workFree += len(messageIDs)
	b.p.roomMade()
}

// Adopt takes over a message that a commit stored leased to this worker, in a
// reserved place, and runs fn for it; see Run.
func (b *Box) Adopt(d *Delivery, fn func(context.Context) any) {
	p := b.p
	h := &holding{delivery: d, lane: Work, slot: true}
	p.mu.Lock()
	delete(p.expected, d.ID)
	if other := p.held[d.ID]; other != nil && !other.handling {
		// Our lease had lapsed: it was stored free, and a claim has it by now.
		p.freeSlot(h)
		p.mu.Unlock()
		return
	}
	p.held[d.ID] = h
	p.mu.Unlock()
	b.start(h, fn)
}

// Run runs fn outside the mailbox. Its answer, which must not be nil, comes
// back as an Item with the same delivery. fn's context ends when the lease is
// lost, on Cancel, and at a hard stop; what it then answers is dropped and its
// place is free at once, whether it returns or not.
func (b *Box) Run(d *Delivery, fn func(context.Context) any) {
	p := b.p
	p.mu.Lock()
	h := p.held[d.ID]
	p.mu.Unlock()
	if h != nil && h.delivery == d {
		b.start(h, fn)
	}
}

func (b *Box) start(h *holding, fn func(context.Context) any) {
	p := b.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held[h.delivery.ID] != h || p.work.Err() != nil {
		return // lost meanwhile, or the worker is stopping: its leases end with it
	}
	ctx, cancel := context.WithCancelCause(p.work)
	h.cancel, h.handling = cancel, false
	p.pool.run(func() {
		defer cancel(nil)
		var answer any = Exited{}
		defer func() { // also when fn ends its goroutine
			p.mu.Lock()
			defer p.mu.Unlock()
			h.cancel = nil
			if p.held[h.delivery.ID] != h || ctx.Err() != nil {
				return // lost, canceled or stopped: the answer counts no more
			}
			p.post(b.key, Item{Delivery: h.delivery, Value: answer})
		}()
		answer = fn(ctx)
	})
}

// Exited is the answer of a run that ended its goroutine without returning
// (runtime.Goexit).
type Exited struct{}

// Settled forgets a delivery that a commit acknowledged.
func (b *Box) Settled(d *Delivery) {
	b.forget(d)
}

// Cancel stops the run of a message that is gone, if it is under way here.
func (b *Box) Cancel(messageID string, cause error) {
	if b == nil {
		return
	}
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	if h := b.p.held[messageID]; h != nil {
		b.p.lose(h, cause)
	}
}

// forget lets go of a delivery, not of what a claim has under its id by now.
func (b *Box) forget(d *Delivery) {
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	if h := b.p.held[d.ID]; h != nil && h.delivery == d {
		b.p.drop(h)
	}
}

// Release gives a delivery back to the queue; see Queue.Release. An error means
// that the lease will lapse or is lost already, and is logged.
func (b *Box) Release(ctx context.Context, d *Delivery, at time.Time, cause error) {
	if err := b.p.cfg.Queue.Release(ctx, d.Receipt(), at, cause); err != nil {
		b.p.cfg.Logger.Warn("releasing a message", "message", d.ID, "kind", d.Message.Kind(), "error", err)
	} else if !at.IsZero() {
		b.WakeAt(at)
	}
	b.forget(d)
}

// Return gives a delivery back untouched; see Queue.Return.
func (b *Box) Return(ctx context.Context, d *Delivery) {
	ctx = context.WithoutCancel(ctx) // also when the worker is stopping
	if err := b.p.cfg.Queue.Return(ctx, d.Receipt()); err != nil {
		b.p.cfg.Logger.Debug("returning a message", "message", d.ID, "kind", d.Message.Kind(), "error", err)
	}
	b.forget(d)
}

// WakeAt tells the processor of a message stored for later.
func (b *Box) WakeAt(at time.Time) {
	if b != nil {
		b.p.WakeAt(at)
	}
}

// Stopping reports whether the processor takes no more work on.
func (b *Box) Stopping() bool {
	if b == nil {
		return false
	}
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	return b.p.stopping
}
