package patterns

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Joins that fire for each arrival: 8, 33.
func merges() []pattern {
	return []pattern{{
		id: 8, name: "Multi-Merge", built: "`Joining(JoinMulti, 0)`",
		sentence: "The stage runs once for each branch that arrives, and so does what follows.",
		scenarios: []scenario{
			{name: "each branch", play: multiMerge},
			{name: "side by side", play: multiMergeTogether},
			{name: "one thread fails", play: multiMergeFails},
			{name: "the first thread fails", play: multiMergeFailsFirst},
		},
	}, {
		id: 33, name: "Generalized AND-Join", built: "`After(\"b\", \"c\")` where branches end more than once",
		sentence: "The join fires once for each set of one token from every branch; tokens in surplus are kept.",
		scenarios: []scenario{
			{name: "three of each", play: generalizedAnd},
			{name: "leftover", play: generalizedAndLeftover},
			{name: "strict", play: generalizedAndStrict},
		},
	}}
}

// Threads: 41, 42.
func threads() []pattern {
	return []pattern{{
		id: 41, name: "Thread Merge", built: "`Joining(JoinMerge, 3)`",
		sentence: "A given number of threads of one branch become one.",
		scenarios: []scenario{
			{name: "three", play: threadMerge(3, 1)},
			{name: "six", play: threadMerge(6, 2)},
			{name: "incomplete", play: threadMergeIncomplete},
			{name: "impossible", play: threadMergeRefused},
		},
	}, {
		id: 42, name: "Thread Split", built: "`Threads(3)`; each thread finds its `index`",
		sentence: "One thread becomes a given number of threads of the same branch.",
		scenarios: []scenario{
			{name: "three", play: threadSplit},
			{name: "and merge", play: threadSplitMerge},
		},
	}}
}

// trigger is the stage whose token an execution was started with.
func trigger(s *stabilize.Stage) string {
	if consumed := s.Known().Consumed; len(consumed) == 1 {
		return consumed[0].Ref
	}
	return fmt.Sprint(s.Known().Consumed)
}

// from is a stage that puts out its own name under it.
func from(ref string, after ...string) *stabilize.StageSpec {
	return ok(ref, after...).With("put", map[string]any{"from" + ref: ref})
}

// multiMerge: each execution of M knows its branch and sees the outputs of that
// branch only, and each N those of its M.
func multiMerge(r *run) {
	r.task("see", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		var seen []string
		for key := range x.Context {
			if branch, ok := strings.CutPrefix(key, "from"); ok {
				seen = append(seen, branch)
			}
		}
		slices.Sort(seen)
		return stabilize.Success().WithOutput("saw"+x.Stage.Ref, fmt.Sprintf("%s by %s", strings.Join(seen, "+"), trigger(x.Stage))), nil
	})
	id := r.start(ok("A"), from("B", "A"), from("C", "A"), from("D", "A"),
		doing("see", "M", "B", "C", "D").Joining(stabilize.JoinMulti, 0), doing("see", "N", "M"))
	w := r.succeeds(id, ran("A", "B", "C", "D"), times(3, "M", "N"))
	for ref, want := range map[string][]string{"M": {"B by B", "C by C", "D by D"}, "N": {"B by M", "C by M", "D by M"}} {
		var got []string
		for _, s := range w.Executions(ref) {
			saw, err := stabilize.Get[string](s.Outputs, "saw"+ref)
			r.must(err)
			got = append(got, saw)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			r.Errorf("the executions of %s saw %v, want %v", ref, got, want)
		}
	}
}

// multiMergeTogether: none of the executions ends before all have begun.
func multiMergeTogether(r *run) {
	var mu sync.Mutex
	there := map[string]bool{}
	r.task("meet", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		mu.Lock()
		defer mu.Unlock()
		if there[x.Stage.ID] = true; len(there) < 3 {
			return stabilize.StillRunning(10 * time.Millisecond), nil
		}
		return stabilize.Success(), nil
	})
	id := r.start(ok("B"), ok("C"), ok("D"), doing("meet", "M", "B", "C", "D").Joining(stabilize.JoinMulti, 0), ok("N", "M"))
	r.succeeds(id, ran("B", "C", "D"), times(3, "M", "N"))
}

// notC fails in the thread that comes from C.
func notC(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
	if trigger(x.Stage) == "C" {
		return stabilize.Fail("not this one"), nil
	}
	return stabilize.Success(), nil
}

func multiMergeFails(r *run) {
	r.task("not C", notC)
	id := r.start(ok("A"), ok("B", "A"), ok("C", "A"), ok("D", "A"),
		doing("not C", "M", "B", "C", "D").Joining(stabilize.JoinMulti, 0).OnFailure(stabilize.FailAfterOthers), ok("N", "M"))
	r.fails(id, stabilize.CodeTaskFailed, ran("A", "B", "C", "D"), times(2, "M"), stopped("M").only(1), times(2, "N"))
}

// multiMergeFailsFirst: what stands below is not dead as long as another thread
// may come.
func multiMergeFailsFirst(r *run) {
	r.task("not C", notC)
	id := r.start(gate("B"), ok("C"), doing("not C", "M", "B", "C").Joining(stabilize.JoinMulti, 0).OnFailure(stabilize.FailAfterOthers),
		ok("N", "M"), ok("O", "N"))
	r.waits(id, "B")
	r.still(id, "N", "O")
	r.open(id, "B")
	r.fails(id, stabilize.CodeTaskFailed, ran("B", "C", "N", "O"), times(1, "M"), stopped("M").only(1))
}

func generalizedAnd(r *run) {
	id := r.start(ok("A").Threads(3), ok("B", "A"), gate("C", "A"), ok("M", "B", "C"))
	r.waitsTimes(id, "C", 3)
	r.signal(id, "C")
	r.signal(id, "C")
	r.rest()
	r.count(id, 3, "B")
	r.count(id, 2, "M")
	if left := r.load(id).Arrive("M", false).Left; len(left) != 1 || left[0].Ref != "B" {
		r.Errorf("before the join stand %v, want one token of B", left)
	}
	r.signal(id, "C")
	r.succeeds(id, ran("A"), times(3, "B", "C", "M"))
}

// surplus puts three tokens of B and two of C before the join.
func surplus() []*stabilize.StageSpec {
	return []*stabilize.StageSpec{ok("A").Threads(3), ok("A2").Threads(2), ok("B", "A"), ok("C", "A2"), ok("M", "B", "C")}
}

func generalizedAndLeftover(r *run) {
	id := r.start(surplus()...)
	w := r.succeeds(id, ran("A", "A2"), times(3, "B"), times(2, "C", "M"))
	if len(w.Leftover) != 1 || w.Leftover[0].Ref != "B" {
		r.Errorf("left over are %v, want one token of B", w.Leftover)
	}
}

func generalizedAndStrict(r *run) {
	id := r.startSpec(stabilize.NewWorkflow("patterns", "strict").Add(surplus()...).StrictTokens())
	r.fails(id, stabilize.CodeLeftoverToken, ran("A", "A2"), times(3, "B"), times(2, "C", "M"))
}

func threadMerge(tokens, fires int) func(r *run) {
	return func(r *run) {
		id := r.start(ok("A").Threads(tokens), ok("W", "A"), ok("B", "W").Joining(stabilize.JoinMerge, 3), ok("C", "B"))
		r.succeeds(id, ran("A"), times(tokens, "W"), times(fires, "B", "C"))
	}
}

// threadMergeIncomplete: one of three threads goes no further.
func threadMergeIncomplete(r *run) {
	r.task("not 2", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		if index, err := stabilize.Get[int](x.Context, "index"); index == 2 || err != nil {
			return stabilize.Stop(), err
		}
		return stabilize.Success(), nil
	})
	id := r.start(ok("A").Threads(3), doing("not 2", "W", "A"), ok("B", "W").Joining(stabilize.JoinMerge, 3))
	w := r.fails(id, stabilize.CodeIncompleteMerge, ran("A"),
		times(2, "W"), ended(1, stabilize.Stopped, "", "W").only(1), unreached("B"))
	if !strings.Contains(w.Failure.Message, "1 of 3") {
		r.Errorf("the failure does not say what is missing: %v", w.Failure)
	}
}

func threadMergeRefused(r *run) {
	r.unsound(stabilize.FindingNeverFires, ok("A").Threads(2), ok("B", "A").Joining(stabilize.JoinMerge, 3))
}

// indexed checks that the executions of a stage are the threads 0, 1 and 2.
func (r *run) indexed(w *stabilize.Workflow, ref string) {
	r.Helper()
	var got []string
	for _, s := range w.Executions(ref) {
		index, err := stabilize.Get[int](s.Outputs, "index"+ref)
		r.must(err)
		got = append(got, fmt.Sprint(index))
	}
	if slices.Sort(got); fmt.Sprint(got) != "[0 1 2]" {
		r.Errorf("the threads of %s have the indexes %v", ref, got)
	}
}

func (r *run) indexTask() {
	r.task("index", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		index, err := stabilize.Get[int](x.Context, "index")
		return stabilize.Success().WithOutput("index"+x.Stage.Ref, index), err
	})
}

func threadSplit(r *run) {
	r.indexTask()
	id := r.start(ok("A").Threads(3), doing("index", "W", "A"), doing("index", "N", "W"))
	w := r.succeeds(id, ran("A"), times(3, "W", "N"))
	r.indexed(w, "W")
	r.indexed(w, "N")
}

func threadSplitMerge(r *run) {
	r.indexTask()
	id := r.start(ok("A").Threads(3), doing("index", "W", "A"), ok("E", "W").Joining(stabilize.JoinMerge, 3))
	w := r.succeeds(id, ran("A", "E"), times(3, "W"))
	r.indexed(w, "W")
}
