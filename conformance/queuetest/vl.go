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

// visibility is the group VL: who sees a message, and when. The dead letters of
// the group are in dead.go.
func visibility() []check {
	return []check{
		clause("VL-01", "A claim on an empty queue returns no message and no error.", vl01),
		clause("VL-02", "A pushed message is delivered once, equal in every field to what was pushed, for every registered kind.", vl02),
		clause("VL-03", "A delayed message is not delivered one tick of the precision of time before it is due.", vl03),
		clause("VL-04", "It is delivered when it is due, exactly.", vl04),
		clause("VL-05", "A due time of zero, now or in the past means now.", vl05),
		clause("VL-06", "VL-02 to VL-05 hold under TZ=America/New_York and TZ=Asia/Tokyo, each in a process of its own.", vl06),
		clause("VL-07", "A leased message is delivered to nobody, its own worker included, through any handle, until the worker has been silent for its TTL.", vl07),
		clause("VL-08", "When the worker has been silent for its TTL, exactly, its messages are delivered again, with attempts raised by 1.", vl08),
		clause("VL-09", "An acknowledged message is never delivered again, also after its lease would have lapsed, and after reopening.", vl09),
		clause("VL-10", "Acknowledging with the token of a lease that lapsed and was given to another returns ErrLeaseLost and removes nothing.", vl10),
		clause("VL-11", "A heartbeat or claim of a worker that lapsed does not move the lease of the new holder, and does not list what it lost.", vl11),
		clause("VL-12", "Releasing or returning with a lost lease returns ErrLeaseLost and does not clear the new holder's lease.", vl12),
		clause("VL-13", "Each delivery carries a token of its own; holding the message's id alone, or the token of another message, is not enough.", vl13),
		clause("VL-14", "A heartbeat or claim before the lapse moves it to now plus the TTL, and a TTL that is not positive is ErrInvalid.", vl14),
		clause("VL-15", "Each worker's TTL is honoured, shorter or longer than that of others, and also when a heartbeat changes it.", vl15),
		clause("VL-16", "A second acknowledgement with the same token is ErrLeaseLost; the others of the same call are acknowledged all the same.", vl16),
		clause("VL-17", "Releasing makes the message due at the given time, and the next delivery reports the cause.", vl17),
		clause("VL-18", "The first delivery has attempts 1, and each later one, after a release, a lapse or a retirement, exactly one more.", vl18),
		clause("VL-27", "Depth is read-your-writes over all handles, and split into ready, delayed, leased and dead; Oldest is when the oldest ready message became due.", vl27),
		clause("VL-28", "Live is 0 once all messages are acknowledged, even when there are dead letters, so that a drain loop ends.", vl28),
		clause("VL-30", "Pending matches the workflow id exactly and lists ready, delayed, leased and undecodable messages in order; the empty id lists those that belong to none.", vl30),
		clause("VL-31", "A claim delivers distinct messages, at most the room of each lane, and room in one lane is not taken by the other.", vl31),
		clause("VL-32", "TTL, max attempts and room each change behaviour when changed; max attempts left out are the default.", vl32),
		clause("VL-33", "A push wakes whoever waits on the handle's channel, where there is one; where not, claiming alone delivers.", vl33),
		clause("VL-34", "Returning gives a delivery back at once, with the attempt taken back, its due time and its last error kept.", vl34),
		clause("VL-36", "A worker that was silent too long still holds what nobody else was given: it may acknowledge or release it.", vl36),
		clause("VL-37", "Retiring makes all that a worker holds claimable at once, with the attempts counted; an unknown worker is no error.", vl37),
		clause("VL-39", "A push stores all messages or none: an id in use or an invalid message refuses the others too; a message without an id gets one; a lease is refused.", vl39),
		clause("VL-40", "When the worker has been silent for its TTL, what it held is counted as ready and listed as not leased, also before anyone claims.", vl40),
		clause("VL-41", "A claim or a heartbeat that makes nothing claimable gives no hint to whoever waits on a handle's channel: who is woken claims, and would be woken by that again.", vl41),
	}
}

func vl01(e *env) {
	for i := range 3 {
		ds, err := e.both(i).Claim(e.Ctx(), kit.Worker("worker"), queue.Room{Control: i, Work: i})
		if err != nil || len(ds) != 0 {
			e.Errorf("a claim on an empty queue returned %d messages and %s", len(ds), kit.Quote(err))
		}
	}
}

func vl02(e *env) {
	for i, m := range e.kinds() {
		e.Clock.Advance(time.Second)
		at := e.Now()
		o := queue.Outgoing{ID: fmt.Sprintf("m%d", i), Message: m, MaxAttempts: i + 1}
		e.Push(e.a, o)
		e.Clock.Advance(time.Millisecond)
		d := e.ClaimOne(e.b, "worker")
		if d.Token == "" {
			e.Errorf("%s: the delivery has no token", m.Kind())
		}
		want := queue.Delivery{ID: o.ID, Token: d.Token, Message: m, Due: at, CreatedAt: at, Attempts: 1, MaxAttempts: i + 1}
		e.Same(want, d, "the delivery of a %s", m.Kind())
		if queue.WorkflowOf(d.Message) != queue.WorkflowOf(m) || queue.LaneOf(d.Message) != queue.LaneOf(m) {
			e.Errorf("%s: the workflow or lane is lost", m.Kind())
		}
		e.ClaimNone(e.a, "other", "the %s was delivered", m.Kind())
		e.ack(e.a, d)
	}
}

func vl03(e *env) {
	for _, delay := range []time.Duration{kit.Tick, time.Millisecond, 900 * time.Millisecond, time.Second, time.Hour, 30 * 24 * time.Hour} {
		text := delay.String()
		e.Push(e.a, kit.SendAt(text, e.Now().Add(delay)))
		e.ClaimNone(e.b, "worker", "it is due in %s", text)
		e.Clock.Advance(delay - kit.Tick)
		e.ClaimNone(e.b, "worker", "it is due in a tick, after %s", text)
		e.Clock.Advance(kit.Tick)
		e.ack(e.b, e.ClaimOne(e.b, "worker"))
	}
}

func vl04(e *env) {
	for _, delay := range []time.Duration{kit.Tick, time.Millisecond, 900 * time.Millisecond, time.Second, time.Hour} {
		due := e.Now().Add(delay)
		e.Push(e.a, kit.SendAt(delay.String(), due))
		e.Clock.Set(due)
		d := e.ClaimOne(e.b, "worker")
		if !d.Due.Equal(due) {
			e.Errorf("a message due at %s says %s", due, d.Due)
		}
		e.ack(e.b, d)
	}
}

func vl05(e *env) {
	now := e.Now()
	for text, at := range map[string]time.Time{
		"zero": {}, "now": now, "a tick ago": now.Add(-kit.Tick), "long ago": now.Add(-1000 * time.Hour), "before 1970": time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC),
		"zero in a zone": time.Time{}.In(time.FixedZone("east", 3600)), "less than a tick ahead": now.Add(kit.Tick - 1),
	} {
		e.Push(e.a, kit.SendAt(text, at))
		if d := e.ClaimOne(e.b, "worker"); d.ID != text {
			e.Errorf("%q was delivered, want %q", d.ID, text)
		} else {
			e.ack(e.b, d)
		}
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

func (e *env) stored(workflowID string) []queue.Stored {
	e.Helper()
	out, err := e.b.Pending(e.Ctx(), workflowID)
	e.Must(err, "listing what is pending")
	return out
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

func vl17(e *env) {
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

func vl27(e *env) {
	oldest := func(want time.Time, when string) {
		e.Helper()
		if got := e.Depth(e.b).Oldest; !got.Equal(want) || got.IsZero() != want.IsZero() {
			e.Errorf("%s the oldest ready message became due at %s, want %s", when, got, want)
		}
	}
	e.depth(0, 0, 0, 0, "on an empty queue")
	oldest(time.Time{}, "on an empty queue")
	t0 := e.Now()
	e.Push(e.a, kit.Send("a"))
	e.depth(1, 0, 0, 0, "after one push")
	e.Clock.Advance(time.Second)
	e.Push(e.b, kit.Send("b"), kit.SendAt("later", t0.Add(time.Hour)), work("run"))
	e.depth(3, 1, 0, 0, "after four pushes")
	oldest(t0, "after four pushes")
	ds := e.ClaimRoom(e.a, kit.Worker("worker"), queue.Room{Control: 1})
	e.depth(2, 1, 1, 0, "after a claim of one")
	oldest(t0.Add(time.Second), "after the oldest was claimed")
	e.ack(e.b, ds[0])
	e.depth(2, 1, 0, 0, "after an acknowledgement")
	e.Clock.Set(t0.Add(time.Hour))
	e.depth(3, 0, 0, 0, "when the delayed message is due")
	ds = e.Claim(e.a, "worker")
	e.depth(0, 0, 3, 0, "after all were claimed")
	oldest(time.Time{}, "when none is ready")
	for _, d := range ds {
		e.ack(e.a, d)
	}
	e.Kill(e.a, "dead")
	e.depth(0, 0, 0, 1, "after a message died")
	if d := e.Depth(e.h.Reopen()); d.Dead != 1 || d.Live() != 0 {
		e.Errorf("after reopening the queue counts %+v", d)
	}
}

func vl28(e *env) {
	e.Kill(e.a, "dead")
	e.Push(e.a, kit.Numbers(30)...)
	for rounds := 0; e.Depth(e.b).Live() > 0; rounds++ {
		if rounds > 100 {
			e.Fatalf("the queue never drains: %+v", e.Depth(e.b))
		}
		for _, d := range e.ClaimRoom(e.a, kit.Worker("worker"), queue.Room{Control: 7, Work: 7}) {
			e.ack(e.a, d)
		}
	}
	e.depth(0, 0, 0, 1, "after draining")
}

func vl40(e *env) {
	leased := func(want bool, when string) {
		e.Helper()
		stored, err := e.b.Pending(e.Ctx(), "w")
		e.Must(err, "listing what is pending %s", when)
		if len(stored) != 1 || stored[0].Leased != want {
			e.Errorf("%s the messages listed are %+v, want one with Leased %t", when, stored, want)
		}
	}
	e.Push(e.a, about("w", "held"))
	due := e.Now()
	e.ClaimOne(e.a, "worker")
	e.Clock.Advance(kit.TTL - kit.Tick)
	e.depth(0, 0, 1, 0, "a tick before the worker lapses")
	leased(true, "a tick before the worker lapses")
	e.Clock.Advance(kit.Tick)
	e.depth(1, 0, 0, 0, "when the worker has lapsed")
	leased(false, "when the worker has lapsed")
	if got := e.Depth(e.b).Oldest; !got.Equal(due) {
		e.Errorf("when the worker has lapsed the oldest ready message became due at %s, want %s", got, due)
	}
	_, err := e.a.Heartbeat(e.Ctx(), kit.Worker("worker"))
	e.Must(err, "a heartbeat of the lapsed worker")
	e.depth(0, 0, 1, 0, "when the worker is back before anyone claimed")
}

func vl30(e *env) {
	ids := []string{"w", "W", "w1", "w ", "%", "_", "w%", "ww"}
	for _, id := range ids {
		e.Push(e.a, about(id, "leased "+id))
	}
	e.Claim(e.a, "worker")
	for _, id := range ids {
		delayed, odd := about(id, "delayed "+id), poison(id)[0]
		delayed.At, odd.ID = e.Now().Add(time.Hour), "odd "+id
		e.Push(e.b, delayed, about(id, "ready "+id), odd)
	}
	e.Push(e.a, kit.Send("loose"))
	for _, id := range ids {
		e.List([]string{"leased " + id, "ready " + id, "odd " + id, "delayed " + id}, e.Pending(e.b, id), "what is pending for %q", id)
		for i, s := range e.stored(id) {
			want := queue.Stored{ID: s.ID, Kind: "CancelRegion", Due: e.Now(), Message: about(id, s.ID).Message}
			switch i {
			case 0:
				want.Leased, want.Attempts = true, 1
			case 2:
				want.Kind, want.Message = stranger{}.Kind(), nil
			case 3:
				want.Due = e.Now().Add(time.Hour)
			}
			e.Same(want, s, "the pending message %q", s.ID)
		}
	}
	e.List([]string{"loose"}, e.Pending(e.b, ""), "what is pending for no workflow")
	e.List(nil, e.Pending(e.b, "nobody"), "what is pending for an unknown workflow")
}

func vl31(e *env) {
	for i := range 20 {
		e.Push(e.both(i), kit.Send(fmt.Sprintf("c%02d", i)), work(fmt.Sprintf("w%02d", i)))
	}
	seen := map[string]bool{}
	claim := func(room queue.Room, control, workers int) {
		e.Helper()
		got := [2]int{}
		for _, d := range e.ClaimRoom(e.a, kit.Worker("worker"), room) {
			got[queue.LaneOf(d.Message)]++
			if seen[d.ID] {
				e.Errorf("%q was delivered twice", d.ID)
			}
			seen[d.ID] = true
		}
		if got != [2]int{control, workers} {
			e.Errorf("with room for %d and %d, %d and %d messages were delivered, want %d and %d", room.Control, room.Work, got[0], got[1], control, workers)
		}
	}
	claim(queue.Room{}, 0, 0)
	claim(queue.Room{Control: 1}, 1, 0)
	claim(queue.Room{Work: 3}, 0, 3)
	claim(queue.Room{Control: 4, Work: 2}, 4, 2)
	claim(queue.Room{Control: 100}, 15, 0)
	e.Push(e.a, kit.Send("cancel"))
	claim(queue.Room{Control: 1}, 1, 0) // not behind the work that waits
	claim(queue.Room{Control: 100, Work: 100}, 0, 15)
	_, err := e.a.Claim(e.Ctx(), kit.Worker("worker"), queue.Room{Control: -1, Work: 5})
	e.Want(stabilize.ErrInvalid, err, "a claim with negative room")
}

func vl32(e *env) {
	for _, ttl := range []time.Duration{time.Second, time.Hour} {
		e.Push(e.a, kit.Send(ttl.String()))
		e.ClaimRoom(e.a, queue.Worker{ID: "w" + ttl.String(), TTL: ttl}, kit.Plenty())
		e.Clock.Advance(ttl)
		e.ack(e.a, e.ClaimOne(e.a, "other"))
	}
	for most, want := range map[int]int{0: queue.DefaultMaxAttempts, 1: 1, 3: 3} {
		o := kit.Send(fmt.Sprint("attempts ", most))
		o.MaxAttempts = most
		e.Push(e.a, o)
		got := 0
		for ; got <= 20; got++ {
			ds := e.Claim(e.a, "worker")
			if len(ds) == 0 {
				break
			}
			if ds[0].MaxAttempts != want {
				e.Errorf("with max attempts %d the delivery says %d, want %d", most, ds[0].MaxAttempts, want)
			}
			e.release(e.a, ds[0], nil)
		}
		if got != want {
			e.Errorf("with max attempts %d a message was delivered %d times, want %d", most, got, want)
		}
	}
	e.Push(e.a, kit.Numbers(6)...)
	for _, room := range []int{1, 2} {
		if got := len(e.ClaimRoom(e.a, kit.Worker("worker"), queue.Room{Control: room})); got != room {
			e.Errorf("with room for %d, %d messages were delivered", room, got)
		}
	}
}

func vl33(e *env) {
	n, ok := e.a.(queue.Notifier)
	for i := range 5 {
		if ok {
			for len(n.Wake()) > 0 { // an old hint
				<-n.Wake()
			}
		}
		text := fmt.Sprint("m", i)
		e.Push(e.a, kit.Send(text))
		if ok {
			select {
			case <-n.Wake():
			case <-time.After(time.Duration(e.Effort.Size(10_000, 100)) * time.Millisecond): // ends a broken test only
				e.Fatalf("a push through the same handle did not wake")
			}
		}
		if d := e.ClaimOne(e.a, "worker"); d.ID != text {
			e.Errorf("%q was delivered, want %q", d.ID, text)
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

func vl39(e *env) {
	e.Push(e.a, kit.Send("in-use"), kit.SendAt("in-use later", e.Now().Add(time.Hour)))
	leased := kit.Send("leased")
	leased.Lease = &queue.Lease{Worker: "w", Token: "t"}
	for name, c := range map[string]struct {
		class error
		bad   queue.Outgoing
	}{
		"an id in use": {stabilize.ErrExists, kit.Send("in-use")}, "the id of a delayed message": {stabilize.ErrExists, kit.Send("in-use later")},
		"a nil message": {stabilize.ErrInvalid, queue.Outgoing{ID: "nil"}}, "an id with a newline": {stabilize.ErrInvalid, queue.Outgoing{ID: "a\nb", Message: kit.Note("x")}},
		"negative attempts": {stabilize.ErrInvalid, queue.Outgoing{Message: kit.Note("x"), MaxAttempts: -1}}, "a lease": {stabilize.ErrInvalid, leased},
		"an id twice": {stabilize.ErrInvalid, kit.Send("first")}, "a pointer": {stabilize.ErrInvalid, queue.Outgoing{Message: &queue.StartWaitingWorkflows{Key: "x"}}},
	} {
		for _, msgs := range [][]queue.Outgoing{{kit.Send("first"), c.bad, kit.Send("last")}, {kit.Send("first"), c.bad}} {
			e.Want(c.class, e.b.Push(e.Ctx(), msgs...), "pushing three messages of which one has %s", name)
			e.depth(1, 1, 0, 0, "after a push refused for %s", name)
		}
	}
	e.Must(e.a.Push(e.Ctx()), "pushing nothing")
	e.Push(e.a, queue.Outgoing{Message: kit.Note("x")}, queue.Outgoing{Message: kit.Note("y")})
	seen := map[string]bool{"": true}
	for _, d := range e.Claim(e.b, "worker") {
		if seen[d.ID] {
			e.Errorf("the id %q was given twice, or is empty", d.ID)
		}
		seen[d.ID] = true
	}
	if len(seen) != 4 {
		e.Errorf("%d messages were delivered, want 3", len(seen)-1)
	}
	e.Want(stabilize.ErrExists, e.a.Push(e.Ctx(), kit.Send("in-use")), "pushing an id that is leased")
}

func vl41(e *env) {
	e.Push(e.a, kit.Send("later"))
	held := e.ClaimOne(e.a, "worker")
	const rounds = 20
	for _, what := range []struct {
		name string
		do   func(q queue.Queue)
	}{
		{"claims that find nothing", func(q queue.Queue) { e.Claim(q, "worker") }},
		{"heartbeats", func(q queue.Queue) {
			e.heartbeat(q, kit.Worker("worker"))
		}},
	} {
		hints := 0
		for i := range rounds {
			for _, q := range []queue.Queue{e.a, e.b} {
				n, ok := q.(queue.Notifier)
				if !ok {
					continue
				}
				wake := n.Wake()
				for len(wake) > 0 { // an old hint
					<-wake
				}
				what.do(e.both(i))
				hints += len(n.Wake())
			}
		}
		if hints > rounds { // a hint for nothing may come now and then
			e.Errorf("%d of %d %s gave a hint that messages may have become claimable", hints, 2*rounds, what.name)
		}
	}
	e.ack(e.a, held)
}
