package patterns

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

func recursion() []pattern {
	return []pattern{{
		id: 22, name: "Recursion", built: "a task that answers `stabilize.AwaitChild(spec)` with a workflow like its own",
		sentence: "An activity contains itself: each level is a workflow of its own that the one above waits for.",
		scenarios: []scenario{
			{name: "factorial", play: factorial},
			{name: "depth", play: factorialTooDeep},
			{name: "nobody asks while it waits", play: factorialQuiet, span: time.Hour},
			{name: "canceled at the top", play: factorialCanceled},
			{name: "canceled at the bottom", play: factorialCanceledBelow},
			{name: "mended at the bottom", play: factorialMended},
			{name: "not waited for", play: forgotten},
		},
	}}
}

// factorials makes the tasks known that multiply a number with the factorial of
// the number before, asked of a workflow like their own. What that of 0 is, says
// base.
func (r *run) factorials(base execute) {
	r.task("recurse", func(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		n, err := stabilize.Get[int](x.Context, "n")
		if err != nil || n == 0 {
			return base(ctx, x)
		}
		return stabilize.AwaitChild(ofFactorial(n - 1)), nil
	})
	r.task("multiply", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		n, err := stabilize.Get[int](x.Context, "n")
		if err != nil {
			return stabilize.Result{}, err
		}
		product, err := stabilize.Get[int](x.Context, "result")
		return stabilize.Success().WithOutput("result", max(n, 1)*product), err
	})
}

func ofFactorial(n int) *stabilize.WorkflowSpec {
	return stabilize.NewWorkflow("patterns", "factorial").Context("n", n).Add(doing("recurse", "F"), doing("multiply", "M", "F"))
}

// one is the factorial of 0.
func one(context.Context, *stabilize.Execution) (stabilize.Result, error) {
	return stabilize.Success().WithOutput("result", 1), nil
}

// oneAfterSignal is one, told by a signal.
func oneAfterSignal(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
	if x.Signal == nil {
		return stabilize.Suspend("base"), nil
	}
	return one(ctx, x)
}

// family starts the factorial of n and returns the ids of its levels, from the
// top, once they are there.
func (r *run) family(n, levels int) []string {
	r.Helper()
	ids := []string{r.startSpec(ofFactorial(n))}
	for i := range levels - 1 {
		ids = append(ids, r.child(ids[i], "F"))
	}
	return ids
}

// isFactorial checks that the workflow ended with the number.
func (r *run) isFactorial(w *stabilize.Workflow, want int) {
	r.Helper()
	if got, err := stabilize.Get[int](w.Result(), "result"); err != nil || got != want {
		r.Errorf("the result is %v, want %d", w.Result(), want)
	}
}

func factorial(r *run) {
	r.factorials(one)
	ids := r.family(5, 6)
	for i, want := range []int{120, 24, 6, 2, 1, 1} {
		r.isFactorial(r.succeeds(ids[i], ran("F", "M")), want)
	}
	if n := len(r.workflows()); n != 6 {
		r.Errorf("there are %d workflows, want 6", n)
	}
}

// factorialTooDeep: four may stand above one, so the sixth is not started.
func factorialTooDeep(r *run) {
	r.crew.depth = 4
	r.factorials(one)
	ids := r.family(5, 5)
	deepest := len(ids) - 1
	r.fails(ids[deepest], stabilize.CodeDepth, failed(stabilize.CodeDepth, "F"), unreached("M"))
	for _, id := range ids[:deepest] {
		r.fails(id, stabilize.CodeChildFailed, failed(stabilize.CodeChildFailed, "F"), unreached("M"))
	}
	if n := len(r.workflows()); n != len(ids) {
		r.Errorf("there are %d workflows, want %d", n, len(ids))
	}
}

// factorialQuiet: while the one below is under way nothing is decided above it,
// and nothing is due.
func factorialQuiet(r *run) {
	r.factorials(oneAfterSignal)
	ids := r.family(2, 3)
	leaf := ids[2]
	r.waits(leaf, "F")
	r.rest()
	var before []int64
	for _, id := range ids {
		before = append(before, r.load(id).Version)
	}
	r.after(time.Hour)
	for i, id := range ids {
		left, err := r.look.Pending(r.Context(), id)
		r.must(err)
		if now := r.load(id).Version; now != before[i] || len(left) > 0 {
			r.Errorf("in an hour of waiting %d commits were made, and these messages are there: %+v", now-before[i], left)
		}
	}
	r.signal(leaf, "base")
	for i, want := range []int{2, 1, 1} {
		r.isFactorial(r.succeeds(ids[i], ran("F", "M")), want)
	}
}

func factorialCanceled(r *run) {
	r.factorials(oneAfterSignal)
	ids := r.family(3, 4)
	r.waits(ids[3], "F")
	r.cancel(ids[0])
	r.canceled(ids[0], cut("F", "M"))
	for _, id := range ids[1:] {
		if c := r.ends(id, stabilize.Canceled, cut("F", "M")).Cancel; c == nil || c.Reason != stabilize.ReasonParentEnded {
			r.Errorf("a workflow below was canceled by %+v", c)
		}
	}
}

// factorialCanceledBelow: those above end as the one they wait for.
func factorialCanceledBelow(r *run) {
	r.factorials(oneAfterSignal)
	ids := r.family(2, 3)
	r.waits(ids[2], "F")
	r.cancel(ids[2])
	r.canceled(ids[2], cut("F", "M"))
	for _, id := range ids[:2] {
		r.ends(id, stabilize.Canceled, ended(0, stabilize.Canceled, "", "F"), cut("M"))
	}
}

// factorialMended: the one at the bottom fails, and all above with it; restarted
// there, all above take up their waits again.
func factorialMended(r *run) {
	var mended atomic.Bool
	r.factorials(func(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		if !mended.Load() {
			return stabilize.Fail("it broke"), nil
		}
		return oneAfterSignal(ctx, x)
	})
	ids := r.family(3, 4)
	leaf := ids[3]
	r.fails(leaf, stabilize.CodeTaskFailed, failed(stabilize.CodeTaskFailed, "F"), unreached("M"))
	for _, id := range ids[:3] {
		r.fails(id, stabilize.CodeChildFailed, failed(stabilize.CodeChildFailed, "F"), unreached("M"))
	}
	mended.Store(true)
	r.act(func(ctx context.Context, e *engine.Engine) error { return e.Restart(ctx, leaf, "F", boss) })
	for _, id := range ids {
		r.until(id, "it has begun again", func(w *stabilize.Workflow) bool { return w.StageByRef("F").Round == 1 && !w.Status.IsComplete() })
	}
	r.waits(leaf, "F")
	r.signal(leaf, "base")
	for i, want := range []int{6, 2, 1, 1} {
		r.isFactorial(r.succeeds(ids[i], commits(2, "F"), ran("M")), want)
	}
	if n := len(r.workflows()); n != 4 {
		r.Errorf("there are %d workflows, want 4", n)
	}
}

// forgotten: the one above goes on, ends, and takes nothing with it.
func forgotten(r *run) {
	r.task("start", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
		return stabilize.StartChild(stabilize.NewWorkflow("patterns", "child").Add(gate("CG"), ok("CN", "CG"))), nil
	})
	id := r.start(doing("start", "S"), gate("G", "S"))
	child := r.child(id, "S")
	r.waits(child, "CG")
	r.waits(id, "G")
	w := r.load(id)
	if put, _ := stabilize.Get[string](w.StageByRef("S").Outputs, "child"); put != child {
		r.Errorf("the id of the workflow started is %q, put out is %q", child, put)
	}
	r.cancel(id)
	r.canceled(id, ran("S"), cut("G"))
	r.still(child, "CG", "CN")
	r.open(child, "CG")
	r.succeeds(child, ran("CG", "CN"))
}
