package patterns

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Multiple instances: 12-15 here, 26, 27, 34-36 in instances_partial.go.
func instances() []pattern {
	return slices.Concat([]pattern{{
		id: 12, name: "Multiple Instances without Synchronization", built: "`Instances(Multi{Count: 3, Detached: true})`",
		sentence: "Several instances of a stage run, nothing waits for them but the end of the workflow.",
		scenarios: []scenario{
			{name: "goes on", play: detached},
			{name: "one fails", play: detachedFails},
		},
	}, {
		id: 13, name: "Multiple Instances with a Priori Design-Time Knowledge", built: "`Instances(Multi{Count: 3})`",
		sentence: "A number of instances that is fixed in the design run, and the stage after them waits for all.",
		scenarios: []scenario{
			{name: "all processes die", play: fixedNumber},
			{name: "one fails", play: fixedNumberFails},
		},
	}, {
		id: 14, name: "Multiple Instances with a Priori Run-Time Knowledge", built: "`Instances(Multi{CountOf: \"n\"})`, `Multi{Over: \"items\"}`",
		sentence: "The number of instances is known when the stage begins, and the stage after them waits for all.",
		scenarios: []scenario{
			{name: "four", play: counted(4)},
			{name: "none", play: counted(0)},
			{name: "over a list", play: overList},
			{name: "a negative number", play: badCount(-1)},
			{name: "no number", play: badCount("x")},
			{name: "ten thousand", play: tenThousand, long: true, least: 16},
		},
	}, {
		id: 15, name: "Multiple Instances without a Priori Run-Time Knowledge", built: "`Multi{Count: 2, Open: true}`; `AddInstance`, `CloseInstances`",
		sentence: "Instances are added while others run; the stage after them waits for all, and none that was accepted is lost.",
		scenarios: []scenario{
			{name: "added", play: added},
			{name: "open", play: leftOpen},
			{name: "added as the last ends", play: addRace, varies: true},
			{name: "added as it is closed", play: closeRace, varies: true},
		},
	}}, instancesPartial())
}

// members makes the tasks known that the scenarios with instances use: "member"
// and "waiting member" put out their index as "i", and "tally" what it sees of
// that in "results". A member whose context has it among "failing" fails.
func (r *run) members() {
	member := func(x *stabilize.Execution) (stabilize.Result, error) {
		i, err := stabilize.Get[int](x.Context, "index")
		if failing, _ := stabilize.Get[[]int](x.Context, "failing"); slices.Contains(failing, i) {
			return stabilize.Fail("instance %d fails", i), err
		}
		return stabilize.Success().WithOutput("i", i).WithOutputs(put(x)), err
	}
	r.task("member", func(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		if err := r.work(ctx, memberTakes); err != nil {
			return stabilize.Result{}, err
		}
		return member(x)
	})
	r.task("waiting member", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		if x.Signal == nil {
			return stabilize.Suspend(x.Stage.Ref), nil
		}
		return member(x)
	})
	r.task("tally", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		results, err := stabilize.Get[[]struct{ I int }](x.Context, "results")
		seen := make([]int, len(results))
		for k, v := range results {
			seen[k] = v.I
		}
		return stabilize.Success().WithOutput("seen", seen), err
	})
}

// memberTakes is how long a member works.
const memberTakes = 20 * time.Millisecond

// many is the stage W with instances that wait for the signals "W[0]", "W[1]"….
func many(m stabilize.Multi, after ...string) *stabilize.StageSpec {
	return doing("waiting member", "W", after...).Instances(m)
}

// tally is a stage that looks at the results of instances.
func tally(ref string, after ...string) *stabilize.StageSpec { return doing("tally", ref, after...) }

// saw checks the indexes of the instances whose results a tally has seen.
func (r *run) saw(w *stabilize.Workflow, ref string, want ...int) {
	r.Helper()
	seen, err := stabilize.Get[[]int](w.StageByRef(ref).Outputs, "seen")
	if err != nil || !slices.Equal(seen, want) {
		r.Errorf("stage %s has seen the results %v (%v), want %v", ref, seen, err, want)
	}
}

// instanceEnds checks how the instances of a stage have ended, by index: each 's'
// succeeded, each 'w' was withdrawn, each 'f' failed.
func (r *run) instanceEnds(w *stabilize.Workflow, ref, want string) {
	r.Helper()
	got := ""
	for i := range w.Stages {
		s := w.StageByRef(fmt.Sprintf("%s[%d]", ref, i))
		switch {
		case s == nil:
		case s.Status == stabilize.Succeeded:
			got += "s"
		case s.Status == stabilize.Canceled && s.Reason == stabilize.ReasonWithdrawn:
			got += "w"
		case s.Status == stabilize.Terminal:
			got += "f"
		default:
			got += "?"
		}
	}
	if got != want {
		r.Errorf("the instances of %s ended %q, want %q: %s", ref, got, want, kit.Describe(w))
	}
}

// detached: the instances wait for their signals long after N has run, in the
// same workflow, and see what was put out before them.
func detached(r *run) {
	r.task("waiting member", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		if x.Signal == nil {
			return stabilize.Suspend(x.Stage.Ref), nil
		}
		seen, err := stabilize.Get[int](x.Context, "x")
		return stabilize.Success().WithOutput("x", seen).WithOutput("run", x.Workflow.ID), err
	})
	id := r.start(ok("P").With("put", map[string]any{"x": 7}), many(stabilize.Multi{Count: 3, Detached: true}, "P"), ok("N", "W"))
	r.waits(id, "W[0]", "W[1]", "W[2]")
	r.still(id, "W")
	r.count(id, 1, "P", "N")
	r.open(id, "W[2]", "W[0]")
	r.rest()
	if w := r.load(id); w.Status.IsComplete() {
		r.Errorf("the workflow ended before its last instance: %s", kit.Describe(w))
	}
	r.open(id, "W[1]")
	w := r.succeeds(id, ran("P", "N"), commits(3, "W"))
	r.instanceEnds(w, "W", "sss")
	for i := range 3 {
		out := w.StageByRef(fmt.Sprintf("W[%d]", i)).Outputs
		seen, _ := stabilize.Get[int](out, "x")
		run, _ := stabilize.Get[string](out, "run")
		if seen != 7 || run != id {
			r.Errorf("instance %d saw %d in workflow %s, want 7 in %s", i, seen, run, id)
		}
	}
}

// detachedFails: nothing waits for them, but their failure is the workflow's.
func detachedFails(r *run) {
	r.members()
	id := r.start(many(stabilize.Multi{Count: 2, Detached: true}).With("failing", []int{1}), ok("N", "W"))
	r.waits(id, "W[0]", "W[1]")
	r.rest()
	r.count(id, 1, "N")
	r.open(id, "W[0]")
	r.rest()
	r.open(id, "W[1]")
	w := r.fails(id, stabilize.CodeTaskFailed, ran("N"), commits(2, "W"))
	r.instanceEnds(w, "W", "sf")
}

func fixedNumber(r *run) {
	r.members()
	id := r.start(many(stabilize.Multi{Count: 3}), tally("J", "W"))
	r.open(id, "W[2]", "W[0]")
	r.waits(id, "W[1]")
	r.still(id, "J")
	r.engines().kill(r.at.plan)
	r.still(id, "J")
	r.count(id, 2, "W")
	r.open(id, "W[1]")
	w := r.succeeds(id, commits(3, "W"), ran("J"))
	r.instanceEnds(w, "W", "sss")
	r.saw(w, "J", 0, 1, 2)
}

// fixedNumberFails: the others are withdrawn.
func fixedNumberFails(r *run) {
	r.members()
	id := r.start(many(stabilize.Multi{Count: 3}).With("failing", []int{1}), tally("J", "W"))
	r.waits(id, "W[0]", "W[1]", "W[2]")
	r.open(id, "W[0]")
	r.rest()
	r.open(id, "W[1]")
	w := r.fails(id, stabilize.CodeTaskFailed,
		ended(2, stabilize.Terminal, "", "W").code(stabilize.CodeTaskFailed), unreached("J"))
	if s := w.StageByRef("W[2]"); s.Status != stabilize.Canceled {
		r.Errorf("the instance beside the one that failed is %s", s.Status)
	}
}

func counted(n int) func(r *run) {
	return func(r *run) {
		r.members()
		id := r.start(ok("A").With("put", map[string]any{"n": n}),
			many(stabilize.Multi{CountOf: "n"}, "A"), tally("J", "W"))
		var all []int
		want := ""
		for i := range n {
			r.open(id, fmt.Sprintf("W[%d]", i))
			all = append(all, i)
			want += "s"
		}
		w := r.succeeds(id, ran("A", "J"), commits(n, "W"))
		r.instanceEnds(w, "W", want)
		r.saw(w, "J", all...)
	}
}

// overList: two at once, and each finds its item.
func overList(r *run) {
	r.members()
	r.task("item", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		item, err := stabilize.Get[string](x.Context, "item")
		return stabilize.Success().WithOutput("is", item), err
	})
	id := r.start(ok("A").With("put", map[string]any{"items": []string{"a", "b", "c"}}),
		doing("item", "W", "A").Instances(stabilize.Multi{Over: "items", Limit: 2}), ok("J", "W"))
	w := r.succeeds(id, ran("A", "J"), commits(3, "W"))
	results, err := stabilize.Get[[]struct{ Is string }](w.StageByRef("W").Outputs, "results")
	if got := fmt.Sprint(results); err != nil || got != "[{a} {b} {c}]" {
		r.Errorf("the results are %s (%v)", got, err)
	}
}

func badCount(n any) func(r *run) {
	return func(r *run) {
		r.members()
		id := r.start(ok("A").With("put", map[string]any{"n": n}), many(stabilize.Multi{CountOf: "n"}, "A"), tally("J", "W"))
		r.fails(id, stabilize.CodeBadCount, ran("A"),
			ended(0, stabilize.Terminal, "", "W").code(stabilize.CodeBadCount), unreached("J"))
	}
}
