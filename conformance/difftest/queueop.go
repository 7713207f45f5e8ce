package difftest

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/queue"
)

type push struct {
	by
	messages []message
}

func (o push) String() string { return fmt.Sprintf("push %s%s", messagesText(o.messages), o.by) }
func (o push) on(p *player) func(*side) result {
	return func(s *side) result { return failed(o.of(s).Push(p.ctx, outgoing(p, s, o.messages)...)) }
}

func (o push) simpler() []op {
	var out []op
	for i := range o.messages {
		if len(o.messages) > 1 {
			out = append(out, push{o.by, slices.Delete(slices.Clone(o.messages), i, i+1)})
		}
	}
	return out
}

type claim struct {
	by
	worker string
	room   queue.Room
}

func (o claim) String() string {
	return fmt.Sprintf("claim as %s, room for %d and %d%s", o.worker, o.room.Control, o.room.Work, o.by)
}

func (o claim) on(p *player) func(*side) result {
	w := workerOf(o.worker)
	return func(s *side) result {
		ds, err := o.of(s).Claim(p.ctx, w, o.room)
		if err != nil {
			return failed(err)
		}
		p.renewed(w, len(ds) > 0)
		out := make([]queue.Delivery, len(ds))
		for i, d := range ds {
			name := s.name(d.ID, d.Message)
			s.got[name] = append(s.got[name], d.Receipt())
			s.claimed = append(s.claimed, d.Receipt())
			if d.Token == "" {
				name += " without a token"
			}
			if w := d.Workflow; w != nil { // the store may send it along, as it is
				now, err := o.of(p.oracle).Load(p.ctx, w.ID)
				if diff := kit.Diff(now, w); err != nil || diff != "" || w.ID != queue.WorkflowOf(d.Message) {
					name += fmt.Sprintf(" with a workflow that is not as it is: %v, %s", err, diff)
				}
			}
			d.ID, d.Token, d.Message, d.Workflow = name, "", s.named(d.Message), nil
			out[i] = d
		}
		return result{Value: out}
	}
}

type ack struct {
	by
	receipts []receipt
}

func (o ack) String() string { return fmt.Sprintf("ack %s%s", receiptsText(o.receipts), o.by) }
func (o ack) on(p *player) func(*side) result {
	return func(s *side) result { return failed(o.of(s).Ack(p.ctx, receiptsOf(o.receipts, s)...)) }
}

type release struct {
	by
	receipt
	delay time.Duration
	cause string
}

func (o release) String() string {
	return fmt.Sprintf("release %s, due in %s, because of %q%s", o.receipt, o.delay, o.cause, o.by)
}

func (o release) on(p *player) func(*side) result {
	return func(s *side) result {
		return failed(o.by.of(s).Release(p.ctx, o.receipt.of(s), p.due(o.delay), errOf(o.cause)))
	}
}

type giveBack struct {
	by
	receipt
}

func (o giveBack) String() string { return fmt.Sprintf("return %s%s", o.receipt, o.by) }
func (o giveBack) on(p *player) func(*side) result {
	return func(s *side) result { return failed(o.by.of(s).Return(p.ctx, o.receipt.of(s))) }
}

type heartbeat struct {
	by
	worker string
}

func (o heartbeat) String() string { return fmt.Sprintf("heartbeat of %s%s", o.worker, o.by) }
func (o heartbeat) on(p *player) func(*side) result {
	w := workerOf(o.worker)
	return func(s *side) result {
		l, err := o.of(s).Heartbeat(p.ctx, w)
		if err != nil {
			return failed(err)
		}
		p.renewed(w, true)
		fence := "one that was never"
		switch {
		case l.Fence == s.fences[w.ID]:
			fence = "the same as before"
		case l.Fence > s.fence:
			fence = "higher than any"
		}
		s.fences[w.ID], s.fence = l.Fence, max(s.fence, l.Fence)
		held := make([]string, len(l.Held))
		for i, r := range l.Held {
			held[i] = s.name(r.ID, nil)
			if !slices.Contains(s.got[held[i]], r) {
				held[i] += " by an unknown token"
			}
		}
		slices.Sort(held)
		return result{Value: struct {
			Fence string
			Held  []string
		}{fence, held}}
	}
}

type retire struct {
	by
	worker string
}

func (o retire) String() string { return fmt.Sprintf("retire %s%s", o.worker, o.by) }
func (o retire) on(p *player) func(*side) result {
	return func(s *side) result {
		err := o.of(s).Retire(p.ctx, o.worker)
		if err == nil {
			delete(p.leases, o.worker)
		}
		return failed(err)
	}
}

// pending lists a workflow's messages, "" those of none.
type pending struct {
	by
	id string
}

func (o pending) String() string { return fmt.Sprintf("pending of %q%s", o.id, o.by) }
func (o pending) on(p *player) func(*side) result {
	return func(s *side) result {
		stored, err := o.of(s).Pending(p.ctx, o.id)
		out := make([]queue.Stored, len(stored))
		for i, m := range stored {
			m.ID, m.Message = s.name(m.ID, m.Message), s.named(m.Message)
			out[i] = m
		}
		return read(out, err)
	}
}

type depth struct{ by }

func (o depth) String() string { return fmt.Sprintf("depth%s", o.by) }
func (o depth) on(p *player) func(*side) result {
	return func(s *side) result {
		d, err := o.of(s).Depth(p.ctx)
		return read(d, err)
	}
}

type listDead struct {
	by
	after string
	limit int
}

func (o listDead) String() string {
	return fmt.Sprintf("%d dead letters after %q%s", o.limit, o.after, o.by)
}

func (o listDead) on(p *player) func(*side) result {
	return func(s *side) result {
		list, err := o.of(s).ListDead(p.ctx, s.dead(p, o.after), o.limit)
		out := make([]queue.DeadLetter, len(list))
		for i, d := range list {
			for id, name := range s.names {
				d.Body = bytes.ReplaceAll(d.Body, []byte(id), []byte(name))
			}
			d.ID = s.name(d.ID, nil)
			out[i] = d
		}
		return read(out, err)
	}
}

type replay struct {
	by
	name string
}

func (o replay) String() string { return fmt.Sprintf("replay the dead letter %s%s", o.name, o.by) }
func (o replay) on(p *player) func(*side) result {
	return func(s *side) result { return failed(o.of(s).ReplayDead(p.ctx, s.dead(p, o.name))) }
}

type discardDead struct {
	by
	name string
}

func (o discardDead) String() string {
	return fmt.Sprintf("discard the dead letter %s%s", o.name, o.by)
}

func (o discardDead) on(p *player) func(*side) result {
	return func(s *side) result { return failed(o.of(s).DiscardDead(p.ctx, s.dead(p, o.name))) }
}

// oldestDead names the oldest dead letter, whichever that is.
const oldestDead = "the oldest"

// dead returns the id of a dead letter by its name.
func (s *side) dead(p *player, name string) string {
	if name != oldestDead {
		return s.id(name)
	}
	list, err := s.harness.Store().ListDead(p.ctx, "", 1)
	if err != nil || len(list) == 0 {
		return "none"
	}
	return list[0].ID
}

// workerOf gives each worker a TTL of its own.
func workerOf(id string) queue.Worker {
	ttl := time.Minute
	if id == "quick" {
		ttl = 9 * time.Second
	}
	return queue.Worker{ID: id, TTL: ttl}
}
