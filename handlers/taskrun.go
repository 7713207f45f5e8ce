package handlers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/resilience"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// answer is what a run of a task's code came to.
type answer struct {
	result   stabilize.Result
	err      error
	timedOut bool // err is the end of the time allowed, not the task's own error
}

// prepare makes the function that runs a task's code, on what the snapshot says
// now; nil if the task does not wait for that message any more.
func (t *turn) prepare(d *queue.Delivery) func(context.Context) any {
	m, ok := d.Message.(queue.RunTask)
	if !ok || t.w == nil {
		return nil
	}
	s := t.w.Stage(m.StageID)
	if s == nil {
		return nil
	}
	task := s.Task(m.TaskID)
	if task == nil || task.Run != d.ID {
		return nil
	}
	typ, powers, err := t.r.env.Registry.Task(task.Type)
	if err != nil {
		return nil
	}
	env := t.r.env
	x := executionOf(env, t.w, s, task, d.Attempts)
	timeout := powers.Timeout
	if timeout <= 0 {
		timeout = s.Timeout
	}
	if timeout <= 0 {
		timeout = env.TaskTimeout
	}
	code := phaseCode(m.Phase, typ, powers)
	return func(ctx context.Context) any { return runCode(ctx, env, x, m.Phase, timeout, code) }
}

// phaseCode is the user's code for a phase.
func phaseCode(phase stabilize.RunPhase, typ stabilize.TaskType, powers stabilize.Powers) func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
	switch phase {
	case stabilize.RunCancel:
		return powers.OnCancel
	case stabilize.RunTimeout:
		return powers.OnTimeout
	case stabilize.RunCleanup:
		if powers.Cleanup == nil {
			return nil
		}
		return func(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.Success(), powers.Cleanup(ctx, x)
		}
	default:
		return typ.Execute
	}
}

// runCode runs the user's code. It returns when the code does, or as soon as
// the context ends, whichever is first: code that ignores its context holds
// up nobody, and what it answers later is dropped.
func runCode(ctx context.Context, env *Env, x *stabilize.Execution, phase stabilize.RunPhase, timeout time.Duration,
	code func(context.Context, *stabilize.Execution) (stabilize.Result, error),
) *answer {
	if code == nil { // the hook was there when the run was decided, by another program
		return &answer{result: stabilize.Success()}
	}
	ctx, span := env.span(ctx, "stabilize.task", func() []attribute.KeyValue {
		return []attribute.KeyValue{
			attribute.String("stabilize.workflow.id", x.Workflow.ID),
			attribute.String("stabilize.stage.ref", x.Stage.Ref),
			attribute.String("stabilize.task.name", x.Task.Name),
			attribute.String("stabilize.task.phase", phase.String()),
			attribute.Int("stabilize.attempt", x.Attempt),
		}
	})
	defer span.End()
	a := runWithin(ctx, env, x, timeout, code)
	if a.err != nil {
		span.SetStatus(codes.Error, a.err.Error())
		if p, ok := errors.AsType[*resilience.PanicError](a.err); ok {
			env.Logger.Error("a task panicked", "workflow", x.Workflow.ID, "stage", x.Stage.Ref,
				"task", x.Task.Name, "panic", fmt.Sprint(p.Value), "stack", string(p.Stack))
		}
	}
	return a
}

func runWithin(ctx context.Context, env *Env, x *stabilize.Execution, timeout time.Duration,
	code func(context.Context, *stabilize.Execution) (stabilize.Result, error),
) *answer {
	ctx = stabilize.WithExecution(ctx, x)
	run := func(ctx context.Context) *answer {
		a := &answer{}
		a.err = resilience.Guard(func() (err error) {
			a.result, err = code(ctx, x)
			return err
		})
		return a
	}
	if timeout <= 0 {
		return run(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := &stabilize.TimeoutError{What: fmt.Sprintf("task %q of stage %q", x.Task.Name, x.Stage.Ref), After: timeout}
	timer, stop := env.Clock.Timer(timeout)
	defer stop()
	done := make(chan *answer, 1)
	go func() { done <- run(ctx) }()
	select {
	case a := <-done:
		return a
	case <-ctx.Done():
		return &answer{err: context.Cause(ctx)} // nobody listens any more
	case <-timer:
		cancel(late)
		return &answer{err: late, timedOut: true}
	}
}
