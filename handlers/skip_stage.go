package handlers

import (
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// SkipStage promises: a stage that has not begun ends SKIPPED with the reason,
// its tasks too, and the flow moves on: past a disabled stage with live tokens,
// past a dead one with dead tokens, so that a skip travels down its branch. With
// Manual a stage under way is skipped too, with all that is in it, and the flow
// goes on as if it had run (Orca's SkipStageHandler).
func SkipStage() Handler { return Handle(skipStage) }

func skipStage(x *Decision, m queue.SkipStage) error {
	return x.WithStage(m, func(s *stabilize.Stage) error {
		if m.Manual {
			if x.Requested() && (s.Status.IsComplete() || s.Ending != stabilize.NotStarted || x.Workflow().Halting()) {
				return &stabilize.TransitionError{Kind: "stage", ID: s.Ref, From: s.Status, To: stabilize.Skipped}
			}
			if x.Requested() && x.Workflow().Halting() {
				return stabilize.NotAllowed("skipping stage "+s.Ref, "its workflow is about to end")
			}
			if err := x.stillTakes(s, stabilize.Skipped, stabilize.ReasonManualSkip); err != nil {
				return err
			}
			return x.haltStage(s, stabilize.Skipped, reasonOr(m.Reason, stabilize.ReasonManualSkip), nil)
		}
		if s.Status != stabilize.NotStarted || s.Superseded || x.Workflow().Halting() {
			return nil
		}
		reason := reasonOr(m.Reason, stabilize.ReasonDisabled)
		if x.revived(s, reason) {
			return nil // late: after a restart or jump it waits for its turn again
		}
		for _, t := range s.Tasks {
			if _, err := x.SetTaskStatus(s.ID, t.ID, stabilize.Skipped); err != nil {
				return err
			}
		}
		return x.EndStage(s.ID, stabilize.Skipped, reason)
	})
}

// revived reports whether a stage that was to be skipped has its turn still before
// it.
func (x *Decision) revived(s *stabilize.Stage, reason string) bool {
	w := x.Workflow()
	switch reason {
	case stabilize.ReasonDeadPath:
		return x.reachable(s)
	case stabilize.ReasonMilestone:
		return w.MilestoneState(s) != stabilize.Dead
	default:
		return w.Readiness(s) == stabilize.Waiting
	}
}

// reachable reports whether a stage before one that was thought dead is under way,
// or about to be.
func (x *Decision) reachable(s *stabilize.Stage) bool {
	w := x.Workflow()
	if w.Readiness(s) == stabilize.Dead {
		return false
	}
	for _, ref := range s.Requisites {
		for _, up := range w.Executions(ref) {
			if up.Status.IsActive() || up.Status == stabilize.NotStarted && w.Readiness(up) == stabilize.Ready {
				return true
			}
		}
	}
	return false
}
