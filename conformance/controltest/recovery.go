package controltest

import (
	"fmt"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Recovery: IR-09.
func recovery() []check {
	return []check{
		clause("IR-09", "Recovery run twice (Reschedule), or by two processes at once, enqueues each stuck stage once; and of what a dead worker held each message runs once, however many take over.", recovered),
	}
}

func recovered(e *env) {
	a, b := e.both()
	const stuck = 3
	for n := range e.Effort.Of(3, 2) {
		var stages []*stabilize.StageSpec
		for i := range stuck {
			stages = append(stages, stage(fmt.Sprint("s", i), slow))
		}
		id := e.start(a, fmt.Sprint("stuck ", n), stages...)
		e.settle(a)
		e.enqueued(id, stuck, e.Now().Add(20*time.Hour), "before recovery")
		e.Must(kit.First(e.atOnce([]*process{a, b}, func(p *process) error { return p.Reschedule(e.Ctx(), id) })), "rescheduling by two processes at once")
		e.enqueued(id, stuck, e.Now(), "rescheduled by two processes at once")
		for _, p := range []*process{b, a} {
			e.Must(p.Reschedule(e.Ctx(), id), "rescheduling again")
		}
		e.enqueued(id, stuck, e.Now(), "rescheduled twice more")

		// A worker claims them all and falls silent; two take over.
		dead := queue.Worker{ID: fmt.Sprint("dead ", n), TTL: time.Minute}
		if got := e.ClaimRoom(e.h.Store(), dead, kit.Plenty()); len(got) != stuck {
			e.Errorf("a worker claimed %d of %d messages", len(got), stuck)
		}
		e.Clock.Advance(dead.TTL)
		e.shift(a, b)
		e.settle(a, b)
		for i := range stuck {
			if ran := e.runs(id, fmt.Sprint("s", i)); ran != 2 {
				e.Errorf("stage s%d ran %d times, want 2: once before it was stuck, once after", i, ran)
			}
		}
		e.enqueued(id, stuck, e.Now().Add(20*time.Hour), "recovered, and waiting again")
		e.Clock.Advance(20 * time.Hour)
		e.settle(b, a)
		e.nothingLeft(e.status(stabilize.Succeeded, id, "recovered"))
	}
}

// enqueued fails unless each of n stages has one run in the queue, due at that
// time.
func (e *env) enqueued(id string, n int, due time.Time, when string) {
	e.Helper()
	stored, err := e.h.Second().Pending(e.Ctx(), id)
	e.Must(err, "listing the messages of %s", id)
	per := map[string]int{}
	for _, m := range stored {
		per[queue.StageOf(m.Message)]++
		if !m.Due.Equal(due) {
			e.Errorf("%s the run of a stage is due at %s, want %s", when, m.Due, due)
		}
	}
	if len(per) != n || len(stored) != n {
		e.Errorf("%s %d stages have %d messages in the queue, want one for each of %d", when, len(per), len(stored), n)
	}
}
