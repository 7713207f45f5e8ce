package patterns

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Basic control flow: 1-5.
func basic() []pattern {
	return []pattern{{
		id: 1, name: "Sequence", built: "`After(\"a\")`; the tasks of a stage by `Do(\"t1\", \"t2\")`",
		sentence: "A stage begins after the one before it has ended well.",
		scenarios: []scenario{
			{name: "in order", play: sequence},
			{name: "order of tasks", play: sequenceOfTasks},
			{name: "a failure ends it", play: sequenceBroken},
			{name: "a failed task ends its stage", play: sequenceOfTasksBroken},
		},
	}, {
		id: 2, name: "Parallel Split", built: "several stages `After(\"a\")`",
		sentence:  "One thread becomes several that run at the same time.",
		scenarios: []scenario{{name: "barrier", play: parallelSplit}},
	}, {
		id: 3, name: "Synchronization", built: "`After(\"b\", \"c\")`",
		sentence: "The join waits for all of its branches, however long, and fires once.",
		scenarios: []scenario{
			{name: "waits a month", play: synchronization, span: 31 * 24 * time.Hour},
			{name: "asked five times", play: synchronizationAsked},
		},
	}, {
		id: 4, name: "Exclusive Choice", built: "`ChooseOne(To(\"b\", \"x > 10\"), Otherwise(\"c\"))`",
		sentence: "Exactly one branch is taken, the first whose condition is true; no other runs, to its last stage.",
		scenarios: []scenario{
			{name: "first", play: choice(20, "B", "B2")},
			{name: "second", play: choice(7, "C", "C2")},
			{name: "default", play: choice(0, "D")},
			{name: "no branch", play: choiceWithout(0, stabilize.CodeNoBranch)},
			{name: "no variable", play: choiceWithout(nil, stabilize.CodeExpression)},
		},
	}, {
		id: 5, name: "Simple Merge", built: "`Joining(JoinExclusive, 0)`",
		sentence: "The branch that was taken goes on after the merge at once; nothing waits for those that were not.",
		scenarios: []scenario{
			{name: "at once", play: simpleMerge},
			{name: "of parallel branches", play: simpleMergeRefused},
		},
	}}
}

func sequence(r *run) {
	id := r.start(ok("A"), ok("B", "A"), ok("C", "B"))
	r.succeeds(id, ran("A", "B", "C"))
	r.order("A", "B", "C")
}

func sequenceOfTasks(r *run) {
	const runs = 20
	var mu sync.Mutex
	done := map[string][]string{}
	step := func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		mu.Lock()
		defer mu.Unlock()
		if names := done[x.Workflow.ID]; !slices.Contains(names, x.Task.Name) {
			done[x.Workflow.ID] = append(names, x.Task.Name)
		}
		return stabilize.Success(), nil
	}
	r.task("t1", step)
	r.task("t2", step)
	r.task("t3", step)
	var ids []string
	for range runs { // all in the same instant
		ids = append(ids, r.start(stabilize.NewStage("A").Do("t1", "t2", "t3")))
	}
	for _, id := range ids {
		r.succeeds(id, commits(3, "A"))
		mu.Lock()
		if got := fmt.Sprint(done[id]); got != "[t1 t2 t3]" {
			r.Errorf("the tasks ran in the order %s", got)
		}
		mu.Unlock()
	}
}

func sequenceBroken(r *run) {
	id := r.start(ok("A"), fail("B", "A"), ok("C", "B"))
	r.fails(id, stabilize.CodeTaskFailed, ran("A"), failed(stabilize.CodeTaskFailed, "B"), unreached("C"))
}

func sequenceOfTasksBroken(r *run) {
	id := r.start(stabilize.NewStage("A").Do("fail", "ok"))
	w := r.fails(id, stabilize.CodeTaskFailed, failed(stabilize.CodeTaskFailed, "A"))
	if second := w.StageByRef("A").Tasks[1]; second.Status != stabilize.Skipped || second.Reason != stabilize.ReasonStageEnded {
		r.Errorf("the task after the one that failed is %s %q", second.Status, second.Reason)
	}
}

// parallelSplit never ends unless both are under way together: each polls until
// the other is there.
func parallelSplit(r *run) {
	var mu sync.Mutex
	there := map[string]bool{}
	r.task("meet", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		mu.Lock()
		defer mu.Unlock()
		if there[x.Stage.Ref] = true; len(there) < 2 {
			return stabilize.StillRunning(10 * time.Millisecond), nil
		}
		return stabilize.Success(), nil
	})
	id := r.start(ok("A"), doing("meet", "B", "A"), doing("meet", "C", "A"))
	r.succeeds(id, ran("A", "B", "C"))
	r.order("A", "B")
	r.order("A", "C")
}

func synchronization(r *run) {
	id := r.start(ok("A"), ok("B", "A"), gate("C", "A"), ok("D", "B", "C"))
	r.waits(id, "C")
	r.succeeded(id, "B")
	r.after(30 * 24 * time.Hour)
	r.count(id, 1, "B")
	r.still(id, "D")
	r.open(id, "C")
	r.succeeds(id, ran("A", "B", "C", "D"))
	r.order("B", "D")
}

func synchronizationAsked(r *run) {
	id := r.start(ok("A"), gate("B", "A"), gate("C", "A"), ok("D", "B", "C"))
	r.waits(id, "B", "C")
	ask := func() {
		w := r.load(id)
		for range 5 {
			r.must(r.look.Push(r.Context(), queue.Outgoing{Message: queue.StartStage{OfStage: queue.ToStage(id, w.StageByRef("D").ID)}}))
		}
	}
	ask()
	r.open(id, "B")
	r.still(id, "D")
	r.open(id, "C")
	ask()
	r.succeeds(id, ran("A", "B", "C", "D"))
}

// choosing is R, an exclusive split by x, with branches of several stages that
// end in the merge M.
func choosing(x any, split *stabilize.StageSpec) []*stabilize.StageSpec {
	if x != nil {
		split.With("put", map[string]any{"x": x})
	}
	return []*stabilize.StageSpec{
		split, ok("B", "R"), ok("B2", "B"), ok("C", "R"), ok("C2", "C"), ok("D", "R"),
		ok("M", "B2", "C2", "D").Joining(stabilize.JoinExclusive, 0),
	}
}

func choice(x int, chosen ...string) func(r *run) {
	return func(r *run) {
		id := r.start(choosing(x, ok("R").ChooseOne(
			stabilize.To("B", "x > 10"), stabilize.To("C", "x > 5"), stabilize.Otherwise("D"),
		))...)
		r.succeeds(id, ran("R", "M"), ran(chosen...), dead(without([]string{"B", "B2", "C", "C2", "D"}, chosen)...))
		r.order(slices.Concat([]string{"R"}, chosen, []string{"M"})...)
	}
}

func choiceWithout(x any, code string) func(r *run) {
	return func(r *run) {
		id := r.start(choosing(x, ok("R").ChooseOne(
			stabilize.To("B", "x > 10"), stabilize.To("C", "x > 5"), stabilize.To("D", "x > 2"),
		))...)
		r.fails(id, code, failed(code, "R"), unreached("B", "B2", "C", "C2", "D", "M"))
	}
}

// simpleMerge: M goes on although the branch beside it, which was split off
// before the choice, has not ended.
func simpleMerge(r *run) {
	id := r.start(ok("A"), gate("W", "A"),
		ok("R", "A").ChooseOne(stabilize.To("B", "false"), stabilize.Otherwise("C")),
		ok("B", "R"), ok("C", "R"), ok("M", "B", "C").Joining(stabilize.JoinExclusive, 0), ok("N", "M"))
	r.until(id, "N has run", func(w *stabilize.Workflow) bool { return w.StageByRef("N").Status == stabilize.Succeeded })
	r.waits(id, "W")
	r.open(id, "W")
	r.succeeds(id, ran("A", "W", "R", "C", "M", "N"), dead("B"))
	r.order("C", "M", "N")
}

func simpleMergeRefused(r *run) {
	r.unsound(stabilize.FindingUnsafeMerge, ok("A"), ok("B", "A"), ok("C", "A"), ok("M", "B", "C").Joining(stabilize.JoinExclusive, 0))
}

// without returns what is in all but not in some.
func without(all, some []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(some, s) })
}
