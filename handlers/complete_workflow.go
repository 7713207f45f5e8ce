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
// is live. If it is to end early, what is under way is ended first. Tokens that
// can no longer complete a join are settled: an OR join goes on with what there
// is, what nothing will start is dead. A workflow whose stages wait for each
// other ends TERMINAL with DEADLOCK and names them. It never waits by asking
// again (the reference re-queues itself every 15 s and gives up after an hour).
func CompleteWorkflow() Handler { return Handle(completeWorkflow) }

func completeWorkflow(x *Decision, _ queue.CompleteWorkflow) error {
	x.completing = false
	return x.WithWorkflow(func(w *stabilize.Workflow) error {
		if w.Status == stabilize.NotStarted || w.Status == stabilize.Buffered {
			if w.Halting() { // one of its stages was ended before it could begin
				return x.finishWorkflow(finalStatus(w), firstFailure(w))
			}
			return nil
		}
		if w.Status == stabilize.Paused && (!w.Halting() || w.Done && w.Cancel == nil && w.Failure == nil) {
			return nil // resuming asks again
		}
		if w.Halting() {
			x.cancelActive(w)
			if w.Active() > 0 {
				return nil
			}
			return x.finishWorkflow(finalStatus(w), firstFailure(w))
		}
		if slices.ContainsFunc(w.Locks, func(l stabilize.Lock) bool { return !l.Held }) {
			return nil
		}
		if w.Active() > 0 {
			return x.letJump()
		}
		if settled, err := x.settleQuiet(w); settled || err != nil {
			return err
		}
		status := finalStatus(w)
		var failure *stabilize.Failure
		if status != stabilize.Succeeded {
			failure = firstFailure(w)
		}
		if left := leftover(w); len(left) > 0 {
			x.draft.Header().Leftover = left
			if w.StrictTokens && status == stabilize.Succeeded {
				status = stabilize.Terminal
				failure = &stabilize.Failure{Code: stabilize.CodeLeftoverToken, Message: fmt.Sprintf("%d tokens were consumed by no join", len(left)), Stage: left[0].Ref}
			}
		}
		return x.finishWorkflow(status, failure)
	})
}

// settleQuiet decides about stages that have not begun in a workflow in which
// nothing moves, and reports whether that moves it on or ends it.
func (x *Decision) settleQuiet(w *stabilize.Workflow) (bool, error) {
	// What can go on by itself does: its message may be on the way, and once more
	// does no harm.
	moved, stuck, err := x.settle(w.Stages, false)
	if moved || err != nil {
		return true, err
	}
	if len(stuck) == 0 {
		return false, nil
	}
	// No more tokens come but from here: one stage at a time, from above, for what
	// it puts out may be for those below.
	moved, stuck, err = x.settle(w.TopologicalOrder(), true)
	if moved || err != nil {
		return true, err
	}
	stuck = slices.DeleteFunc(stuck, func(s *stabilize.Stage) bool { return s.Status != stabilize.NotStarted })
	if len(stuck) == 0 {
		return false, nil
	}
	offered := false
	var waiting []string
	for _, s := range stuck {
		waiting = append(waiting, s.Ref)
		if r := s.Rules; r != nil && r.OnCancelOf != "" { // nothing will be canceled any more
			x.Push(queue.SkipStage{OfStage: queue.ToStage(w.ID, s.ID), Reason: stabilize.ReasonDeadPath})
			offered = true
		}
	}
	if offered {
		return true, nil
	}
	for _, s := range stuck {
		if left := w.Arrive(s.Ref, true).Left; s.Join == stabilize.JoinMerge && len(left) > 0 {
			return true, x.finishWorkflow(stabilize.Terminal, &stabilize.Failure{
				Code: stabilize.CodeIncompleteMerge, Stage: s.Ref,
				Message: fmt.Sprintf("%d of %d tokens missing", s.Threshold-len(left), s.Threshold),
			})
		}
	}
	return true, x.finishWorkflow(stabilize.Terminal, &stabilize.Failure{
		Code:    stabilize.CodeDeadlock,
		Message: fmt.Sprintf("nothing is under way, and these stages wait for stages that never end: %s", strings.Join(waiting, ", ")),
	})
}

// settle lets stages act on the tokens before them, quiet ones until the first
// does, and returns those that have not begun or may begin again.
func (x *Decision) settle(stages []*stabilize.Stage, quiet bool) (moved bool, stuck []*stabilize.Stage, err error) {
	w := x.Workflow()
	seen := map[string]bool{}
	for _, s := range stages {
		if s.IsSynthetic() || s.Superseded {
			moved = x.startLate(s) || moved
			continue
		}
		if s.Status == stabilize.NotStarted && len(s.Known().Consumed) > 0 {
			moved = x.offer(s) || moved // it has its tokens: it is about to start
		}
		if seen[s.Ref] || s.Status != stabilize.NotStarted && !w.Counted(s.Ref) {
			continue
		}
		seen[s.Ref] = true
		acted, err := x.arrive(w.StageByRef(s.Ref), quiet)
		if err != nil {
			return moved, nil, err
		}
		if s.Status == stabilize.NotStarted && x.barred(s) {
			acted = false // only the end of another stage could let it start
		}
		if moved = moved || acted; moved && quiet {
			return true, nil, nil
		}
		stuck = append(stuck, s)
	}
	return moved, stuck, nil
}

// barred reports whether a stage would start but for the holder of its key.
func (x *Decision) barred(s *stabilize.Stage) bool {
	w := x.Workflow()
	if s.Rules == nil || s.Rules.Exclusion == nil || s.Disabled || w.Readiness(s) != stabilize.Ready || w.MilestoneState(s) != stabilize.Ready {
		return false
	}
	if s.Rules.If != "" {
		if yes, err := x.env.Expressions.Bool(s.Rules.If, w.TaskContext(s)); err != nil || !yes {
			return false
		}
	}
	return x.excluded(s)
}

// leftover returns the live tokens that no join has consumed.
func leftover(w *stabilize.Workflow) []stabilize.Token {
	var out []stabilize.Token
	seen := map[string]bool{}
	for _, s := range w.Stages {
		if s.IsSynthetic() || seen[s.Ref] || !w.Counted(s.Ref) {
			continue
		}
		seen[s.Ref] = true
		out = append(out, w.Arrive(s.Ref, true).Left...)
	}
	return out
}

// cancelActive sends CancelStage to every stage under way that is not ending yet
// and is not ended by its parent.
func (x *Decision) cancelActive(w *stabilize.Workflow) {
	if w.Active() == 0 {
		return
	}
	reason := stabilize.ReasonFailed
	switch {
	case w.IsCanceled():
		reason = stabilize.ReasonCanceled
	case w.Done:
		reason = stabilize.ReasonWithdrawn
	}
	for _, s := range w.Stages {
		if parent := w.Stage(s.ParentID); parent != nil && !parent.Status.IsComplete() {
			continue // with its parent
		}
		if s.Status.IsActive() && s.Ending == stabilize.NotStarted {
			x.Push(queue.CancelStage{OfStage: queue.ToStage(w.ID, s.ID), Reason: reason})
		}
	}
}

// finalStatus is what the ends of a workflow's stages make of it: any TERMINAL
// wins over any CANCELED; a STOPPED branch fails the workflow under
// FailAfterOthers, and under TolerateFailure if no join could do without it;
// everything else is success. An explicit end is success whatever else there is.
func finalStatus(w *stabilize.Workflow) stabilize.Status {
	canceled, stoppedFails := w.IsCanceled(), false
	if w.Done && !canceled && w.Failure == nil {
		return stabilize.Succeeded
	}
	for _, s := range w.Stages {
		if s.IsSynthetic() || s.Superseded {
			continue
		}
		switch {
		case s.Status == stabilize.Terminal:
			return stabilize.Terminal
		case s.HaltsWorkflow():
			canceled = true
		case s.Status == stabilize.Stopped && s.OnFailure == stabilize.FailAfterOthers,
			s.Status == stabilize.Stopped && s.OnFailure == stabilize.TolerateFailure && !absorbed(w, s.Ref):
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

// absorbed reports whether a stage further down ran without the branch, however
// it ended.
func absorbed(w *stabilize.Workflow, ref string) bool {
	for _, below := range w.Below(ref) {
		if below == ref {
			continue
		}
		for _, s := range w.Executions(below) {
			if !s.StartedAt.IsZero() {
				return true
			}
		}
	}
	return false
}

// firstFailure is the failure of the stage that failed first. One inside a stage
// that could do without it is none.
func firstFailure(w *stabilize.Workflow) *stabilize.Failure {
	if w.Failure != nil {
		return w.Failure
	}
	var failed []*stabilize.Stage
	for _, s := range w.Stages {
		if parent := w.Stage(s.ParentID); parent != nil && !parent.Status.IsHalt() {
			continue
		}
		if s.Failure != nil && (s.Status == stabilize.Terminal || s.Status == stabilize.Stopped) && !s.Superseded {
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
		switch {
		case status == stabilize.Canceled:
			end, why = stabilize.Canceled, stabilize.ReasonCanceled
		case w.Done:
			end, why = stabilize.Canceled, stabilize.ReasonWithdrawn
		}
		if err := x.settleUnstarted(s, end, why); err != nil {
			return err
		}
	}
	begun := w.Status.IsActive()
	x.releaseLocks()
	h := x.draft.Header()
	h.Failure = failure
	x.Discard(h.Timer)
	h.Timer = ""
	if err := x.SetWorkflowStatus(status); err != nil {
		return err
	}
	x.tellParent(w.Version + 1)
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
