package handlers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// CompleteWorkflow promises: a workflow ends when, and only when, nothing in it
// is live. If it is to end early, what is under way is canceled first. A
// workflow whose stages wait for tokens that can never come ends TERMINAL with
// DEADLOCK and names them. It never waits by asking again (the reference
// re-queues itself every 15 s and gives up after an hour).
func CompleteWorkflow() Handler { return Handle(completeWorkflow) }

func completeWorkflow(x *Decision, _ queue.CompleteWorkflow) error {
	x.completing = false
	return x.WithWorkflow(func(w *stabilize.Workflow) error {
		if w.Status == stabilize.NotStarted || w.Status == stabilize.Buffered {
			return nil
		}
		if w.Halting() {
			x.cancelActive(w)
			if w.Active() > 0 {
				return nil
			}
			return x.finishWorkflow(finalStatus(w), firstFailure(w))
		}
		if w.Active() > 0 {
			return nil
		}
		var stuck []string
		offered := false
		for _, s := range w.Stages {
			if s.Status != stabilize.NotStarted || s.IsSynthetic() {
				continue
			}
			if x.offer(s) {
				offered = true // its own message may be on the way; once more does no harm
			} else {
				stuck = append(stuck, s.Ref)
			}
		}
		switch {
		case offered:
			return nil
		case len(stuck) > 0:
			return x.finishWorkflow(stabilize.Terminal, &stabilize.Failure{
				Code:    stabilize.CodeDeadlock,
				Message: fmt.Sprintf("nothing is under way, and these stages wait for stages that never end: %s", strings.Join(stuck, ", ")),
			})
		default:
			status := finalStatus(w)
			var failure *stabilize.Failure
			if status != stabilize.Succeeded {
				failure = firstFailure(w)
			}
			return x.finishWorkflow(status, failure)
		}
	})
}

// cancelActive sends CancelStage to every declared stage under way that is not
// ending yet.
func (x *Decision) cancelActive(w *stabilize.Workflow) {
	if w.Active() == 0 {
		return
	}
	reason := stabilize.ReasonFailed
	if w.IsCanceled() {
		reason = stabilize.ReasonCanceled
	}
	for _, s := range w.Stages {
		if !s.IsSynthetic() && s.Status.IsActive() && s.Ending == stabilize.NotStarted {
			x.Push(queue.CancelStage{OfStage: queue.ToStage(w.ID, s.ID), Reason: reason})
		}
	}
}

// finalStatus is what the ends of a workflow's stages make of it: any TERMINAL
// wins over any CANCELED; a STOPPED branch fails the workflow only under
// FailAfterOthers; everything else is success.
func finalStatus(w *stabilize.Workflow) stabilize.Status {
	canceled, stoppedFails := w.IsCanceled(), false
	for _, s := range w.Stages {
		if s.IsSynthetic() || w.StageByRef(s.Ref) != s {
			continue
		}
		switch {
		case s.Status == stabilize.Terminal:
			return stabilize.Terminal
		case s.HaltsWorkflow():
			canceled = true
		case s.Status == stabilize.Stopped && s.OnFailure == stabilize.FailAfterOthers:
			stoppedFails = true
		}
	}
	switch {
	case w.Failure != nil:
		return stabilize.Terminal
	case canceled:
		return stabilize.Canceled
	case stoppedFails:
		return stabilize.Terminal
	default:
		return stabilize.Succeeded
	}
}

// firstFailure is the failure of the stage that failed first.
func firstFailure(w *stabilize.Workflow) *stabilize.Failure {
	if w.Failure != nil {
		return w.Failure
	}
	var failed []*stabilize.Stage
	for _, s := range w.Stages {
		if s.Failure != nil && (s.Status == stabilize.Terminal || s.Status == stabilize.Stopped) && w.StageByRef(s.Ref) == s {
			failed = append(failed, s)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	first := slices.MinFunc(failed, func(a, b *stabilize.Stage) int {
		if c := a.EndedAt.Compare(b.EndedAt); c != 0 {
			return c
		}
		return a.Position - b.Position
	})
	f := *first.Failure
	return &f
}

// finishWorkflow ends the workflow: stages that never began say why, its place
// under the concurrency limit is given back, and those who wait are told.
func (x *Decision) finishWorkflow(status stabilize.Status, failure *stabilize.Failure) error {
	w := x.Workflow()
	for _, s := range w.Stages {
		if s.Status != stabilize.NotStarted {
			continue
		}
		end, why := stabilize.Skipped, stabilize.ReasonUpstreamHalted
		if status == stabilize.Canceled {
			end, why = stabilize.Canceled, stabilize.ReasonCanceled
		}
		if err := x.settleUnstarted(s, end, why); err != nil {
			return err
		}
	}
	begun := w.Status.IsActive()
	x.draft.Header().Failure = failure
	if err := x.SetWorkflowStatus(status); err != nil {
		return err
	}
	if w.ConcurrencyKey() != "" {
		// One that begins and ends in the same commit needs a place all the same;
		// ended, it holds none.
		if x.admission == nil || x.admission.Op != persistence.TakePlace {
			x.Admit(persistence.LeavePlace)
		}
		x.Push(queue.StartWaitingWorkflows{Key: w.ConcurrencyKey(), Limit: w.MaxConcurrent, Purge: begun && !w.KeepWaiting})
	}
	return nil
}
