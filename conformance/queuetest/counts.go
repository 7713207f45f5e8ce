package queuetest

import (
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/queue"
)

// counts is the part of the group VL about what is counted and listed.
func counts() []check {
	return []check{
		clause("VL-27", "Depth is read-your-writes over all handles, and split into ready, delayed, leased and dead; Oldest is when the oldest ready message of either lane became due; what has no attempts left counts as ready until a claim buries it.", vl27),
		clause("VL-28", "Live is 0 once all messages are acknowledged, even when there are dead letters, so that a drain loop ends.", vl28),
		clause("VL-30", "Pending matches the workflow id exactly and lists ready, delayed, leased and undecodable messages in order, with all that is known of them; the empty id lists those that belong to none.", vl30),
		clause("VL-40", "When the worker has been silent for its TTL, what it held is counted as ready and listed as not leased, also before anyone claims; it holds it again when it heartbeats or claims first: a claim renews before it frees.", vl40),
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
	old := e.Now()
	e.Push(e.a, work("old run"))
	e.Clock.Advance(time.Second)
	e.Push(e.a, kit.Send("newer"))
	oldest(old, "when the oldest is of the work lane")
	for _, d := range e.Claim(e.a, "worker") {
		e.ack(e.a, d)
	}
	e.Push(e.a, last("spent"))
	e.release(e.b, e.ClaimOne(e.a, "worker"), nil)
	e.depth(1, 0, 0, 1, "before a claim buries what has no attempts left")
	oldest(e.Now(), "before a claim buries what has no attempts left")
	e.ClaimNone(e.a, "worker", "it has no attempts left")
	e.Must(e.a.DiscardDead(e.Ctx(), "spent"), "discarding")
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

func (e *env) stored(workflowID string) []queue.Stored {
	e.Helper()
	out, err := e.b.Pending(e.Ctx(), workflowID)
	e.Must(err, "listing what is pending")
	return out
}

func vl30(e *env) {
	ids := []string{"w", "W", "w1", "w ", "%", "_", "w%", "ww"}
	for _, id := range ids {
		e.Push(e.a, about(id, "leased "+id))
	}
	e.Claim(e.a, "worker")
	for _, id := range ids {
		delayed, odd := about(id, "delayed "+id), poison(id)[0]
		delayed.At, delayed.MaxAttempts, odd.ID = e.Now().Add(time.Hour), 3, "odd "+id
		e.Push(e.b, delayed, about(id, "ready "+id), odd)
	}
	e.Push(e.a, kit.Send("loose"))
	for _, id := range ids {
		e.List([]string{"leased " + id, "ready " + id, "odd " + id, "delayed " + id}, e.Pending(e.b, id), "what is pending for %q", id)
		for i, s := range e.stored(id) {
			want := queue.Stored{ID: s.ID, Kind: "CancelRegion", Due: e.Now(), Message: about(id, s.ID).Message, MaxAttempts: queue.DefaultMaxAttempts}
			switch i {
			case 0:
				want.Leased, want.Attempts = true, 1
			case 2:
				want.Kind, want.Message = stranger{}.Kind(), nil
			case 3:
				want.Due, want.MaxAttempts = e.Now().Add(time.Hour), 3
			}
			e.Same(want, s, "the pending message %q", s.ID)
		}
	}
	e.List([]string{"loose"}, e.Pending(e.b, ""), "what is pending for no workflow")
	e.List(nil, e.Pending(e.b, "nobody"), "what is pending for an unknown workflow")
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
	if held := e.heartbeat(e.a, kit.Worker("worker")).Held; len(held) != 1 || held[0].ID != "held" {
		e.Errorf("the heartbeat of a worker that is back before anyone claimed lists %v, want the message it holds", held)
	}
	e.depth(0, 0, 1, 0, "when the worker is back before anyone claimed")
	e.Lapse()
	e.ClaimNone(e.a, "worker", "it was back before anyone else claimed, and holds it")
	e.depth(0, 0, 1, 0, "when a claim of the worker's own came first")
	leased(true, "when a claim of the worker's own came first")
}
