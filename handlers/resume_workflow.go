package handlers

import (
	"time"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// ResumeWorkflow promises: a paused workflow goes on exactly where it was: what
// was parked runs, what was ready starts, and the time in between is charged to
// no timeout (Orca's ResumeExecutionHandler).
func ResumeWorkflow() Handler { return Handle(resumeWorkflow) }

func resumeWorkflow(x *Decision, _ queue.ResumeWorkflow) error {
	return x.WithWorkflow(func(w *stabilize.Workflow) error {
		if w.Status != stabilize.Paused {
			if pauseAsked(w) {
				x.draft.Header().Pause.ResumedAt = stabilize.Instant(x.now)
				return nil
			}
			if x.Requested() {
				return &stabilize.TransitionError{Kind: "workflow", ID: w.ID, From: w.Status, To: stabilize.Running}
			}
			return nil
		}
		h := x.draft.Header()
		if h.Pause == nil {
			h.Pause = &stabilize.Pause{At: stabilize.Instant(x.now)}
		}
		since := h.Pause.At
		h.Pause.ResumedAt = stabilize.Instant(x.now)
		h.Pause.Total += max(0, x.now.Sub(since))
		if err := x.SetWorkflowStatus(stabilize.Running); err != nil {
			return err
		}
		x.armWorkflow()
		for _, s := range w.Stages {
			if s.Status.IsActive() && s.Timeout > 0 && s.Known().PausedAt.IsZero() {
				edit := x.draft.Stage(s.ID)
				from := since
				if s.StartedAt.After(from) {
					from = s.StartedAt
				}
				edit.Note().Paused += max(0, x.now.Sub(from))
				x.armStage(edit)
			}
			if s.Status.IsActive() && s.Known().PausedAt.IsZero() {
				x.extendWaits(s, since)
			}
		}
		return x.proceedAll()
	})
}

// proceedAll lets everything in a workflow go on that can.
func (x *Decision) proceedAll() error {
	w := x.Workflow()
	for i := 0; i < len(w.Stages); i++ { // it may grow
		s := w.Stages[i]
		switch {
		case s.Superseded && s.Status == stabilize.NotStarted:
		case s.Status == stabilize.NotStarted && s.IsSynthetic():
			x.startLate(s) // else its parent starts it
		case s.Status == stabilize.NotStarted:
			if _, err := x.arrive(s, false); err != nil {
				return err
			}
		case s.Status.IsActive():
			if err := x.proceed(s); err != nil {
				return err
			}
		}
	}
	if w.Active() == 0 || w.Halting() {
		x.completeWorkflow()
	}
	return nil
}

// extendWaits gives the tasks of a stage that wait for a signal for a time the
// time back that they were paused.
func (x *Decision) extendWaits(s *stabilize.Stage, since time.Time) {
	for _, t := range s.Tasks {
		if t.Status != stabilize.Suspended || t.Waits().Received != nil || t.Waits().Due.IsZero() {
			continue
		}
		edit := x.draft.Task(s.ID, t.ID)
		due := edit.Waits().Due.Add(max(0, x.now.Sub(since)))
		x.Discard(edit.Run)
		x.sendRun(x.Workflow().Stage(s.ID), edit, stabilize.RunExecute)
		x.delayRun(edit, due.Sub(x.now))
	}
}

// proceed takes up a stage under way where it was left, whichever message of it
// did nothing because it or its workflow was paused. On a stage that goes on by
// itself it changes nothing.
func (x *Decision) proceed(s *stabilize.Stage) error {
	w := x.Workflow()
	to := queue.ToStage(w.ID, s.ID)
	if s.Ending != stabilize.NotStarted {
		x.Push(queue.CompleteStage{OfStage: to})
		return nil
	}
	if s.Status == stabilize.Paused {
		if s.Known().PausedAt.IsZero() { // with the workflow
			x.Push(queue.ResumeStage{OfStage: to})
		}
		return nil
	}
	if s.State != nil && s.State.Jump != nil {
		x.resumeJumps()
		return nil
	}
	for _, t := range s.Tasks {
		if t.Status == stabilize.Suspended && waitOver(t) {
			return x.wake(s.ID, t.ID)
		}
		if t.Status == stabilize.Paused { // its stage was resumed before its workflow
			x.Push(queue.ResumeTask{OfTask: queue.ToTask(w.ID, s.ID, t.ID)})
			return nil
		}
		if t.Status.IsActive() {
			return nil // its run, its signal or its child moves it on
		}
	}
	if s.IsBodied() {
		return x.proceedBody(s)
	}
	waiting := false
	for _, c := range w.Children(s, stabilize.NoOwner) {
		if c.Status == stabilize.NotStarted {
			x.offer(c)
		}
		waiting = waiting || !c.Status.IsComplete()
	}
	if waiting {
		return nil
	}
	for _, t := range s.Tasks {
		if t.Status == stabilize.NotStarted {
			x.Push(queue.StartTask{OfTask: queue.ToTask(w.ID, s.ID, t.ID)})
			return nil
		}
	}
	x.Push(queue.CompleteStage{OfStage: to})
	return nil
}

// waitOver reports whether a suspended task got its signal, or its time to wait
// was over, while it could not run.
func waitOver(t *stabilize.Task) bool {
	return t.Waits().Received != nil || t.Run == "" && !t.Waits().Due.IsZero()
}

// startLate starts an instance whose turn came after its parent had completed,
// and reports whether it did.
func (x *Decision) startLate(s *stabilize.Stage) bool {
	w := x.Workflow()
	parent := w.Stage(s.ParentID)
	if s.Owner != stabilize.OwnerInstance || s.Status != stabilize.NotStarted || w.Halting() || parent == nil ||
		!parent.Status.IsComplete() || parent.Superseded || !takesChild(parent, s) || s.Known().Index >= parent.Known().Multi.Started {
		return false
	}
	x.Push(queue.StartStage{OfStage: queue.ToStage(w.ID, s.ID)})
	return true
}

// proceedBody starts the instances that were to start while nothing could.
func (x *Decision) proceedBody(s *stabilize.Stage) error {
	w := x.Workflow()
	if s.State == nil || s.State.Multi == nil {
		return nil
	}
	if s.State.Multi.Met {
		x.Push(queue.CompleteStage{OfStage: queue.ToStage(w.ID, s.ID)})
		return nil
	}
	for _, c := range w.Children(s, stabilize.OwnerInstance) {
		if c.Status == stabilize.NotStarted && c.Known().Index < s.State.Multi.Started {
			x.Push(queue.StartStage{OfStage: queue.ToStage(w.ID, c.ID)})
		}
	}
	return nil
}
