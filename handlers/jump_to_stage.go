package handlers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// JumpToStage promises: the stage ends, and its target begins, whatever its join
// says. Where the target has run before, it and everything that depends on it
// gets a new round, fresh as declared, with the jump's context laid over the
// target's; the rounds before stay as history, and what was live among them is
// withdrawn: the whole region starts over. Forward, the stages in between are
// dead paths, and the jump is the firing of the target's join. A jump waits for
// partial joins in the region that have fired and not reset (pattern 9), but not
// for tokens that only a jump could bring. At most MaxJumps in a workflow; the reference's
// jump_to_stage/ counts them per chain of jumps.
func JumpToStage() Handler { return Handle(jumpToStage) }

func jumpToStage(x *Decision, m queue.JumpToStage) error {
	return x.WithStage(m, func(s *stabilize.Stage) error {
		return x.tryJump(s, stabilize.Jump{Target: m.Target, Context: m.Context}, true)
	})
}

// tryJump jumps, if it can and joins that it is to wait for have reset.
func (x *Decision) tryJump(s *stabilize.Stage, to stabilize.Jump, waits bool) error {
	w := x.Workflow()
	if !s.Status.IsActive() || s.Superseded || s.Ending != stabilize.NotStarted || w.Halting() {
		if x.Requested() {
			return &stabilize.TransitionError{Kind: "stage", ID: s.Ref, From: s.Status, To: stabilize.Redirect}
		}
		return nil
	}
	target := jumpTarget(w, s, to.Target)
	fail := func(code, message string) error {
		if x.Requested() { // whoever asked made the mistake, not the stage
			if target == nil {
				return &stabilize.NotFoundError{Kind: "stage", ID: to.Target}
			}
			return stabilize.NotAllowed("jumping from stage "+s.Ref, message)
		}
		return x.haltStage(s, stabilize.Terminal, "", &stabilize.Failure{Code: code, Message: message})
	}
	if target == nil {
		return fail(stabilize.CodeJumpTarget, fmt.Sprintf("no stage has the ref %q", to.Target))
	}
	if target.ParentID != s.ParentID {
		return fail(stabilize.CodeJumpTarget, fmt.Sprintf("stage %q is inside another stage", target.Ref))
	}
	most := w.MaxJumps
	if most == 0 {
		most = stabilize.DefaultMaxJumps
	}
	if w.Jumps >= most {
		return fail(stabilize.CodeJumpLimit, fmt.Sprintf("the workflow has jumped %d times, which is the most allowed", w.Jumps))
	}
	to.Target = target.Ref
	x.draft.SetJump(s.ID, &to)
	region := w.StartsOver(target.Ref)
	again := slices.Contains(region, s.Ref) || target.Status != stabilize.NotStarted
	if resets := w.Resets(region); waits && again && len(resets) > 0 {
		x.Logger().Debug("a jump waits for joins to reset", "stage", s.Ref, "joins", strings.Join(resets, ", "))
		x.resumeJumps() // others do not wait for it any more
		x.ifQuiet()
		return nil
	}
	x.draft.Header().Jumps++
	if err := x.jump(s, target, to.Context, region, again); err != nil {
		return err
	}
	x.resumeJumps()
	return nil
}

// letJump lets the first of the stages that wait to jump do so, if nothing else
// is under way or able to start: the joins that they wait for get no more tokens.
func (x *Decision) letJump() error {
	w := x.Workflow()
	if w.Status != stabilize.Running || !w.OnlyJumping() {
		return nil
	}
	if moved, _, err := x.settle(w.Stages, false); moved || err != nil {
		return err
	}
	first := w.Jumping()[0]
	return x.tryJump(first, *first.State.Jump, false)
}

// jumpTarget finds a stage by its ref, or by its ref among the siblings of a
// synthetic stage.
func jumpTarget(w *stabilize.Workflow, s *stabilize.Stage, ref string) *stabilize.Stage {
	if t := w.StageByRef(ref); t != nil {
		return t
	}
	parent := w.Stage(s.ParentID)
	if parent == nil || len(s.Ref) <= len(parent.Ref) {
		return nil
	}
	return w.StageByRef(s.Ref[:len(parent.Ref)+1] + ref)
}

// jump ends a stage and begins another, in a new round of the region if it is to
// run again.
func (x *Decision) jump(s, target *stabilize.Stage, context stabilize.Values, region []string, again bool) error {
	w := x.Workflow()
	if again {
		if err := x.supersede(region, s.ID); err != nil {
			return err
		}
		if slices.Contains(region, s.Ref) {
			x.draft.Supersede(s.ID)
		}
		x.reopenRounds(region, stabilize.Origin{Kind: stabilize.OriginJump, From: s.Ref, At: stabilize.Instant(x.now)})
	}
	next := x.draft.Stage(w.StageByRef(target.Ref).ID)
	next.Note().Bypass = true
	next.WriteContext(context)
	if next.State.Origin == nil {
		next.State.Origin = &stabilize.Origin{Kind: stabilize.OriginJump, From: s.Ref, At: stabilize.Instant(x.now)}
	}
	x.Push(queue.StartStage{OfStage: queue.ToStage(w.ID, next.ID)})
	if err := x.endJumped(s.ID); err != nil || !again {
		return err
	}
	for _, ref := range region { // what came from outside is there for the new rounds, too
		if d := w.StageByRef(ref); ref != target.Ref && !d.IsSynthetic() {
			if _, err := x.arrive(d, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// endJumped ends the stage that jumped: SUCCEEDED, as in the reference, but what
// follows it is a dead path.
func (x *Decision) endJumped(id string) error {
	x.draft.SetJump(id, nil)
	s := x.draft.Stage(id)
	s.Ending, s.Reason = stabilize.Succeeded, stabilize.ReasonJumped
	for _, t := range s.Tasks {
		switch {
		case t.Status.IsComplete():
		case t.Status == stabilize.NotStarted:
			t.Reason = stabilize.ReasonStageEnded
			if _, err := x.SetTaskStatus(id, t.ID, stabilize.Skipped); err != nil {
				return err
			}
		default: // the one that jumped
			x.Discard(t.Run)
			t.Run = ""
			if !t.Status.CanTransition(stabilize.Succeeded) {
				if _, err := x.SetTaskStatus(id, t.ID, stabilize.Running); err != nil {
					return err
				}
			}
			if _, err := x.SetTaskStatus(id, t.ID, stabilize.Succeeded); err != nil {
				return err
			}
		}
	}
	if err := x.haltChildren(s, stabilize.Canceled, stabilize.ReasonJumped); err != nil {
		return err
	}
	x.Push(queue.CompleteStage{OfStage: queue.ToStage(x.Workflow().ID, id)})
	return nil
}

// resumeJumps takes up the jumps that waited for joins to reset.
func (x *Decision) resumeJumps() {
	w := x.Workflow()
	for _, s := range w.Jumping() {
		if jump := s.State.Jump; s.Ending == stabilize.NotStarted && w.Status == stabilize.Running && len(w.Resets(w.StartsOver(jump.Target))) == 0 {
			x.Push(queue.JumpToStage{OfStage: queue.ToStage(w.ID, s.ID), Target: jump.Target, Context: jump.Context})
		}
	}
}

// supersede makes the executions of the stages history, but for one that is
// ended otherwise. What has not begun stays to be used.
func (x *Decision) supersede(refs []string, except string) error {
	w := x.Workflow()
	for _, ref := range refs {
		for _, s := range w.Executions(ref) {
			if s.ID == except || s.Status == stabilize.NotStarted && s.State == nil {
				continue
			}
			if s.Status == stabilize.NotStarted && len(s.State.Consumed) == 0 && !s.State.Bypass {
				continue
			}
			x.draft.Supersede(s.ID)
			if err := x.haltStage(w.Stage(s.ID), stabilize.Canceled, stabilize.ReasonSuperseded, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// reopenRounds opens a round of each stage that has none to run.
func (x *Decision) reopenRounds(refs []string, origin stabilize.Origin) {
	w := x.Workflow()
	for _, ref := range refs {
		s := w.StageByRef(ref)
		if s == nil || !s.Superseded && s.Status == stabilize.NotStarted {
			continue
		}
		o := origin
		if s.Failure != nil {
			failure := *s.Failure
			o.Failure = &failure
		}
		next := x.draft.OpenRound(ref, x.env.IDs, o)
		x.Record(events.Event{Type: events.StageAdded, To: next.Status}, next, nil)
	}
	h := x.draft.Header()
	h.CanceledRegions = slices.DeleteFunc(h.CanceledRegions, func(name string) bool {
		return slices.Contains(refs, name) || slices.ContainsFunc(w.Region(name), func(s *stabilize.Stage) bool { return slices.Contains(refs, s.Ref) })
	})
}
