package patterns

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// Cancelling an activity or a region: 19, 25.
func cancels() []pattern {
	return []pattern{{
		id: 19, name: "Cancel Activity", built: "`engine.Withdraw(id, \"a\")`, or `engine.CancelStage` to end the workflow with it",
		sentence: "One activity is withdrawn, begun or not; the workflow goes on without it.",
		scenarios: []scenario{
			{name: "waiting", play: cancelWaiting},
			{name: "waiting for a time", play: cancelTimer},
			{name: "running", play: cancelRunning, least: 2},
			{name: "not begun", play: cancelUnbegun},
			{name: "ended", play: cancelEnded},
			{name: "the workflow with it", play: cancelWith},
			{name: "and another follows", play: cancelFollowed},
		},
	}, {
		id: 25, name: "Cancel Region", built: "`InRegion(\"r\")`, `OnCancelOf(\"r\")`; `engine.CancelRegion(id, \"r\")`",
		sentence: "What is live in a set of activities is withdrawn; what is outside goes on.",
		scenarios: []scenario{
			{name: "half done", play: cancelRegion, least: 2},
			{name: "not asked", play: cancelRegionNever},
			{name: "all done", play: cancelRegionDone},
		},
	}}
}

// withdraw cancels one stage and lets the workflow go on.
func (r *run) withdraw(id, ref string) {
	r.Helper()
	r.act(func(ctx context.Context, e *engine.Engine) error { return e.Withdraw(ctx, id, ref) })
}

// refuses checks that something cannot be done.
func (r *run) refuses(what string, class error, do func(ctx context.Context, e *engine.Engine) error) {
	r.Helper()
	if err := r.try(do); !errors.Is(err, class) {
		r.Errorf("%s is answered with %v, want %v", what, err, class)
	}
}

// succeeded waits until stages have succeeded.
func (r *run) succeeded(id string, refs ...string) {
	r.Helper()
	for _, ref := range refs {
		r.until(id, "stage "+ref+" has succeeded", func(w *stabilize.Workflow) bool {
			return w.StageByRef(ref).Status == stabilize.Succeeded
		})
	}
}

// late is code that is told to stop, and answers all the same.
type late struct {
	r    *run
	mu   sync.Mutex
	told map[string]time.Time
}

// stubborn makes the task type "stubborn" known. It waits until it is told to
// stop, and a while later answers as if nothing were the matter.
func (r *run) stubborn() *late {
	l := &late{r: r, told: map[string]time.Time{}}
	r.task("stubborn", func(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		<-ctx.Done()
		l.mu.Lock()
		l.told[x.Stage.Ref] = r.clock.Now()
		l.mu.Unlock()
		r.pause(100 * time.Millisecond)
		return stabilize.Success().WithOutput("late", true), nil
	})
	return l
}

// runs waits until the code of a stage is under way.
func (l *late) runs(id, ref string) {
	l.r.Helper()
	l.r.until(id, "the code of stage "+ref+" runs", func(w *stabilize.Workflow) bool {
		s := w.StageByRef(ref)
		return s != nil && s.Status == stabilize.Running && l.open(ref)
	})
}

// open reports whether a run of the stage's code has begun and not ended.
func (l *late) open(ref string) bool {
	n := 0
	for _, e := range l.r.entries() {
		switch {
		case e.ref != ref:
		case e.end:
			n--
		default:
			n++
		}
	}
	return n > 0
}

// heartbeat is the longest that code may run on after its stage was ended.
func (r *run) heartbeat() time.Duration {
	switch {
	case r.slow:
		return r.patience()
	case r.real:
		return 3 * time.Second
	}
	return time.Second + 10*time.Millisecond
}

// ignored checks that the code was told in time that its stage had been ended, at
// asked, and that its answer came to nothing.
func (l *late) ignored(id string, asked time.Time, refs ...string) {
	r := l.r
	r.Helper()
	for _, ref := range refs {
		r.until(id, "the code of stage "+ref+" has returned", func(*stabilize.Workflow) bool { return !l.open(ref) })
		l.mu.Lock()
		if after := l.told[ref].Sub(asked); r.exact() && (after < 0 || after > r.heartbeat()) {
			r.Errorf("the code of stage %s was told after %s, want at most %s", ref, after, r.heartbeat())
		}
		l.mu.Unlock()
	}
	r.rest()
	w := r.load(id)
	for _, ref := range refs {
		if s := w.StageByRef(ref); len(s.Outputs) > 0 || s.Status != stabilize.Canceled {
			r.Errorf("the late answer of stage %s counts: %s %v", ref, s.Status, s.Outputs)
		}
	}
}

func cancelWaiting(r *run) {
	id := r.start(ok("R"), gate("A", "R"), ok("B", "R"), ok("J", "A", "B"), ok("N", "J"))
	r.waits(id, "A")
	r.withdraw(id, "A")
	r.succeeds(id, ran("R", "B"), withdrawn("A"), dead("J", "N"))
}

// cancelTimer: the timer goes with its stage.
func cancelTimer(r *run) {
	id := r.start(ok("R"), timer(30*24*time.Hour, "A", "R"), gate("B", "R"), ok("J", "A", "B").First())
	r.waits(id, "A", "B")
	r.withdraw(id, "A")
	r.open(id, "B")
	r.succeeds(id, ran("R", "B", "J"), withdrawn("A"))
}

func cancelRunning(r *run) {
	code := r.stubborn()
	id := r.start(ok("R"), doing("stubborn", "A", "R"), ok("B", "R"), ok("J", "A", "B"))
	code.runs(id, "A")
	asked := r.clock.Now()
	r.withdraw(id, "A")
	r.succeeds(id, ran("R", "B"), withdrawn("A"), dead("J"))
	code.ignored(id, asked, "A")
}

func cancelUnbegun(r *run) {
	id := r.start(gate("R"), ok("A", "R"), ok("B", "R"), ok("J", "A", "B"))
	r.waits(id, "R")
	r.withdraw(id, "A")
	r.still(id, "A", "B", "J")
	r.open(id, "R")
	r.succeeds(id, ran("R", "B"), withdrawn("A"), dead("J"))
}

func cancelEnded(r *run) {
	id := r.start(ok("A"), gate("B"), ok("J", "A", "B"))
	withdraw := func(ref string) func(ctx context.Context, e *engine.Engine) error {
		return func(ctx context.Context, e *engine.Engine) error { return e.Withdraw(ctx, id, ref) }
	}
	r.succeeded(id, "A")
	r.refuses("withdrawing what has ended", stabilize.ErrInvalidTransition, withdraw("A"))
	r.refuses("withdrawing what does not exist", stabilize.ErrNotFound, withdraw("Z"))
	r.open(id, "B")
	r.succeeds(id, ran("A", "B", "J"))
	r.refuses("withdrawing in what has ended", stabilize.ErrFinished, withdraw("A"))
}

// cancelWith: policy fail; the workflow is canceled with its stage.
func cancelWith(r *run) {
	id := r.start(ok("R"), gate("A", "R"), ok("B", "R"), gate("C", "R"), ok("J", "A", "B"))
	r.succeeded(id, "B")
	r.waits(id, "A", "C")
	r.act(func(ctx context.Context, e *engine.Engine) error { return e.CancelStage(ctx, id, "A") })
	r.ends(id, stabilize.Canceled, ran("R", "B"), ended(0, stabilize.Canceled, stabilize.ReasonStageCanceled, "A"),
		ended(0, stabilize.Canceled, stabilize.ReasonFailed, "C"), ended(0, stabilize.Canceled, stabilize.ReasonCanceled, "J"))
}

func cancelFollowed(r *run) {
	id := r.start(ok("R"), gate("A", "R"), ok("B", "R"), ok("J", "A", "B"), ok("K").OnCancelOf("A"), ok("L", "K"))
	r.waits(id, "A")
	r.still(id, "K")
	r.withdraw(id, "A")
	r.succeeds(id, ran("R", "B", "K", "L"), withdrawn("A"), dead("J"))
}

// region is R, the region {E1, E2, E3, E4} and U before V beside it; K follows
// the region's cancelling.
func region(second string) []*stabilize.StageSpec {
	return []*stabilize.StageSpec{
		ok("R"), gate("E1", "R").InRegion("E"), doing(second, "E2", "R").InRegion("E"), ok("E3", "R").InRegion("E"),
		ok("E4", "E1").InRegion("E"), ok("X", "E4"), gate("U", "R"), ok("V", "U"), ok("K").OnCancelOf("E"), ok("J", "E3", "K", "V"),
	}
}

func cancelRegion(r *run) {
	code := r.stubborn()
	id := r.start(region("stubborn")...)
	r.waits(id, "E1", "U")
	code.runs(id, "E2")
	r.succeeded(id, "E3")
	asked := r.clock.Now()
	r.act(func(ctx context.Context, e *engine.Engine) error { return e.CancelRegion(ctx, id, "E") })
	r.succeeded(id, "K")
	r.still(id, "V", "J")
	r.open(id, "U")
	r.succeeds(id, ran("R", "E3", "U", "V", "K", "J"), withdrawn("E1", "E2", "E4"), dead("X"))
	code.ignored(id, asked, "E2")
}

func cancelRegionNever(r *run) {
	id := r.start(region("ok")...)
	r.open(id, "E1")
	r.open(id, "U")
	r.succeeds(id, ran("R", "E1", "E2", "E3", "E4", "X", "U", "V"), dead("K", "J"))
}

func cancelRegionDone(r *run) {
	id := r.start(ok("A").InRegion("E"), gate("B"), ok("K").OnCancelOf("E"))
	cancel := func(region string) func(ctx context.Context, e *engine.Engine) error {
		return func(ctx context.Context, e *engine.Engine) error { return e.CancelRegion(ctx, id, region) }
	}
	r.succeeded(id, "A")
	r.refuses("cancelling a region that has ended", stabilize.ErrInvalidTransition, cancel("E"))
	r.refuses("cancelling a region that no stage is in", stabilize.ErrNotFound, cancel("Z"))
	r.open(id, "B")
	r.succeeds(id, ran("A", "B"), dead("K"))
	r.refuses("cancelling a region of what has ended", stabilize.ErrFinished, cancel("E"))
}
