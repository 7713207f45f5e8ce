package memstore

import (
	"container/heap"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/stabilize-dev/go-stabilize/queue"
)

// message is one stored message: leased (worker set) or in a line.
type message struct {
	id          string
	kind        string
	msg         queue.Message // nil: only the body is kept, and decoded at Claim
	body        []byte
	lane        queue.Lane
	owner       *owner
	due         time.Time
	created     time.Time
	seq         uint64 // order of storing
	attempts    int
	maxAttempts int
	lastError   string

	// token acknowledges the last delivery. It outlives the lease of a silent
	// worker until somebody else gets the message.
	token  string
	worker *worker

	inOwner, inWorker, inLine int // indexes there; inLine -1: leased
}

func before(a, b *message) bool {
	if !a.due.Equal(b.due) {
		return a.due.Before(b.due)
	}
	return a.seq < b.seq
}

// line is a heap of free messages, the next one first.
type line []*message

func (l line) Len() int           { return len(l) }
func (l line) Less(i, j int) bool { return before(l[i], l[j]) }
func (l line) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].inLine, l[j].inLine = i, j
}
func (l *line) Push(x any) {
	m := x.(*message)
	m.inLine = len(*l)
	*l = append(*l, m)
}
func (l *line) Pop() any {
	old := *l
	m := old[len(old)-1]
	old[len(old)-1] = nil
	*l = old[:len(old)-1]
	m.inLine = -1
	return m
}

// due returns the next message if its time has come, or nil.
func (l line) due(now time.Time) *message {
	if len(l) == 0 || l[0].due.After(now) {
		return nil
	}
	return l[0]
}

// ready counts those whose time has come: all of them stand above the others.
func (l line) ready(now time.Time) int {
	var count func(i int) int
	count = func(i int) int {
		if i >= len(l) || l[i].due.After(now) {
			return 0
		}
		return 1 + count(2*i+1) + count(2*i+2)
	}
	return count(0)
}

// newMessages makes what a write stores, outside the lock.
func (s *Store) newMessages(out []queue.Outgoing, now time.Time) ([]*message, error) {
	if len(out) == 0 {
		return nil, nil
	}
	block, list := make([]message, len(out)), make([]*message, len(out))
	if len(out) > 4 {
		block = nil // one long-lived message must not keep many dead ones in memory
	}
	for i := range out {
		o, m := &out[i], new(message)
		if block != nil {
			m = &block[i]
		}
		*m = message{
			id: o.ID, kind: o.Message.Kind(), lane: queue.LaneOf(o.Message),
			due: queue.DueAt(o.At, now), created: now, maxAttempts: o.MaxAttempts, inLine: -1,
		}
		if m.id == "" {
			m.id = s.ids.New()
		}
		if m.maxAttempts == 0 {
			m.maxAttempts = queue.DefaultMaxAttempts
		}
		if plain(o.Message) {
			m.msg = o.Message
		} else {
			body, err := queue.Encode(o.Message)
			if err != nil {
				return nil, fmt.Errorf("messages[%d]: %w", i, err)
			}
			m.body = body
		}
		m.owner = &owner{id: queue.WorkflowOf(o.Message)} // looked up by store
		list[i] = m
	}
	return list, nil
}

// plain reports whether a message may be kept as it is: one of package queue
// that is an address and valid names, nothing else. Every other goes through
// its JSON, as in any store, so that it is refused if it cannot be stored,
// shares nothing, comes back in the registered type, and is a dead letter if
// no such type is registered.
func plain(m queue.Message) bool {
	switch m := m.(type) {
	case queue.RunTask:
		return m.Phase.Valid() && plainAddress(m)
	case queue.CompleteTask:
		return m.Status.Valid() && m.Failure == nil && plainAddress(m)
	case queue.ContinueParentStage:
		return m.Owner.Valid() && plainAddress(m)
	case queue.StartWorkflow, queue.CompleteWorkflow, queue.RescheduleWorkflow,
		queue.StartStage, queue.CompleteStage, queue.PauseStage, queue.ResumeStage,
		queue.StartTask, queue.PauseTask, queue.ResumeTask, queue.TimeoutStage, queue.TimeoutWorkflow:
		return plainAddress(m)
	}
	return false
}

func plainAddress(m queue.Message) bool {
	return utf8.ValidString(queue.WorkflowOf(m)) && utf8.ValidString(queue.StageOf(m)) &&
		utf8.ValidString(queue.RefOf(m)) && utf8.ValidString(queue.TaskOf(m))
}

// decoded returns the message as this handle's registry reads it.
func (s *Store) decoded(m *message) (queue.Message, error) {
	if m.msg != nil {
		return m.msg, nil
	}
	return s.messages.Decode(m.id, m.kind, m.body)
}

// store adds a new message, leased if its worker still has its lease.
func (d *Data) store(m *message, lease *queue.Lease, now time.Time) {
	d.add(m, m.owner.id)
	if lease != nil {
		if w := d.workers[lease.Worker]; w != nil && !w.lapsed(now) {
			d.lease(m, w, lease.Token)
			return
		}
	}
	d.free(m, now)
}

// add enters a message into the indexes, at the end of the order of storing.
func (d *Data) add(m *message, workflowID string) {
	d.seq++
	m.seq = d.seq
	m.owner = d.owner(workflowID)
	d.messages[m.id] = m
	m.inOwner = len(m.owner.messages)
	m.owner.messages = append(m.owner.messages, m)
}

// lease hands a message, which is in no line, to a worker.
func (d *Data) lease(m *message, w *worker, token string) {
	m.worker, m.token = w, token
	m.attempts++
	m.inWorker = len(w.held)
	w.held = append(w.held, m)
	d.leased++
}

// unlease takes a message, which may be in a line already, from its worker.
func (d *Data) unlease(m *message) {
	if m.worker == nil {
		return
	}
	held := m.worker.held
	last := held[len(held)-1]
	held[m.inWorker], last.inWorker = last, m.inWorker
	held[len(held)-1] = nil
	m.worker.held = held[:len(held)-1]
	m.worker = nil
	d.leased--
}

// free puts a message, which is neither leased nor in a line, into its line.
func (d *Data) free(m *message, now time.Time) {
	heap.Push(d.line(m), m)
	if !m.due.After(now) {
		d.stir = true
	}
}

// takeOut takes a message from its worker or its line.
func (d *Data) takeOut(m *message) {
	if m.inLine >= 0 {
		heap.Remove(d.line(m), m.inLine)
	}
	d.unlease(m)
}

// drop removes a message.
func (d *Data) drop(m *message) {
	d.takeOut(m)
	delete(d.messages, m.id)
	list := m.owner.messages
	last := list[len(list)-1]
	list[m.inOwner], last.inOwner = last, m.inOwner
	list[len(list)-1] = nil
	m.owner.messages = list[:len(list)-1]
	d.tidy(m.owner)
}

// held returns the message a receipt acknowledges, or nil if it is not held.
func (d *Data) held(r queue.Receipt) *message {
	if m := d.messages[r.ID]; m != nil && m.token == r.Token {
		return m
	}
	return nil
}
