package handlers

import (
	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// tokensFor is what a stage that ended puts on its outgoing edges. A stage that
// was skipped because nothing could reach it, withdrawn, or halted, puts dead
// tokens: what follows decides by its join whether it can do without.
func tokensFor(status stabilize.Status, reason string) stabilize.TokenKind {
	switch {
	case status == stabilize.Skipped && (reason == stabilize.ReasonDeadPath ||
		reason == stabilize.ReasonUpstreamHalted || reason == stabilize.ReasonStageEnded):
		return stabilize.TokenDead
	case status.IsHalt():
		return stabilize.TokenDead
	default:
		return stabilize.TokenLive
	}
}

// EndStage gives a stage its final status and moves the flow on.
func (x *Decision) EndStage(id string, status stabilize.Status, reason string) error {
	edit := x.draft.Stage(id)
	if reason != "" {
		edit.Reason = reason
	}
	edit.Ending = stabilize.NotStarted
	edit.Tokens = stabilize.Tokens{Kind: tokensFor(status, edit.Reason)}
	s, err := x.SetStageStatus(id, status)
	if err != nil {
		return err
	}
	if s.IsSynthetic() {
		return x.childEnded(s)
	}
	if s.HaltsWorkflow() {
		x.completeWorkflow()
		return nil
	}
	x.StartNext(s)
	return nil
}

// StartNext looks at what follows a stage that ended: a stage whose join is now
// met is started, one whose join can no longer be met is skipped as a dead
// path. If nothing is live after that, the workflow is asked to complete.
func (x *Decision) StartNext(s *stabilize.Stage) {
	w := x.Workflow()
	moved := false
	for _, down := range w.Downstream(s) {
		moved = x.offer(down) || moved
	}
	if !moved && !s.IsSynthetic() && w.Active() == 0 {
		x.completeWorkflow()
	}
}

// completeWorkflow pushes CompleteWorkflow unless one waits to be decided.
func (x *Decision) completeWorkflow() {
	if !x.completing {
		x.completing = x.env.Cascade
		x.Push(queue.CompleteWorkflow{OfWorkflow: queue.ToWorkflow(x.Workflow().ID)})
	}
}

// offer starts or skips a stage if its tokens say so, and reports whether it
// did. In a workflow on its way to an early end nothing new may start.
func (x *Decision) offer(s *stabilize.Stage) bool {
	if s.Status != stabilize.NotStarted || x.Workflow().Halting() {
		return false
	}
	to := queue.ToStage(x.Workflow().ID, s.ID)
	switch x.Workflow().Readiness(s) {
	case stabilize.Ready:
		x.Push(queue.StartStage{OfStage: to})
		return true
	case stabilize.Dead:
		x.Push(queue.SkipStage{OfStage: to, Reason: stabilize.ReasonDeadPath})
		return true
	default:
		return false
	}
}

// childEnded moves a parent on after one of its synthetic stages ended. A
// failed child ends the rest of the family; a FAILED_CONTINUE one does unless
// it allows its siblings to go on (Orca's allowSiblingStagesToContinueOnFailure).
func (x *Decision) childEnded(s *stabilize.Stage) error {
	w := x.Workflow()
	parent := w.Stage(s.ParentID)
	if parent == nil {
		x.Push(queue.InvalidStageID{OfStage: queue.ToStage(w.ID, s.ParentID), Handling: "synthetic stage " + s.Ref})
		return nil
	}
	to := queue.ToStage(w.ID, parent.ID)
	if parent.Ending != stabilize.NotStarted {
		x.Push(queue.CompleteStage{OfStage: to})
		return nil
	}
	if s.Status.IsHalt() || s.Status == stabilize.FailedContinue && !s.AllowSiblings {
		if err := x.endFamily(parent); err != nil {
			return err
		}
		x.Push(queue.CompleteStage{OfStage: to})
		return nil
	}
	x.StartNext(s)
	x.Push(queue.ContinueParentStage{OfStage: to, Owner: s.Owner})
	return nil
}

// endFamily ends what is left of a parent that goes no further because of one
// of its synthetic stages: what has not begun is skipped, synthetic stages under
// way are withdrawn.
func (x *Decision) endFamily(parent *stabilize.Stage) error {
	w := x.Workflow()
	if err := x.skipRest(parent.ID); err != nil {
		return err
	}
	for _, c := range w.Children(parent, stabilize.NoOwner) {
		switch {
		case c.Status.IsComplete() || c.Ending != stabilize.NotStarted:
		case c.Status == stabilize.NotStarted:
			if err := x.settleUnstarted(c, stabilize.Skipped, stabilize.ReasonStageEnded); err != nil {
				return err
			}
		default:
			x.Push(queue.CancelStage{OfStage: queue.ToStage(w.ID, c.ID), Reason: stabilize.ReasonWithdrawn})
		}
	}
	return nil
}

// skipRest skips the tasks of a stage that have not begun, because it ends.
func (x *Decision) skipRest(stageID string) error {
	for _, t := range x.draft.Stage(stageID).Tasks {
		if t.Status != stabilize.NotStarted {
			continue
		}
		t.Reason = stabilize.ReasonStageEnded
		if _, err := x.SetTaskStatus(stageID, t.ID, stabilize.Skipped); err != nil {
			return err
		}
	}
	return nil
}

// settleUnstarted ends a stage that never began, without moving the flow on.
func (x *Decision) settleUnstarted(s *stabilize.Stage, status stabilize.Status, reason string) error {
	edit := x.draft.Stage(s.ID)
	edit.Reason = reason
	edit.Tokens = stabilize.Tokens{Kind: tokensFor(status, reason)}
	for _, t := range edit.Tasks {
		if t.Status != stabilize.NotStarted {
			continue
		}
		t.Reason = reason
		if _, err := x.SetTaskStatus(s.ID, t.ID, status); err != nil {
			return err
		}
	}
	_, err := x.SetStageStatus(s.ID, status)
	return err
}

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
	if s.Status == stabilize.NotStarted {
		for _, t := range edit.Tasks {
			if _, err := x.SetTaskStatus(s.ID, t.ID, stabilize.Canceled); err != nil {
				return err
			}
		}
		return x.EndStage(s.ID, status, reason)
	}
	edit.Ending = status
	w := x.Workflow()
	for _, c := range w.Children(edit, stabilize.NoOwner) {
		switch {
		case c.Status.IsComplete():
		case c.Status == stabilize.NotStarted:
			if err := x.settleUnstarted(c, stabilize.Canceled, reason); err != nil {
				return err
			}
		default:
			x.Push(queue.CancelStage{OfStage: queue.ToStage(w.ID, c.ID), Reason: reason})
		}
	}
	for _, t := range edit.Tasks {
		if err := x.haltTask(edit, t, reason); err != nil {
			return err
		}
	}
	x.Push(queue.CompleteStage{OfStage: queue.ToStage(w.ID, s.ID)})
	return nil
}

// haltTask ends one task of a stage that is ended from outside. A run under way
// is told and its message removed; a task with an on-cancel hook ends when the
// hook has run.
func (x *Decision) haltTask(s *stabilize.Stage, t *stabilize.Task, reason string) error {
	if t.Status.IsComplete() || t.Phase == stabilize.RunCancel {
		return nil
	}
	edit := x.draft.Task(s.ID, t.ID)
	x.Discard(edit.Run)
	edit.Run = ""
	if t.Status.IsActive() {
		if _, powers, err := x.env.Registry.Task(t.Type); err == nil && powers.OnCancel != nil {
			x.sendRun(s, edit, stabilize.RunCancel)
			return nil
		}
	}
	edit.Reason = reason
	_, err := x.SetTaskStatus(s.ID, t.ID, stabilize.Canceled)
	return err
}

// sendRun makes the durable RunTask message of a task; the task remembers its id.
func (x *Decision) sendRun(s *stabilize.Stage, t *stabilize.Task, phase stabilize.RunPhase) {
	t.Run, t.Phase = x.NewID(), phase
	x.out = append(x.out, queue.Outgoing{
		ID:      t.Run,
		Message: queue.RunTask{OfTask: queue.ToTask(x.Workflow().ID, s.ID, t.ID), Phase: phase},
	})
}

// sendCleanups sends the cleanup hooks of a stage that is about to end and
// reports whether any is still out.
func (x *Decision) sendCleanups(s *stabilize.Stage) bool {
	open := false
	for _, t := range s.Tasks {
		if t.CleanedUp || t.StartedAt.IsZero() {
			continue
		}
		if t.Phase == stabilize.RunCleanup && t.Run != "" {
			open = true
			continue
		}
		_, powers, err := x.env.Registry.Task(t.Type)
		if err != nil || powers.Cleanup == nil {
			continue
		}
		x.sendRun(s, x.draft.Task(s.ID, t.ID), stabilize.RunCleanup)
		open = true
	}
	return open
}

// recordTask adds an event about a task that keeps its status.
func (x *Decision) recordTask(typ events.Type, s *stabilize.Stage, t *stabilize.Task, reason string) {
	x.Record(events.Event{Type: typ, From: t.Status, To: t.Status, Reason: reason}, s, t)
}
