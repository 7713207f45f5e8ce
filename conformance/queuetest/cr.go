package queuetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// crashes are the group CR and what else needs a hostile database.
func crashes() []check {
	return []check{
		clause("CR-03", "A message that was delivered and then lost with its handle is delivered again when the lease has lapsed, not before.", cr03),
		clauseFor(conformance.CanIntercept, "CR-05", "When the connection breaks before or after any call while a message dies or is replayed, it is in exactly one place, a dead letter of a workflow with the one message about it, and trying again moves it.", cr05),
		clause("CR-06", "Fences, tokens, message ids and the order of storing go on after reopening an emptied queue: none goes back or comes again.", cr06),
		clauseFor(conformance.CanIntercept, "CR-07", "A connection that breaks in the middle of reading is an error, never a short list, and what a claim did not hand out is delivered again.", cr07),
		clauseFor(conformance.CanFreeze, "CX-02", "Every method with a deadline of 200 ms returns from a frozen database soon after it, and the handle can be used when it is thawed.", cx02),
	}
}

// reopen opens the data anew, as the next process would.
func (e *env) reopen() {
	e.a = e.h.Reopen()
	e.b = e.h.Second()
}

func cr03(e *env) {
	e.Push(e.a, kit.Send("m"))
	first := e.ClaimOne(e.a, "lost")
	e.reopen()
	e.ClaimNone(e.a, "next", "its lease has not lapsed")
	e.Clock.Advance(kit.TTL - kit.Tick)
	e.ClaimNone(e.a, "next", "its lease lapses a tick later")
	e.Clock.Advance(kit.Tick)
	again := e.ClaimOne(e.a, "next")
	if again.ID != "m" || again.Attempts != 2 || again.Token == first.Token {
		e.Errorf("after the handle was lost the delivery is %+v, want %q a second time, with a token of its own", again, "m")
	}
	e.ack(e.a, again)
}

// dead fails unless a message is in the queue or among the dead letters, and
// not in both, and reports whether it is dead.
func (e *env) dead(id, when string) bool {
	e.Helper()
	live, dead := slices.Contains(e.Pending(e.b, ""), id), slices.Contains(e.DeadIDs(e.b), id)
	if live == dead {
		e.Errorf("%s the message is in the queue: %t, among the dead letters: %t", when, live, dead)
	}
	return dead
}

// lost reports whether trying again may help, and is due.
func lost(err error) bool {
	return errors.Is(err, stabilize.ErrTransient) || errors.Is(err, stabilize.ErrUnknownOutcome)
}

func cr05(e *env) {
	i := power[conformance.Interceptor](e)
	e.EachMoment(i, kit.Breaks, func(n int, act func(func())) {
		id, when := fmt.Sprint("dies ", n), fmt.Sprintf("when the connection broke at moment %d of a claim", n)
		o := kit.Send(id)
		o.MaxAttempts = 1
		e.Push(e.a, o)
		e.release(e.a, e.ClaimOne(e.a, "worker"), cause())
		var err error
		act(func() { _, err = e.a.Claim(e.Ctx(), kit.Worker("worker"), kit.Plenty()) })
		if err != nil && !lost(err) {
			e.Errorf("%s it returned %v, want ErrTransient or ErrUnknownOutcome", when, err)
		}
		e.dead(id, when)
		e.ClaimNone(e.a, "worker", "nothing is left to deliver but what has no attempts left")
		if !e.dead(id, when+", and again,") {
			e.Errorf("%s and again, the message is not among the dead letters", when)
		}
	})
	e.EachMoment(i, kit.Breaks, func(n int, act func(func())) {
		id, when := fmt.Sprint("rises ", n), fmt.Sprintf("when the connection broke at moment %d of replaying", n)
		e.Kill(e.a, id)
		var err error
		act(func() { err = e.a.ReplayDead(e.Ctx(), id) })
		dead := e.dead(id, when)
		switch {
		case errors.Is(err, stabilize.ErrUnknownOutcome):
		case err == nil && dead:
			e.Errorf("%s it succeeded, and did nothing", when)
		case err != nil && !dead:
			e.Errorf("%s it returned %v, and replayed", when, err)
		case err != nil:
			e.Want(stabilize.ErrTransient, err, "replaying, %s", when)
		}
		if dead {
			e.Must(e.a.ReplayDead(e.Ctx(), id), "replaying again")
		}
		if e.dead(id, when+", and again,") {
			e.Errorf("%s and again, the message is still among the dead letters", when)
		}
		d := e.ClaimOne(e.a, "worker")
		if d.ID != id || d.Attempts != 1 {
			e.Errorf("%s the message was delivered as %+v, want its first attempt", when, d)
		}
		e.ack(e.a, d)
	})
	e.EachMoment(i, kit.Breaks, func(n int, act func(func())) {
		id, when := fmt.Sprint("told ", n), fmt.Sprintf("when the connection broke at moment %d of a claim", n)
		o := about("w", id)
		o.MaxAttempts = 1
		e.Push(e.a, o)
		e.release(e.a, e.ClaimOne(e.a, "worker"), cause())
		act(func() { _, _ = e.a.Claim(e.Ctx(), kit.Worker("worker"), queue.Room{}) }) // the error is looked at above
		for range 2 {
			dead, err := e.isDead(e.b, id)
			e.Must(err, "listing the dead letters")
			told, err := e.isTold(e.b, id)
			e.Must(err, "listing what is pending")
			if dead != told {
				e.Errorf("%s the message is among the dead letters: %t, and its workflow is told: %t", when, dead, told)
			}
			e.ClaimRoom(e.a, kit.Worker("worker"), queue.Room{})
			when += ", and again,"
		}
		ds := e.Claim(e.a, "worker")
		if len(ds) != 1 {
			e.Errorf("%s %d messages were delivered about one dead letter", when, len(ds))
		}
		for _, d := range ds {
			e.ack(e.a, d)
		}
	})
}

func cr06(e *env) {
	ids, tokens := map[string]bool{}, map[string]bool{}
	fence := int64(0)
	for round := range e.Effort.Of(4, 3) {
		e.Push(e.a, queue.Outgoing{Message: kit.Note("no id")}, queue.Outgoing{Message: kit.Note("no id")})
		l := e.heartbeat(e.a, kit.Worker("worker"))
		if l.Fence <= fence {
			e.Errorf("round %d: the worker lease taken anew has the fence %d, after %d", round, l.Fence, fence)
		}
		fence = l.Fence
		for _, d := range e.Claim(e.a, "worker") {
			if ids[d.ID] || tokens[d.Token] {
				e.Errorf("round %d: the message id %q or the token %q was there before", round, d.ID, d.Token)
			}
			ids[d.ID], tokens[d.Token] = true, true
			e.ack(e.a, d)
		}
		e.Must(e.a.Retire(e.Ctx(), "worker"), "retiring")
		e.reopen()
	}
	// The order of storing, over an end in the middle; the clock stands still.
	e.Push(e.a, kit.Send("z"), kit.Send("first"))
	e.ack(e.a, e.ClaimRoom(e.a, kit.Worker("worker"), queue.Room{Control: 1})[0])
	e.reopen()
	e.Push(e.a, kit.Send("a"))
	e.List([]string{"first", "a"}, kit.IDs(e.Claim(e.a, "other")), "what is delivered in order, some stored before reopening")
}

func cr07(e *env) {
	const n = 8
	for i := range n {
		e.Kill(e.a, fmt.Sprint("dead ", i))
		e.Clock.Advance(kit.Tick)
	}
	e.Push(e.a, kit.Numbers(n)...)
	i := power[conformance.Interceptor](e)
	for name, list := range map[string]func() (any, error){
		"Pending":   func() (any, error) { return e.a.Pending(e.Ctx(), "") },
		"ListDead":  func() (any, error) { return e.a.ListDead(e.Ctx(), "", n+1) },
		"Depth":     func() (any, error) { return e.a.Depth(e.Ctx()) },
		"Heartbeat": func() (any, error) { return e.a.Heartbeat(e.Ctx(), kit.Worker("idle")) },
	} {
		want, err := list()
		e.Must(err, "%s", name)
		e.EachMoment(i, kit.Breaks, func(n int, act func(func())) {
			var got any
			act(func() { got, err = list() })
			if err == nil {
				e.Same(want, got, "%s, when the connection broke at moment %d", name, n)
			} else if !lost(err) {
				e.Errorf("%s, when the connection broke at moment %d: %v, want ErrTransient", name, n, err)
			}
		})
	}
	e.EachMoment(i, kit.Breaks, func(n int, act func(func())) {
		var ds []queue.Delivery
		var err error
		act(func() { ds, err = e.a.Claim(e.Ctx(), kit.Worker(fmt.Sprint("worker ", n)), kit.Plenty()) })
		when := fmt.Sprintf("when the connection broke at moment %d of a claim", n)
		if err == nil {
			e.List(numbered(), kit.IDs(ds), "%s, what it delivered", when)
		} else if !lost(err) {
			e.Errorf("%s it returned %v, want ErrTransient or ErrUnknownOutcome", when, err)
		}
		e.Must(e.a.Retire(e.Ctx(), fmt.Sprint("worker ", n)), "retiring")
		next := fmt.Sprint("next ", n)
		ds = e.Claim(e.b, next)
		e.List(numbered(), kit.IDs(ds), "%s, what the next worker was delivered", when)
		for _, d := range ds {
			e.Must(e.b.Return(e.Ctx(), d.Receipt()), "returning %q", d.ID)
		}
		// Attempts that nobody saw count: start anew before they are used up.
		for _, d := range e.Claim(e.b, next) {
			e.ack(e.b, d)
		}
		e.Push(e.a, kit.Numbers(len(numbered()))...)
	})
}

// numbered is what cr07 pushes.
func numbered() []string { return kit.Numbered("number %d", 8) }

func cx02(e *env) {
	held := e.scene()
	calls := map[string]func(context.Context) error{}
	for name, call := range e.calls(held) {
		calls[name] = func(ctx context.Context) error { return call(ctx, e.a) }
	}
	e.Frozen(power[conformance.Freezer](e), calls)
	e.Push(e.a, kit.SendAt("after", e.Now().Add(time.Hour)))
	if !slices.Contains(e.Pending(e.b, ""), "after") {
		e.Errorf("what was pushed after thawing is not stored")
	}
}
