package controltest

import (
	"fmt"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// The ends: IR-08.
func ends() []check {
	return []check{
		clause("IR-08", "Nothing moves a workflow, stage or task out of an end, whatever is asked and whichever message comes, but Restart and Retry, which open new rounds and leave the old ones as they ended.", endsStay),
	}
}

func starting(id string) queue.Outgoing {
	return queue.Outgoing{Message: queue.StartWorkflow{OfWorkflow: queue.ToWorkflow(id)}}
}

// about is every kind of message about a workflow, a stage and a task in it, but
// those that restart.
func about(w *stabilize.Workflow, s *stabilize.Stage) []queue.Message {
	of, in, task := queue.ToWorkflow(w.ID), queue.ToStage(w.ID, s.ID), queue.ToTask(w.ID, s.ID, s.Tasks[0].ID)
	return []queue.Message{
		queue.StartWorkflow{OfWorkflow: of}, queue.CompleteWorkflow{OfWorkflow: of}, queue.CancelRegion{OfWorkflow: of, Region: "r"},
		queue.RescheduleWorkflow{OfWorkflow: of}, queue.TimeoutWorkflow{OfWorkflow: of},
		queue.StartStage{OfStage: in}, queue.CompleteStage{OfStage: in}, queue.SkipStage{OfStage: in, Manual: true},
		queue.CancelStage{OfStage: in, Reason: stabilize.ReasonWithdrawn}, queue.AbortStage{OfStage: in, Error: "late"},
		queue.PauseStage{OfStage: in}, queue.ResumeStage{OfStage: in}, queue.ContinueParentStage{OfStage: in},
		queue.JumpToStage{OfStage: in, Target: s.Ref}, queue.TimeoutStage{OfStage: in},
		queue.SignalStage{OfStage: in, Name: "go"}, queue.AddMultiInstance{OfStage: in}, queue.CloseMultiInstance{OfStage: in},
		queue.StartTask{OfTask: task}, queue.RunTask{OfTask: task}, queue.CompleteTask{OfTask: task, Status: stabilize.Succeeded},
		queue.PauseTask{OfTask: task}, queue.ResumeTask{OfTask: task},
	}
}

// asks are the control operations on a workflow that has ended, by name.
func (e *env) asks(p *process, id string) map[string]error {
	ctx := e.Ctx()
	_, signalled := p.Signal(ctx, id, "go", nil)
	return map[string]error{
		"a signal": signalled, "Cancel": p.Cancel(ctx, id, "u", "why"), "Pause": p.Pause(ctx, id, "u"), "Resume": p.Resume(ctx, id, "u"),
		"PauseStage": p.PauseStage(ctx, id, "a"), "ResumeStage": p.ResumeStage(ctx, id, "a"), "Skip": p.Skip(ctx, id, "a"),
		"Withdraw": p.Withdraw(ctx, id, "a"), "CancelStage": p.CancelStage(ctx, id, "a"), "Abort": p.Abort(ctx, id, "a", "why"),
		"CancelRegion": p.CancelRegion(ctx, id, "r"), "AddInstance": p.AddInstance(ctx, id, "a", "k", nil),
		"CloseInstances": p.CloseInstances(ctx, id, "a"), "CompleteInstances": p.CompleteInstances(ctx, id, "a"),
		"Jump": p.Jump(ctx, id, "a", "a", nil), "Reschedule": p.Reschedule(ctx, id),
	}
}

func endsStay(e *env) {
	a, b := e.both()
	var before []*stabilize.Workflow
	var msgs []queue.Outgoing
	for _, status := range stabilize.Statuses() {
		if !status.IsComplete() {
			continue
		}
		w := e.load(e.given("ended "+status.String(), status))
		before = append(before, w)
		for _, m := range append(about(w, w.Stages[0]),
			queue.CancelWorkflow{OfWorkflow: queue.ToWorkflow(w.ID)}, queue.PauseWorkflow{OfWorkflow: queue.ToWorkflow(w.ID)}, queue.ResumeWorkflow{OfWorkflow: queue.ToWorkflow(w.ID)}) {
			msgs = append(msgs, queue.Outgoing{Message: m})
		}
		for name, err := range e.asks(a, w.ID) {
			e.Want(stabilize.ErrFinished, err, "%s in a workflow that is %s", name, status)
		}
	}
	live := e.running()
	for _, s := range live.Stages[1:] {
		for _, m := range about(live, s) {
			if queue.StageOf(m) != "" {
				msgs = append(msgs, queue.Outgoing{Message: m})
			}
		}
	}
	e.Push(e.h.Store(), msgs...)
	e.settle(a, b)
	for _, w := range append(before, live) {
		now := e.load(w.ID)
		now.Version = w.Version // acknowledging a message raises it
		for i, s := range now.Stages {
			if i < len(w.Stages) {
				s.Version = w.Stages[i].Version
			}
		}
		e.Same(w, now, "workflow %q, after every kind of message about what has ended in it", w.ID)
	}
	e.restarted(a, b)
}

// running stores a workflow that runs, with a stage in every end beside the one
// that waits.
func (e *env) running() *stabilize.Workflow {
	e.Helper()
	refs := []string{"waits"}
	for _, status := range stabilize.Statuses() {
		// What halts a workflow would end this one.
		if status.IsComplete() && !status.IsHalt() {
			refs = append(refs, status.String())
		}
	}
	w := kit.Workflow("running", e.Now(), refs...)
	w.StartedAt = e.Now()
	for i, s := range w.Stages {
		s.StartedAt, s.Tasks[0].StartedAt, s.Tasks[0].Type = e.Now(), e.Now(), waits
		status := stabilize.Suspended
		if i > 0 {
			status, _ = stabilize.ParseStatus(s.Ref)
			s.EndedAt, s.Tasks[0].EndedAt = e.Now(), e.Now()
		} else {
			s.Tasks[0].Signal = "another"
		}
		s.Status, s.Tasks[0].Status = status, status
	}
	e.Must(kit.First(e.h.Store().CommitBatch(e.Ctx(), []*persistence.Commit{kit.Creation(w)})), "storing a workflow that runs")
	return e.load(w.ID)
}

// restarted: the one way out of an end opens new rounds.
func (e *env) restarted(a, b *process) {
	e.Helper()
	for name, do := range map[string]func(id string) error{
		"Retry":   func(id string) error { return a.Retry(e.Ctx(), id, "u") },
		"Restart": func(id string) error { return b.Restart(e.Ctx(), id, "b", "u") },
	} {
		id := e.start(a, name, stage("a", done), stage("b", fails, "a"))
		e.settle(a)
		before := e.status(stabilize.Terminal, id, "with a stage that failed")
		e.Must(do(id), "%s", name)
		e.settle(b)
		w := e.status(stabilize.Terminal, id, "after a %s of a stage that fails again", name)
		old, again := before.StageByRef("b"), w.StageByRef("b")
		kept := w.Stage(old.ID)
		if again.ID == old.ID || again.Round != old.Round+1 || kept == nil || kept.Status != old.Status || !kept.EndedAt.Equal(old.EndedAt) {
			e.Errorf("%s did not open a new round beside the old one, %s: %s", name, fmt.Sprint(old.Status), kit.Describe(w))
		}
	}
}
