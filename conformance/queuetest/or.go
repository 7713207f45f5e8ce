package queuetest

import (
	"fmt"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// order is the groups OR, DD and CL of the queue.
func order() []check {
	return []check{
		clause("OR-01", "Messages are delivered by due time, ties by the order of storing, over both lanes and all handles.", or01),
		clause("OR-02", "Messages of one producer with the same due time are delivered first in, first out.", or02),
		clause("OR-03", "A message delayed past a later push is delivered after it.", or03),
		clause("OR-04", "Under a stream of newer pushes the oldest ready message is delivered by the next claim.", or04),
		clause("OR-06", "A message that comes back keeps its place by its due time, and among equals by the order of storing: a release sets a new due time, a lapsed lease, a retirement and a return change neither; a replayed dead letter is due now and the last in that order.", or06),
		clause("DD-05", "A message id in use, by a message ready, delayed, leased or dead, is refused as ErrExists, also after reopening.", dd05),
		clause("CL-11", "A worker's lease is renewed by its own calls only, ended by its own retirement only, and lapses by the injected clock.", cl11),
		clause("CL-12", "A worker lease taken anew, after a lapse or a retirement, has a higher fence than any before; one that is renewed keeps its own.", cl12),
	}
}

func or01(e *env) {
	var want []string
	base := e.Now()
	for i := 29; i >= 0; i-- { // pushed latest first
		for j := range 2 {
			text := fmt.Sprintf("m%d-%d", 99-i, 9-j) // ids sort the other way
			o := kit.SendAt(text, base.Add(time.Duration(i)*kit.Tick))
			if (i+j)%3 == 0 {
				o = work(text)
				o.At = base.Add(time.Duration(i) * kit.Tick)
			}
			e.Push(e.both(i), o)
		}
	}
	for i := range 30 {
		want = append(want, fmt.Sprintf("m%d-9", 99-i), fmt.Sprintf("m%d-8", 99-i))
	}
	e.Clock.Advance(time.Minute)
	e.List(want, kit.IDs(e.Claim(e.b, "worker")), "the order of delivery")
}

func or02(e *env) {
	for _, due := range []time.Time{{}, e.Now().Add(time.Second)} {
		var want []string
		for i := range 60 {
			text := fmt.Sprintf("m%02d at %d", (i*37)%60, due.Unix())
			want = append(want, text)
			e.Push(e.both(i/7), kit.SendAt(text, due))
		}
		e.Clock.Advance(time.Second)
		var got []string
		for len(got) < 60 {
			ds := e.ClaimRoom(e.both(len(got)), kit.Worker("worker"), queue.Room{Control: 7})
			if len(ds) == 0 {
				break
			}
			got = append(got, kit.IDs(ds)...)
		}
		e.List(want, got, "the order of 60 messages with one due time")
	}
}

func or03(e *env) {
	e.Push(e.a, kit.SendAt("first, delayed", e.Now().Add(2*time.Second)))
	e.Clock.Advance(time.Second)
	e.Push(e.a, kit.Send("second"), kit.SendAt("third, delayed less", e.Now().Add(time.Second/2)))
	e.Clock.Advance(time.Hour)
	e.List([]string{"second", "third, delayed less", "first, delayed"}, kit.IDs(e.Claim(e.b, "worker")), "the order of delivery")
}

func or04(e *env) {
	e.Push(e.a, kit.Numbers(5)...)
	for i := range 40 {
		e.Clock.Advance(time.Millisecond)
		e.Push(e.both(i), kit.Send(fmt.Sprint("newer ", i)), kit.Send(fmt.Sprint("and newer ", i)))
		if i%8 == 0 {
			ds := e.ClaimRoom(e.b, kit.Worker("worker"), queue.Room{Control: 1})
			if want := fmt.Sprint("number ", i/8); len(ds) != 1 || ds[0].ID != want {
				e.Errorf("with newer messages coming in %v was delivered, want %q", kit.IDs(ds), want)
			}
		}
	}
}

func or06(e *env) {
	back := []string{"lapsed", "returned", "retired", "released"}
	for i, text := range append(back, "never leased") {
		e.Push(e.a, kit.SendAt(text, e.Now().Add(time.Duration(i)*kit.Tick)))
	}
	e.Clock.Advance(time.Second)
	held := map[string]queue.Delivery{}
	for _, text := range back {
		ds := e.ClaimRoom(e.a, kit.Worker(text), queue.Room{Control: 1})
		if len(ds) != 1 || ds[0].ID != text {
			e.Fatalf("%v was delivered, want %q", kit.IDs(ds), text)
		}
		held[text] = ds[0]
	}
	returned := held["returned"]
	e.Must(e.a.Return(e.Ctx(), returned.Receipt()), "returning")
	e.release(e.a, held["released"], nil)
	e.Must(e.a.Retire(e.Ctx(), "retired"), "retiring")
	e.Lapse()
	e.List([]string{"lapsed", "returned", "retired", "never leased", "released"}, kit.IDs(e.Claim(e.b, "last")), "the order of messages that came back")
	e.Must(e.a.Retire(e.Ctx(), "last"), "retiring")
	for _, d := range e.Claim(e.a, "sweeper") {
		e.ack(e.a, d)
	}
	equals := []string{"z", "y", "x"}
	for _, text := range equals {
		e.Push(e.a, kit.Send(text))
	}
	for i, how := range []string{"a return", "a lapse", "a retirement"} {
		worker := kit.Worker(how)
		d := e.ClaimRoom(e.both(i), worker, queue.Room{Control: 1})[0]
		switch i {
		case 0:
			e.Must(e.a.Return(e.Ctx(), d.Receipt()), "returning")
		case 1:
			e.Lapse()
		case 2:
			e.Must(e.a.Retire(e.Ctx(), how), "retiring")
		}
		ds := e.Claim(e.b, "equals")
		e.List(equals, kit.IDs(ds), "the order of messages due at once, the first of which came back by %s", how)
		e.Must(e.a.Retire(e.Ctx(), "equals"), "retiring")
	}
	for _, d := range e.Claim(e.a, "sweeper") {
		e.ack(e.a, d)
	}
	e.Kill(e.a, "replayed")
	e.Push(e.a, kit.Send("before"))
	e.Must(e.b.ReplayDead(e.Ctx(), "replayed"), "replaying")
	e.Push(e.a, kit.Send("after"))
	e.List([]string{"before", "replayed", "after"}, kit.IDs(e.Claim(e.b, "equals")), "the order of messages due at once, one of them replayed")
}

func dd05(e *env) {
	e.Kill(e.a, "dead")
	e.Push(e.a, kit.Send("leased"))
	e.ClaimOne(e.a, "worker")
	e.Push(e.a, kit.Send("ready"), kit.SendAt("delayed", e.Now().Add(time.Hour)))
	ids := []string{"dead", "leased", "ready", "delayed"}
	refused := func(q queue.Queue, when string) {
		e.Helper()
		for _, id := range ids {
			e.Want(stabilize.ErrExists, q.Push(e.Ctx(), kit.Send(id)), "pushing the id of a message that is %s, %s", id, when)
		}
	}
	refused(e.a, "through the same handle")
	refused(e.b, "through the other handle")
	e.depth(1, 1, 1, 1, "after refused pushes")
	q := e.h.Reopen()
	refused(q, "after reopening")
	e.Must(q.ReplayDead(e.Ctx(), "dead"), "replaying")
	e.Want(stabilize.ErrExists, q.Push(e.Ctx(), kit.Send("dead")), "pushing the id of a replayed message")
}

func cl11(e *env) {
	e.Push(e.a, kit.Send("m"))
	d := e.ClaimOne(e.a, "owner")
	e.Clock.Advance(kit.TTL - kit.Tick)
	for i, other := range []string{"Owner", "owner ", "other"} {
		e.heartbeat(e.both(i), kit.Worker(other))
		e.Must(e.both(i).Retire(e.Ctx(), other), "retiring")
		e.ClaimNone(e.both(i), other, "another worker holds it")
	}
	if got := len(e.heartbeat(e.b, kit.Worker("other")).Held); got != 0 {
		e.Errorf("a worker that was given nothing holds %d messages", got)
	}
	e.Clock.Advance(kit.Tick) // the calls of others did not renew the owner's
	if got := e.ClaimOne(e.b, "other"); got.Attempts != 2 {
		e.Errorf("the second delivery has attempts %d", got.Attempts)
	}
	e.Want(stabilize.ErrLeaseLost, e.a.Ack(e.Ctx(), d.Receipt()), "acknowledging after the lapse")
}

func cl12(e *env) {
	highest := int64(0)
	higher := func(worker, when string) int64 {
		e.Helper()
		got := e.heartbeat(e.both(int(highest)), kit.Worker(worker)).Fence
		if got <= highest {
			e.Errorf("the fence of %s %s is %d, which is not above %d", worker, when, got, highest)
		}
		highest = max(highest, got)
		return got
	}
	x := higher("x", "at first")
	y := higher("y", "at first")
	for range 3 {
		e.Clock.Advance(kit.TTL - kit.Tick)
		e.ClaimNone(e.b, "y", "there is none")
		if got := e.heartbeat(e.a, kit.Worker("x")).Fence; got != x {
			e.Errorf("the fence of x, renewed in time, went from %d to %d", x, got)
		}
		if got := e.heartbeat(e.b, kit.Worker("y")).Fence; got != y {
			e.Errorf("the fence of y, renewed in time, went from %d to %d", y, got)
		}
	}
	e.Clock.Advance(kit.TTL)
	higher("x", "after a lapse")
	e.ClaimNone(e.a, "z", "there is none") // may forget the lapsed
	higher("y", "after a lapse that others saw")
	e.Must(e.a.Retire(e.Ctx(), "y"), "retiring")
	higher("y", "after it retired")
	e.Must(e.a.Retire(e.Ctx(), "y"), "retiring")
	e.Must(e.a.Retire(e.Ctx(), "x"), "retiring")
	e.Must(e.a.Retire(e.Ctx(), "z"), "retiring")
	q := e.h.Reopen()
	if got := e.heartbeat(q, kit.Worker("new")).Fence; got <= highest {
		e.Errorf("the fence of a new worker after all retired and the queue was reopened is %d, which is not above %d", got, highest)
	}
}
