package patterns

import (
	"context"
	"slices"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// Iteration and triggers: 10, 21-24.
func cycles() []pattern { return slices.Concat(jumps(), loops(), recursion(), triggers()) }

func jumps() []pattern {
	return []pattern{{
		id: 10, name: "Arbitrary Cycles", built: "`stabilize.JumpTo(\"a\")` of a task, or `engine.Jump`; `MaxJumps(n)`",
		sentence: "A cycle may be entered and left at several places; each time round is an execution of its own.",
		scenarios: []scenario{
			{name: "two ways back", play: jumpTwice},
			{name: "two ways in and out", play: jumpAhead},
			{name: "from outside", play: jumpAsked},
			{name: "limit", play: jumpLimit},
			{name: "no jumps", play: jumpNever},
			{name: "nowhere", play: jumpNowhere},
			{name: "out of a branch", play: jumpOutOfBranch},
		},
	}}
}

// roundly makes code that puts out the round of its stage, and jumps to the
// target in that round.
func roundly(at int, target string) execute {
	return func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		result := stabilize.Success()
		if x.Stage.Round == at {
			result = stabilize.JumpTo(target)
		}
		return result.WithOutput("round of "+x.Stage.Ref, x.Stage.Round), nil
	}
}

// rounds checks how many rounds a stage has, that each knows its number and kept
// what it put out, and where those after the first came from.
func (r *run) rounds(w *stabilize.Workflow, ref string, from ...string) {
	r.Helper()
	all := w.Rounds(ref)
	if len(all) != len(from)+1 {
		r.Errorf("stage %s has %d rounds, want %d: %s", ref, len(all), len(from)+1, kit.Describe(w))
		return
	}
	for i, s := range all {
		if n, err := stabilize.Get[int](s.Outputs, "round of "+ref); err != nil || n != i || s.Round != i {
			r.Errorf("round %d of stage %s has the number %d and put out %v", i, ref, s.Round, s.Outputs)
		}
		if s.Superseded != (i < len(from)) {
			r.Errorf("round %d of stage %s: superseded is %v", i, ref, s.Superseded)
		}
		if o := s.Known().Origin; i > 0 && (o == nil || o.Kind != stabilize.OriginJump || o.From != from[i-1]) {
			r.Errorf("round %d of stage %s comes from %+v, want %s", i, ref, o, from[i-1])
		}
	}
}

// jumpTwice: C jumps to A once, then D to B once.
func jumpTwice(r *run) {
	r.task("on", roundly(-1, ""))
	r.task("c", roundly(0, "A"))
	r.task("d", roundly(0, "B"))
	id := r.start(doing("on", "A"), doing("on", "B", "A"), doing("c", "C", "B"), doing("d", "D", "C"), ok("E", "D"))
	w := r.succeeds(id, commits(2, "A"), commits(3, "B", "C"), commits(2, "D"), ran("E"))
	r.rounds(w, "A", "C")
	r.rounds(w, "B", "C", "D")
	r.rounds(w, "C", "C", "D")
	r.rounds(w, "D", "D")
	if w.Jumps != 2 {
		r.Errorf("it jumped %d times, want 2", w.Jumps)
	}
}

// jumpAhead: the cycle B→C→B is entered at B and, by a jump, at C, and left at B
// by a jump and at C by its edge.
func jumpAhead(r *run) {
	r.task("a", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		if ahead, _ := stabilize.Get[bool](x.Workflow.Context, "ahead"); ahead {
			return stabilize.JumpTo("C"), nil
		}
		return stabilize.Success(), nil
	})
	r.task("b", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		if ahead, _ := stabilize.Get[bool](x.Workflow.Context, "ahead"); !ahead && x.Stage.Round == 1 {
			return stabilize.JumpTo("E"), nil
		}
		return stabilize.Success(), nil
	})
	r.task("c", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		if x.Stage.Round == 0 {
			return stabilize.JumpTo("B"), nil
		}
		return stabilize.Success(), nil
	})
	start := func(ahead bool) string {
		return r.startSpec(stabilize.NewWorkflow("patterns", "run").Context("ahead", ahead).
			Add(doing("a", "A"), doing("b", "B", "A"), doing("c", "C", "B"), ok("D", "C"), ok("E", "D").Joining(stabilize.JoinExclusive, 0)))
	}
	// A, B, C jumps to B, B jumps to E: C and D are dead.
	id := start(false)
	r.succeeds(id, ran("A", "E"), ended(2, stabilize.Succeeded, stabilize.ReasonJumped, "B"), dead("C").commits(1), dead("D"))
	// A jumps to C, C to B, B goes on to C, which goes on.
	id = start(true)
	r.succeeds(id, ended(1, stabilize.Succeeded, stabilize.ReasonJumped, "A"), ran("B", "D", "E"), commits(2, "C"))
}

// jumpAsked: somebody outside jumps from a stage that waits.
func jumpAsked(r *run) {
	id := r.start(ok("A"), ok("B", "A"), gate("C", "B"), ok("D", "C"))
	r.waits(id, "C")
	over, err := stabilize.NewValues(map[string]any{"put": map[string]any{"again": true}})
	r.must(err)
	r.act(func(ctx context.Context, e *engine.Engine) error { return e.Jump(ctx, id, "C", "B", over) })
	r.until(id, "the second round of C waits", func(w *stabilize.Workflow) bool {
		s := w.StageInRound("C", 1)
		return s != nil && s.Status == stabilize.Suspended
	})
	r.still(id, "D")
	r.refuses("jumping from what has ended", stabilize.ErrInvalidTransition, func(ctx context.Context, e *engine.Engine) error {
		return e.Jump(ctx, id, "A", "B", nil)
	})
	r.open(id, "C")
	w := r.succeeds(id, ran("A"), commits(2, "B"), commits(2, "C"), ran("D"))
	if again, _ := stabilize.Get[bool](w.StageByRef("B").Outputs, "again"); !again || len(w.StageInRound("B", 0).Outputs) > 0 {
		r.Errorf("the second round of B put out %v, the first %v", w.StageByRef("B").Outputs, w.StageInRound("B", 0).Outputs)
	}
}

func jumpLimit(r *run) {
	r.task("back", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
		return stabilize.JumpTo("A"), nil
	})
	for _, most := range []int{3, 0} {
		id := r.startSpec(stabilize.NewWorkflow("patterns", "run").MaxJumps(most).Add(ok("A"), doing("back", "B", "A"), ok("C", "B")))
		if most == 0 {
			most = stabilize.DefaultMaxJumps
		}
		w := r.fails(id, stabilize.CodeJumpLimit, commits(most+1, "A"),
			ended(most, stabilize.Terminal, "", "B").code(stabilize.CodeJumpLimit), unreached("C"))
		if w.Jumps != most {
			r.Errorf("it jumped %d times, want %d", w.Jumps, most)
		}
	}
}

func jumpNever(r *run) {
	r.task("back", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
		return stabilize.JumpTo("A"), nil
	})
	id := r.startSpec(stabilize.NewWorkflow("patterns", "run").MaxJumps(-1).Add(ok("A"), doing("back", "B", "A")))
	r.fails(id, stabilize.CodeJumpLimit, ran("A"), ended(0, stabilize.Terminal, "", "B").code(stabilize.CodeJumpLimit))
}

func jumpNowhere(r *run) {
	r.task("away", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
		return stabilize.JumpTo("Z"), nil
	})
	id := r.start(ok("A"), doing("away", "B", "A"), ok("C", "B"))
	r.fails(id, stabilize.CodeJumpTarget, ran("A"), ended(0, stabilize.Terminal, "", "B").code(stabilize.CodeJumpTarget), unreached("C"))
}

// jumpOutOfBranch: all that is below the target starts over, what waits in
// another branch too; what is not below it is left alone.
func jumpOutOfBranch(r *run) {
	r.task("back", roundly(0, "A"))
	id := r.start(ok("R"), ok("A", "R"), gate("B", "A"), doing("back", "C", "A", "G"), ok("D", "B", "C"), gate("X", "R"), gate("G", "R"))
	r.waits(id, "B", "X")
	r.open(id, "G")
	r.until(id, "the second round of B waits", func(w *stabilize.Workflow) bool {
		s := w.StageInRound("B", 1)
		return s != nil && s.Status == stabilize.Suspended
	})
	w := r.load(id)
	if first := w.StageInRound("B", 0); first.Status != stabilize.Canceled || first.Reason != stabilize.ReasonSuperseded || !first.Superseded {
		r.Errorf("what waited in the other branch is %s %q", first.Status, first.Reason)
	}
	r.waits(id, "X")
	r.still(id, "D", "X")
	r.open(id, "B")
	r.open(id, "X")
	r.succeeds(id, ran("R", "G", "X", "B", "D"), commits(2, "A", "C"))
}
