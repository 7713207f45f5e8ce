package handlers

import (
	"fmt"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// ChildEnded promises: the task that waits for a workflow ends as that did, with
// its outputs or its failure, once and without polling (the reference's
// SubWorkflowTask looks every 5 s).
func ChildEnded() Handler { return Handle(childEnded) }

func childEnded(x *Decision, m queue.ChildEnded) error {
	return x.WithStage(m, func(s *stabilize.Stage) error {
		s, t := x.awaiting(s, m.Child)
		if t == nil || t.Status != stabilize.Suspended || s.Ending != stabilize.NotStarted || m.Version < t.Waits().ChildVersion {
			return nil // nobody waits for that end (any more)
		}
		if s.Status == stabilize.Suspended {
			if _, err := x.SetStageStatus(s.ID, stabilize.Running); err != nil {
				return err
			}
		}
		if _, err := x.SetTaskStatus(s.ID, t.ID, stabilize.Running); err != nil {
			return err
		}
		s = x.draft.Stage(s.ID)
		t = s.Task(t.ID)
		t.Waiting().ChildVersion = m.Version
		if err := x.choose(s); err != nil {
			return err
		}
		if m.Status == stabilize.Succeeded {
			before := s.Outputs
			s.Outputs = s.Outputs.Merge(m.Outputs)
			if err := x.env.checkRoom(s); err != nil {
				s.Outputs = before
				x.completeTask(s, t, stabilize.Terminal, &stabilize.Failure{Code: stabilize.CodeInvalidResult, Message: errorText(err)})
				return nil
			}
			x.completeTask(s, t, stabilize.Succeeded, nil)
			return nil
		}
		failure := &stabilize.Failure{Code: stabilize.CodeChildFailed, Message: fitText(howChildEnded(m))}
		status := stabilize.Terminal
		if m.Status == stabilize.Canceled {
			status = stabilize.Canceled
		}
		x.completeTask(s, t, status, failure)
		return nil
	})
}

// howChildEnded says how the child ended and why; of a descendant's failure, by
// which way it came up.
func howChildEnded(m queue.ChildEnded) string {
	switch {
	case m.Failure == nil:
		return fmt.Sprintf("workflow %q ended %s", m.Child, m.Status)
	case m.Failure.Code == stabilize.CodeChildFailed:
		return fmt.Sprintf("workflow %q: %s", m.Child, m.Failure.Message)
	default:
		return fmt.Sprintf("workflow %q ended %s: %s", m.Child, m.Status, m.Failure.Error())
	}
}

// awaiting returns the task that waits for a workflow, or did, and its stage: the
// one named, or its latest round, if that was restarted to wait for it again.
func (x *Decision) awaiting(s *stabilize.Stage, child string) (*stabilize.Stage, *stabilize.Task) {
	if latest := x.Workflow().StageByRef(s.Ref); latest.ID != s.ID {
		if t := waitsFor(latest, child); t != nil {
			return latest, t
		}
	}
	return s, waitsFor(s, child)
}
