package handlers

import (
	"errors"
	"slices"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// StartWorkflow promises: a workflow that has not begun begins exactly once,
// with all its initial stages, when it is neither canceled nor expired and its
// concurrency limit has a place; without a place it waits its turn as BUFFERED.
// One that was restarted goes on with the stages that have a new round, one that
// was paused before pauses. The place is taken in the commit that makes it RUNNING (the reference's
// start_workflow.py counts first and starts later).
func StartWorkflow() Handler { return Handle(startWorkflow) }

func startWorkflow(x *Decision, _ queue.StartWorkflow) error {
	return x.WithWorkflow(func(w *stabilize.Workflow) error {
		if w.Status != stabilize.NotStarted && w.Status != stabilize.Buffered {
			return nil
		}
		if w.IsCanceled() {
			return x.finishWorkflow(stabilize.Canceled, nil)
		}
		if !w.StartExpiry.IsZero() && x.Now().After(w.StartExpiry) {
			x.Push(queue.CancelWorkflow{
				OfWorkflow: queue.ToWorkflow(w.ID), User: "system",
				Reason: "Could not begin execution before start time expiry",
			})
			return nil
		}
		initial := w.InitialStages()
		if len(initial) == 0 {
			return x.finishWorkflow(stabilize.Terminal, &stabilize.Failure{
				Code: stabilize.CodeNoInitialStage, Message: "no stage can be the first",
			})
		}
		if w.ConcurrencyKey() != "" {
			if errors.Is(x.Refused(), stabilize.ErrNoPlace) {
				x.Admit(persistence.WaitForPlace)
				return x.SetWorkflowStatus(stabilize.Buffered)
			}
			x.Admit(persistence.TakePlace)
		}
		// Restarted, or something was asked of its stages while it waited.
		again := slices.ContainsFunc(w.Stages, func(s *stabilize.Stage) bool { return s.Round > 0 || s.Status != stabilize.NotStarted })
		if err := x.SetWorkflowStatus(stabilize.Running); err != nil {
			return err
		}
		if !w.StartedAt.IsZero() && w.Timeout > 0 { // its time counts from now
			h := x.draft.Header()
			if h.Pause == nil {
				h.Pause = &stabilize.Pause{At: stabilize.Instant(x.now), ResumedAt: stabilize.Instant(x.now)}
			}
			h.Pause.Total = max(0, x.now.Sub(w.StartedAt))
		}
		x.armWorkflow()
		if pauseAsked(w) {
			x.draft.Header().Pause.At = stabilize.Instant(x.now)
			return x.SetWorkflowStatus(stabilize.Paused)
		}
		if again {
			return x.proceedAll()
		}
		for _, s := range initial {
			x.Push(queue.StartStage{OfStage: queue.ToStage(w.ID, s.ID)})
		}
		return nil
	})
}
