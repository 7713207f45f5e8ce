package engine

import (
	"context"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// WorkflowOption changes how a task runs a workflow.
type WorkflowOption func(*subWorkflow)

// WithoutWaiting starts the workflow and lets the task succeed at once, with the
// workflow's id as the output "child". Neither ends with the other.
func WithoutWaiting() WorkflowOption { return func(t *subWorkflow) { t.forget = true } }

// RegisterWorkflow makes a task type known by name that runs a workflow, made by
// spec from what the task sees. The task waits for it and ends as it does: with
// its outputs, or with CHILD_FAILED. Cancelling the task cancels it, restarting
// a stage of it restarts the task's stage. It may contain itself, down to
// Config.MaxDepth.
//
// spec must be safe for concurrent use. It is called again after a crash before
// its workflow was stored, and not after. Its error is the task's; no spec is
// ErrInvalid. Errors of registering: ErrExists, ErrInvalid.
func (e *Engine) RegisterWorkflow(name string, spec func(x *stabilize.Execution) (*stabilize.WorkflowSpec, error), opts ...WorkflowOption) error {
	if spec == nil {
		return stabilize.Invalid("workflow "+name, "has nothing that makes it")
	}
	t := &subWorkflow{spec: spec}
	for _, o := range opts {
		o(t)
	}
	return e.registry.AddTask(name, t)
}

type subWorkflow struct {
	spec   func(x *stabilize.Execution) (*stabilize.WorkflowSpec, error)
	forget bool
}

// Execute implements stabilize.TaskType.
func (t *subWorkflow) Execute(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
	spec, err := t.spec(x)
	switch {
	case err != nil:
		return stabilize.Result{}, err
	case spec == nil:
		return stabilize.Result{}, stabilize.Invalid("workflow of task "+x.Task.Name, "is nil")
	case t.forget:
		return stabilize.StartChild(spec), nil
	default:
		return stabilize.AwaitChild(spec), nil
	}
}
