package patterns

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// Cancelling a whole workflow: 20.
func cancelCases() []pattern {
	return []pattern{{
		id: 20, name: "Cancel Case", built: "`engine.Cancel(id, user, reason)`",
		sentence: "The whole workflow is withdrawn: all that is live in it ends, wherever it is, and nothing new starts.",
		scenarios: []scenario{
			{name: "everything under way", play: cancelAll, least: 3},
			{name: "waiting to begin", play: cancelBuffered},
			{name: "paused", play: cancelPaused},
			{name: "ended", play: cancelFinished},
		},
	}}
}

const (
	boss     = "boss"
	noReason = "no longer needed"
)

// cancel asks for the workflow to end.
func (r *run) cancel(id string) {
	r.Helper()
	r.act(func(ctx context.Context, e *engine.Engine) error { return e.Cancel(ctx, id, boss, noReason) })
}

// canceled waits until the workflow has ended, CANCELED by cancel.
func (r *run) canceled(id string, want ...wants) *stabilize.Workflow {
	r.Helper()
	w := r.ends(id, stabilize.Canceled, want...)
	if c := w.Cancel; c == nil || c.By != boss || c.Reason != noReason {
		r.Errorf("the workflow was canceled by %+v, want %s and %q", c, boss, noReason)
	}
	return w
}

// cut: they ended because the workflow was canceled, and nothing of them was
// committed.
func cut(refs ...string) wants {
	return ended(0, stabilize.Canceled, stabilize.ReasonCanceled, refs...)
}

// tended is a task type with hooks. Told of a cancel it takes a second.
type tended struct {
	r        *run
	mu       sync.Mutex
	cancels  map[string]int
	cleanups map[string]int
}

func (r *run) tended() *tended {
	t := &tended{r: r, cancels: map[string]int{}, cleanups: map[string]int{}}
	r.taskType("tended", t)
	return t
}

func (t *tended) Execute(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
	if x.Signal == nil {
		return stabilize.Suspend(gateName(x)), nil
	}
	return stabilize.Success(), nil
}

func (t *tended) OnCancel(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
	t.mu.Lock()
	t.cancels[x.Stage.Ref]++
	t.mu.Unlock()
	return stabilize.Success().WithOutput("undone", true), t.r.work(ctx, time.Second)
}

func (t *tended) Cleanup(_ context.Context, x *stabilize.Execution) error {
	t.mu.Lock()
	t.cleanups[x.Stage.Ref]++
	t.mu.Unlock()
	return nil
}

// hooked checks how often each hook of a stage ran: once, or at least once where
// something died.
func (t *tended) hooked(ref string, cancels, cleanups int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.r.Helper()
	bad := func(got, want int) bool { return got != want && (t.r.exact() || got < want || want == 0) }
	if c, f := t.cancels[ref], t.cleanups[ref]; bad(c, cancels) || bad(f, cleanups) {
		t.r.Errorf("the hooks of stage %s ran %d times when it was canceled and %d times at its end, want %d and %d", ref, c, f, cancels, cleanups)
	}
}

// child waits until the task of a stage has started a workflow, and returns it.
func (r *run) child(id, ref string) string {
	r.Helper()
	child := ""
	r.until(id, "stage "+ref+" has started a workflow", func(w *stabilize.Workflow) bool {
		s := w.StageByRef(ref)
		if s == nil {
			return false
		}
		for _, t := range s.Tasks {
			if child = t.Waits().Child; child != "" {
				_, err := r.look.Load(r.Context(), child)
				return err == nil
			}
		}
		return false
	})
	return child
}

// parent makes a task type known that starts a workflow of the stages and ends
// with it.
func (r *run) parent(task string, stages func() []*stabilize.StageSpec) {
	r.task(task, func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
		return stabilize.AwaitChild(stabilize.NewWorkflow("patterns", "child").Add(stages()...)), nil
	})
}

func cancelAll(r *run) {
	code, hooks := r.stubborn(), r.tended()
	r.parent("parent", func() []*stabilize.StageSpec { return []*stabilize.StageSpec{gate("CG"), ok("CN", "CG")} })
	id := r.start(
		ok("R"), doing("stubborn", "A", "R"), gate("G", "R"), ok("Z", "G"), timer(30*24*time.Hour, "T", "R"),
		ok("P", "R").Body(ok("first"), gate("inner", "first"), ok("last", "inner")), doing("parent", "C", "R"),
		gate("M", "R").Instances(stabilize.Multi{Count: 2, Open: true}), gate("W", "R").While("true", 5),
		gate("L", "R").Mutex("k").AcrossWorkflows(), ok("L2", "R").Mutex("k").AcrossWorkflows().After("L"),
		doing("tended", "F", "R"), doing("tended", "D", "R"), ok("K").OnCancelOf("G"),
	)
	r.waits(id, "G", "T", "P/inner", "M[0]", "M[1]", "W[0]", "L", "F")
	code.runs(id, "A")
	r.open(id, "D")
	r.succeeded(id, "D")
	child := r.child(id, "C")
	r.waits(child, "CG")
	other := r.start(ok("O").Mutex("k").AcrossWorkflows())
	r.still(other, "O")
	r.signal(id, "nobody waits for this")
	r.leaves(id, 1)

	asked := r.clock.Now()
	r.cancel(id)
	err := r.try(func(ctx context.Context, e *engine.Engine) error { return e.Cancel(ctx, id, "somebody else", "me too") })
	if err != nil && (r.exact() || !errors.Is(err, stabilize.ErrFinished)) {
		r.Errorf("cancelling again is answered with %v", err)
	}
	w := r.canceled(id, ran("R", "D"), cut("A", "G", "Z", "T", "P", "C", "M", "W", "L", "L2", "F", "K"))
	code.ignored(id, asked, "A")
	hooks.hooked("F", 1, 1)
	hooks.hooked("D", 0, 1)
	for _, s := range w.Stages {
		if s.IsSynthetic() && s.Ref != "P/first" && s.Status != stabilize.Canceled {
			r.Errorf("the synthetic stage %s is %s", s.Ref, s.Status)
		}
	}
	c := r.ends(child, stabilize.Canceled, cut("CG", "CN"))
	if c.Cancel == nil || c.Cancel.Reason != stabilize.ReasonParentEnded {
		r.Errorf("the child was canceled by %+v", c.Cancel)
	}
	r.succeeds(other, ran("O"))
	r.nothingAfter(id)
}

// nothingAfter checks that the cancelling was recorded once, with its reason, and
// that nothing started after it.
func (r *run) nothingAfter(id string) {
	r.Helper()
	if !r.exact() {
		return
	}
	r.rest()
	r.mu.Lock()
	defer r.mu.Unlock()
	var asked []events.Event
	for _, e := range r.events {
		switch {
		case e.WorkflowID != id:
		case e.Type == events.WorkflowCanceling:
			asked = append(asked, e)
		case len(asked) > 0 && e.Version >= asked[0].Version && (e.Type == events.StageStarted || e.Type == events.TaskStarted || e.Type == events.StageAdded):
			r.Errorf("%s of %s after the cancelling", e.Type, name(e))
		}
	}
	if len(asked) != 1 || asked[0].Reason != noReason {
		r.Errorf("the cancelling was recorded so: %+v", asked)
	}
}

// cancelBuffered: it never began, and whoever waits behind it gets its turn.
func cancelBuffered(r *run) {
	limited := func(stages ...*stabilize.StageSpec) string {
		return r.startSpec(stabilize.NewWorkflow("patterns", "run").LimitConcurrent("c", 1).Add(stages...))
	}
	first, second, third := limited(gate("A")), limited(ok("B")), ""
	r.waits(first, "A")
	r.until(second, "it waits for a place", func(w *stabilize.Workflow) bool { return w.Status == stabilize.Buffered })
	third = limited(ok("C"))
	r.cancel(second)
	r.canceled(second, cut("B"))
	r.still(third, "C")
	r.open(first, "A")
	r.succeeds(first, ran("A"))
	r.succeeds(third, ran("C"))
}

func cancelPaused(r *run) {
	id := r.start(gate("A"), ok("B", "A"))
	r.waits(id, "A")
	r.act(func(ctx context.Context, e *engine.Engine) error { return e.Pause(ctx, id, boss) })
	r.signal(id, "A")
	r.still(id, "A", "B")
	r.cancel(id)
	r.canceled(id, cut("A", "B"))
	r.nothingAfter(id)
}

func cancelFinished(r *run) {
	id := r.start(ok("A"))
	r.succeeds(id, ran("A"))
	r.refuses("cancelling what has ended", stabilize.ErrFinished, func(ctx context.Context, e *engine.Engine) error {
		return e.Cancel(ctx, id, boss, noReason)
	})
	r.refuses("cancelling what does not exist", stabilize.ErrNotFound, func(ctx context.Context, e *engine.Engine) error {
		return e.Cancel(ctx, "none", boss, noReason)
	})
	if w := r.load(id); w.Status != stabilize.Succeeded || w.Cancel != nil {
		r.Errorf("it is %s, canceled by %+v", w.Status, w.Cancel)
	}
}
