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
		t := s.Task(m.Task())
		if t == nil || t.Waits().Child != m.Child || t.Status != stabilize.Suspended || s.Ending != stabilize.NotStarted {
			if s = x.Workflow().StageByRef(s.Ref); s == nil || s.Ending != stabilize.NotStarted {
				return nil
			}
			// The stage was restarted to wait for the same workflow again.
			if t = waitsFor(s, m.Child); t == nil || t.Status != stabilize.Suspended {
				return nil
			}
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
		why := ""
		if m.Failure != nil {
			why = ": " + m.Failure.Error()
		}
		failure := &stabilize.Failure{Code: stabilize.CodeChildFailed, Message: fitText(fmt.Sprintf("workflow %q ended %s%s", m.Child, m.Status, why))}
		status := stabilize.Terminal
		if m.Status == stabilize.Canceled {
			status = stabilize.Canceled
		}
		x.completeTask(s, t, status, failure)
		return nil
	})
}
