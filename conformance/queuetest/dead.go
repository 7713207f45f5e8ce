package queuetest

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/queue"
)

// dying is the part of the group VL about messages that cannot be handled.
func dying() []check {
	return []check{
		clause("VL-19", "A message on its last permitted attempt does not become a dead letter while its lease is live.", vl19),
		clause("VL-20", "After its last attempt, released or lapsed, a message is never delivered again and is among the dead letters exactly once, with reason, attempts, last error, body, original id and creation time.", vl20),
		clause("VL-21", "A later claim does not make the same dead letter again.", vl21),
		clause("VL-22", "Dying and being replayed are one step: a message is at every instant in exactly one place, and dies once however many claim at once.", vl22),
		clause("VL-25", "A message that cannot be decoded, or of an unknown kind, becomes a dead letter with its raw bytes, and the same claim goes on to the next message.", vl25),
		clause("VL-26", "Poisoned messages at the head never block those behind them, and take no room: one claim with room for one gets past any number of them.", vl26),
		clause("VL-29", "A dead letter is not pending for its workflow.", vl29),
		clause("VL-35", "A dead letter of a workflow comes with one DeadLettered message, stored in the same step, so that whoever sees the one sees the other, that names it, its kind, stage, task, attempts and error; one of no workflow, or that was itself such a message, comes with none.", vl35),
		clause("VL-45", "A claim buries all that is due and has no attempts left, whatever its room, also with none at all or none in their lane: look for them before looking at the room.", vl45),
	}
}

func last(text string) queue.Outgoing {
	o := kit.Send(text)
	o.MaxAttempts = 1
	return o
}

func vl19(e *env) {
	e.Push(e.a, last("m"))
	d := e.ClaimOne(e.a, "owner")
	for range 3 {
		e.Clock.Advance(kit.TTL - kit.Tick)
		e.heartbeat(e.a, kit.Worker("owner"))
		e.ClaimNone(e.b, "other", "it is leased")
		e.depth(0, 0, 1, 0, "while the last attempt is under way")
	}
	e.ack(e.a, d)
	e.Lapse()
	e.ClaimNone(e.b, "other", "it was acknowledged")
	e.depth(0, 0, 0, 0, "after the last attempt was acknowledged")
}

func vl20(e *env) {
	created := e.Now()
	for _, text := range []string{"released", "lapsed"} {
		o := kit.Send(text)
		o.MaxAttempts = 2
		e.Push(e.a, o)
	}
	for attempt := 1; attempt <= 2; attempt++ {
		e.Clock.Advance(time.Second)
		ds := e.Claim(e.a, fmt.Sprint("worker ", attempt))
		e.List([]string{"lapsed", "released"}, slices.Sorted(slices.Values(kit.IDs(ds))), "what is delivered at attempt %d", attempt)
		for _, d := range ds {
			if d.ID == "released" {
				e.release(e.a, d, fmt.Errorf("cause %d", attempt))
			}
		}
		e.Lapse()
	}
	died := e.Now()
	for i := range 3 {
		e.ClaimNone(e.both(i), "sweeper", "it has no attempts left")
	}
	e.depth(0, 0, 0, 2, "after two messages died")
	for _, d := range e.Dead(e.b) {
		want := queue.DeadLetter{
			ID: d.ID, Kind: "StartWaitingWorkflows", Attempts: 2, MaxAttempts: 2, CreatedAt: created, DiedAt: died, Reason: queue.DeadExhausted,
		}
		if d.ID == "released" {
			want.LastError = "cause 2"
		}
		body, err := queue.Encode(kit.Note(d.ID))
		e.Must(err, "encoding")
		want.Body = body
		e.Same(want, d, "the dead letter %q", d.ID)
	}
	e.List([]string{"lapsed", "released"}, slices.Sorted(slices.Values(e.DeadIDs(e.b))), "the dead letters")
	e.ClaimNone(e.h.Reopen(), "sweeper", "it has no attempts left")
}

func vl21(e *env) {
	o := about("w", "m")
	o.MaxAttempts = 1
	e.KillMessage(e.a, o)
	before := e.Dead(e.a)
	for i := range 5 {
		e.Lapse()
		for _, d := range e.Claim(e.both(i), fmt.Sprint("sweeper ", i)) {
			if d.ID == "m" {
				e.Errorf("the dead message was delivered")
			}
		}
		e.Same(before, e.Dead(e.both(i)), "the dead letters after claim %d", i)
	}
}

func vl22(e *env) {
	rounds := e.Effort.Of(25, 4)
	for round := range rounds {
		text := fmt.Sprint("m", round)
		e.Push(e.a, last(text))
		e.release(e.a, e.ClaimOne(e.a, "killer"), nil)
		errs := kit.Race(4, func(i int) error {
			ds, err := e.both(i).Claim(e.Ctx(), kit.Worker(fmt.Sprint("sweeper ", i)), kit.Plenty())
			if err == nil && len(ds) > 0 {
				return fmt.Errorf("the dead message %q was delivered", ds[0].ID)
			}
			return err
		})
		e.Must(kit.First(errs), "claiming at once what has no attempts left")
		if got := e.DeadIDs(e.b); len(got) != round+1 {
			e.Fatalf("round %d: %d dead letters, want %d", round, len(got), round+1)
		}
	}
	e.one(rounds)
}

// one moves one message round and round while others count.
func (e *env) one(dead int) {
	e.Helper()
	e.Push(e.a, last("one"))
	var done atomic.Bool
	var wrong atomic.Pointer[string]
	errs := kit.Race(3, func(i int) error {
		if i > 0 {
			for more := true; more && wrong.Load() == nil; {
				more = !done.Load() // one last look after the mover is done
				d, err := e.both(i).Depth(e.Ctx())
				if err != nil {
					return err
				}
				if d.Live()+d.Dead != dead+1 {
					text := fmt.Sprintf("while one message died and was replayed, %d were counted: %+v", d.Live()+d.Dead-dead, d)
					wrong.Store(&text)
				}
			}
			return nil
		}
		defer done.Store(true)
		for range e.Effort.Of(40, 10) {
			ds, err := e.a.Claim(e.Ctx(), kit.Worker("mover"), kit.Plenty())
			if err != nil || len(ds) != 1 {
				return fmt.Errorf("claiming gave %d messages and %w", len(ds), err)
			}
			if err := e.a.Release(e.Ctx(), ds[0].Receipt(), time.Time{}, nil); err != nil {
				return err
			}
			if _, err := e.a.Claim(e.Ctx(), kit.Worker("mover"), kit.Plenty()); err != nil {
				return err
			}
			if err := e.a.ReplayDead(e.Ctx(), "one"); err != nil {
				return err
			}
		}
		return nil
	})
	if text := wrong.Load(); text != nil {
		e.Fatalf("%s", *text)
	}
	e.Must(kit.First(errs), "moving one message")
}

func vl25(e *env) {
	bad := poison("w")
	e.Push(e.a, kit.Send("before"), bad[0], kit.Send("between"), bad[1], kit.Send("after"))
	created := e.Now()
	ds, err := e.b.Claim(e.Ctx(), kit.Worker("worker"), queue.Room{Control: 10})
	e.Must(err, "claiming with poison among the messages")
	var got []string
	for _, d := range ds {
		if _, notice := d.Message.(queue.DeadLettered); !notice {
			got = append(got, d.ID)
		}
	}
	e.List([]string{"before", "between", "after"}, got, "what is delivered by the same claim")
	dead := e.Dead(e.a)
	if len(dead) != 2 {
		e.Fatalf("%d dead letters, want 2", len(dead))
	}
	for i, d := range dead {
		body, err := queue.Encode(bad[i].Message)
		e.Must(err, "encoding")
		want := queue.DeadLetter{
			ID: bad[i].ID, Kind: bad[i].Message.Kind(), Body: body, WorkflowID: "w", Attempts: d.Attempts, MaxAttempts: queue.DefaultMaxAttempts,
			CreatedAt: created, DiedAt: created, Reason: queue.DeadUndecodable, LastError: d.LastError,
		}
		e.Same(want, d, "the dead letter of a message that cannot be decoded")
		if d.LastError == "" {
			e.Errorf("the dead letter %q does not say why", d.ID)
		}
	}
}

func vl26(e *env) {
	const n = 25
	for i := range n {
		o := poison("")[i%2]
		o.ID = fmt.Sprint("poison ", i)
		e.Push(e.a, o)
	}
	e.Push(e.a, kit.Send("good"), work("good work"))
	got := kit.IDs(e.ClaimRoom(e.b, kit.Worker("worker"), queue.Room{Control: 1, Work: 1}))
	e.List([]string{"good", "good work"}, slices.Sorted(slices.Values(got)), "what is delivered behind 25 poisoned messages")
	e.depth(0, 0, 2, n, "behind 25 poisoned messages")
}

func vl29(e *env) {
	o := about("w", "m")
	o.MaxAttempts = 1
	e.KillMessage(e.a, o)
	for i := range 2 {
		if got := e.Pending(e.both(i), "w"); slices.Contains(got, "m") {
			e.Errorf("the dead letter is pending for its workflow: %v", got)
		}
	}
	e.List([]string{"m"}, e.DeadIDs(e.b), "the dead letters")
}

// told kills messages of a workflow while others look for the dead letter and the
// message about it: once either is there the other must be.
func (e *env) told() {
	e.Helper()
	for round := range e.Effort.Of(25, 3) {
		id := fmt.Sprint("told ", round)
		o := about("w", id)
		o.MaxAttempts = 1
		e.Push(e.a, o)
		e.release(e.a, e.ClaimOne(e.a, "killer"), nil)
		var done atomic.Bool
		errs := kit.Race(3, func(i int) error {
			if i == 0 {
				defer done.Store(true)
				_, err := e.a.Claim(e.Ctx(), kit.Worker("killer"), queue.Room{})
				return err
			}
			looks := []func(queue.Queue, string) (bool, error){e.isDead, e.isTold}
			for more := true; more; {
				more = !done.Load() // one last look after the claim
				if first, err := looks[i-1](e.b, id); err != nil || !first {
					if err != nil {
						return err
					}
					continue
				}
				if then, err := looks[2-i](e.b, id); err != nil || !then {
					return errors.Join(err, fmt.Errorf("of a dead letter and the message about it %s was seen alone", []string{"the first", "the second"}[i-1]))
				}
			}
			return nil
		})
		e.Must(kit.First(errs), "looking while a message died")
		for _, d := range e.Claim(e.a, "reader") {
			e.ack(e.a, d)
		}
		e.Must(e.a.DiscardDead(e.Ctx(), id), "discarding")
	}
}

// isDead and isTold are safe in a race.
func (e *env) isDead(q queue.Queue, id string) (bool, error) {
	list, err := q.ListDead(e.Ctx(), "", 100)
	return slices.ContainsFunc(list, func(d queue.DeadLetter) bool { return d.ID == id }), err
}

func (e *env) isTold(q queue.Queue, id string) (bool, error) {
	list, err := q.Pending(e.Ctx(), "w")
	return slices.ContainsFunc(list, func(s queue.Stored) bool {
		n, ok := s.Message.(queue.DeadLettered)
		return ok && n.DeadLetterID == id
	}), err
}

func vl35(e *env) {
	e.told()
	notices := func() []queue.DeadLettered {
		e.Helper()
		var out []queue.DeadLettered
		for _, s := range e.stored("w") {
			if n, ok := s.Message.(queue.DeadLettered); ok {
				out = append(out, n)
			}
		}
		return out
	}
	o := queue.Outgoing{ID: "task", Message: queue.RunTask{OfTask: queue.ToTask("w", "the stage", "the task")}, MaxAttempts: 1}
	e.KillMessage(e.a, o)
	got := notices()
	if len(got) != 1 {
		e.Fatalf("after one message of a workflow died it has %d DeadLettered messages", len(got))
	}
	e.Same(queue.DeadLettered{
		OfWorkflow: queue.ToWorkflow("w"), DeadLetterID: "task", DeadKind: "RunTask", StageID: "the stage", TaskID: "the task", Attempts: 1, Error: "failed on purpose",
	}, got[0], "the DeadLettered message")
	e.Kill(e.a, "loose")
	if list := e.Pending(e.b, ""); len(list) != 0 {
		e.Errorf("after a message of no workflow died these are pending: %v", list)
	}
	e.Push(e.a, poison("w")[0])
	e.Claim(e.a, "worker")
	if got = notices(); len(got) != 2 {
		e.Fatalf("after two messages of a workflow died it has %d DeadLettered messages", len(got))
	}
	if n := got[1]; n.DeadLetterID != "stranger" || n.DeadKind != (stranger{}).Kind() || n.Error == "" {
		e.Errorf("the DeadLettered message of one that cannot be decoded is %+v", n)
	}
	e.Lapse()
	found := 0
	for _, d := range e.Claim(e.b, "deliverer") {
		if _, ok := d.Message.(queue.DeadLettered); ok {
			found++
		}
	}
	if found != 2 {
		e.Errorf("%d DeadLettered messages were delivered, want 2", found)
	}
	e.Must(e.b.Retire(e.Ctx(), "deliverer"), "retiring")
	e.KillMessage(e.a, queue.Outgoing{ID: "notice", Message: got[0], MaxAttempts: 1})
	if n := len(notices()); n != 2 {
		e.Errorf("after a DeadLettered message died there are %d, want the 2 there were", n)
	}
	if ids := e.DeadIDs(e.b); !slices.Contains(ids, "notice") {
		e.Errorf("the DeadLettered message that died is not among the dead letters %v", ids)
	}
}

func vl45(e *env) {
	for i, room := range []queue.Room{{}, {Control: 1}, {Work: 1}} {
		run := last("run")
		run.Message = queue.RunTask{OfTask: queue.ToTask("", "s", "t")}
		e.Push(e.a, last("control"), run)
		for _, d := range e.Claim(e.a, "worker") {
			e.release(e.a, d, cause())
		}
		if ds := e.ClaimRoom(e.both(i), kit.Worker("worker"), room); len(ds) > 0 {
			e.Errorf("with the room %+v these were delivered, which have no attempts left: %v", room, kit.IDs(ds))
		}
		e.List([]string{"control", "run"}, slices.Sorted(slices.Values(e.DeadIDs(e.b))), "the dead letters after a claim with the room %+v", room)
		for _, id := range []string{"control", "run"} {
			e.Must(e.a.DiscardDead(e.Ctx(), id), "discarding")
		}
		e.depth(0, 0, 0, 0, "after both were discarded")
	}
}
