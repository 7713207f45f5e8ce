package handlers

import (
	"fmt"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// The Invalid… markers promise: a message that names what does not exist is
// logged, and what it can still name ends in a visible state. (The reference
// logs and forgets; its workflow stays RUNNING for ever.)

// InvalidWorkflowID has nothing to show it on but the log.
func InvalidWorkflowID() Handler {
	return Handle(func(x *Decision, m queue.InvalidWorkflowID) error {
		x.Logger().Error("a message for a workflow that does not exist", "workflow", m.WorkflowID, "handling", m.Handling)
		return nil
	})
}

// InvalidStageID ends the workflow TERMINAL.
func InvalidStageID() Handler {
	return Handle(func(x *Decision, m queue.InvalidStageID) error {
		x.Logger().Error("a message for a stage that does not exist", "stage", m.StageID, "handling", m.Handling)
		return x.failWorkflow(&stabilize.Failure{
			Code: stabilize.CodeInvalidReference, Message: fmt.Sprintf("%s names stage %q, which does not exist", m.Handling, m.StageID),
		})
	})
}

// InvalidTaskID aborts the stage.
func InvalidTaskID() Handler {
	return Handle(func(x *Decision, m queue.InvalidTaskID) error {
		x.Logger().Error("a message for a task that does not exist", "stage", m.StageID, "task", m.TaskID, "handling", m.Handling)
		x.Push(queue.AbortStage{
			OfStage: m.OfStage, Code: stabilize.CodeInvalidReference,
			Error: fmt.Sprintf("%s names task %q, which does not exist", m.Handling, m.TaskID),
		})
		return nil
	})
}

// InvalidTaskType ends the task TERMINAL.
func InvalidTaskType() Handler {
	return Handle(func(x *Decision, m queue.InvalidTaskType) error {
		x.Logger().Error("a task of a type that is not registered", "task", m.TaskID, "type", m.TaskType)
		x.Push(queue.CompleteTask{OfTask: m.OfTask, Status: stabilize.Terminal, Failure: &stabilize.Failure{
			Code: stabilize.CodeUnknownTaskType, Message: fmt.Sprintf("task type %q is not registered", m.TaskType),
		}})
		return nil
	})
}

// failWorkflow ends a workflow TERMINAL: at once if it has not begun, else when
// what is under way has been canceled. The first failure is kept.
func (x *Decision) failWorkflow(f *stabilize.Failure) error {
	return x.WithWorkflow(func(w *stabilize.Workflow) error {
		if w.Status == stabilize.NotStarted || w.Status == stabilize.Buffered {
			return x.finishWorkflow(stabilize.Terminal, f)
		}
		if w.Failure == nil {
			x.draft.Header().Failure = f
		}
		x.completeWorkflow()
		return nil
	})
}
