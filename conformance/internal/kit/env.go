package kit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// TTL of the workers that the clauses claim with, unless they say otherwise.
const TTL = time.Minute

// Tick is the precision of time.
const Tick = stabilize.Precision

// Env is what every clause has at hand. The methods fail the clause and say
// what was being done; they are for the clause's own goroutine.
type Env struct {
	conformance.T
	Clock  *stabilize.ManualClock
	Effort conformance.Effort
}

// Ctx is the clause's context.
func (e *Env) Ctx() context.Context { return e.Context() }

// Now is the clock's.
func (e *Env) Now() time.Time { return e.Clock.Now() }

// Must ends the clause if err is one.
func (e *Env) Must(err error, doing string, args ...any) {
	e.Helper()
	if err != nil {
		e.Fatalf("%s: %v", fmt.Sprintf(doing, args...), err)
	}
}

// Want fails unless err is of the class.
func (e *Env) Want(class, err error, doing string, args ...any) {
	e.Helper()
	if !errors.Is(err, class) {
		e.Errorf("%s: got %s, want the class %q", fmt.Sprintf(doing, args...), Quote(err), class)
	}
}

// Quote writes an error, nil included.
func Quote(err error) string {
	if err == nil {
		return "no error"
	}
	return fmt.Sprintf("the error %q", err)
}

// Same fails unless got equals want in every field.
func (e *Env) Same(want, got any, what string, args ...any) {
	e.Helper()
	if d := Diff(want, got); d != "" {
		e.Errorf("%s: %s", fmt.Sprintf(what, args...), d)
	}
}

// List fails unless both lists are equal.
func (e *Env) List(want, got []string, what string, args ...any) {
	e.Helper()
	if !slices.Equal(want, got) {
		e.Errorf("%s: got %s, want %s", fmt.Sprintf(what, args...), short(got), short(want))
	}
}

func short(list []string) string {
	if len(list) > 20 {
		return fmt.Sprintf("%d of [%s …]", len(list), strings.Join(list[:20], " "))
	}
	return fmt.Sprintf("[%s]", strings.Join(list, " "))
}

// Note is a message that belongs to no workflow and says text.
func Note(text string) queue.Message { return queue.StartWaitingWorkflows{Key: text, Limit: 1} }

// NoteOf returns what a Note says, or the kind of another message.
func NoteOf(m queue.Message) string {
	switch m := m.(type) {
	case nil:
		return "(undecodable)"
	case queue.StartWaitingWorkflows:
		return m.Key
	default:
		return m.Kind()
	}
}

// Send is a Note to be stored under an id that is its text.
func Send(text string) queue.Outgoing { return queue.Outgoing{ID: text, Message: Note(text)} }

// SendAt is Send, due at the given time.
func SendAt(text string, at time.Time) queue.Outgoing {
	o := Send(text)
	o.At = at
	return o
}

// Push stores messages.
func (e *Env) Push(q queue.Queue, msgs ...queue.Outgoing) {
	e.Helper()
	e.Must(q.Push(e.Ctx(), msgs...), "pushing %d messages", len(msgs))
}

// Worker has the usual TTL.
func Worker(id string) queue.Worker { return queue.Worker{ID: id, TTL: TTL} }

// Plenty is room for everything a clause stores.
func Plenty() queue.Room { return queue.Room{Control: 5000, Work: 5000} }

// Claim takes all that is due for a worker with the usual TTL.
func (e *Env) Claim(q queue.Queue, worker string) []queue.Delivery {
	e.Helper()
	return e.ClaimRoom(q, Worker(worker), Plenty())
}

// ClaimRoom takes what there is room for.
func (e *Env) ClaimRoom(q queue.Queue, w queue.Worker, room queue.Room) []queue.Delivery {
	e.Helper()
	ds, err := q.Claim(e.Ctx(), w, room)
	e.Must(err, "claiming as worker %q", w.ID)
	return ds
}

// ClaimOne takes all that is due and ends the clause unless that is one message.
func (e *Env) ClaimOne(q queue.Queue, worker string) queue.Delivery {
	e.Helper()
	ds := e.Claim(q, worker)
	if len(ds) != 1 {
		e.Fatalf("worker %q claimed %s, want exactly one message", worker, short(IDs(ds)))
	}
	return ds[0]
}

// ClaimNone fails if anything can be claimed.
func (e *Env) ClaimNone(q queue.Queue, worker, why string, args ...any) {
	e.Helper()
	if ds := e.Claim(q, worker); len(ds) > 0 {
		e.Errorf("worker %q was given %s, although %s", worker, short(IDs(ds)), fmt.Sprintf(why, args...))
	}
}

// IDs of deliveries.
func IDs(ds []queue.Delivery) []string {
	out := make([]string, len(ds))
	for i, d := range ds {
		out[i] = d.ID
	}
	return out
}

// Depth reads the queue's counts.
func (e *Env) Depth(q queue.Queue) queue.Depth {
	e.Helper()
	d, err := q.Depth(e.Ctx())
	e.Must(err, "reading the depth")
	return d
}

// Pending lists a workflow's messages by id.
func (e *Env) Pending(q queue.Queue, workflowID string) []string {
	e.Helper()
	stored, err := q.Pending(e.Ctx(), workflowID)
	e.Must(err, "listing the messages pending for %q", workflowID)
	out := make([]string, len(stored))
	for i, s := range stored {
		out[i] = s.ID
	}
	return out
}

// Dead lists the dead letters, read in pages of two.
func (e *Env) Dead(q queue.Queue) []queue.DeadLetter {
	e.Helper()
	var out []queue.DeadLetter
	for after := ""; ; after = out[len(out)-1].ID {
		page, err := q.ListDead(e.Ctx(), after, 2)
		e.Must(err, "listing the dead letters after %q", after)
		if len(page) == 0 {
			return out
		}
		if out = append(out, page...); len(out) > 10_000 {
			e.Fatalf("the dead letters never end")
		}
	}
}

// DeadIDs lists the dead letters by id.
func (e *Env) DeadIDs(q queue.Queue) []string {
	e.Helper()
	var out []string
	for _, d := range e.Dead(q) {
		out = append(out, d.ID)
	}
	return out
}

// Lapse lets the workers of the usual TTL fall silent.
func (e *Env) Lapse() { e.Clock.Advance(TTL) }

// Kill makes a dead letter of a note that is pushed for it. The worker's lease
// of it lapses on the way.
func (e *Env) Kill(q queue.Queue, text string) {
	e.Helper()
	o := Send(text)
	o.MaxAttempts = 1
	e.KillMessage(q, o)
}

// KillMessage pushes a message and makes it a dead letter. MaxAttempts must be 1.
func (e *Env) KillMessage(q queue.Queue, o queue.Outgoing) {
	e.Helper()
	e.Push(q, o)
	ds := e.Claim(q, "killer")
	i := slices.IndexFunc(ds, func(d queue.Delivery) bool { return d.ID == o.ID })
	if i < 0 {
		e.Fatalf("the message %q was not delivered: %s", o.ID, short(IDs(ds)))
	}
	e.Must(q.Release(e.Ctx(), ds[i].Receipt(), time.Time{}, errors.New("failed on purpose")), "releasing %q", o.ID)
	if got := IDs(e.Claim(q, "killer")); slices.Contains(got, o.ID) {
		e.Fatalf("the message %q was delivered again after its last attempt", o.ID)
	}
}

// Numbers makes n notes.
func Numbers(n int) []queue.Outgoing {
	out := make([]queue.Outgoing, n)
	for i, text := range Numbered("number %d", n) {
		out[i] = Send(text)
	}
	return out
}
