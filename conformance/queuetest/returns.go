package queuetest

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// givenBack is the part of the group VL about messages that are given back.
func givenBack() []check {
	return []check{
		clause("VL-17", "Releasing makes the message due at the given time, and the next delivery reports the cause, in full, 4 KiB of it too, as a dead letter does; none where none was given: keep no cause of before.", vl17),
		clause("VL-18", "The first delivery has attempts 1, and each later one, after a release, a lapse or a retirement, exactly one more.", vl18),
		clause("VL-34", "Returning gives a delivery back at once, with the attempt taken back, its due time and its last error kept.", vl34),
		clause("VL-44", "A message's max attempts and attempts are kept exactly, up to math.MaxInt32 of the one and hundreds of the other: in the delivery, among the pending and in the dead letter.", vl44),
	}
}

func vl17(e *env) {
	e.causes()
	e.Push(e.a, kit.Send("m"))
	d := e.ClaimOne(e.a, "worker")
	if d.LastError != "" {
		e.Errorf("the first delivery reports the cause %q", d.LastError)
	}
	at := e.Now().Add(90*time.Second + kit.Tick)
	e.Must(e.b.Release(e.Ctx(), d.Receipt(), at, cause()), "releasing")
	e.depth(0, 1, 0, 0, "after a release to a later time")
	e.Clock.Set(at.Add(-kit.Tick))
	e.ClaimNone(e.a, "other", "it was released until a tick later")
	e.Clock.Set(at)
	d = e.ClaimOne(e.a, "other")
	if d.LastError != cause().Error() || !d.Due.Equal(at) || d.Attempts != 2 {
		e.Errorf("the delivery after a release reports the cause %q, due %s, attempts %d", d.LastError, d.Due, d.Attempts)
	}
	e.release(e.a, d, errors.New("second"))
	d = e.ClaimOne(e.b, "other")
	if d.LastError != "second" || !d.Due.Equal(e.Now()) {
		e.Errorf("the delivery after a second release reports the cause %q, due %s", d.LastError, d.Due)
	}
	e.Lapse()
	if d = e.ClaimOne(e.h.Reopen(), "third"); d.LastError != "second" {
		e.Errorf("the delivery after a lapse and reopening reports the cause %q", d.LastError)
	}
}

// causes releases a message for a long cause and for none.
func (e *env) causes() {
	e.Helper()
	long := strings.Repeat("<é>\u2028", 4096/7) + "end"
	e.Push(e.a, queue.Outgoing{ID: "m", Message: kit.Note("m"), MaxAttempts: 4})
	for i, text := range []string{"", long, "", long} {
		d := e.ClaimOne(e.both(i), "worker")
		if d.LastError != text {
			e.Errorf("delivery %d reports a cause of %d bytes, want the %d of the release before", i+1, len(d.LastError), len(text))
		}
		if i == 1 {
			e.release(e.a, d, nil)
		} else {
			e.release(e.a, d, errors.New(long))
		}
	}
	e.ClaimNone(e.a, "worker", "it has no attempts left")
	for _, d := range e.Dead(e.b) {
		if d.LastError != long {
			e.Errorf("the dead letter reports a cause of %d bytes, want the %d of the last release", len(d.LastError), len(long))
		}
		e.Must(e.a.DiscardDead(e.Ctx(), d.ID), "discarding")
	}
}

func vl18(e *env) {
	o := kit.Send("m")
	o.MaxAttempts = 50
	e.Push(e.a, o)
	for want := 1; want <= 9; want++ {
		worker := fmt.Sprint("worker ", want)
		d := e.ClaimOne(e.both(want), worker)
		if d.Attempts != want || d.MaxAttempts != 50 {
			e.Fatalf("delivery %d has attempts %d of %d", want, d.Attempts, d.MaxAttempts)
		}
		if got := e.stored("")[0].Attempts; got != want {
			e.Errorf("the stored message has attempts %d, want %d", got, want)
		}
		switch want % 3 {
		case 0:
			e.release(e.a, d, cause())
		case 1:
			e.Lapse()
		case 2:
			e.Must(e.a.Retire(e.Ctx(), worker), "retiring")
		}
	}
}

func vl34(e *env) {
	e.Push(e.a, kit.Send("m"))
	due := e.Now()
	e.release(e.a, e.ClaimOne(e.a, "worker"), cause())
	for range 3 {
		e.Clock.Advance(time.Second)
		d := e.ClaimOne(e.a, "worker")
		if d.Attempts != 2 || d.LastError != cause().Error() || !d.Due.Equal(due) {
			e.Errorf("after a return the delivery has attempts %d, the cause %q, due %s; want 2, the cause of the release, %s", d.Attempts, d.LastError, d.Due, due)
		}
		e.Must(e.b.Return(e.Ctx(), d.Receipt()), "returning")
		e.depth(1, 0, 0, 0, "after a return")
		if got := e.stored("")[0].Attempts; got != 1 {
			e.Errorf("after a return the stored message has attempts %d, want 1", got)
		}
		e.Want(stabilize.ErrLeaseLost, e.b.Return(e.Ctx(), d.Receipt()), "returning twice")
	}
	last := kit.Send("last")
	last.MaxAttempts = 1
	e.Push(e.a, last)
	for range 3 {
		for _, d := range e.Claim(e.a, "worker") {
			e.Must(e.a.Return(e.Ctx(), d.Receipt()), "returning")
		}
	}
	e.depth(2, 0, 0, 0, "after a message with one attempt was returned three times")
}

func vl44(e *env) {
	const rounds = 300
	most := queue.Outgoing{ID: "most", Message: kit.Note("most"), MaxAttempts: math.MaxInt32}
	some := queue.Outgoing{ID: "some", Message: kit.Note("some"), MaxAttempts: rounds - 1}
	e.Push(e.a, most, some)
	for want := 1; want <= rounds; want++ {
		for _, d := range e.Claim(e.both(want), "worker") {
			of := most.MaxAttempts
			if d.ID == "some" {
				of = some.MaxAttempts
			}
			if d.Attempts != want || d.MaxAttempts != of {
				e.Fatalf("delivery %d of %q says attempt %d of %d, want %d of %d", want, d.ID, d.Attempts, d.MaxAttempts, want, of)
			}
			e.release(e.a, d, cause())
		}
	}
	for _, s := range e.stored("") {
		if s.ID != "most" || s.Attempts != rounds {
			e.Errorf("after %d attempts %q is stored with %d", rounds, s.ID, s.Attempts)
		}
	}
	for _, d := range e.Dead(e.b) {
		if d.ID != "some" || d.Attempts != rounds-1 || d.MaxAttempts != rounds-1 {
			e.Errorf("the dead letter %q has attempts %d of %d, want %d of them", d.ID, d.Attempts, d.MaxAttempts, rounds-1)
		}
	}
}
