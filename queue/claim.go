package queue

import (
	"container/heap"
	"context"
	"errors"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// errStopped is the cause of a running task's context at a hard stop.
var errStopped = errors.Join(context.Canceled, errors.New("the worker is stopping"))

func (p *Processor) claimLoop(ctx, work context.Context) {
	poll := p.cfg.MaxPoll / 16
	var storeWake <-chan struct{}
	if n, ok := p.cfg.Queue.(Notifier); ok {
		storeWake = n.Wake()
	}
	for {
		if ctx.Err() != nil || p.stopRequested() {
			return
		}
		got, full := p.claim(ctx, work)
		if got > 0 {
			poll = p.cfg.MaxPoll / 16
		}
		if full {
			continue // there is room and there is more
		}
		timer, release := p.cfg.Clock.Timer(p.nextPoll(poll))
		select {
		case <-ctx.Done():
		case <-work.Done():
			release()
			return
		case <-p.stop:
		case <-p.wake:
		case <-storeWake:
		case <-timer:
			poll = min(2*poll, p.cfg.MaxPoll)
		}
		release()
	}
}

func (p *Processor) stopRequested() bool {
	select {
	case <-p.stop:
		return true
	default:
		return false
	}
}

// nextPoll is how long to wait: the poll interval, or less if something stored
// by this process becomes due earlier.
func (p *Processor) nextPoll(poll time.Duration) time.Duration {
	now := p.cfg.Clock.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if next := p.due.next(now); !next.IsZero() {
		poll = min(poll, max(next.Sub(now), 0))
	}
	return poll
}

// claim fills the room there is. full: it got as much as it asked for, so more
// may be waiting.
func (p *Processor) claim(ctx, work context.Context) (got int, full bool) {
	p.mu.Lock()
	// Half of the work places stay free while the claim is under way, for what
	// commits in this process want to run at once.
	room := Room{Control: p.ctlFree, Work: (p.workFree + 1) / 2}
	p.ctlFree -= room.Control
	p.workFree -= room.Work
	p.claiming = true
	p.starved = room.Control == 0 || room.Work == 0
	p.mu.Unlock()
	var deliveries []Delivery
	var err error
	if room.Control > 0 || room.Work > 0 {
		deliveries, err = p.cfg.Queue.Claim(work, p.worker, room)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.claiming = false
	p.ctlFree += room.Control
	p.workFree += room.Work
	if err != nil {
		if ctx.Err() == nil && work.Err() == nil {
			p.cfg.Logger.Error("claiming messages", "worker", p.worker.ID, "error", err)
		}
		p.checkIdle()
		return 0, false
	}
	var control, works int
	for i := range deliveries {
		d := &deliveries[i]
		h := &holding{delivery: d, lane: LaneOf(d.Message), slot: true}
		if h.lane == Work {
			p.workFree--
			works++
		} else {
			p.ctlFree--
			control++
		}
		p.hold(h)
	}
	p.checkIdle()
	filled := control == room.Control || works == room.Work
	p.starved = filled
	return len(deliveries), filled && len(deliveries) > 0 && p.ctlFree > 0 && p.workFree > 0
}

// hold must be called with mu held.
func (p *Processor) hold(h *holding) {
	key := WorkflowOf(h.delivery.Message)
	if key == "" {
		key = "\x00" + h.delivery.ID // belongs to none: a mailbox of its own
	}
	if old := p.held[h.delivery.ID]; old != nil { // ours before, lost and claimed again
		p.lose(old, &stabilize.LeaseLostError{Kind: "message", ID: h.delivery.ID})
	}
	p.held[h.delivery.ID] = h
	p.post(key, Item{Delivery: h.delivery})
}

// drop forgets a held message and gives its room back; mu held.
func (p *Processor) drop(h *holding) {
	if p.held[h.delivery.ID] != h {
		return
	}
	delete(p.held, h.delivery.ID)
	p.freeSlot(h)
	p.checkIdle()
}

// freeSlot gives a held message's room back; mu held.
func (p *Processor) freeSlot(h *holding) {
	if !h.slot {
		return
	}
	h.slot = false
	if h.lane == Work {
		p.workFree++
	} else {
		p.ctlFree++
	}
	p.roomMade()
}

// heartbeats keep the leases, tell running work when its lease was lost, and
// hand back what is leased to us without our knowing (a reply that was lost).
// A failing heartbeat changes nothing: fencing decides who may commit.
func (p *Processor) heartbeats(work context.Context, drained <-chan struct{}) {
	for {
		timer, release := p.cfg.Clock.Timer(p.cfg.LeaseTTL / 4)
		select {
		case <-work.Done():
			release()
			return
		case <-drained:
			release()
			return
		case <-timer:
		}
		release()
		p.heartbeat(work)
	}
}

func (p *Processor) heartbeat(work context.Context) {
	p.mu.Lock()
	before := make(map[string]*holding, len(p.held))
	for id, h := range p.held {
		if !h.handling {
			before[id] = h
		}
	}
	claiming := p.claiming
	worker := p.worker
	worker.Ready = !p.stopping
	p.mu.Unlock()
	leases, err := p.cfg.Queue.Heartbeat(work, worker)
	if err != nil {
		if work.Err() == nil {
			p.cfg.Logger.Warn("heartbeat", "worker", p.worker.ID, "error", err)
		}
		return
	}
	p.mu.Lock()
	orphans := map[Receipt]bool{}
	var handBack []Receipt
	for _, r := range leases.Held {
		if h := p.held[r.ID]; h != nil && h.delivery.Token == r.Token {
			delete(before, r.ID)
			continue
		}
		switch {
		case claiming || p.claiming || p.expected[r.ID]:
		case p.orphans[r]:
			handBack = append(handBack, r) // unknown twice in a row
		default:
			orphans[r] = true
		}
	}
	p.orphans = orphans
	for id, h := range before {
		if p.held[id] == h && !h.handling { // another took it, or it was discarded
			p.cfg.Logger.Warn("lease lost", "worker", p.worker.ID, "message", id, "kind", h.delivery.Message.Kind())
			p.lose(h, &stabilize.LeaseLostError{Kind: "message", ID: id})
		}
	}
	p.mu.Unlock()
	for _, r := range handBack {
		if err := p.cfg.Queue.Return(work, r); err != nil {
			p.cfg.Logger.Debug("handing back an orphan", "message", r.ID, "error", err)
		}
	}
}

// lose drops a message and stops its work; mu held.
func (p *Processor) lose(h *holding, cause error) {
	if h.cancel != nil {
		h.cancel(cause)
	}
	p.drop(h)
}

// dueTimes remembers when messages stored by this process become due. It is a
// hint: it may forget, polling finds everything.
type dueTimes []time.Time

const maxDueTimes = 4096

func (d *dueTimes) add(at time.Time) {
	if len(*d) < maxDueTimes {
		heap.Push(d, at)
	}
}

// next returns the earliest time still to come and forgets those past.
func (d *dueTimes) next(now time.Time) time.Time {
	for len(*d) > 0 {
		if first := (*d)[0]; first.After(now) {
			return first
		}
		heap.Pop(d)
	}
	return time.Time{}
}

func (d dueTimes) Len() int           { return len(d) }
func (d dueTimes) Less(i, j int) bool { return d[i].Before(d[j]) }
func (d dueTimes) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *dueTimes) Push(x any)        { *d = append(*d, x.(time.Time)) }
func (d *dueTimes) Pop() any {
	old := *d
	last := old[len(old)-1]
	*d = old[:len(old)-1]
	return last
}
