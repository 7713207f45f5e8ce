package patterns

import (
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// Cancellation and termination: 11, 19, 20, 25, 43.
func endings() []pattern { return slices.Concat(terminations(), cancels(), cancelCases()) }

func terminations() []pattern {
	return []pattern{{
		id: 11, name: "Implicit Termination", built: "nothing to declare",
		sentence: "A workflow ends when nothing is left to do in it, not before, and never hangs.",
		scenarios: []scenario{
			{name: "after a month", play: implicitEnd, span: 31 * 24 * time.Hour},
			{name: "several ends", play: implicitEnds},
			{name: "deadlock refused", play: deadlockRefused},
			{name: "deadlock found", play: deadlockFound},
		},
	}, {
		id: 43, name: "Explicit Termination", built: "`EndsWorkflow()`",
		sentence: "A stage that ends well ends its workflow with success; the rest is withdrawn.",
		scenarios: []scenario{
			{name: "withdraws the rest", play: explicitEnd, least: 2},
			{name: "of a child", play: explicitEndOfChild},
			{name: "inside a stage", play: explicitEndInside},
			{name: "not reached", play: explicitEndMissed},
		},
	}}
}

const day = 24 * time.Hour

func implicitEnd(r *run) {
	before := 29 * day
	if r.real {
		before = 15 * day // a look every half second is a week there
	}
	id := r.start(ok("A"), timer(30*day, "B", "A"), ok("C", "A"))
	r.waits(id, "B")
	r.succeeded(id, "C")
	r.after(before)
	now := r.load(id)
	due := now.StageByRef("B").Tasks[0].StartedAt.Add(r.scaled(30 * day))
	if r.clock.Now().Before(due) { // in real time a slow store may be later
		if b := now.StageByRef("B"); now.Status != stabilize.Running || b.Status != stabilize.Suspended {
			r.Errorf("before its time it is %s, and B is %s", now.Status, b.Status)
		}
	}
	r.after(30*day - before)
	r.after(day)
	w := r.succeeds(id, ran("A", "B", "C"))
	b := w.StageByRef("B")
	if late := w.EndedAt.Sub(b.EndedAt); late < 0 || late > 10*time.Second {
		r.Errorf("the workflow ended %s after its last stage", late)
	}
	if took := w.EndedAt.Sub(b.StartedAt); took < r.scaled(30*day) || took > r.scaled(30*day)+time.Minute {
		r.Errorf("it took %s, want %s", took, r.scaled(30*day))
	}
}

// implicitEnds: each of several branches has an end of its own, and the last of
// them ends the workflow, whichever that is.
func implicitEnds(r *run) {
	id := r.start(ok("A"), gate("B", "A"), ok("B2", "B"), gate("C", "A"), ok("C2", "C"), ok("D"))
	r.open(id, "C")
	r.succeeded(id, "C2", "D")
	r.still(id, "B", "B2")
	r.open(id, "B")
	r.succeeds(id, ran("A", "B", "B2", "C", "C2", "D"))
}

// andOverXor is a join of all branches of an exclusive choice.
func andOverXor() []*stabilize.StageSpec {
	return []*stabilize.StageSpec{
		ok("R").With("put", map[string]any{"x": 5}).ChooseOne(stabilize.To("B", "x > 1"), stabilize.Otherwise("C")),
		ok("B", "R"), ok("C", "R"), ok("J", "B", "C"),
	}
}

// waitingForEachOther is two stages, each behind the other's milestone.
func waitingForEachOther() []*stabilize.StageSpec {
	return []*stabilize.StageSpec{ok("A"), ok("B", "A").Milestone("C", ""), ok("C", "A").Milestone("B", "")}
}

func deadlockRefused(r *run) {
	r.refused("an AND join over an exclusive choice", andOverXor()...)
	r.refused("two stages that wait for each other", waitingForEachOther()...)
	r.refused("stages in a circle", ok("A", "B"), ok("B", "A"))
}

func deadlockFound(r *run) {
	unsound := func(stages []*stabilize.StageSpec) string {
		return r.startSpec(stabilize.NewWorkflow("patterns", "run").Add(stages...), engine.AllowUnsound())
	}
	id := unsound(andOverXor())
	r.succeeds(id, ran("R", "B"), dead("C", "J"))
	id = unsound(waitingForEachOther())
	r.fails(id, stabilize.CodeDeadlock, ran("A"), unreached("B", "C"))
}

func explicitEnd(r *run) {
	code := r.stubborn()
	r.parent("parent", func() []*stabilize.StageSpec { return []*stabilize.StageSpec{gate("CG"), ok("CN", "CG")} })
	id := r.start(
		ok("A"), gate("B", "A"), ok("END", "B").EndsWorkflow(), gate("C", "A"), ok("C2", "C"), timer(30*day, "D", "A"),
		doing("parent", "E", "A"), doing("stubborn", "F", "A"), ok("P", "A").Body(gate("inner")),
		gate("M", "A").Instances(stabilize.Multi{Count: 2}), ok("K").OnCancelOf("C"),
	)
	r.waits(id, "B", "C", "D", "P/inner", "M[0]", "M[1]")
	code.runs(id, "F")
	child := r.child(id, "E")
	r.waits(child, "CG")
	asked := r.clock.Now()
	r.open(id, "B")
	w := r.succeeds(id, ran("A", "B", "END"), withdrawn("C", "C2", "D", "E", "F", "P", "M", "K"))
	if !w.Done || w.Failure != nil || w.Cancel != nil {
		r.Errorf("it ended with %v, %v and %v", w.Done, w.Failure, w.Cancel)
	}
	code.ignored(id, asked, "F")
	r.ends(child, stabilize.Canceled, cut("CG", "CN"))
}

// explicitEndOfChild: it ends the workflow that it is in, not the one that waits.
func explicitEndOfChild(r *run) {
	r.parent("parent", func() []*stabilize.StageSpec {
		return []*stabilize.StageSpec{gate("X"), ok("END", "X").EndsWorkflow().With("put", map[string]any{"x": 1}), gate("Y")}
	})
	id := r.start(doing("parent", "P"), ok("Q", "P"), gate("S"))
	child := r.child(id, "P")
	r.waits(child, "Y")
	r.open(child, "X")
	r.succeeds(child, ran("X", "END"), withdrawn("Y"))
	r.succeeded(id, "Q")
	r.still(id, "S")
	r.open(id, "S")
	w := r.succeeds(id, ran("P", "Q", "S"))
	if x, _ := stabilize.Get[int](w.StageByRef("P").Outputs, "x"); x != 1 {
		r.Errorf("the outputs of the child are lost: %v", w.StageByRef("P").Outputs)
	}
}

// explicitEndInside: a stage inside another ends the workflow just so.
func explicitEndInside(r *run) {
	id := r.start(ok("P").Body(gate("X"), ok("END", "X").EndsWorkflow(), gate("Y")), gate("C"), ok("Q", "P"))
	r.waits(id, "P/Y", "C")
	r.open(id, "P/X")
	r.succeeds(id, withdrawn("P", "C", "Q"))
}

// explicitEndMissed: an end that is not reached, or fails, ends nothing.
func explicitEndMissed(r *run) {
	id := r.start(ok("R").ChooseOne(stabilize.To("END", "false"), stabilize.Otherwise("B")),
		ok("END", "R").EndsWorkflow(), gate("B", "R"), fail("END2").EndsWorkflow().OnFailure(stabilize.ContinueOnFailure))
	r.waits(id, "B")
	r.still(id, "B")
	r.open(id, "B")
	r.succeeds(id, ran("R", "B"), dead("END"), ended(1, stabilize.FailedContinue, "", "END2"))
}
