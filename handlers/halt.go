package handlers

import (
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// haltStage begins to end a stage from outside: children and tasks under way
// are ended, on-cancel hooks sent out; the stage takes the status when all of
// that has ended, which CompleteStage finds out.
func (x *Decision) haltStage(s *stabilize.Stage, status stabilize.Status, reason string, failure *stabilize.Failure) error {
	if s.Status.IsComplete() {
		return nil
	}
	if s.Ending != stabilize.NotStarted {
		if s.Ending == stabilize.Canceled && status == stabilize.Terminal {
			edit := x.draft.Stage(s.ID)
			edit.Ending, edit.Failure = status, failure // a failure outranks
		}
		return nil
	}
	edit := x.draft.Stage(s.ID)
	edit.Reason = reason
	if failure != nil {
		failure.Stage = s.Ref
		edit.Failure = failure
	}
	end := stabilize.Canceled // of what is in it
	if status == stabilize.Skipped {
		end = status
	}
	if s.Status == stabilize.NotStarted {
		for _, t := range edit.Tasks {
			if _, err := x.SetTaskStatus(s.ID, t.ID, end); err != nil {
				return err
			}
		}
		return x.EndStage(s.ID, status, reason)
	}
	edit.Ending = status
	if err := x.haltChildren(edit, end, reason); err != nil {
		return err
	}
	for _, t := range edit.Tasks {
		if err := x.haltTask(edit, t, end, reason); err != nil {
			return err
		}
	}
	x.Push(queue.CompleteStage{OfStage: queue.ToStage(x.Workflow().ID, s.ID)})
	return nil
}

// haltChildren ends the synthetic stages of a stage that is ended from outside.
func (x *Decision) haltChildren(parent *stabilize.Stage, end stabilize.Status, reason string) error {
	w := x.Workflow()
	for _, c := range w.Children(parent, stabilize.NoOwner) {
		to := queue.ToStage(w.ID, c.ID)
		switch {
		case c.Status.IsComplete():
		case c.Status == stabilize.NotStarted:
			if err := x.settleUnstarted(c, end, reason); err != nil {
				return err
			}
		case end == stabilize.Skipped:
			x.Push(queue.SkipStage{OfStage: to, Reason: reason, Manual: true})
		default:
			x.Push(queue.CancelStage{OfStage: to, Reason: reason})
		}
	}
	return nil
}

// haltTask ends one task of a stage that is ended from outside. A run under way
// is told and its message removed; a task with an on-cancel hook ends when the
// hook has run; a workflow that it waits for is canceled.
func (x *Decision) haltTask(s *stabilize.Stage, t *stabilize.Task, end stabilize.Status, reason string) error {
	if t.Status.IsComplete() || t.Phase == stabilize.RunCancel {
		return nil
	}
	edit := x.draft.Task(s.ID, t.ID)
	x.Discard(edit.Run)
	edit.Run = ""
	x.abandonChild(edit)
	if t.Status.IsActive() {
		if _, powers, err := x.env.Registry.Task(t.Type); err == nil && powers.OnCancel != nil {
			x.sendRun(s, edit, stabilize.RunCancel)
			return nil
		}
	}
	edit.Reason = reason
	if !edit.Status.CanTransition(end) {
		if _, err := x.SetTaskStatus(s.ID, t.ID, stabilize.Running); err != nil {
			return err
		}
	}
	_, err := x.SetTaskStatus(s.ID, t.ID, end)
	return err
}

// stillTakes refuses somebody's request to end a stage that is ending otherwise.
func (x *Decision) stillTakes(s *stabilize.Stage, status stabilize.Status, reason string) error {
	if !x.Requested() || s.Ending == stabilize.NotStarted || s.Ending == status && s.Reason == reason {
		return nil
	}
	return &stabilize.TransitionError{Kind: "stage", ID: s.Ref, From: s.Ending, To: status}
}
