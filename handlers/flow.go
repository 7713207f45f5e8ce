package handlers

import (
	"slices"

	"github.com/stabilize-dev/go-stabilize/events"
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
		edit.Tokens.Threads = int32(r.Threads)
		closed, failure := x.branches(edit)
		if failure != nil {
			status = failureStatus(edit.OnFailure)
			failure.Stage = edit.Ref
			edit.Failure = failure
			edit.Tokens = stabilize.Tokens{Kind: tokensFor(status, edit.Reason)}
		}
		if edit.Tokens.Kind == stabilize.TokenLive {
			edit.Tokens.Except = closed
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
	if s.Rules != nil && s.Rules.Ends && status == stabilize.Succeeded && kind == stabilize.TokenLive && !x.Workflow().Halting() {
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
	if x.pushed == before && x.Workflow().Active() == 0 {
		x.completeWorkflow()
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

// branches returns the refs whose edge gets no live token, by the conditions of
// the stage's split. In the reference an OR split without a true branch takes
// the first.
func (x *Decision) branches(s *stabilize.Stage) ([]string, *stabilize.Failure) {
	r := s.Rules
	if r.Split == stabilize.SplitAnd {
		return nil, nil
	}
	env := x.Workflow().EndContext(s)
	taken := make([]bool, len(r.Branches))
	any := false
	for i, b := range r.Branches {
		if b.Default {
			continue
		}
		yes, err := x.env.Expressions.Bool(b.When, env)
		if err != nil {
			return nil, &stabilize.Failure{Code: stabilize.CodeExpression, Message: "branch to " + b.To + ": " + errorText(err)}
		}
		if taken[i] = yes; yes {
			any = true
			if r.Split == stabilize.SplitExclusive {
				break
			}
		}
	}
	if !any {
		for i, b := range r.Branches {
			if b.Default {
				taken[i], any = true, true
			}
		}
	}
	if !any {
		return nil, &stabilize.Failure{Code: stabilize.CodeNoBranch, Message: "no condition is true, and there is no default"}
	}
	var closed []string
	for i, b := range r.Branches {
		if !taken[i] {
			closed = append(closed, b.To)
		}
	}
	return closed, nil
}

// StartNext looks at what follows a stage that ended: a stage whose join is now
// met is started, one whose join can no longer be met is skipped as a dead path.
func (x *Decision) StartNext(s *stabilize.Stage) error {
	for _, down := range x.Workflow().Downstream(s) {
		if _, err := x.arrive(down, false); err != nil {
			return err
		}
	}
	return nil
}

// arrive lets a stage act on the tokens before it, and reports whether it did.
func (x *Decision) arrive(s *stabilize.Stage, quiet bool) (bool, error) {
	if x.Workflow().Counted(s.Ref) && (s.State == nil || !s.State.Bypass || s.Status != stabilize.NotStarted) {
		return x.arriveCounted(s.Ref, quiet)
	}
	if s.Status == stabilize.NotStarted && s.Join >= stabilize.JoinDiscriminator && x.Workflow().Readiness(s) == stabilize.Dead {
		if err := x.unreachable(s); err != nil {
			return false, err
		}
	}
	return x.offer(s), x.resumeJumps()
}

// arriveCounted starts an execution for each set of tokens that lets the join
// fire. The tokens are consumed here, in the commit that they arrive with.
func (x *Decision) arriveCounted(ref string, quiet bool) (bool, error) {
	w := x.Workflow()
	moved := false
	for !w.Halting() {
		a := w.Arrive(ref, quiet)
		switch {
		case len(a.Absorb) > 0:
			if last := lastFired(w, ref); last != nil {
				note := x.draft.Stage(last.ID).Note()
				note.Consumed = append(note.Consumed, a.Absorb...)
				if err := x.resumeJumps(); err != nil {
					return moved, err
				}
				continue
			}
		case len(a.Fire) > 0:
			s := w.StageByRef(ref)
			if s.Status != stabilize.NotStarted || len(s.Known().Consumed) > 0 {
				s = x.draft.OpenRound(ref, x.env.IDs, stabilize.Origin{Kind: stabilize.OriginToken, At: stabilize.Instant(x.now)})
				x.Record(events.Event{Type: events.StageAdded, To: s.Status}, s, nil)
			}
			if err := x.consume(s, a.Fire); err != nil {
				return moved, err
			}
			moved = true
			continue
		case a.Dead:
			if s := w.StageByRef(ref); s.Status == stabilize.NotStarted {
				x.Push(queue.SkipStage{OfStage: queue.ToStage(w.ID, s.ID), Reason: stabilize.ReasonDeadPath})
				return true, x.unreachable(s)
			}
		}
		return moved, nil
	}
	return moved, nil
}

// consume starts an execution with certain tokens. One that came of a split into
// threads knows its index.
func (x *Decision) consume(s *stabilize.Stage, tokens []stabilize.Token) error {
	w := x.Workflow()
	edit := x.draft.Stage(s.ID)
	edit.Note().Consumed = tokens
	if len(tokens) == 1 {
		if up := w.StageInRound(tokens[0].Ref, tokens[0].Round); up != nil {
			threaded := up.Known().Threaded
			index := up.Known().Index
			if up.Tokens.Threads > 1 {
				threaded, index = true, tokens[0].Thread
			}
			if threaded {
				edit.State.Threaded, edit.State.Index = true, index
				if err := edit.Context.Set("index", index); err != nil {
					return err
				}
			}
		}
	}
	x.Push(queue.StartStage{OfStage: queue.ToStage(w.ID, s.ID)})
	return nil
}

// lastFired is the last execution of a join that has taken tokens.
func lastFired(w *stabilize.Workflow, ref string) *stabilize.Stage {
	for _, s := range slices.Backward(w.Executions(ref)) {
		if len(s.Known().Consumed) > 0 {
			return s
		}
	}
	return nil
}

// unreachable withdraws what leads only to a partial join that can no longer be
// met because branches failed (pattern 30).
func (x *Decision) unreachable(s *stabilize.Stage) error {
	if s.Join != stabilize.JoinDiscriminator && s.Join != stabilize.JoinNOfM {
		return nil
	}
	w := x.Workflow()
	failed := false
	for _, up := range w.Upstream(s) {
		failed = failed || up.Status == stabilize.Stopped && up.OnFailure == stabilize.TolerateFailure
	}
	if !failed {
		return nil
	}
	edit := x.draft.Stage(s.ID)
	edit.Failure = &stabilize.Failure{Code: stabilize.CodeUnreachable, Message: "too many of its branches failed", Stage: s.Ref}
	return x.withdrawAll(w.OnlyToward(s))
}

// withdrawAll ends stages because another branch was chosen.
func (x *Decision) withdrawAll(stages []*stabilize.Stage) error {
	for _, s := range stages {
		if err := x.haltStage(s, stabilize.Canceled, stabilize.ReasonWithdrawn, nil); err != nil {
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
	for _, region := range s.Rules.Regions {
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

// childEnded moves a parent on after one of its synthetic stages ended. A
// failed child ends the rest of the family; a FAILED_CONTINUE one does unless
// it allows its siblings to go on (Orca's allowSiblingStagesToContinueOnFailure).
func (x *Decision) childEnded(s *stabilize.Stage) error {
	w := x.Workflow()
	parent := w.Stage(s.ParentID)
	if parent == nil {
		x.Push(queue.InvalidStageID{OfStage: queue.ToStage(w.ID, s.ParentID), Handling: "synthetic stage " + s.Ref})
		return nil
	}
	to := queue.ToStage(w.ID, parent.ID)
	if s.Owner == stabilize.OwnerInstance {
		return x.instanceEnded(parent, s)
	}
	if parent.Ending != stabilize.NotStarted {
		x.Push(queue.CompleteStage{OfStage: to})
		return nil
	}
	if s.Status.IsHalt() || s.Status == stabilize.FailedContinue && !s.AllowSiblings {
		if err := x.endFamily(parent); err != nil {
			return err
		}
		x.Push(queue.CompleteStage{OfStage: to})
		return nil
	}
	if err := x.StartNext(s); err != nil {
		return err
	}
	x.Push(queue.ContinueParentStage{OfStage: to, Owner: s.Owner})
	return nil
}

// endFamily ends what is left of a parent that goes no further because of one
// of its synthetic stages: what has not begun is skipped, synthetic stages under
// way are withdrawn.
func (x *Decision) endFamily(parent *stabilize.Stage) error {
	w := x.Workflow()
	if err := x.skipRest(parent.ID); err != nil {
		return err
	}
	for _, c := range w.Children(parent, stabilize.NoOwner) {
		switch {
		case c.Status.IsComplete() || c.Ending != stabilize.NotStarted:
		case c.Status == stabilize.NotStarted:
			if err := x.settleUnstarted(c, stabilize.Skipped, stabilize.ReasonStageEnded); err != nil {
				return err
			}
		default:
			x.Push(queue.CancelStage{OfStage: queue.ToStage(w.ID, c.ID), Reason: stabilize.ReasonWithdrawn})
		}
	}
	return nil
}

// skipRest skips the tasks of a stage that have not begun, because it ends.
func (x *Decision) skipRest(stageID string) error {
	for _, t := range x.draft.Stage(stageID).Tasks {
		if t.Status != stabilize.NotStarted {
			continue
		}
		t.Reason = stabilize.ReasonStageEnded
		if _, err := x.SetTaskStatus(stageID, t.ID, stabilize.Skipped); err != nil {
			return err
		}
	}
	return nil
}

// settleUnstarted ends a stage that never began, without moving the flow on.
func (x *Decision) settleUnstarted(s *stabilize.Stage, status stabilize.Status, reason string) error {
	edit := x.draft.Stage(s.ID)
	edit.Reason = reason
	edit.Tokens = stabilize.Tokens{Kind: tokensFor(status, reason)}
	for _, t := range edit.Tasks {
		if t.Status != stabilize.NotStarted {
			continue
		}
		t.Reason = reason
		if _, err := x.SetTaskStatus(s.ID, t.ID, status); err != nil {
			return err
		}
	}
	_, err := x.SetStageStatus(s.ID, status)
	return err
}

// haltStage begins to end a stage from outside: children and tasks under way
// are ended, on-cancel hooks sent out; the stage takes the status when all of
// that has ended, which CompleteStage finds out.
func (x *Decision) haltStage(s *stabilize.Stage, status stabilize.Status, reason string, failure *stabilize.Failure) error {
	if s.Status.IsComplete() {
		return nil
	}
	if s.Ending != stabilize.NotStarted {
		if s.Ending == stabilize.Canceled && status == stabilize.Terminal {
			edit := x.draft.Stage(s.ID)
			edit.Ending, edit.Failure = status, failure // a failure outranks
		}
		return nil
	}
	edit := x.draft.Stage(s.ID)
	edit.Reason = reason
	if failure != nil {
		failure.Stage = s.Ref
		edit.Failure = failure
	}
	end := stabilize.Canceled // of what is in it
	if status == stabilize.Skipped {
		end = status
	}
	if s.Status == stabilize.NotStarted {
		for _, t := range edit.Tasks {
			if _, err := x.SetTaskStatus(s.ID, t.ID, end); err != nil {
				return err
			}
		}
		return x.EndStage(s.ID, status, reason)
	}
	edit.Ending = status
	if err := x.haltChildren(edit, end, reason); err != nil {
		return err
	}
	for _, t := range edit.Tasks {
		if err := x.haltTask(edit, t, end, reason); err != nil {
			return err
		}
	}
	x.Push(queue.CompleteStage{OfStage: queue.ToStage(x.Workflow().ID, s.ID)})
	return nil
}

// haltChildren ends the synthetic stages of a stage that is ended from outside.
func (x *Decision) haltChildren(parent *stabilize.Stage, end stabilize.Status, reason string) error {
	w := x.Workflow()
	for _, c := range w.Children(parent, stabilize.NoOwner) {
		to := queue.ToStage(w.ID, c.ID)
		switch {
		case c.Status.IsComplete():
		case c.Status == stabilize.NotStarted:
			if err := x.settleUnstarted(c, end, reason); err != nil {
				return err
			}
		case end == stabilize.Skipped:
			x.Push(queue.SkipStage{OfStage: to, Reason: reason, Manual: true})
		default:
			x.Push(queue.CancelStage{OfStage: to, Reason: reason})
		}
	}
	return nil
}

// haltTask ends one task of a stage that is ended from outside. A run under way
// is told and its message removed; a task with an on-cancel hook ends when the
// hook has run; a workflow that it waits for is canceled.
func (x *Decision) haltTask(s *stabilize.Stage, t *stabilize.Task, end stabilize.Status, reason string) error {
	if t.Status.IsComplete() || t.Phase == stabilize.RunCancel {
		return nil
	}
	edit := x.draft.Task(s.ID, t.ID)
	x.Discard(edit.Run)
	edit.Run = ""
	x.abandonChild(edit)
	if t.Status.IsActive() {
		if _, powers, err := x.env.Registry.Task(t.Type); err == nil && powers.OnCancel != nil {
			x.sendRun(s, edit, stabilize.RunCancel)
			return nil
		}
	}
	edit.Reason = reason
	if !edit.Status.CanTransition(end) {
		if _, err := x.SetTaskStatus(s.ID, t.ID, stabilize.Running); err != nil {
			return err
		}
	}
	_, err := x.SetTaskStatus(s.ID, t.ID, end)
	return err
}

// sendRun makes the durable RunTask message of a task; the task remembers its id.
func (x *Decision) sendRun(s *stabilize.Stage, t *stabilize.Task, phase stabilize.RunPhase) {
	t.Run, t.Phase = x.NewID(), phase
	t.Prompt()
	x.out = append(x.out, queue.Outgoing{
		ID: t.Run, MaxAttempts: x.env.deliveryLimit(t.Type),
		Message: queue.RunTask{OfTask: queue.ToTask(x.Workflow().ID, s.ID, t.ID), Phase: phase},
	})
}

// sendCleanups sends the cleanup hooks of a stage that is about to end and
// reports whether any is still out.
func (x *Decision) sendCleanups(s *stabilize.Stage) bool {
	open := false
	for _, t := range s.Tasks {
		if t.CleanedUp || t.StartedAt.IsZero() {
			continue
		}
		if t.Phase == stabilize.RunCleanup && t.Run != "" {
			open = true
			continue
		}
		_, powers, err := x.env.Registry.Task(t.Type)
		if err != nil || powers.Cleanup == nil {
			continue
		}
		x.sendRun(s, x.draft.Task(s.ID, t.ID), stabilize.RunCleanup)
		open = true
	}
	return open
}

// recordTask adds an event about a task that keeps its status.
func (x *Decision) recordTask(typ events.Type, s *stabilize.Stage, t *stabilize.Task, reason string) {
	x.Record(events.Event{Type: typ, From: t.Status, To: t.Status, Reason: reason}, s, t)
}
