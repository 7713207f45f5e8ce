package handlers

import (
	"slices"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// tokensFor is what a stage that ended puts on its outgoing edges. A stage that
// was skipped because nothing could reach it, withdrawn, or halted, puts dead
// tokens: what follows decides by its join whether it can do without.
func tokensFor(status stabilize.Status, reason string) stabilize.TokenKind {
	switch {
	case status == stabilize.Skipped && (reason == stabilize.ReasonDeadPath || reason == stabilize.ReasonMilestone ||
		reason == stabilize.ReasonUpstreamHalted || reason == stabilize.ReasonStageEnded):
		return stabilize.TokenDead
	case reason == stabilize.ReasonJumped:
		return stabilize.TokenDead
	case status.IsHalt():
		return stabilize.TokenDead
	default:
		return stabilize.TokenLive
	}
}

// EndStage gives a stage its final status and moves the flow on. A stage that
// ends well chooses its branches; one that cannot fails by its policy.
func (x *Decision) EndStage(id string, status stabilize.Status, reason string) error {
	before := x.pushed
	edit := x.draft.Stage(id)
	if reason != "" {
		edit.Reason = reason
	}
	edit.Ending = stabilize.NotStarted
	kind := tokensFor(status, edit.Reason)
	edit.Tokens = stabilize.Tokens{Kind: kind}
	if r := edit.Rules; r != nil && kind == stabilize.TokenLive && !edit.Superseded {
		closed, failure := x.branches(edit)
		if failure != nil {
			status = failureStatus(edit.OnFailure)
			failure.Stage = edit.Ref
			edit.Failure = failure
			edit.Tokens = stabilize.Tokens{Kind: tokensFor(status, edit.Reason)}
		}
		if edit.Tokens.Kind == stabilize.TokenLive {
			edit.Tokens.Except, edit.Tokens.Threads = closed, int32(r.Threads)
		}
	}
	if err := x.awake(edit, status); err != nil {
		return err
	}
	s, err := x.SetStageStatus(id, status)
	if err != nil {
		return err
	}
	if s.State != nil {
		x.Discard(s.State.Timer)
		s.State.Timer = ""
	}
	if s.Rules != nil && s.Rules.Ends && !s.Superseded && status == stabilize.Succeeded && kind == stabilize.TokenLive && !x.Workflow().Halting() {
		x.draft.Header().Done = true
		x.completeWorkflow()
	}
	switch {
	case s.IsSynthetic():
		if err := x.childEnded(s); err != nil {
			return err
		}
	case s.Superseded:
	case s.HaltsWorkflow():
		x.completeWorkflow()
		return nil
	default:
		if err := x.StartNext(s); err != nil {
			return err
		}
	}
	if err := x.ended(s); err != nil {
		return err
	}
	x.resumeJumps()
	if x.pushed == before {
		x.ifQuiet()
	}
	return nil
}

// awake takes a stage that is parked back to RUNNING, if it is to end in a way
// that only what runs can.
func (x *Decision) awake(s *stabilize.Stage, to stabilize.Status) error {
	if s.Status.CanTransition(to) || !s.Status.CanTransition(stabilize.Running) {
		return nil
	}
	_, err := x.SetStageStatus(s.ID, stabilize.Running)
	return err
}

// StartNext looks at what follows a stage that ended: a stage whose join is now
// met is started, one whose join can no longer be met is skipped as a dead path.
func (x *Decision) StartNext(s *stabilize.Stage) error {
	downstream := x.Workflow().Downstream(s)
	if slices.ContainsFunc(downstream, func(d *stabilize.Stage) bool { return d.Round > 0 }) {
		// Those further up first: what they fire may yet reach those below.
		order := map[string]int{}
		for i, t := range x.Workflow().TopologicalOrder() {
			order[t.ID] = i
		}
		slices.SortFunc(downstream, func(a, b *stabilize.Stage) int { return order[a.ID] - order[b.ID] })
	}
	for _, down := range downstream {
		if _, err := x.arrive(down, false); err != nil {
			return err
		}
	}
	return nil
}

// ended tells those who watch a stage that it did: milestones, on-cancel stages,
// those who wait for its mutex or section.
func (x *Decision) ended(s *stabilize.Stage) error {
	w := x.Workflow()
	for _, watching := range w.Watching(s.Ref) {
		x.offer(watching)
	}
	if s.Rules == nil {
		return nil
	}
	for _, region := range append(s.Rules.InnerRegions(), s.Rules.Regions...) {
		for _, watching := range w.Watching(region) {
			x.offer(watching)
		}
	}
	if s.Rules.Choice != "" && !s.StartedAt.IsZero() && tokensFor(s.Status, s.Reason) == stabilize.TokenLive {
		if err := x.choose(s); err != nil {
			return err
		}
	}
	return x.leaveExclusion(s)
}

// completeWorkflow pushes CompleteWorkflow unless one waits to be decided.
func (x *Decision) completeWorkflow() {
	if !x.completing {
		x.completing = x.env.Cascade
		x.Push(queue.CompleteWorkflow{OfWorkflow: queue.ToWorkflow(x.Workflow().ID)})
	}
}

// offer starts or skips a stage if its tokens and its milestone say so, and
// reports whether it did. In a workflow on its way to an early end nothing new
// may start.
func (x *Decision) offer(s *stabilize.Stage) bool {
	w := x.Workflow()
	if s.Status != stabilize.NotStarted || s.Superseded || w.Halting() {
		return false
	}
	to := queue.ToStage(w.ID, s.ID)
	readiness, reason := w.Readiness(s), stabilize.ReasonDeadPath
	if readiness == stabilize.Ready {
		readiness, reason = w.MilestoneState(s), stabilize.ReasonMilestone
	}
	switch readiness {
	case stabilize.Ready:
		x.Push(queue.StartStage{OfStage: to})
		return true
	case stabilize.Dead:
		x.Push(queue.SkipStage{OfStage: to, Reason: reason})
		return true
	default:
		return false
	}
}
