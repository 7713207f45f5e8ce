package handlers

import (
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// CompleteStage promises: a stage ends when its tasks and synthetic stages have
// ended, by the worst of what they ended with and its failure policy, after its
// after-stages (or, if it failed, its on-failure stages) and its cleanup hooks
// have run. While anything of it is under way the message does nothing: whatever
// ends last sends another.
func CompleteStage() Handler { return Handle(completeStage) }

func completeStage(x *Decision, m queue.CompleteStage) error {
	return x.WithStage(m, func(s *stabilize.Stage) error {
		if !s.Status.IsActive() || s.Status == stabilize.Paused && s.Ending == stabilize.NotStarted || x.underWay(s) {
			return nil
		}
		status, reason := s.Ending, ""
		if status == stabilize.NotStarted {
			var failure *stabilize.Failure
			status, reason, failure = x.outcome(s)
			if failure != nil {
				edit := x.draft.Stage(s.ID)
				if failure.Stage == "" {
					failure.Stage = s.Ref
				}
				edit.Failure = failure
				s = edit
			}
			more, err := x.planEnd(s, status, failure != nil || status == stabilize.Stopped)
			if more || err != nil {
				return err
			}
		}
		s = x.draft.Stage(s.ID)
		if x.sendCleanups(s) {
			s.Ending, s.Reason = status, reasonOr(reason, s.Reason)
			return nil
		}
		return x.EndStage(s.ID, status, reason)
	})
}

func reasonOr(reason, otherwise string) string {
	if reason != "" {
		return reason
	}
	return otherwise
}

// underWay reports whether a task or synthetic stage of s has not ended. In a
// stage that is ending, what never began does not count: it is settled already
// or will never begin.
func (x *Decision) underWay(s *stabilize.Stage) bool {
	if s.IsBodied() {
		return x.bodyUnderWay(s)
	}
	ending := s.Ending != stabilize.NotStarted
	for _, t := range s.Tasks {
		if t.Status.IsActive() || t.Status == stabilize.NotStarted && !ending {
			return true
		}
	}
	for _, c := range x.Workflow().Children(s, stabilize.NoOwner) {
		if c.Status.IsActive() || c.Status == stabilize.NotStarted && !ending {
			return true
		}
	}
	return false
}

// outcome is what a stage's tasks and synthetic stages make of it. A non-nil
// failure means it failed, whatever its policy makes of that.
func (x *Decision) outcome(s *stabilize.Stage) (stabilize.Status, string, *stabilize.Failure) {
	if s.IsBodied() {
		return x.bodyOutcome(s)
	}
	family := x.Workflow().Children(s, stabilize.NoOwner)
	if len(s.Tasks) == 0 && len(family) == 0 {
		return stabilize.Skipped, stabilize.ReasonNothingToDo, nil
	}
	var worst stabilize.Status
	var failure *stabilize.Failure
	consider := func(status stabilize.Status, ignored bool, f *stabilize.Failure) {
		if ignored || severity(status) <= severity(worst) {
			return
		}
		worst, failure = status, f
	}
	for _, c := range family {
		ignored := c.Owner == stabilize.OwnerFailure || c.Superseded || c.Reason == stabilize.ReasonWithdrawn ||
			dispensable(c) && absorbed(x.Workflow(), c.Ref)
		consider(c.Status, ignored, c.Failure)
	}
	for _, t := range s.Tasks {
		consider(t.Status, false, t.Failure)
	}
	switch worst {
	case stabilize.Terminal:
		if failure == nil {
			failure = &stabilize.Failure{Code: stabilize.CodeTaskFailed}
		}
		f := *failure
		return failureStatus(s.OnFailure), "", &f
	case stabilize.Stopped:
		return stabilize.Stopped, "", failure
	case stabilize.Canceled, stabilize.FailedContinue:
		return worst, "", nil
	default:
		return stabilize.Succeeded, "", nil
	}
}

// severity orders the ends of parts: the worst decides the whole (Orca's
// determineStatus).
func severity(s stabilize.Status) int {
	switch s {
	case stabilize.Terminal:
		return 4
	case stabilize.Stopped:
		return 3
	case stabilize.Canceled:
		return 2
	case stabilize.FailedContinue:
		return 1
	default:
		return 0
	}
}

// planEnd plans the after-stages of a stage that did not fail, or the
// on-failure stages of one that did, once, and starts them.
func (x *Decision) planEnd(s *stabilize.Stage, status stabilize.Status, failed bool) (more bool, err error) {
	if s.Type == "" || s.IsBodied() || status == stabilize.Canceled || failed && s.FailurePlanned || !failed && s.AfterPlanned {
		return false, nil
	}
	typ, lookup := x.env.Registry.Stage(s.Type)
	if lookup != nil {
		return false, nil // the stage has ended; what would follow inside it is unknown
	}
	owner, mark := stabilize.OwnerAfter, ">"
	edit := x.draft.Stage(s.ID)
	var plan func(*stabilize.Plan) ([]*stabilize.StageSpec, error)
	if failed {
		edit.FailurePlanned, owner, mark = true, stabilize.OwnerFailure, "!"
		if p, ok := typ.(stabilize.OnFailureStager); ok {
			plan = p.OnFailureStages
		}
	} else {
		edit.AfterPlanned = true
		if p, ok := typ.(stabilize.AfterStager); ok {
			plan = p.AfterStages
		}
	}
	if plan == nil {
		return false, nil
	}
	family, failure := x.planFamily(edit, owner, mark, plan)
	if failure != nil {
		if failed {
			x.Logger().Error("planning on-failure stages", "stage", s.Ref, "error", failure)
			return false, nil // the first failure is the one that counts
		}
		return true, x.haltStage(x.Workflow().Stage(s.ID), failureStatus(s.OnFailure), "", failure)
	}
	x.startFamily(family)
	return len(family) > 0, nil
}
