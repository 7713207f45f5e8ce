package patterns

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Discriminators and partial joins: 9, 28-32.
func partial() []pattern {
	return []pattern{{
		id: 9, name: "Structured Discriminator", built: "`First()`",
		sentence: "The first branch that arrives fires the join; the others run on without effect, and when all have come it may fire again.",
		scenarios: []scenario{
			{name: "first", play: discriminator},
			{name: "first fails", play: discriminatorTolerates},
			{name: "all fail", play: discriminatorFails},
			{name: "in a loop", play: discriminatorLoops},
			{name: "waits for the reset", play: discriminatorResets},
		},
	}, {
		id: 28, name: "Blocking Discriminator", built: "`First()` where branches end more than once",
		sentence:  "A branch that arrives again before the others have is held until they have, and then fires the join again.",
		scenarios: []scenario{{name: "held", play: blocking}},
	}, {
		id: 29, name: "Cancelling Discriminator", built: "`First().CancelRest()`",
		sentence: "The first branch that arrives fires the join, and the others are withdrawn.",
		scenarios: []scenario{
			{name: "withdraws", play: cancelling, least: 2},
			{name: "ten rounds", play: cancellingLoops},
		},
	}, {
		id: 30, name: "Structured Partial Join", built: "`AnyOf(2)`",
		sentence: "The join fires when N of M branches have arrived; the rest run on without effect.",
		scenarios: []scenario{
			{name: "two of three", play: partialJoin},
			{name: "one fails", play: partialTolerates},
			{name: "unreachable", play: partialUnreachable},
			{name: "three of three", play: partialAll},
			{name: "one of three", play: partialOne},
			{name: "impossible", play: partialRefused},
		},
	}, {
		id: 31, name: "Blocking Partial Join", built: "`AnyOf(2)` where branches end more than once",
		sentence:  "After it fired, the join holds further arrivals until every branch has come, and then counts anew.",
		scenarios: []scenario{{name: "held", play: blockingPartial}},
	}, {
		id: 32, name: "Cancelling Partial Join", built: "`AnyOf(2).CancelRest()`",
		sentence: "The join fires when N of M branches have arrived, and the others are withdrawn.",
		scenarios: []scenario{
			{name: "withdraws", play: cancellingPartial},
			{name: "all at once", play: cancellingRace, varies: true},
		},
	}}
}

func discriminator(r *run) {
	id := r.start(ok("A"), ok("B", "A"), gate("C", "A"), gate("D", "A"), ok("M", "B", "C", "D").First(), ok("N", "M"))
	r.waits(id, "C", "D")
	r.still(id, "C", "D")
	r.count(id, 1, "M", "N")
	r.open(id, "C", "D")
	r.succeeds(id, ran("A", "B", "C", "D", "M", "N"))
	r.order("B", "M", "N")
}

func tolerated(s *stabilize.StageSpec) *stabilize.StageSpec {
	return s.OnFailure(stabilize.TolerateFailure)
}

// stopped: each failed, and that was tolerated.
func stopped(refs ...string) wants {
	return ended(1, stabilize.Stopped, "", refs...).code(stabilize.CodeTaskFailed)
}

func discriminatorTolerates(r *run) {
	id := r.start(ok("A"), tolerated(fail("B", "A")), gate("C", "A"), gate("D", "A"), ok("M", "B", "C", "D").First())
	r.waits(id, "C", "D")
	r.still(id, "M")
	r.open(id, "C")
	r.rest()
	r.count(id, 1, "M")
	r.open(id, "D")
	r.succeeds(id, ran("A", "C", "D", "M"), stopped("B"))
}

func discriminatorFails(r *run) {
	id := r.start(ok("A"), tolerated(fail("B", "A")), tolerated(fail("C", "A")), ok("M", "B", "C").First(), ok("N", "M"))
	r.fails(id, stabilize.CodeTaskFailed, ran("A"), stopped("B", "C"), dead("M").code(stabilize.CodeUnreachable), dead("N"))
}

// discriminatorLoops: N jumps to A once, after C and D are done.
func discriminatorLoops(r *run) {
	again := jumping("A", 1)
	r.task("jump", func(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		if x.Stage.Round == 0 && x.Signal == nil {
			return stabilize.Suspend("N"), nil
		}
		return again(ctx, x)
	})
	id := r.start(ok("A"), ok("B", "A"), gate("C", "A"), gate("D", "A"), ok("M", "B", "C", "D").First(), doing("jump", "N", "M"))
	r.open(id, "C", "D", "N")
	r.waitsInRound(id, "C", 1)
	r.waitsInRound(id, "D", 1)
	r.rest()
	r.count(id, 2, "M", "N")
	r.open(id, "C", "D")
	r.succeeds(id, commits(2, "A", "B", "C", "D", "M", "N"))
}

// discriminatorResets: N jumps to A at once, while C and D are live: the second
// round waits for them.
func discriminatorResets(r *run) {
	r.task("jump", jumping("A", 1))
	id := r.start(ok("A"), ok("B", "A"), gate("C", "A"), gate("D", "A"), ok("M", "B", "C", "D").First(), doing("jump", "N", "M"))
	r.waits(id, "C", "D")
	r.rest()
	r.count(id, 1, "A", "B", "M")
	r.open(id, "C")
	r.rest()
	r.count(id, 1, "A", "B", "C", "M")
	r.open(id, "D")
	r.waitsInRound(id, "C", 1)
	r.waitsInRound(id, "D", 1)
	r.open(id, "C", "D")
	r.succeeds(id, commits(2, "A", "B", "C", "D", "M", "N"))
}

func blocking(r *run) {
	id := r.start(ok("A").Threads(2), ok("B", "A"), gate("C", "A"), ok("M", "B", "C").First())
	r.waitsTimes(id, "C", 2)
	r.rest()
	r.count(id, 2, "B")
	r.count(id, 1, "M")
	r.signal(id, "C")
	r.rest()
	r.count(id, 2, "M")
	r.signal(id, "C")
	r.succeeds(id, ran("A"), times(2, "B", "C", "M"))
}

// cancelling: D is told that it is withdrawn while it runs, and what it answers
// then does not count.
func cancelling(r *run) {
	var begun, told atomic.Int32
	r.task("late", func(ctx context.Context, _ *stabilize.Execution) (stabilize.Result, error) {
		begun.Add(1)
		if r.work(ctx, r.scaled(time.Hour)) != nil {
			told.Add(1)
		}
		return stabilize.Success().WithOutput("late", true), nil
	})
	r.task("once D runs", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
		if begun.Load() == 0 {
			return stabilize.StillRunning(100 * time.Millisecond), nil
		}
		return stabilize.Success(), nil
	})
	id := r.start(ok("A"), doing("once D runs", "B", "A"), gate("C", "A"), doing("late", "D", "A"),
		ok("M", "B", "C", "D").First().CancelRest(), ok("N", "M"))
	w := r.succeeds(id, ran("A", "B", "M", "N"), withdrawn("C", "D"))
	r.rest() // another process is told by its next heartbeat
	if told.Load() == 0 {
		r.Errorf("D was never told that it is withdrawn")
	}
	if w.Result().Has("late") || w.StageByRef("D").Outputs.Has("late") {
		r.Errorf("what D put out too late is there: %s", w.Result())
	}
	r.order("B", "M", "N")
}

func cancellingLoops(r *run) {
	r.task("jump", jumping("A", 9))
	id := r.start(ok("A"), ok("B", "A"), gate("C", "A"), ok("M", "B", "C").First().CancelRest(), doing("jump", "N", "M"))
	r.succeeds(id, commits(10, "A", "B", "M", "N"), withdrawn("C"))
}

func partialJoin(r *run) {
	id := r.start(ok("A"), ok("B", "A"), gate("C", "A"), gate("D", "A"), ok("M", "B", "C", "D").AnyOf(2))
	r.waits(id, "C", "D")
	r.still(id, "M")
	r.open(id, "C")
	r.still(id, "D")
	r.count(id, 1, "M")
	r.open(id, "D")
	r.succeeds(id, ran("A", "B", "C", "D", "M"))
	r.order("B", "M")
}

func partialTolerates(r *run) {
	id := r.start(ok("A"), tolerated(fail("B", "A")), ok("C", "A"), ok("D", "A"), ok("M", "B", "C", "D").AnyOf(2))
	r.succeeds(id, ran("A", "C", "D", "M"), stopped("B"))
	r.order("C", "M")
	r.order("D", "M")
}

func partialUnreachable(r *run) {
	id := r.start(ok("A"), tolerated(fail("B", "A")), tolerated(fail("C", "A")), gate("D", "A"),
		ok("M", "B", "C", "D").AnyOf(2), ok("N", "M"))
	r.fails(id, stabilize.CodeTaskFailed, ran("A"), stopped("B", "C"), withdrawn("D"),
		dead("M").code(stabilize.CodeUnreachable), dead("N"))
}

func partialAll(r *run) {
	id := r.start(ok("A"), ok("B", "A"), ok("C", "A"), gate("D", "A"), ok("M", "B", "C", "D").AnyOf(3))
	r.waits(id, "D")
	r.still(id, "M")
	r.open(id, "D")
	r.succeeds(id, ran("A", "B", "C", "D", "M"))
}

func partialOne(r *run) {
	id := r.start(ok("A"), ok("B", "A"), gate("C", "A"), gate("D", "A"), ok("M", "B", "C", "D").AnyOf(1))
	r.waits(id, "C", "D")
	r.rest()
	r.count(id, 1, "M")
	r.open(id, "C", "D")
	r.succeeds(id, ran("A", "B", "C", "D", "M"))
}

func partialRefused(r *run) {
	for _, n := range []int{0, 4} {
		r.refused("a join of N of three", ok("B"), ok("C"), ok("D"), ok("M", "B", "C", "D").AnyOf(n))
	}
}

func blockingPartial(r *run) {
	id := r.start(ok("A").Threads(2), ok("B", "A"), gate("C", "A"), gate("D", "A"), ok("M", "B", "C", "D").AnyOf(2))
	r.waitsTimes(id, "C", 2)
	r.waitsTimes(id, "D", 2)
	r.rest()
	r.count(id, 2, "B")
	r.count(id, 0, "M")
	for _, step := range []struct {
		gate  string
		fired int
	}{{"C", 1}, {"D", 1}, {"D", 2}, {"C", 2}} {
		r.signal(id, step.gate)
		r.rest()
		r.count(id, step.fired, "M")
	}
	r.succeeds(id, ran("A"), times(2, "B", "C", "D", "M"))
}

func cancellingPartial(r *run) {
	id := r.start(ok("A"), ok("B", "A"), ok("C", "A"), gate("D", "A"), ok("M", "B", "C", "D").AnyOf(2).CancelRest())
	r.succeeds(id, ran("A", "B", "C", "M"), withdrawn("D"))
}

// cancellingRace: all three end in the same instant. Two or three of them
// succeed, the rest is withdrawn, and the join fires once.
func cancellingRace(r *run) {
	var ids []string
	for range 5 {
		ids = append(ids, r.start(ok("A"), ok("B", "A"), ok("C", "A"), ok("D", "A"), ok("M", "B", "C", "D").AnyOf(2).CancelRest()))
	}
	for _, id := range ids {
		w := r.until(id, "the workflow has ended", func(w *stabilize.Workflow) bool { return w.Status.IsComplete() })
		var good, lost []string
		half := 0 // committed by branches that were withdrawn before they had ended
		for _, ref := range []string{"B", "C", "D"} {
			if w.StageByRef(ref).Status == stabilize.Succeeded {
				good = append(good, ref)
			} else {
				lost = append(lost, ref)
				half = max(half, committed(w, ref))
			}
		}
		if len(good) < 2 {
			r.Errorf("the join needs two branches, and %v succeeded: %s", good, kit.Describe(w))
		}
		r.succeeds(id, ran("A", "M"), ran(good...), withdrawn(lost...).commits(half))
	}
}
