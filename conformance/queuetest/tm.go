package queuetest

import (
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// times is the group TM of the queue.
func times() []check {
	return []check{
		clause("TM-02", "A due time comes back in UTC, cut to a microsecond, whatever the zone and precision it was given in.", tm02),
		clause("TM-03", "A message without a due time is due when it is stored: not in 1970, not in the year 1.", tm03),
		clause("TM-04", "A due time before 1970 means now, one in the year 9999 is kept.", tm04),
		clause("TM-05", "Due times are compared by instant, never by text: mixed zones, with and without fractions of a second, come in order.", tm05),
		clause("TM-06", "Two messages due closer together than the precision keep the order in which they were stored.", tm06),
		clause("TM-07", "A clock that steps back 10 minutes neither redelivers an acknowledged message nor extends a live lease by more than the step.", tm07),
	}
}

func tm02(e *env) {
	for _, zone := range []*time.Location{time.UTC, time.FixedZone("east", 9*3600), time.FixedZone("west", -5*3600), time.FixedZone("odd", 5*3600+1800)} {
		at := e.Now().Add(time.Hour + 123_456_789*time.Nanosecond).In(zone)
		e.Push(e.a, kit.SendAt("m "+zone.String(), at))
		want := stabilize.Instant(at)
		e.Same(want, e.stored("")[0].Due, "the due time, given in the zone %s, of a pending message", zone)
		e.Clock.Set(want)
		d := e.ClaimOne(e.b, "worker")
		e.Same(want, d.Due, "the due time, given in the zone %s, of a delivery", zone)
		e.Must(e.a.Release(e.Ctx(), d.Receipt(), at.Add(time.Minute), nil), "releasing")
		e.Same(stabilize.Instant(at.Add(time.Minute)), e.stored("")[0].Due, "the due time, given in the zone %s, of a release", zone)
		e.Clock.Advance(time.Minute)
		e.ack(e.b, e.ClaimOne(e.b, "worker"))
	}
}

func tm03(e *env) {
	e.Push(e.a, kit.Send("m"))
	now := e.Now()
	e.Same(now, e.stored("")[0].Due, "the due time of a message that was given none")
	e.Same(now, e.Depth(e.b).Oldest, "the due time of the oldest ready message")
	e.Clock.Advance(time.Second)
	d := e.ClaimOne(e.b, "worker")
	e.Same(now, d.Due, "the due time of the delivery")
	e.Same(now, d.CreatedAt, "the creation time of the delivery")
	e.release(e.b, d, nil)
	e.Same(e.Now(), e.stored("")[0].Due, "the due time of a release that was given none")
}

func tm04(e *env) {
	far := time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
	e.Push(e.a, kit.SendAt("far", far), kit.SendAt("old", time.Date(1969, 12, 31, 23, 59, 59, 0, time.UTC)), kit.SendAt("very old", time.Date(1, 2, 3, 4, 5, 6, 0, time.UTC)))
	e.List([]string{"old", "very old"}, kit.IDs(e.Claim(e.b, "worker")), "what is delivered at once")
	for _, s := range e.stored("") {
		if s.ID == "far" {
			e.Same(far, s.Due, "a due time in the year 9999")
		}
	}
	e.depth(0, 1, 2, 0, "with a message due in the year 9999")
	e.Clock.Set(far)
	found := false
	for _, d := range e.Claim(e.b, "other") {
		found = found || d.ID == "far" && d.Due.Equal(far)
	}
	if !found {
		e.Errorf("the message due in the year 9999 is not delivered then")
	}
}

func tm05(e *env) {
	noon := time.Date(2050, 6, 1, 12, 0, 0, 0, time.UTC)
	e.Clock.Set(noon.Add(-time.Hour))
	east, west := time.FixedZone("east", 10*3600), time.FixedZone("west", -10*3600)
	e.Push(e.a,
		kit.SendAt("7", noon.Add(time.Second).In(east)), kit.SendAt("5", noon.Add(100*time.Millisecond).In(east)), kit.SendAt("1", noon.Add(-time.Second).In(east)),
		kit.SendAt("3", noon.In(west)), kit.SendAt("2", noon.Add(-kit.Tick).In(west)), kit.SendAt("6", noon.Add(101*time.Millisecond).In(west)), kit.SendAt("4", noon.Add(kit.Tick)))
	e.ClaimNone(e.b, "worker", "it is an hour before noon")
	e.Clock.Set(noon)
	e.List([]string{"1", "2", "3"}, kit.IDs(e.Claim(e.b, "worker")), "what is due at noon")
	e.Clock.Set(noon.Add(time.Second))
	e.List([]string{"4", "5", "6", "7"}, kit.IDs(e.Claim(e.b, "worker")), "what is due a second later")
}

func tm06(e *env) {
	at := e.Now().Add(time.Second)
	texts := []string{"e", "b", "d", "a", "c"}
	for i, t := range texts {
		e.Push(e.both(i), kit.SendAt(t, at.Add(time.Duration(900-i*200)))) // nanoseconds, backwards
	}
	e.Clock.Advance(2 * time.Second)
	e.List(texts, kit.IDs(e.Claim(e.b, "worker")), "the order of messages due within one microsecond")
}

func tm07(e *env) {
	const step = 10 * time.Minute
	e.Push(e.a, kit.Send("acknowledged"), kit.Send("leased"))
	ds := e.Claim(e.a, "owner")
	e.ack(e.a, ds[0])
	t0 := e.Now()
	e.Clock.Advance(-step)
	e.ClaimNone(e.b, "other", "one message is acknowledged and one leased, and the clock stepped back")
	e.depth(0, 0, 1, 0, "after the clock stepped back")
	e.Push(e.a, kit.Send("new"))
	d := e.ClaimOne(e.b, "other")
	if d.ID != "new" {
		e.Errorf("after the clock stepped back %q was delivered, want what was pushed then", d.ID)
	}
	e.ack(e.b, d)
	e.Clock.Set(t0.Add(kit.TTL - kit.Tick))
	e.ClaimNone(e.b, "other", "the lease has a tick left")
	e.Clock.Set(t0.Add(kit.TTL))
	if d := e.ClaimOne(e.b, "other"); d.ID != "leased" {
		e.Errorf("%q was delivered, want the message whose lease lapsed", d.ID)
	}
}
