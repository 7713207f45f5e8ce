package queue

import (
	"context"
	"reflect"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// DefaultMaxAttempts is how often a message is delivered before it becomes a
// dead letter, where the Outgoing does not say.
const DefaultMaxAttempts = 10

// Outgoing is a message to be stored.
type Outgoing struct {
	// ID is unique among the messages stored, dead letters included; empty: the
	// store assigns a ULID.
	ID      string
	Message Message
	// At is when it is due; zero or past: now.
	At time.Time
	// MaxAttempts is how often it is delivered, kept exactly up to math.MaxInt32; 0:
	// DefaultMaxAttempts.
	MaxAttempts int
	// Lease, when set, delivers the message to that worker in the same step,
	// without a claim: it is stored as leased, with Attempts 1. Only in a commit,
	// and only for a worker that holds its worker lease; if it does not, the
	// message is stored unleased and LeaseLost tells nobody: the worker's next
	// heartbeat does.
	Lease *Lease
}

// Lease is a worker's hold on one message.
type Lease struct {
	Worker string // the worker's id
	Token  string // chosen by whoever leases, never used before
}

// Receipt is what acknowledges a delivery: holding the id alone is not enough.
type Receipt struct {
	ID    string
	Token string
}

// Check returns ErrInvalid unless the receipt has both parts.
func (r Receipt) Check() error {
	if r.ID == "" || r.Token == "" {
		return stabilize.Invalid("receipt", "has no id or no token")
	}
	return nil
}

// Delivery is a message as it is handed to a worker.
type Delivery struct {
	ID          string
	Token       string
	Message     Message
	Due         time.Time
	CreatedAt   time.Time
	Attempts    int    // 1 at the first delivery, one more at each later one
	MaxAttempts int    // after so many it becomes a dead letter
	LastError   string // cause given at the last Release
	// Workflow is the one that the message is for, as it was when the message was
	// claimed, where the store sends it along to spare a Load; else nil. It belongs to
	// the receiver. Another may have changed it since: a commit finds out.
	Workflow *stabilize.Workflow
}

// Receipt returns what acknowledges the delivery.
func (d *Delivery) Receipt() Receipt { return Receipt{ID: d.ID, Token: d.Token} }

// Worker is one claimer of messages. All its leases live and lapse together.
type Worker struct {
	ID  string        // unique per process start
	TTL time.Duration // how long its leases outlive its last Claim or Heartbeat, to the microsecond
	// Ready says, in a Heartbeat, that the worker claims whenever Wake tells it to, and at
	// once again when that filled more than one place for work and it has more. From then
	// on, until one that says otherwise, a store may tell it alone of what is claimable, and
	// lease it messages that it has not claimed yet. They are held from then on, and its next
	// claims deliver them, in their room.
	Ready bool
}

// Room is how many deliveries a worker can take, by lane.
type Room struct {
	Control int
	Work    int
}

// Leases is what a worker still holds.
type Leases struct {
	// Fence grows whenever a lapsed or retired worker lease is taken anew, by
	// anyone.
	Fence int64
	// Held are the messages leased to the worker.
	Held []Receipt
}

// Queue is what every store's queue promises. All methods are safe for
// concurrent use, by several processes on the same data, and return errors of
// the classes of package stabilize. Time is the store's Clock, never the
// database's NOW().
//
// Order is by due time, then by the order of storing. A message that comes back
// keeps its place by its due time: Release sets a new one, a lapsed lease does
// not.
//
// A lease lapses when its worker has been silent for its TTL; then the message
// is delivered to whoever claims next. Until someone else did, the silent
// worker still holds it and may acknowledge it (nobody else has it). After
// that its token is void for ever.
type Queue interface {
	// Push stores messages, all or none. Errors: ErrInvalid (nil message, unusable
	// id, Lease set), ErrExists (id in use).
	Push(ctx context.Context, msgs ...Outgoing) error

	// Claim renews the worker's lease, so that it frees nothing of its own, and
	// delivers due messages to it, oldest first over both lanes, at most room of each
	// lane. On the way it frees what lapsed workers held, and moves to the dead
	// letters what is due, unleased and has no attempts left, whatever the room, and
	// what cannot be decoded, which takes no room: each in one step with its Notice
	// if it has one. It never waits: no message is no error. One that has nothing to
	// do, or delivers what the worker was leased because it is Ready, need not renew while
	// two thirds of the worker's TTL are left. Negative room or a TTL of zero or less is
	// ErrInvalid.
	Claim(ctx context.Context, w Worker, room Room) ([]Delivery, error)

	// Ack removes deliveries, each on its own; the first that is not held any
	// more is ErrLeaseLost, the others are removed all the same. A delivery that
	// a commit handled needs none.
	Ack(ctx context.Context, receipts ...Receipt) error

	// Release gives a delivery back, due at the given time (zero: now), with the
	// cause that the next delivery reports as LastError, in full, empty without one.
	// Its token is void. ErrLeaseLost if it is not held any more; see CheckRelease.
	Release(ctx context.Context, r Receipt, at time.Time, cause error) error

	// Return gives a delivery back at once and takes back the attempt it counted:
	// the worker did nothing with it. Its token is void; due time and LastError are
	// kept. ErrLeaseLost if it is not held any more.
	Return(ctx context.Context, r Receipt) error

	// Heartbeat renews the worker's lease in one write and tells what it holds.
	// A worker that had lapsed, or is new, gets a new lease with a higher Fence, and
	// one that had lapsed still holds what nobody's claim has freed. A Heartbeat or Claim
	// that was slow on its way, after it had read the clock, does not cut short what a later
	// one gave.
	Heartbeat(ctx context.Context, w Worker) (Leases, error)

	// Retire ends a worker's lease: all it holds becomes claimable at once, with
	// the attempts counted and the tokens void. An unknown worker is no error.
	Retire(ctx context.Context, worker string) error

	// Pending lists the messages stored for a workflow, due or not, leased or
	// not, dead letters not, in order. "" lists those that belong to none.
	Pending(ctx context.Context, workflowID string) ([]Stored, error)

	// Depth counts what is stored, read-your-writes. What a lapsed worker holds
	// counts, here and in Pending, as not leased, also before anyone claims.
	Depth(ctx context.Context) (Depth, error)

	DeadLetters
}

// Notifier is an optional power of a Queue.
type Notifier interface {
	// Wake returns a channel that receives when messages may have become
	// claimable by a write through this handle, or through any where the
	// database tells. Hints only: they may be missing or come for nothing, but no
	// claim or heartbeat that makes nothing claimable gives one: whoever is woken
	// claims.
	Wake() <-chan struct{}
}

// DeadLetters are the messages that could not be handled.
type DeadLetters interface {
	// ListDead returns dead letters, oldest death first, those of one instant in the
	// order in which they died, after the given id ("" from
	// the start; ErrNotFound if it is no dead letter, any more), at most limit
	// (ErrInvalid unless positive).
	ListDead(ctx context.Context, after string, limit int) ([]DeadLetter, error)
	// ReplayDead puts a dead letter back into the queue under its id, due now, as the
	// last in the order of storing, with its attempts at 0, no LastError and its own
	// MaxAttempts, in one step. ErrNotFound.
	ReplayDead(ctx context.Context, id string) error
	// DiscardDead removes a dead letter. ErrNotFound.
	DiscardDead(ctx context.Context, id string) error
}

// DeadLetter is a message that could not be handled, with its raw bytes.
type DeadLetter struct {
	ID          string // the message's
	Kind        string
	Body        []byte
	WorkflowID  string
	Attempts    int
	MaxAttempts int
	CreatedAt   time.Time // of the message
	DiedAt      time.Time
	Reason      string // "attempts exhausted" or "undecodable"
	LastError   string
}

// Notice is the message that tells the dead letter's workflow of it; m is the
// message if it could be decoded, else nil. A dead letter of no workflow, and one
// that was itself a notice, has none: it would go on for ever. Of a workflow that
// could not be created the task that waits for it is told.
func (d *DeadLetter) Notice(m Message) (DeadLettered, bool) {
	n := DeadLettered{
		OfWorkflow: ToWorkflow(d.WorkflowID), DeadLetterID: d.ID, DeadKind: d.Kind,
		Attempts: d.Attempts, Error: d.LastError,
	}
	if n.Error == "" {
		n.Error = d.Reason
	}
	if m != nil {
		n.StageID, n.StageRef, n.TaskID = StageOf(m), RefOf(m), TaskOf(m)
	}
	if c, ok := m.(CreateWorkflow); ok && c.Header.Parent != nil && c.Header.Parent.Waits {
		p := c.Header.Parent
		n.OfWorkflow, n.StageID, n.TaskID = ToWorkflow(p.WorkflowID), p.StageID, p.TaskID
	}
	return n, d.WorkflowID != "" && d.Kind != n.Kind()
}

// EncodeNotice is the stored form of the dead letter's Notice, whatever its size,
// with an id from ids; nil if it has none. r decodes the message, if that can be
// done.
func (d *DeadLetter) EncodeNotice(r *Registry, ids *stabilize.IDs) (*Encoded, error) {
	m, _ := r.Decode(d.ID, d.Kind, d.Body)
	n, ok := d.Notice(m)
	if !ok {
		return nil, nil
	}
	e, err := (&Outgoing{Message: n}).Encode(ids, 0)
	if err != nil {
		return nil, err
	}
	return &e, nil
}

// Reasons of a DeadLetter.
const (
	DeadExhausted   = "attempts exhausted"
	DeadUndecodable = "undecodable"
)

// Stored is a message in the queue.
type Stored struct {
	ID          string
	Message     Message // nil if it cannot be decoded
	Kind        string
	Due         time.Time
	Leased      bool
	Attempts    int
	MaxAttempts int
}

// Depth counts messages.
type Depth struct {
	Ready   int // due and not leased, also what has no attempts left and no claim buried yet
	Delayed int // not due yet
	Leased  int
	Dead    int
	// Oldest is when the oldest ready message became due; zero if none is.
	Oldest time.Time
}

// Add counts one message that is no dead letter.
func (d *Depth) Add(due time.Time, leased bool, now time.Time) {
	switch {
	case leased:
		d.Leased++
	case due.After(now):
		d.Delayed++
	default:
		d.Ready++
		if d.Oldest.IsZero() || due.Before(d.Oldest) {
			d.Oldest = due
		}
	}
}

// Live is what a drain loop waits for: everything but the dead letters.
func (d Depth) Live() int { return d.Ready + d.Delayed + d.Leased }

// Check returns ErrInvalid, naming the field, unless the message can be stored.
func (o *Outgoing) Check() error {
	if o.Message == nil {
		return stabilize.Invalid("message", "is nil")
	}
	if reflect.TypeOf(o.Message).Kind() == reflect.Pointer {
		return stabilize.Invalid("message", "is a %T; messages are values", o.Message)
	}
	kind := o.Message.Kind()
	if o.ID != "" {
		if err := stabilize.CheckID("message id", o.ID); err != nil {
			return err
		}
	}
	if id := WorkflowOf(o.Message); id != "" {
		if err := stabilize.CheckID(kind+" workflow id", id); err != nil {
			return err
		}
	}
	switch {
	case o.MaxAttempts < 0:
		return stabilize.Invalid(kind+" max attempts", "%d is negative", o.MaxAttempts)
	case o.Lease != nil && (o.Lease.Worker == "" || o.Lease.Token == ""):
		return stabilize.Invalid(kind+" lease", "has no worker or no token")
	case o.At.Year() > lastYear:
		return stabilize.Invalid(kind+" due", "%s is after the year %d", o.At, lastYear)
	}
	return nil
}

// Check returns ErrInvalid unless the worker can claim.
func (w Worker) Check() error {
	if err := stabilize.CheckID("worker id", w.ID); err != nil {
		return err
	}
	if w.TTL <= 0 {
		return stabilize.Invalid("worker TTL", "%s is not positive", w.TTL)
	}
	return nil
}

// Check returns ErrInvalid unless the room is none or some in each lane.
func (r Room) Check() error {
	if r.Control < 0 || r.Work < 0 {
		return stabilize.Invalid("room", "%d and %d: one is negative", r.Control, r.Work)
	}
	return nil
}
