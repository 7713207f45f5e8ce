package queuetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// leases is the part of the group VL about how long a delivery is a worker's.
func leases() []check {
	return []check{
		clause("VL-07", "A leased message is delivered to nobody, its own worker included, through any handle, until the worker has been silent for its TTL.", vl07),
		clause("VL-08", "When the worker has been silent for its TTL, exactly, its messages are delivered again, with attempts raised by 1.", vl08),
		clause("VL-09", "An acknowledged message is never delivered again, also after its lease would have lapsed, and after reopening.", vl09),
		clause("VL-10", "Acknowledging with the token of a lease that lapsed and was given to another returns ErrLeaseLost and removes nothing.", vl10),
		clause("VL-11", "A heartbeat or claim of a worker that lapsed does not move the lease of the new holder, and does not list what it lost.", vl11),
		clause("VL-12", "Releasing or returning with a lost lease returns ErrLeaseLost and does not clear the new holder's lease.", vl12),
		clause("VL-13", "Each delivery carries a token of its own; holding the message's id alone, or the token of another message, is not enough.", vl13),
		clause("VL-14", "A heartbeat or claim before the lapse moves it to now plus the TTL, and a TTL that is not positive is ErrInvalid.", vl14),
		clause("VL-15", "Each worker's TTL is honoured, shorter or longer than that of others, a millisecond or a microsecond too, and also when a heartbeat changes it: store it as it was given.", vl15),
		clause("VL-16", "A second acknowledgement with the same token is ErrLeaseLost; the others of the same call are acknowledged all the same.", vl16),
		clause("VL-36", "A worker that was silent too long still holds what nobody else was given: it may acknowledge or release it.", vl36),
		clause("VL-37", "Retiring makes all that a worker holds claimable at once, with the attempts counted; an unknown worker is no error.", vl37),
		clause("VL-42", "A heartbeat lists all that a worker holds, at whatever attempt, and all of it becomes claimable when the worker has lapsed or retired: hundreds of messages as one, so go through all of them.", vl42),
		clause("VL-43", "Releasing, returning and retiring void the tokens at once, before anybody claims: whoever acknowledges, releases or returns with them gets ErrLeaseLost, and the message stays.", vl43),
	}
}

func vl07(e *env) {
	e.Push(e.a, kit.Send("m"))
	e.ClaimOne(e.a, "owner")
	for range 3 {
		e.Clock.Advance(kit.TTL - kit.Tick)
		e.ClaimNone(e.b, "other", "its worker has been silent for a tick less than its TTL")
		e.ClaimNone(e.a, "third", "its worker has been silent for a tick less than its TTL")
		e.ClaimNone(e.a, "owner", "it holds it already")
		e.ClaimNone(e.b, "owner", "it holds it already")
	}
	e.depth(0, 0, 1, 0, "while a message is leased")
}

func vl08(e *env) {
	e.Push(e.a, kit.Send("m"))
	first := e.ClaimOne(e.a, "first")
	for i := 2; i <= 5; i++ {
		e.Clock.Advance(kit.TTL)
		d := e.ClaimOne(e.both(i), fmt.Sprint("worker ", i))
		if d.ID != "m" || d.Attempts != i || d.Token == first.Token {
			e.Errorf("delivery %d has attempts %d and the token of the first: %t", i, d.Attempts, d.Token == first.Token)
		}
	}
}

func vl09(e *env) {
	e.Push(e.a, kit.Send("m"), kit.Send("n"))
	for i, d := range e.Claim(e.a, "worker") {
		e.ack(e.both(i), d)
	}
	e.depth(0, 0, 0, 0, "after everything was acknowledged")
	for i := range 3 {
		e.ClaimNone(e.both(i), "other", "it was acknowledged")
		e.Clock.Advance(kit.TTL)
	}
	e.ClaimNone(e.h.Reopen(), "another", "it was acknowledged")
}

// lost claims a message as "first", lets it lapse, and claims it as "second".
func (e *env) lost(text string) (first, second queue.Delivery) {
	e.Helper()
	e.Push(e.a, kit.Send(text))
	first = e.ClaimOne(e.a, "first")
	e.Lapse()
	second = e.ClaimOne(e.b, "second")
	return first, second
}

func vl10(e *env) {
	first, second := e.lost("m")
	for i := range 2 {
		e.Want(stabilize.ErrLeaseLost, e.both(i).Ack(e.Ctx(), first.Receipt()), "acknowledging with the token of a lease that another holds now")
	}
	e.depth(0, 0, 1, 0, "after the refused acknowledgement")
	e.ClaimNone(e.a, "third", "the second worker holds it")
	e.ack(e.a, second)
	e.depth(0, 0, 0, 0, "after the holder's acknowledgement")
}

func vl11(e *env) {
	e.lost("m")
	e.Clock.Advance(kit.TTL - kit.Tick)
	if held := e.heartbeat(e.a, kit.Worker("first")).Held; len(held) != 0 {
		e.Errorf("the heartbeat of a worker that lapsed lists %v, which it lost", held)
	}
	e.ClaimNone(e.a, "first", "another holds it")
	e.depth(0, 0, 1, 0, "while the second worker holds it")
	e.Clock.Advance(kit.Tick)
	if d := e.ClaimOne(e.b, "third"); d.Attempts != 3 {
		e.Errorf("the third delivery has attempts %d", d.Attempts)
	}
}

func vl12(e *env) {
	first, second := e.lost("m")
	same := e.stored("")
	e.Want(stabilize.ErrLeaseLost, e.a.Release(e.Ctx(), first.Receipt(), time.Time{}, cause()), "releasing with a lost lease")
	e.Want(stabilize.ErrLeaseLost, e.a.Return(e.Ctx(), first.Receipt()), "returning with a lost lease")
	e.Same(same, e.stored(""), "the message after a refused release and return")
	e.ClaimNone(e.a, "third", "the second worker holds it")
	var lost *stabilize.LeaseLostError
	if err := e.a.Release(e.Ctx(), first.Receipt(), time.Time{}, nil); !errors.As(err, &lost) || lost.ID != "m" || lost.Kind != "message" {
		e.Errorf("releasing with a lost lease returned %s, which does not name the message", kit.Quote(err))
	}
	e.ack(e.b, second)
	for doing, err := range map[string]error{
		"releasing": e.a.Release(e.Ctx(), second.Receipt(), time.Time{}, nil), "returning": e.a.Return(e.Ctx(), second.Receipt()),
		"releasing the unknown": e.a.Release(e.Ctx(), queue.Receipt{ID: "x", Token: "y"}, time.Time{}, nil),
		"returning the unknown": e.a.Return(e.Ctx(), queue.Receipt{ID: "x", Token: "y"}),
	} {
		e.Want(stabilize.ErrLeaseLost, err, "%s what is not there any more", doing)
	}
	e.depth(0, 0, 0, 0, "at the end")
}

func vl13(e *env) {
	texts := kit.Numbered("m%d", 10)
	seen := map[string]string{}
	for _, t := range texts {
		e.Push(e.a, kit.Send(t))
	}
	for round := range 3 {
		ds := e.Claim(e.both(round), fmt.Sprint("worker ", round))
		e.List(texts, kit.IDs(ds), "what is delivered in round %d", round)
		for _, d := range ds {
			if old, known := seen[d.Token]; known || d.Token == "" || d.Token == d.ID {
				e.Errorf("the token of %q in round %d is %q, which also was that of %q", d.ID, round, d.Token, old)
			}
			seen[d.Token] = d.ID
		}
		for i, d := range ds {
			for what, token := range map[string]string{"its id": d.ID, "another's token": ds[(i+1)%len(ds)].Token, "a part of its token": d.Token[:len(d.Token)-1], "nonsense": "x"} {
				r := queue.Receipt{ID: d.ID, Token: token}
				e.Want(stabilize.ErrLeaseLost, e.a.Ack(e.Ctx(), r), "acknowledging %q with %s", d.ID, what)
				e.Want(stabilize.ErrLeaseLost, e.a.Release(e.Ctx(), r, time.Time{}, nil), "releasing %q with %s", d.ID, what)
				e.Want(stabilize.ErrLeaseLost, e.a.Return(e.Ctx(), r), "returning %q with %s", d.ID, what)
			}
		}
		e.depth(0, 0, len(texts), 0, "after refused acknowledgements")
		e.Lapse()
	}
}

func vl14(e *env) {
	for _, ttl := range []time.Duration{0, -1, -time.Hour} {
		w := queue.Worker{ID: "bad", TTL: ttl}
		_, err := e.a.Claim(e.Ctx(), w, kit.Plenty())
		e.Want(stabilize.ErrInvalid, err, "a claim with a TTL of %s", ttl)
		_, err = e.a.Heartbeat(e.Ctx(), w)
		e.Want(stabilize.ErrInvalid, err, "a heartbeat with a TTL of %s", ttl)
	}
	e.Push(e.a, kit.Send("m"))
	d := e.ClaimOne(e.a, "owner")
	for i := range 4 {
		e.Clock.Advance(kit.TTL - kit.Tick)
		if i%2 == 0 {
			e.Same([]queue.Receipt{d.Receipt()}, e.heartbeat(e.both(i), kit.Worker("owner")).Held, "what the worker holds")
		} else {
			e.ClaimNone(e.both(i), "owner", "it holds it already")
		}
		e.ClaimNone(e.b, "other", "the worker was just heard of")
	}
	e.Clock.Advance(kit.TTL - kit.Tick)
	e.ClaimNone(e.b, "other", "the worker was heard of a tick less than its TTL ago")
	e.Clock.Advance(kit.Tick)
	e.ClaimOne(e.b, "other")
}

func vl15(e *env) {
	for _, ttl := range []time.Duration{kit.Tick, 1500 * time.Microsecond, 999*time.Millisecond + kit.Tick} {
		e.Push(e.a, kit.Send(ttl.String()))
		e.ClaimRoom(e.a, queue.Worker{ID: "of " + ttl.String(), TTL: ttl}, kit.Plenty())
		e.Clock.Advance(ttl - kit.Tick)
		e.ClaimNone(e.b, "next", "a worker with a TTL of %s has been silent for a tick less", ttl)
		e.Clock.Advance(kit.Tick)
		e.ack(e.b, e.ClaimOne(e.b, "next"))
	}
	e.Push(e.a, kit.Send("short"))
	e.ClaimRoom(e.a, queue.Worker{ID: "short", TTL: time.Second}, kit.Plenty())
	e.Push(e.a, kit.Send("long"))
	e.ClaimRoom(e.a, queue.Worker{ID: "long", TTL: 24 * time.Hour}, kit.Plenty())
	e.Push(e.a, kit.Send("cut"))
	e.ClaimRoom(e.a, queue.Worker{ID: "cut", TTL: 24 * time.Hour}, kit.Plenty())
	e.heartbeat(e.b, queue.Worker{ID: "cut", TTL: 2 * time.Second})
	e.Push(e.a, kit.Send("extended"))
	e.ClaimRoom(e.a, queue.Worker{ID: "extended", TTL: time.Second}, kit.Plenty())
	e.heartbeat(e.b, queue.Worker{ID: "extended", TTL: time.Hour})
	at := func(after time.Duration, want ...string) {
		e.Helper()
		e.Clock.Advance(after - kit.Tick)
		e.ClaimNone(e.b, "other", "no worker has been silent for its TTL")
		e.Clock.Advance(kit.Tick)
		e.List(want, kit.IDs(e.ClaimRoom(e.b, queue.Worker{ID: "other", TTL: 1000 * time.Hour}, kit.Plenty())), "what is delivered when a TTL ends")
	}
	e.heartbeat(e.b, queue.Worker{ID: "other", TTL: 1000 * time.Hour})
	at(time.Second, "short")
	at(time.Second, "cut")
	at(time.Hour-2*time.Second, "extended")
	at(23*time.Hour, "long")
}

func vl16(e *env) {
	e.Push(e.a, kit.Send("a"), kit.Send("b"), kit.Send("c"))
	ds := e.Claim(e.a, "worker")
	e.ack(e.a, ds[1])
	e.Want(stabilize.ErrLeaseLost, e.b.Ack(e.Ctx(), ds[1].Receipt()), "acknowledging twice")
	var lost *stabilize.LeaseLostError
	err := e.b.Ack(e.Ctx(), ds[0].Receipt(), ds[1].Receipt(), ds[2].Receipt())
	if !errors.Is(err, stabilize.ErrLeaseLost) || !errors.As(err, &lost) || lost.ID != "b" {
		e.Errorf("acknowledging three of which the second is lost returned %s, which does not name it", kit.Quote(err))
	}
	e.depth(0, 0, 0, 0, "after an acknowledgement of which one of three was lost")
	e.Must(e.a.Ack(e.Ctx()), "acknowledging nothing")
}

func vl36(e *env) {
	e.Push(e.a, kit.Send("acked"), kit.Send("released"), kit.Send("returned"))
	ds := e.Claim(e.a, "slow")
	e.Clock.Advance(3 * kit.TTL)
	e.heartbeat(e.b, kit.Worker("other"))
	e.ClaimRoom(e.b, kit.Worker("other"), queue.Room{}) // heard, but given nothing
	e.ack(e.a, ds[0])
	e.release(e.a, ds[1], cause())
	e.Must(e.a.Return(e.Ctx(), ds[2].Receipt()), "returning")
	var got []string
	for _, d := range e.Claim(e.b, "other") {
		got = append(got, fmt.Sprintf("%s %d %s", d.ID, d.Attempts, d.LastError))
	}
	slices.Sort(got)
	e.List([]string{"released 2 " + cause().Error(), "returned 1 "}, got, "what another worker is given afterwards")
}

func vl37(e *env) {
	e.Push(e.a, kit.Send("a"), kit.Send("b"))
	e.Claim(e.a, "leaving")
	e.Push(e.a, kit.Send("c"))
	kept := e.ClaimOne(e.a, "staying")
	e.Must(e.b.Retire(e.Ctx(), "leaving"), "retiring")
	e.depth(2, 0, 1, 0, "after a worker retired")
	ds := e.Claim(e.a, "staying")
	e.List([]string{"a", "b"}, kit.IDs(ds), "what is delivered after a worker retired")
	for _, d := range ds {
		if d.Attempts != 2 {
			e.Errorf("%q comes as attempt %d, want 2", d.ID, d.Attempts)
		}
	}
	e.ack(e.a, kept)
	e.Must(e.a.Retire(e.Ctx(), "unknown"), "retiring an unknown worker")
	e.Must(e.a.Retire(e.Ctx(), "leaving"), "retiring twice")
	e.depth(0, 0, 2, 0, "after retiring workers that hold nothing")
}

func vl42(e *env) {
	const n = 300
	for i := range n {
		o := kit.Send(fmt.Sprint("number ", i))
		if i%2 == 0 {
			o = work(o.ID)
		}
		e.Push(e.a, o)
	}
	for i, d := range e.ClaimRoom(e.a, kit.Worker("before"), queue.Room{Control: n / 4, Work: n / 4}) {
		if i%2 == 0 {
			e.release(e.a, d, cause())
		} else {
			e.Must(e.a.Return(e.Ctx(), d.Receipt()), "returning %q", d.ID)
		}
	}
	gone := func(how string, worker string, ds []queue.Delivery) {
		e.Helper()
		if len(ds) != n {
			e.Fatalf("%s, %s was given %d messages, want %d", how, worker, len(ds), n)
		}
		held := map[string]string{}
		for _, r := range e.heartbeat(e.b, kit.Worker(worker)).Held {
			held[r.ID] = r.Token
		}
		if len(held) != n {
			e.Errorf("%s, the heartbeat of %s lists %d of %d messages", how, worker, len(held), n)
		}
		for _, d := range ds {
			if token, listed := held[d.ID]; listed && token != d.Token {
				e.Errorf("%s, the heartbeat of %s lists %q under the token %q, which was delivered under %q", how, worker, d.ID, token, d.Token)
			}
		}
		e.depth(0, 0, n, 0, "%s", how)
	}
	gone("at first", "first", e.Claim(e.a, "first"))
	e.Lapse()
	e.depth(n, 0, 0, 0, "when a worker that held %d messages has lapsed", n)
	gone("after a lapse", "second", e.Claim(e.b, "second"))
	e.Must(e.a.Retire(e.Ctx(), "second"), "retiring")
	e.depth(n, 0, 0, 0, "when a worker that held %d messages has retired", n)
	gone("after a retirement", "third", e.Claim(e.a, "third"))
}

func vl43(e *env) {
	e.Push(e.a, kit.Send("released"), kit.Send("returned"), kit.Send("retired"))
	ds := e.Claim(e.a, "retiree")
	e.release(e.a, ds[0], nil)
	e.Must(e.a.Return(e.Ctx(), ds[1].Receipt()), "returning")
	e.Must(e.a.Retire(e.Ctx(), "retiree"), "retiring")
	for i, d := range ds {
		q, r := e.both(i), d.Receipt()
		e.Want(stabilize.ErrLeaseLost, q.Ack(e.Ctx(), r), "acknowledging with the token of a delivery that was %s", d.ID)
		e.Want(stabilize.ErrLeaseLost, q.Release(e.Ctx(), r, e.Now().Add(time.Hour), nil), "releasing with the token of a delivery that was %s", d.ID)
		e.Want(stabilize.ErrLeaseLost, q.Return(e.Ctx(), r), "returning with the token of a delivery that was %s", d.ID)
	}
	e.depth(3, 0, 0, 0, "after the tokens were refused")
	if held := e.heartbeat(e.a, kit.Worker("retiree")).Held; len(held) != 0 {
		e.Errorf("the worker that gave everything back holds %v", held)
	}
	e.List([]string{"released", "retired", "returned"}, slices.Sorted(slices.Values(kit.IDs(e.Claim(e.b, "next")))), "what the next worker is given")
}
