package handlers

import (
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

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
	if s.Owner == stabilize.OwnerInstance && !s.Superseded {
		return x.instanceEnded(parent, s)
	}
	if parent.Ending != stabilize.NotStarted {
		x.Push(queue.CompleteStage{OfStage: to})
		return nil
	}
	if s.Superseded { // the round in its place decides
		if s.Owner != stabilize.OwnerInstance {
			x.Push(queue.ContinueParentStage{OfStage: to, Owner: s.Owner})
		}
		return nil
	}
	if s.Status.IsHalt() && !dispensable(s) || s.Status == stabilize.FailedContinue && !s.AllowSiblings {
		if err := x.endFamily(parent); err != nil {
			return err
		}
		x.Push(queue.CompleteStage{OfStage: to})
		return nil
	}
	if err := x.StartNext(s); err != nil {
		return err
	}
	x.Push(queue.ContinueParentStage{OfStage: to, Owner: s.Owner})
	return nil
}

// dispensable reports whether a synthetic stage that halted leaves it to the
// joins below it whether they can do without: it was withdrawn, or is tolerated.
func dispensable(s *stabilize.Stage) bool {
	return s.Reason == stabilize.ReasonWithdrawn || s.Status == stabilize.Stopped && s.OnFailure == stabilize.TolerateFailure
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
