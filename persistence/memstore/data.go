package memstore

import (
	"slices"
	"sync"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/queue"
)

// Data is what handles share: the database. Everything is under one lock, held
// only to look up and to swap pointers.
type Data struct {
	mu sync.Mutex

	owners    map[string]*owner // by workflow id
	workflows []*owner          // those whose workflow exists, in no order
	nobody    *owner            // of messages that belong to no workflow

	messages map[string]*message // live ones, by id
	lanes    [2]line             // free to be claimed, by queue.Lane
	spent    line                // free, but without attempts left
	leased   int
	seq      uint64

	dead     map[string]*deadLetter
	deadLine []*deadLetter // by the time of death

	workers map[string]*worker
	fence   int64

	gates map[string]*gate // by admission key

	feed     []*events.Event // in order
	recorded uint64          // events so far

	wakes []chan struct{}
	stir  bool // a message became claimable under the present lock
}

// owner is a workflow id and all that hangs on it. The workflow itself may be
// missing: messages may be addressed to one that does not exist.
type owner struct {
	id       string
	workflow *workflow
	at       int // index in Data.workflows
	messages []*message
	dead     []*deadLetter
	seats    []*seat
	events   []*events.Event // of the workflow, in order
}

// NewData makes an empty database.
func NewData() *Data {
	return &Data{
		owners:   map[string]*owner{},
		nobody:   &owner{},
		messages: map[string]*message{},
		dead:     map[string]*deadLetter{},
		workers:  map[string]*worker{},
		gates:    map[string]*gate{},
	}
}

// unlock ends a write, telling waiting workers if it made anything claimable.
func (d *Data) unlock() {
	if d.stir {
		d.stir = false
		for _, c := range d.wakes {
			select {
			case c <- struct{}{}:
			default: // it has a hint already
			}
		}
	}
	d.mu.Unlock()
}

func (d *Data) forgetWake(c chan struct{}) {
	d.wakes = slices.DeleteFunc(d.wakes, func(w chan struct{}) bool { return w == c })
}

// owner returns the owner of that id, made if need be; "" is nobody.
func (d *Data) owner(id string) *owner {
	if id == "" {
		return d.nobody
	}
	o := d.owners[id]
	if o == nil {
		o = &owner{id: id}
		d.owners[id] = o
	}
	return o
}

// tidy forgets an owner on whom nothing hangs.
func (d *Data) tidy(o *owner) {
	if o.workflow == nil && len(o.messages) == 0 && len(o.dead) == 0 && o != d.nobody {
		delete(d.owners, o.id)
	}
}

func (d *Data) addWorkflow(o *owner, w *workflow) {
	o.workflow, o.at = w, len(d.workflows)
	d.workflows = append(d.workflows, o)
}

// remove deletes a workflow and all that hangs on it.
func (d *Data) remove(o *owner) {
	for len(o.messages) > 0 {
		d.drop(o.messages[len(o.messages)-1])
	}
	for len(o.dead) > 0 {
		d.dropDead(o.dead[len(o.dead)-1])
	}
	for len(o.seats) > 0 {
		d.leave(o.seats[len(o.seats)-1])
	}
	d.forget(o)
	if o.workflow != nil {
		last := len(d.workflows) - 1
		moved := d.workflows[last]
		d.workflows[o.at], moved.at = moved, o.at
		d.workflows[last] = nil
		d.workflows = d.workflows[:last]
		o.workflow = nil
	}
	delete(d.owners, o.id)
}

// line returns the line a message waits in.
func (d *Data) line(m *message) *line {
	if m.attempts >= m.maxAttempts {
		return &d.spent
	}
	if m.lane == queue.Work {
		return &d.lanes[queue.Work]
	}
	return &d.lanes[queue.Control]
}
