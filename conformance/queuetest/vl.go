package queuetest

import (
	"fmt"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// visibility is the part of the group VL about what is delivered, when and to whom.
func visibility() []check {
	return []check{
		clause("VL-01", "A claim on an empty queue returns no message and no error.", vl01),
		clause("VL-02", "A pushed message is delivered once, equal in every field to what was pushed, for every registered kind.", vl02),
		clause("VL-03", "A delayed message is not delivered one tick of the precision of time before it is due.", vl03),
		clause("VL-04", "It is delivered when it is due, exactly.", vl04),
		clause("VL-05", "A due time of zero, now or in the past means now.", vl05),
		clause("VL-06", "VL-02 to VL-05 hold under TZ=America/New_York and TZ=Asia/Tokyo, each in a process of its own.", vl06),
		clause("VL-31", "A claim delivers distinct messages, at most the room of each lane, and room in one lane is not taken by the other.", vl31),
		clause("VL-32", "TTL, max attempts and room each change behaviour when changed; max attempts left out are the default.", vl32),
		clause("VL-33", "A push wakes whoever waits on the channel of the handle it goes through, the first or another, where there is one; where not, claiming alone delivers.", vl33),
		clause("VL-39", "A push stores all messages or none: an id in use or an invalid message refuses the others too; a message without an id gets one; a lease is refused.", vl39),
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
	for i := range 6 {
		n, ok := e.both(i).(queue.Notifier)
		if ok {
			for len(n.Wake()) > 0 { // an old hint
				<-n.Wake()
			}
		}
		text := fmt.Sprint("m", i)
		e.Push(e.both(i), kit.Send(text))
		if ok {
			select {
			case <-n.Wake():
			case <-time.After(time.Duration(e.Effort.Size(10_000, 100)) * time.Millisecond): // ends a broken test only
				select {
				case <-n.Wake(): // both were there when we came to look
				default:
					e.Fatalf("a push through handle %d did not wake who waits on its channel", i%2)
				}
			}
		}
		if d := e.ClaimOne(e.both(i), "worker"); d.ID != text {
			e.Errorf("%q was delivered, want %q", d.ID, text)
		}
	}
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
