package handlers

import (
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// TimeoutWorkflow promises: a workflow that has run for its Timeout, time paused
// not counted, ends TERMINAL with TIMEOUT when what is under way has been
// canceled.
func TimeoutWorkflow() Handler { return Handle(timeoutWorkflow) }

func timeoutWorkflow(x *Decision, _ queue.TimeoutWorkflow) error {
	return x.WithWorkflow(func(w *stabilize.Workflow) error {
		if w.Timer == "" || w.Timer != x.MessageID() {
			return nil
		}
		x.draft.Header().Timer = ""
		if w.Halting() {
			return nil // how it ends is decided
		}
		if w.Status == stabilize.Paused {
			return nil // resuming sets it anew
		}
		timeout := &stabilize.TimeoutError{What: "the workflow", After: w.Timeout}
		x.cause = timeout
		return x.failWorkflow(&stabilize.Failure{Code: stabilize.CodeTimeout, Message: timeout.Error()})
	})
}
