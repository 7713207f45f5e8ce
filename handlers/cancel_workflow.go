package handlers

import (
	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// CancelWorkflow promises: the first request is kept, with its user and reason;
// a workflow that has not begun ends at once; in a running one everything under
// way is told, synthetic children included, and it ends CANCELED when the last
// of it has ended.
func CancelWorkflow() Handler { return Handle(cancelWorkflow) }

func cancelWorkflow(x *Decision, m queue.CancelWorkflow) error {
	return x.WithWorkflow(func(w *stabilize.Workflow) error {
		waiting := w.Status == stabilize.NotStarted || w.Status == stabilize.Buffered
		if w.IsCanceled() || m.OnlyWaiting && !waiting {
			return nil
		}
		x.draft.Header().Cancel = &stabilize.Cancellation{By: m.User, Reason: m.Reason, At: stabilize.Instant(x.Now())}
		x.Record(events.Event{Type: events.WorkflowCanceling, From: w.Status, To: w.Status, Reason: m.Reason}, nil, nil)
		if waiting {
			return x.finishWorkflow(stabilize.Canceled, nil)
		}
		x.completeWorkflow()
		return nil
	})
}
