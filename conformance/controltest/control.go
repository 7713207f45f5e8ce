package controltest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Cancel, pause and resume: IR-03 to IR-07.
func controls() []check {
	return []check{
		clause("IR-03", "Cancelling, pausing and resuming a workflow that does not exist is ErrNotFound, naming it, and stores nothing.", unknown),
		clause("IR-04", "Cancelling twice keeps the first canceller and reason, whichever process asks; of two at once one is kept whole.", canceledTwice),
		clause("IR-05", "Cancelling a workflow that has not begun ends it at once; of a running one it sets the request, and the end follows when what is under way has ended.", canceledBefore),
		clause("IR-06", "An empty reason for a cancel is stored as absent.", noReason),
		clause("IR-07", "Pause moves a workflow out of RUNNING alone and Resume out of PAUSED alone, over all twelve statuses: one that has not begun pauses as it begins, one that has ended is ErrFinished, all else is ErrInvalidTransition, and the error names the status.", pauseTable),
	}
}

func unknown(e *env) {
	a, b := e.both()
	deleted := e.suspended(a, "deleted", waits)
	e.Must(e.h.Store().Delete(e.Ctx(), deleted), "deleting")
	for _, p := range []*process{b, a} {
		for _, id := range []string{"nobody", deleted} {
			for name, err := range map[string]error{
				"cancelling": p.Cancel(e.Ctx(), id, "u", "why"),
				"pausing":    p.Pause(e.Ctx(), id, "u"),
				"resuming":   p.Resume(e.Ctx(), id, "u"),
			} {
				e.Want(stabilize.ErrNotFound, err, "%s an unknown workflow", name)
				var missing *stabilize.NotFoundError
				if errors.As(err, &missing) && (missing.Kind != "workflow" || missing.ID != id) {
					e.Errorf("%s workflow %q, which is unknown: the error names %s %q", name, id, missing.Kind, missing.ID)
				}
			}
			_, err := e.h.Second().Summary(e.Ctx(), id)
			e.Want(stabilize.ErrNotFound, err, "reading workflow %q, which was only asked something", id)
		}
	}
	if d := e.Depth(e.h.Second()); d.Live()+d.Dead > 0 {
		e.Errorf("messages are left of what was asked of unknown workflows: %+v", d)
	}
}

func canceledTwice(e *env) {
	a, b := e.both()
	id := e.suspended(a, "twice", tidy)
	first := e.Now()
	e.Must(a.Cancel(e.Ctx(), id, "first", "the first reason"), "cancelling")
	e.Clock.Advance(time.Minute)
	for i, p := range []*process{a, b} {
		e.Must(p.Cancel(e.Ctx(), id, fmt.Sprint("later ", i), "another reason"), "cancelling again")
	}
	want := &stabilize.Cancellation{By: "first", Reason: "the first reason", At: first}
	e.Same(want, e.load(id).Cancel, "the cancel of a running workflow, asked three times")
	e.settle(b)
	e.Want(stabilize.ErrFinished, b.Cancel(e.Ctx(), id, "late", "too late"), "cancelling what has ended")
	w := e.status(stabilize.Canceled, id, "canceled three times, then worked on,")
	e.Same(want, w.Cancel, "the cancel of a workflow that ended by it, asked again")

	for n := range e.Effort.Of(4, 2) {
		id := e.suspended(a, fmt.Sprint("at once ", n), tidy)
		var asked []*stabilize.Cancellation
		names := map[*process]string{a: "one", b: "two"}
		for _, name := range names {
			asked = append(asked, &stabilize.Cancellation{By: name, Reason: "the reason of " + name})
		}
		e.Must(kit.First(e.atOnce([]*process{a, b}, func(p *process) error {
			return p.Cancel(e.Ctx(), id, names[p], "the reason of "+names[p])
		})), "cancelling at once")
		got := e.load(id).Cancel
		if got == nil || got.By != asked[0].By && got.By != asked[1].By || got.Reason != "the reason of "+got.By {
			e.Errorf("two canceled at once, and kept was %+v, want the one or the other", got)
		}
	}
}

func canceledBefore(e *env) {
	a, b := e.both()
	for i, status := range []stabilize.Status{stabilize.NotStarted, stabilize.Buffered} {
		id := e.given(fmt.Sprint("not begun ", i), status)
		e.Must([]*process{a, b}[i].Cancel(e.Ctx(), id, "u", "why"), "cancelling what is %s", status)
		w := e.status(stabilize.Canceled, id, "canceled while %s", status)
		if w.Cancel == nil || !w.StageByRef("a").Status.IsComplete() {
			e.Errorf("canceled while %s, it keeps the cancel %+v, and its stage is %s", status, w.Cancel, w.StageByRef("a").Status)
		}
	}
	id := e.suspended(a, "begun", tidy)
	e.Must(b.Cancel(e.Ctx(), id, "u", "why"), "cancelling what runs")
	w := e.status(stabilize.Running, id, "canceled, and its hook has not run:")
	e.Same(&stabilize.Cancellation{By: "u", Reason: "why", At: e.Now()}, w.Cancel, "the request in a running workflow")
	if !w.EndedAt.IsZero() {
		e.Errorf("a workflow that was only asked to end has ended at %s", w.EndedAt)
	}
	e.settle(a, b)
	w = e.status(stabilize.Canceled, id, "canceled, when its hook has run,")
	if n := e.runs(id, "the hook of a"); n != 1 {
		e.Errorf("the hook of what was under way ran %d times", n)
	}
	e.nothingLeft(w)
}

func noReason(e *env) {
	a, b := e.both()
	running := e.suspended(a, "begun", tidy)
	waiting := e.given("not begun", stabilize.NotStarted)
	e.Must(a.Cancel(e.Ctx(), running, "u", ""), "cancelling without a reason")
	e.Must(b.Cancel(e.Ctx(), waiting, "", ""), "cancelling without user and reason")
	for id, want := range map[string]*stabilize.Cancellation{
		running: {By: "u", At: e.Now()}, waiting: {At: e.Now()},
	} {
		for way, h := range e.headers(id) {
			e.Same(want, h.Cancel, "a cancel without a reason, as read by %s", way)
		}
	}
	e.h.Reopen()
	e.Same(&stabilize.Cancellation{By: "u", At: e.Now()}, e.load(running).Cancel, "a cancel without a reason, reopened")
}

// given stores a workflow of one stage "a" as it is in a status.
func (e *env) given(id string, status stabilize.Status) string {
	e.Helper()
	w := kit.Workflow(id, e.Now(), "a")
	w.Status = status
	s := w.Stages[0]
	s.Tasks[0].Type = waits
	switch {
	case status.IsActive():
		w.StartedAt, s.StartedAt, s.Tasks[0].StartedAt = e.Now(), e.Now(), e.Now()
		s.Status, s.Tasks[0].Status, s.Tasks[0].Signal = stabilize.Suspended, stabilize.Suspended, "go"
		if status == stabilize.Paused {
			w.Pause = &stabilize.Pause{By: "given", At: e.Now()}
		}
	case status.IsComplete():
		w.StartedAt, w.EndedAt = e.Now(), e.Now()
		s.Status, s.Tasks[0].Status = status, status
	}
	e.Must(kit.First(e.h.Store().CommitBatch(e.Ctx(), []*persistence.Commit{kit.Creation(w)})), "storing a workflow that is %s", status)
	return id
}

func pauseTable(e *env) {
	a, _ := e.both()
	for _, status := range stabilize.Statuses() {
		waiting := status == stabilize.NotStarted || status == stabilize.Buffered
		for op, move := range map[string]struct {
			do       func(id string) error
			from, to stabilize.Status
			class    error
		}{
			"pausing":  {func(id string) error { return a.Pause(e.Ctx(), id, "u") }, stabilize.Running, stabilize.Paused, nil},
			"resuming": {func(id string) error { return a.Resume(e.Ctx(), id, "u") }, stabilize.Paused, stabilize.Running, nil},
		} {
			id := e.given(fmt.Sprintf("%s %s", op, status), status)
			err := move.do(id)
			after := status
			switch {
			case status == move.from:
				e.Must(err, "%s what is %s", op, status)
				after = move.to
			case waiting && op == "pausing":
				e.Must(err, "%s what is %s", op, status)
			case status.IsComplete():
				e.Want(stabilize.ErrFinished, err, "%s what is %s", op, status)
				if err != nil && !strings.Contains(err.Error(), status.String()) {
					e.Errorf("%s what is %s: the error does not say so: %v", op, status, err)
				}
			default:
				e.Want(stabilize.ErrInvalidTransition, err, "%s what is %s", op, status)
				var refused *stabilize.TransitionError
				if !errors.As(err, &refused) || refused.From != status {
					e.Errorf("%s what is %s: the error does not say so: %v", op, status, err)
				}
			}
			w := e.status(after, id, "%s what is %s:", op, status)
			if err != nil && w.Version != 1 {
				e.Errorf("%s what is %s was refused and left the workflow at version %d", op, status, w.Version)
			}
		}
	}
	id := e.given("paused before it begins", stabilize.NotStarted)
	e.Must(a.Pause(e.Ctx(), id, "u"), "pausing what has not begun")
	e.Push(e.h.Store(), starting(id))
	e.settle(a)
	e.status(stabilize.Paused, id, "paused before it began, and begun,")
	e.Must(a.Resume(e.Ctx(), id, "u"), "resuming")
	e.settle(a)
	if w := e.status(stabilize.Running, id, "resumed"); w.StageByRef("a").Status != stabilize.Suspended {
		e.Errorf("resumed, it did not go on: %s", kit.Describe(w))
	}
}

// nothingLeft fails unless a workflow that has ended has ended in all its parts,
// and no message of it is left.
func (e *env) nothingLeft(w *stabilize.Workflow) {
	e.Helper()
	for _, s := range w.Stages {
		live := !s.Status.IsComplete()
		for _, t := range s.Tasks {
			live = live || !t.Status.IsComplete()
		}
		if live {
			e.Errorf("the workflow has ended and stage %s has not: %s", s.Ref, kit.Describe(w))
		}
	}
	if left := e.Pending(e.h.Second(), w.ID); len(left) > 0 {
		e.Errorf("the workflow has ended and %d messages are left", len(left))
	}
}
