package handlers

import (
	"time"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// PauseWorkflow promises: from then on no task starts and no poll or retry runs;
// code that runs finishes and its result counts. A workflow that has not begun
// pauses as it begins. Pausing again, or a finished workflow, is refused, with
// the status. (In the reference four of six such cases end stuck.)
func PauseWorkflow() Handler { return Handle(pauseWorkflow) }

func pauseWorkflow(x *Decision, m queue.PauseWorkflow) error {
	return x.WithWorkflow(func(w *stabilize.Workflow) error {
		if w.Status.IsActive() && w.Status != stabilize.Running || pauseAsked(w) || w.Halting() {
			if x.Requested() {
				return &stabilize.TransitionError{Kind: "workflow", ID: w.ID, From: w.Status, To: stabilize.Paused}
			}
			return nil
		}
		h := x.draft.Header()
		pause := stabilize.Pause{By: m.User, At: stabilize.Instant(x.now)}
		if h.Pause != nil {
			pause.Total = h.Pause.Total
		}
		h.Pause = &pause
		if w.Status != stabilize.Running {
			return nil // StartWorkflow sees it
		}
		return x.SetWorkflowStatus(stabilize.Paused)
	})
}

// pauseAsked reports whether a workflow that has not begun is to pause.
func pauseAsked(w *stabilize.Workflow) bool {
	return w.Status != stabilize.Paused && w.Pause != nil && w.Pause.ResumedAt.IsZero()
}

// armStage sends the message that ends a stage when its time is over.
func (x *Decision) armStage(s *stabilize.Stage) {
	if s.Timeout <= 0 {
		return
	}
	note := s.Note()
	x.Discard(note.Timer)
	note.Timer = x.NewID()
	x.out = append(x.out, queue.Outgoing{
		ID: note.Timer, Message: queue.TimeoutStage{OfStage: queue.ToStage(x.Workflow().ID, s.ID)},
		At: s.StartedAt.Add(s.Timeout + note.Paused),
	})
}

// armWorkflow does the same for the workflow.
func (x *Decision) armWorkflow() {
	h := x.draft.Header()
	if h.Timeout <= 0 {
		return
	}
	x.Discard(h.Timer)
	h.Timer = x.NewID()
	at := h.StartedAt.Add(h.Timeout)
	if h.Pause != nil {
		at = at.Add(h.Pause.Total)
	}
	x.out = append(x.out, queue.Outgoing{ID: h.Timer, Message: queue.TimeoutWorkflow{OfWorkflow: queue.ToWorkflow(h.ID)}, At: at})
}

// delayRun makes the run that was just sent for a task due later.
func (x *Decision) delayRun(t *stabilize.Task, delay time.Duration) {
	at := x.now.Add(delay)
	x.out[len(x.out)-1].At = at
	t.Waiting().Due = stabilize.Instant(at)
}
