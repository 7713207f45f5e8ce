package handlers

import (
	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// CreateWorkflow promises: the workflow that a task asked for exists and has been
// asked to start, once, however often the message comes. One whose types are not
// registered here ends TERMINAL, so that its parent hears of it.
func CreateWorkflow() Handler { return Handle(createWorkflow) }

func createWorkflow(x *Decision, _ queue.CreateWorkflow) error {
	w := x.Workflow()
	if w.Version > 0 || w.Status.IsComplete() {
		return nil
	}
	if err := x.env.Registry.Check(w); err != nil {
		x.Record(events.Event{Type: events.WorkflowCreated, To: w.Status}, nil, nil)
		return x.finishWorkflow(stabilize.Terminal, &stabilize.Failure{Code: stabilize.CodeUnknownTaskType, Message: errorText(err)})
	}
	x.created()
	return nil
}
