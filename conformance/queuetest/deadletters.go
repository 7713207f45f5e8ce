package queuetest

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// deadLetters is the part of the group VL about the list of the dead, and who comes back from it.
func deadLetters() []check {
	return []check{
		clause("VL-23", "A replay restores the payload, due now, sets attempts back to 0 and keeps the message's own max attempts.", vl23),
		clause("VL-24", "Replaying or discarding an unknown dead letter returns ErrNotFound; a discarded one is gone.", vl24),
		clause("VL-38", "Dead letters are listed oldest first, those of one instant in the order in which they died, after the given id, at most as many as asked for; the pages concatenate to the whole; after an id that is no dead letter it is ErrNotFound, never the beginning.", vl38),
		clause("VL-46", "What a listing of dead letters hands out is the caller's: changing a body there changes nothing that is stored, so hand out copies.", vl46),
		clause("DD-14", "Equal payloads are stored as equal bytes, whatever the order of a map's iteration.", dd14),
		clause("DD-15", "A replayed dead letter is delivered and may die again under the same id.", dd15),
	}
}

func vl23(e *env) {
	v := stabilize.Values{"k": kit.Text("v"), "n": []byte("9007199254740993")}
	o := signal("m", v)
	o.MaxAttempts = 1
	e.KillMessage(e.a, o)
	created := e.Dead(e.a)[0].CreatedAt
	e.Clock.Advance(time.Hour)
	e.Must(e.b.ReplayDead(e.Ctx(), "m"), "replaying")
	replayed := e.Now()
	e.List(nil, e.DeadIDs(e.a), "the dead letters after the replay")
	for _, d := range e.Claim(e.a, "worker") {
		if d.ID != "m" {
			continue
		}
		e.Same(o.Message, d.Message, "the payload of the replayed message")
		if d.Attempts != 1 || d.MaxAttempts != 1 || !d.CreatedAt.Equal(created) || !d.Due.Equal(replayed) {
			e.Errorf("the replayed message comes as attempt %d of %d, created %s, due %s; want 1 of 1, %s, %s", d.Attempts, d.MaxAttempts, d.CreatedAt, d.Due, created, replayed)
		}
		return
	}
	e.Errorf("the replayed message was not delivered")
}

func vl24(e *env) {
	e.Kill(e.a, "a")
	e.Kill(e.a, "b")
	e.Push(e.a, kit.Send("alive"))
	unknown := func(doing string, err error, id string) {
		e.Helper()
		var nf *stabilize.NotFoundError
		if !errors.Is(err, stabilize.ErrNotFound) || !errors.As(err, &nf) || nf.Kind != "dead letter" || nf.ID != id {
			e.Errorf("%s returned %s, want ErrNotFound naming the dead letter %q", doing, kit.Quote(err), id)
		}
	}
	unknown("replaying the unknown", e.a.ReplayDead(e.Ctx(), "x"), "x")
	unknown("discarding the unknown", e.a.DiscardDead(e.Ctx(), "x"), "x")
	unknown("replaying what is alive", e.a.ReplayDead(e.Ctx(), "alive"), "alive")
	unknown("discarding what is alive", e.a.DiscardDead(e.Ctx(), "alive"), "alive")
	e.Must(e.b.DiscardDead(e.Ctx(), "a"), "discarding")
	unknown("discarding twice", e.a.DiscardDead(e.Ctx(), "a"), "a")
	unknown("replaying the discarded", e.a.ReplayDead(e.Ctx(), "a"), "a")
	e.List([]string{"b"}, e.DeadIDs(e.b), "the dead letters after one was discarded")
	e.Must(e.a.ReplayDead(e.Ctx(), "b"), "replaying")
	unknown("replaying twice", e.b.ReplayDead(e.Ctx(), "b"), "b")
	e.depth(2, 0, 0, 0, "after one dead letter was discarded and one replayed")
}

func vl38(e *env) {
	texts := []string{"m9", "m1", "m5", "M5", "m50", "m0"} // die in this order
	for _, t := range texts {
		e.Clock.Advance(time.Second)
		e.Kill(e.both(len(t)), t)
	}
	for size := 1; size <= len(texts)+1; size++ {
		var got []string
		for after := ""; ; after = got[len(got)-1] {
			page, err := e.b.ListDead(e.Ctx(), after, size)
			e.Must(err, "listing %d dead letters after %q", size, after)
			if len(page) > size {
				e.Fatalf("asked for %d dead letters, %d came", size, len(page))
			}
			for _, d := range page {
				got = append(got, d.ID)
			}
			if len(page) == 0 || len(got) > len(texts) {
				break
			}
		}
		e.List(texts, got, "the dead letters in pages of %d", size)
	}
	for _, limit := range []int{0, -1} {
		_, err := e.a.ListDead(e.Ctx(), "", limit)
		e.Want(stabilize.ErrInvalid, err, "listing %d dead letters", limit)
	}
	e.Push(e.a, last("stored first"), last("stored second"))
	ds := e.Claim(e.a, "killer")
	for i := range 2 {
		e.release(e.a, ds[1-i], nil)
		e.ClaimNone(e.a, "killer", "what can be claimed has no attempts left")
	}
	list, err := e.b.ListDead(e.Ctx(), texts[len(texts)-1], 10)
	e.Must(err, "listing")
	var got []string
	for _, d := range list {
		got = append(got, d.ID)
	}
	e.List([]string{"stored second", "stored first"}, got, "the dead letters of one instant")
	e.Push(e.a, kit.Send("alive"))
	for _, after := range []string{"unknown", "alive", "m"} {
		list, err := e.a.ListDead(e.Ctx(), after, 100)
		e.Want(stabilize.ErrNotFound, err, "listing after %q, which is no dead letter", after)
		if len(list) > 0 {
			e.Errorf("listing after %q, which is no dead letter, gave %d", after, len(list))
		}
	}
}

func dd14(e *env) {
	var bodies [][]byte
	for i := range 10 {
		v := stabilize.Values{}
		for _, k := range kit.Numbered("key %d", 20) {
			e.Must(v.Set(k, map[string]int{"b": 1, "a": 2, "c": 3}), "setting a value")
		}
		o := signal(fmt.Sprint("m", i), v)
		o.MaxAttempts = 1
		e.KillMessage(e.a, o)
	}
	for _, d := range e.Dead(e.a) {
		bodies = append(bodies, d.Body)
	}
	for i, b := range bodies {
		if len(b) == 0 || string(b) != string(bodies[0]) {
			e.Errorf("equal payloads are stored as %s and %s", bodies[0], bodies[i])
		}
	}
	if len(bodies) != 10 {
		e.Errorf("%d dead letters, want 10", len(bodies))
	}
}

func dd15(e *env) {
	e.Kill(e.a, "m")
	for range 3 {
		e.Must(e.a.ReplayDead(e.Ctx(), "m"), "replaying")
		d := e.ClaimOne(e.b, "worker")
		if d.ID != "m" || d.Attempts != 1 {
			e.Errorf("the replayed message comes as %q, attempt %d", d.ID, d.Attempts)
		}
		e.release(e.b, d, nil)
		e.ClaimNone(e.a, "worker", "it has no attempts left")
		e.List([]string{"m"}, e.DeadIDs(e.b), "the dead letters")
	}
}

func vl46(e *env) {
	e.Kill(e.a, "m")
	e.Push(e.a, poison("")...)
	e.ClaimNone(e.a, "worker", "nothing can be decoded")
	before := e.Dead(e.b)
	for i := range before {
		before[i].Body = bytes.Clone(before[i].Body)
	}
	for _, q := range []queue.Queue{e.a, e.b} {
		for _, d := range e.Dead(q) {
			for i := range d.Body {
				d.Body[i] = 'x'
			}
		}
	}
	e.Same(before, e.Dead(e.b), "the dead letters after a caller wrote over the bodies it was given")
	e.Must(e.a.ReplayDead(e.Ctx(), "m"), "replaying")
	e.Same(kit.Note("m"), e.ClaimOne(e.b, "worker").Message, "the message that was replayed")
}
