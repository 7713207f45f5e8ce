package patterns

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// execute is the code of a task.
type execute func(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error)

// entry is one run of a task, in the order in which runs began and ended.
type entry struct {
	ref   string
	round int
	end   bool
	cut   bool // it was told to stop: its worker died or it was canceled
	at    time.Time
	of    int // of an end: index of its beginning
}

// code is a task type that writes into the journal.
type code struct {
	r  *run
	fn execute
}

func (c code) Execute(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
	i := c.r.enter(entry{ref: x.Stage.Ref, round: x.Stage.Round})
	result, err := c.fn(ctx, x)
	c.r.enter(entry{ref: x.Stage.Ref, round: x.Stage.Round, end: true, cut: ctx.Err() != nil, of: i})
	return result, err
}

func (r *run) enter(e entry) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.at = r.clock.Now()
	r.journal = append(r.journal, e)
	return len(r.journal) - 1
}

// entries returns the journal so far.
func (r *run) entries() []entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.journal)
}

// task makes a task type known, before the first act.
func (r *run) task(name string, fn execute) { r.taskType(name, code{r, fn}) }

// taskType makes a task type with powers of its own known; it is not in the
// journal.
func (r *run) taskType(name string, t stabilize.TaskType) {
	r.Helper()
	if r.begun {
		r.Fatalf("task %s comes after the processes have begun", name)
	}
	r.crew.tasks[name] = t
}

// standardTasks are those that stages made by the functions below run.
func (r *run) standardTasks() {
	r.task("ok", func(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		return stabilize.Success().WithOutputs(put(x)), r.work(ctx, time.Millisecond)
	})
	r.task("fail", func(ctx context.Context, _ *stabilize.Execution) (stabilize.Result, error) {
		return stabilize.Fail("it broke"), r.work(ctx, time.Millisecond)
	})
	r.task("gate", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		if x.Signal == nil {
			return stabilize.Suspend(gateName(x)), nil
		}
		return stabilize.Success().WithOutputs(put(x)).WithOutputs(x.Signal.Data), nil
	})
	r.task("timer", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		d, err := stabilize.Get[time.Duration](x.Context, "for")
		if err != nil || x.WaitOver {
			return stabilize.Success().WithOutputs(put(x)), err
		}
		return stabilize.SuspendFor("timer of "+x.Stage.Ref, r.scaled(d)), nil
	})
	r.task("busy", func(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		return stabilize.Success().WithOutputs(put(x)), r.work(ctx, r.scaled(time.Hour))
	})
}

// jumping is code that jumps to a stage as long as its own round is before the
// n-th, and then succeeds.
func jumping(target string, n int) execute {
	return func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		if x.Stage.Round < n {
			return stabilize.JumpTo(target), nil
		}
		return stabilize.Success(), nil
	}
}

func gateName(x *stabilize.Execution) string {
	if name, err := stabilize.Get[string](x.Stage.Context, "signal"); err == nil {
		return name
	}
	return x.Stage.Ref
}

// put is what the stage was told to put out.
func put(x *stabilize.Execution) stabilize.Values {
	v, _ := stabilize.Get[stabilize.Values](x.Stage.Context, "put")
	return v
}

// work takes time, unless ctx ends first.
func (r *run) work(ctx context.Context, d time.Duration) error {
	timer, stop := r.clock.Timer(d)
	defer stop()
	select {
	case <-timer:
		return nil
	case <-ctx.Done():
		return errors.Join(ctx.Err(), context.Cause(ctx))
	}
}

// doing is a stage of one task of that type.
func doing(task, ref string, after ...string) *stabilize.StageSpec {
	return stabilize.NewStage(ref).Do(task).After(after...)
}

// ok succeeds after a millisecond and puts out its context's "put".
func ok(ref string, after ...string) *stabilize.StageSpec { return doing("ok", ref, after...) }

// fail ends TERMINAL.
func fail(ref string, after ...string) *stabilize.StageSpec { return doing("fail", ref, after...) }

// gate waits for the signal with the name of its ref, or its context's "signal".
func gate(ref string, after ...string) *stabilize.StageSpec { return doing("gate", ref, after...) }

// timer succeeds after d.
func timer(d time.Duration, ref string, after ...string) *stabilize.StageSpec {
	return doing("timer", ref, after...).With("for", d)
}

// busy runs for an hour. Its scenario needs a worker more (scenario.least).
func busy(ref string, after ...string) *stabilize.StageSpec { return doing("busy", ref, after...) }
