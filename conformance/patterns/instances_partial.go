package patterns

import (
	"context"
	"strings"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// Multiple instances of which not all are needed: 26, 27, 34-36.
func instancesPartial() []pattern {
	return []pattern{{
		id: 26, name: "Cancel Multiple Instance Activity", built: "`Withdraw(ref)`; what follows its cancelling `OnCancelOf(ref)`",
		sentence:  "All instances that have not ended are withdrawn; those that have stay as they ended.",
		scenarios: []scenario{{name: "cancel", play: cancelInstances}},
	}, {
		id: 27, name: "Complete Multiple Instance Activity", built: "`CompleteInstances(ref)`",
		sentence: "The stage is complete with the instances that have ended; the rest is withdrawn and the flow goes on.",
		scenarios: []scenario{
			{name: "complete", play: completeInstances},
			{name: "with none", play: completeNoInstances},
		},
	}, {
		id: 34, name: "Static Partial Join for Multiple Instances", built: "`Multi{Count: 5, Need: 3}`",
		sentence: "The flow goes on when n of m instances have ended well; the rest runs on without effect.",
		scenarios: []scenario{
			{name: "three of five", play: neededInstances},
			{name: "two at once", play: neededInstancesLimited},
			{name: "some fail", play: neededInstancesFail},
			{name: "another failure", play: neededInstancesThenFails},
			{name: "unreachable", play: neededInstancesUnreachable},
			{name: "more than there are", play: neededTooMany},
		},
	}, {
		id: 35, name: "Cancelling Partial Join for Multiple Instances", built: "`Multi{Count: 5, Need: 3, Withdraw: true}`",
		sentence: "The flow goes on when n of m instances have ended well, and the rest is withdrawn.",
		scenarios: []scenario{
			{name: "three of five", play: neededInstancesWithdraw},
			{name: "all at once", play: neededInstancesRace, varies: true},
		},
	}, {
		id: 36, name: "Dynamic Partial Join for Multiple Instances", built: "`Multi{Open: true, Until: \"sum(results, .score) >= 10\"}`",
		sentence: "After each instance a condition says whether the flow goes on; instances may be added until then, or until that is disabled.",
		scenarios: []scenario{
			{name: "condition", play: untilScore},
			{name: "adding disabled", play: untilScoreClosed},
			{name: "never true", play: untilNever(false)},
			{name: "never true, by policy", play: untilNever(true)},
		},
	}}
}

func cancelInstances(r *run) {
	r.members()
	id := r.start(many(stabilize.Multi{Count: 5, Open: true}), tally("J", "W"), ok("K").OnCancelOf("W"), gate("G"))
	r.waits(id, "W[0]", "W[1]", "W[2]", "W[3]", "W[4]")
	r.open(id, "W[1]", "W[3]")
	r.until(id, "two have ended", func(w *stabilize.Workflow) bool { return committed(w, "W") == 2 })
	r.still(id, "J", "K")
	r.act(func(ctx context.Context, e *engine.Engine) error { return e.Withdraw(ctx, id, "W") })
	r.until(id, "K has run", func(w *stabilize.Workflow) bool { return w.StageByRef("K").Status.IsComplete() })
	r.closed(id, "more")
	r.open(id, "G")
	w := r.succeeds(id, ended(2, stabilize.Canceled, stabilize.ReasonWithdrawn, "W"), dead("J"), ran("K", "G"))
	r.instanceEnds(w, "W", "wswsw")
}

func completing(id string) func(ctx context.Context, e *engine.Engine) error {
	return func(ctx context.Context, e *engine.Engine) error { return e.CompleteInstances(ctx, id, "W") }
}

func completeInstances(r *run) {
	r.members()
	id := r.start(many(stabilize.Multi{Count: 5, Open: true}), tally("J", "W"), gate("G"))
	r.waits(id, "W[0]", "W[1]", "W[2]", "W[3]", "W[4]")
	r.open(id, "W[4]", "W[1]")
	r.until(id, "two have ended", func(w *stabilize.Workflow) bool { return committed(w, "W") == 2 })
	r.still(id, "J")
	r.act(completing(id))
	r.until(id, "J has run", func(w *stabilize.Workflow) bool { return w.StageByRef("J").Status.IsComplete() })
	r.closed(id, "more")
	r.open(id, "G")
	w := r.succeeds(id, commits(2, "W"), ran("J", "G"))
	r.instanceEnds(w, "W", "wswws")
	r.saw(w, "J", 1, 4)
}

// completeNoInstances: of three two run, and none has ended.
func completeNoInstances(r *run) {
	r.members()
	id := r.start(many(stabilize.Multi{Count: 3, Limit: 2}), tally("J", "W"))
	r.waits(id, "W[0]", "W[1]")
	r.act(completing(id))
	w := r.succeeds(id, commits(0, "W"), ran("J"))
	r.instanceEnds(w, "W", "www")
	r.saw(w, "J")
}

func neededInstances(r *run) {
	r.members()
	id := r.start(many(stabilize.Multi{Count: 5, Need: 3}), tally("J", "W"))
	r.waits(id, "W[0]", "W[1]", "W[2]", "W[3]", "W[4]")
	r.open(id, "W[4]", "W[0]")
	r.until(id, "two have ended", func(w *stabilize.Workflow) bool { return committed(w, "W") == 2 })
	r.still(id, "J")
	r.open(id, "W[2]")
	r.until(id, "J has run", func(w *stabilize.Workflow) bool { return committed(w, "J") == 1 })
	r.open(id, "W[1]")
	r.rest()
	if w := r.load(id); w.Status.IsComplete() {
		r.Errorf("the workflow ended before its last instance: %s", kit.Describe(w))
	}
	r.open(id, "W[3]")
	w := r.succeeds(id, commits(5, "W"), ran("J"))
	r.instanceEnds(w, "W", "sssss")
	r.saw(w, "J", 0, 2, 4)
}

// neededInstancesLimited: those that had not begun when the flow went on run too.
func neededInstancesLimited(r *run) {
	r.members()
	id := r.start(many(stabilize.Multi{Count: 5, Need: 1, Limit: 2}), tally("J", "W"))
	r.open(id, "W[1]")
	r.until(id, "J has run", func(w *stabilize.Workflow) bool { return committed(w, "J") == 1 })
	r.open(id, "W[0]", "W[2]", "W[3]", "W[4]")
	w := r.succeeds(id, commits(5, "W"), ran("J"))
	r.instanceEnds(w, "W", "sssss")
	r.saw(w, "J", 1)
}

// neededInstancesFail: what is not needed may fail, before and after.
func neededInstancesFail(r *run) {
	r.members()
	id := r.start(many(stabilize.Multi{Count: 5, Need: 3}).With("failing", []int{0, 4}), tally("J", "W"))
	r.open(id, "W[0]", "W[1]", "W[2]")
	r.still(id, "J")
	r.open(id, "W[3]")
	r.until(id, "J has run", func(w *stabilize.Workflow) bool { return committed(w, "J") == 1 })
	r.open(id, "W[4]")
	w := r.succeeds(id, commits(5, "W"), ran("J"))
	r.instanceEnds(w, "W", "fsssf")
	r.saw(w, "J", 1, 2, 3)
}

// neededInstancesThenFails: the workflow fails for what failed it, not for the
// instance that it could do without.
func neededInstancesThenFails(r *run) {
	r.members()
	id := r.start(many(stabilize.Multi{Count: 2, Need: 1}).With("failing", []int{0}), fail("Z", "W"))
	r.waits(id, "W[0]", "W[1]")
	r.open(id, "W[0]")
	r.still(id, "Z")
	r.open(id, "W[1]")
	w := r.fails(id, stabilize.CodeTaskFailed, commits(2, "W"), failed(stabilize.CodeTaskFailed, "Z"))
	if w.Failure.Stage != "Z" {
		r.Errorf("the workflow failed in stage %s, want Z", w.Failure.Stage)
	}
}

// neededInstancesUnreachable: with the third failure no three can end well.
func neededInstancesUnreachable(r *run) {
	r.members()
	id := r.start(many(stabilize.Multi{Count: 5, Need: 3}).With("failing", []int{0, 1, 2}), tally("J", "W"))
	r.waits(id, "W[0]", "W[1]", "W[2]", "W[3]", "W[4]")
	r.open(id, "W[0]", "W[1]")
	r.still(id, "J")
	r.open(id, "W[2]")
	r.fails(id, stabilize.CodeTaskFailed, // the first instance's
		ended(3, stabilize.Terminal, "", "W").code(stabilize.CodeUnreachable), unreached("J"))
}

func neededTooMany(r *run) {
	r.members()
	r.refused("more instances needed than there are", many(stabilize.Multi{Count: 2, Need: 3}))
	id := r.start(ok("A").With("put", map[string]any{"n": 2}), many(stabilize.Multi{CountOf: "n", Need: 3}, "A"), tally("J", "W"))
	r.fails(id, stabilize.CodeBadCount, ran("A"),
		ended(0, stabilize.Terminal, "", "W").code(stabilize.CodeBadCount), unreached("J"))
}

func neededInstancesWithdraw(r *run) {
	r.members()
	id := r.start(many(stabilize.Multi{Count: 5, Need: 3, Withdraw: true}), tally("J", "W"))
	r.waits(id, "W[0]", "W[1]", "W[2]", "W[3]", "W[4]")
	r.open(id, "W[3]", "W[0]")
	r.until(id, "two have ended", func(w *stabilize.Workflow) bool { return committed(w, "W") == 2 })
	r.still(id, "J")
	r.open(id, "W[4]")
	w := r.succeeds(id, commits(3, "W"), ran("J"))
	r.instanceEnds(w, "W", "swwss")
	r.saw(w, "J", 0, 3, 4)
}

// neededInstancesRace: all end in the same instant. Each is withdrawn or
// succeeds, and J sees those that did.
func neededInstancesRace(r *run) {
	r.members()
	for range r.races() {
		id := r.start(doing("member", "W").Instances(stabilize.Multi{Count: 5, Need: 3, Withdraw: true}), tally("J", "W"))
		w := r.until(id, "the workflow has ended", func(w *stabilize.Workflow) bool { return w.Status.IsComplete() })
		ends := ""
		var good []int
		for i, c := range w.Children(w.StageByRef("W"), stabilize.OwnerInstance) {
			if c.Status == stabilize.Succeeded {
				ends += "s"
				good = append(good, i)
			} else {
				ends += "w"
			}
		}
		if len(ends) != 5 || strings.Count(ends, "s") < 3 {
			r.Errorf("of 5 instances 3 must succeed, and they ended %q: %s", ends, kit.Describe(w))
		}
		r.succeeds(id, ran("J"), commits(committed(w, "W"), "W"))
		r.instanceEnds(w, "W", ends)
		r.saw(w, "J", good...)
	}
}

// scored is W, complete when the scores that its instances' signals bring sum up
// to 10.
func scored(m stabilize.Multi, after ...string) *stabilize.StageSpec {
	m.Until = "sum(results, .score) >= 10"
	return doing("scored", "W", after...).Instances(m)
}

func (r *run) scores() {
	r.members()
	r.task("scored", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		if x.Signal == nil {
			return stabilize.Suspend(x.Stage.Ref), nil
		}
		i, err := stabilize.Get[int](x.Context, "index")
		score, missing := stabilize.Get[int](x.Context, "score")
		if missing != nil {
			score = []int{4, 3, 1}[i]
		}
		return stabilize.Success().WithOutput("i", i).WithOutput("score", score), err
	})
}

func untilScore(r *run) {
	r.scores()
	id := r.start(scored(stabilize.Multi{Count: 2, Open: true}), tally("J", "W"), gate("G"))
	r.open(id, "W[0]", "W[1]")
	r.until(id, "both have ended", func(w *stabilize.Workflow) bool { return committed(w, "W") == 2 })
	r.still(id, "J")
	r.add(id, "third", map[string]any{"score": 5})
	r.open(id, "W[2]")
	r.until(id, "J has run", func(w *stabilize.Workflow) bool { return committed(w, "J") == 1 })
	r.closed(id, "fourth")
	r.open(id, "G")
	w := r.succeeds(id, commits(3, "W"), ran("J", "G"))
	r.instanceEnds(w, "W", "sss")
	r.saw(w, "J", 0, 1, 2)
}

// untilScoreClosed: none can be added although some still run, and these make
// the condition true.
func untilScoreClosed(r *run) {
	r.scores()
	id := r.start(scored(stabilize.Multi{Count: 2, Open: true}), tally("J", "W"))
	r.waits(id, "W[0]", "W[1]")
	r.add(id, "third", map[string]any{"score": 6})
	r.act(func(ctx context.Context, e *engine.Engine) error { return e.CloseInstances(ctx, id, "W") })
	r.closed(id, "fourth")
	r.open(id, "W[2]")
	r.still(id, "J")
	r.open(id, "W[0]")
	r.until(id, "J has run", func(w *stabilize.Workflow) bool { return committed(w, "J") == 1 })
	r.open(id, "W[1]") // it runs on
	w := r.succeeds(id, commits(3, "W"), ran("J"))
	r.saw(w, "J", 0, 2)
}

func untilNever(goesOn bool) func(r *run) {
	return func(r *run) {
		r.scores()
		id := r.start(scored(stabilize.Multi{Count: 3, Unmet: goesOn}), tally("J", "W"))
		r.open(id, "W[0]", "W[1]")
		r.still(id, "J")
		r.open(id, "W[2]")
		if goesOn {
			r.saw(r.succeeds(id, commits(3, "W"), ran("J")), "J", 0, 1, 2)
			return
		}
		r.fails(id, stabilize.CodeConditionUnmet,
			ended(3, stabilize.Terminal, "", "W").code(stabilize.CodeConditionUnmet), unreached("J"))
	}
}
