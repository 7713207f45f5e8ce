package controltest

import (
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// The times that control operations leave: TM-09, TM-10.
func times() []check {
	return []check{
		clause("TM-09", "Paused time adds up: after every resume it is the sum of resume less pause, and the present pause does not count.", pausedTime),
		clause("TM-10", "A start time is that of the first RUNNING and stays; an end time is set at the end, and only of what had started.", startAndEnd),
	}
}

func pausedTime(e *env) {
	a, b := e.both()
	id := e.suspended(a, "paused", waits)
	var total time.Duration
	for i, length := range []time.Duration{time.Hour, 90 * time.Minute, time.Microsecond} {
		p := []*process{a, b, a}[i]
		at := e.Now()
		e.Must(p.Pause(e.Ctx(), id, "u"), "pausing")
		e.pausedAs(id, stabilize.Pause{By: "u", At: at, Total: total}, "while paused")
		e.Clock.Advance(length)
		e.Must(p.Resume(e.Ctx(), id, "v"), "resuming")
		total += length
		e.pausedAs(id, stabilize.Pause{By: "u", At: at, ResumedAt: e.Now(), Total: total}, "resumed")
		e.Clock.Advance(time.Minute)
	}
	e.h.Reopen()
	if got := e.load(id).Pause; got == nil || got.Total != total {
		e.Errorf("reopened, the pause is %+v, want %s in all", got, total)
	}
}

func (e *env) pausedAs(id string, want stabilize.Pause, when string) {
	e.Helper()
	for way, h := range e.headers(id) {
		e.Same(&want, h.Pause, "the pause of a workflow %s, as read by %s", when, way)
	}
}

func startAndEnd(e *env) {
	a, b := e.both()
	created := e.Now()
	id := e.start(a, "times", stage("a", waits), stage("b", done, "a"), stage("c", done, "b"))
	e.Clock.Advance(time.Minute)
	e.settle(a)
	began := e.load(id)
	e.Same(created, began.StartedAt, "the start of a workflow")
	e.Same(created, began.StageByRef("a").StartedAt, "the start of its first stage")
	e.Same(time.Time{}, began.StageByRef("b").StartedAt, "the start of a stage that has not begun")

	e.Clock.Advance(time.Minute)
	e.Must(a.Pause(e.Ctx(), id, "u"), "pausing")
	e.Clock.Advance(time.Minute)
	e.Must(b.Resume(e.Ctx(), id, "u"), "resuming")
	e.Must(b.Skip(e.Ctx(), id, "c"), "skipping what has not begun")
	e.Clock.Advance(time.Minute)
	_, err := b.Signal(e.Ctx(), id, "go", nil)
	e.Must(err, "signalling")
	e.settle(b, a)
	e.timed(id, "a", began, e.Now())

	// What is restarted keeps the start of its workflow; its new round has its own.
	e.Clock.Advance(time.Minute)
	e.Must(a.Restart(e.Ctx(), id, "b", "u"), "restarting")
	e.settle(a)
	w := e.timed(id, "a", began, e.Now().Add(-time.Minute))
	e.Same(e.Now(), w.EndedAt, "the end of a workflow that was restarted")
	e.Same(e.Now(), w.StageByRef("b").StartedAt, "the start of a new round")

	for _, status := range []stabilize.Status{stabilize.NotStarted, stabilize.Buffered} {
		id := e.given("never "+status.String(), status)
		e.Must(b.Cancel(e.Ctx(), id, "u", "why"), "cancelling")
		for _, h := range e.headers(id) {
			e.Same(time.Time{}, h.StartedAt, "the start of a workflow canceled while %s", status)
			e.Same(time.Time{}, h.EndedAt, "the end of a workflow canceled while %s", status)
		}
	}
	page, err := e.h.Second().Query(e.Ctx(), persistence.Query{Application: "control"})
	e.Must(err, "listing")
	for _, h := range page.Workflows {
		e.Same(began.StartedAt, h.StartedAt, "the start of a workflow in a list")
	}
}

// timed checks the times of a workflow that has ended and of its stage, which
// ended when it is said, and of the stage that was skipped before it began.
func (e *env) timed(id, ref string, began *stabilize.Workflow, ended time.Time) *stabilize.Workflow {
	e.Helper()
	w := e.status(stabilize.Succeeded, id, "paused, resumed and signalled")
	s, first := w.StageByRef(ref), began.StageByRef(ref)
	e.Same(began.StartedAt, w.StartedAt, "the start of a workflow that was paused and resumed")
	e.Same(first.StartedAt, s.StartedAt, "the start of a stage that was paused, resumed and signalled")
	e.Same(first.Tasks[0].StartedAt, s.Tasks[0].StartedAt, "the start of its task")
	e.Same(ended, s.EndedAt, "the end of the stage")
	e.Same(ended, s.Tasks[0].EndedAt, "the end of its task")
	for _, skipped := range w.Stages {
		if skipped.Status == stabilize.Skipped && !skipped.EndedAt.IsZero() {
			e.Errorf("stage %s, which never began, has ended at %s", skipped.Ref, skipped.EndedAt)
		}
	}
	return w
}
