package handlers

import (
	"fmt"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// DeadLettered promises: a workflow one of whose messages became a dead letter
// shows it. A task message makes its task TERMINAL, a stage message aborts its
// stage, any other ends the workflow TERMINAL, each with the last error (Orca's
// DeadMessageHandler). A message whose work was done meanwhile changes nothing.
func DeadLettered() Handler { return Handle(deadLettered) }

func deadLettered(x *Decision, m queue.DeadLettered) error {
	return x.WithWorkflow(func(w *stabilize.Workflow) error {
		failure := &stabilize.Failure{
			Code:    stabilize.CodeDeadLetter,
			Message: fmt.Sprintf("%s could not be handled in %d attempts: %s", m.DeadKind, m.Attempts, fitText(orUnknown(m.Error))),
		}
		s := w.Stage(m.StageID)
		if s == nil && m.StageRef != "" {
			s = w.StageByRef(m.StageRef)
		}
		if s == nil {
			if w.Active() == 0 { // asking it to complete may be what failed
				return x.finishWorkflow(stabilize.Terminal, failure)
			}
			return x.failWorkflow(failure)
		}
		t := s.Task(m.TaskID)
		if t == nil {
			if s.Status.IsComplete() {
				return nil
			}
			if s.Ending != stabilize.NotStarted && !x.underWay(s) { // ending it is what failed
				x.draft.Stage(s.ID).Failure = failure
				return x.EndStage(s.ID, stabilize.Terminal, "")
			}
			x.Push(queue.AbortStage{OfStage: queue.ToStage(w.ID, s.ID), Code: failure.Code, Error: failure.Message})
			return nil
		}
		return x.deadTask(s, t, m, failure)
	})
}

func (x *Decision) deadTask(s *stabilize.Stage, t *stabilize.Task, m queue.DeadLettered, failure *stabilize.Failure) error {
	if m.DeadKind == (queue.CreateWorkflow{}).Kind() && t.Waits().Child != m.DeadLetterID {
		return nil // it waits for another workflow by now, or for none
	}
	isRun := m.DeadKind == (queue.RunTask{}).Kind()
	if isRun && t.Run != m.DeadLetterID {
		return nil // of a run that is over
	}
	if !isRun && t.Run != "" {
		return nil // the task is under way: its own message will move it on
	}
	to := queue.ToTask(x.Workflow().ID, s.ID, t.ID)
	if isRun && (t.Phase == stabilize.RunCleanup || t.Phase == stabilize.RunCancel) {
		edit := x.draft.Task(s.ID, t.ID)
		edit.Run = ""
		return x.withoutHook(s, edit, failure.Message)
	}
	x.Push(queue.CompleteTask{OfTask: to, Status: stabilize.Terminal, Failure: failure})
	return nil
}

func orUnknown(s string) string {
	if s == "" {
		return "the worker ended before it could say why"
	}
	return s
}
