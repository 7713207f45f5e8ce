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
	result stabilize.Result
	failed *failed // nil: the code answered with result
}

// failed is what is known of a failure, read from the user's error while his
// code was still guarded: nothing of his runs later.
type failed struct {
	text, code string
	retry      bool
	after      time.Duration    // asked for by a transient error; 0: the backoff's delay
	context    stabilize.Values // to be merged before another try
	timedOut   bool             // the time allowed was over, whatever the code says
}

func readFailure(err error) *failed {
	f := &failed{text: errorText(err), code: stabilize.CodeTaskFailed}
	if v, ok := errors.AsType[*stabilize.VerificationError](err); ok {
		f.code, f.retry = stabilize.CodeVerification, v.Retry
		return f
	}
	if p, ok := errors.AsType[*stabilize.PermanentError](err); ok && p.Code != "" {
		f.code = fitText(p.Code)
	}
	if f.retry = errors.Is(err, stabilize.ErrTransient); f.retry {
		if t, ok := errors.AsType[*stabilize.TransientError](err); ok {
			f.after, f.context = t.RetryAfter, t.Context
		}
	}
	return f
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

// runCode runs the user's code. It returns when the code does, or when the time
// allowed is over: code that ignores its context does not get more, and what it
// answers later is dropped.
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
	if a.failed != nil {
		span.SetStatus(codes.Error, a.failed.text)
	}
	return a
}

func runWithin(ctx context.Context, env *Env, x *stabilize.Execution, timeout time.Duration,
	code func(context.Context, *stabilize.Execution) (stabilize.Result, error),
) *answer {
	ctx = stabilize.WithExecution(ctx, x)
	if timeout <= 0 {
		return runGuarded(ctx, env, x, code)
	}
	what := fmt.Sprintf("task %q of stage %q", x.Task.Name, x.Stage.Ref)
	limited, cancel := resilience.WithTimeout(ctx, env.Clock, timeout, what)
	defer cancel()
	done := make(chan *answer, 1)
	go func() {
		a := exited()
		defer func() { done <- a }()
		a = runGuarded(limited, env, x, code)
	}()
	select {
	case a := <-done:
		return a
	case <-limited.Done():
	}
	if ctx.Err() != nil {
		return &answer{} // nobody listens any more
	}
	return &answer{failed: &failed{text: context.Cause(limited).Error(), code: stabilize.CodeTimeout, timedOut: true}}
}

// runGuarded runs the code to its end and reads what it answered; a panic, of
// the code or of the error it answered with, is a failure.
func runGuarded(ctx context.Context, env *Env, x *stabilize.Execution,
	code func(context.Context, *stabilize.Execution) (stabilize.Result, error),
) *answer {
	a := &answer{}
	err := resilience.Guard(func() error {
		result, err := code(ctx, x)
		if err != nil {
			a.failed = readFailure(err)
			return nil
		}
		a.result = result
		return nil
	})
	if p, ok := errors.AsType[*resilience.PanicError](err); ok {
		a = &answer{failed: &failed{text: fitText(p.Error()), code: stabilize.CodePanic}}
		env.Logger.Error("a task panicked", "workflow", x.Workflow.ID, "stage", x.Stage.Ref,
			"task", x.Task.Name, "panic", a.failed.text, "stack", string(p.Stack))
	}
	return a
}

// exited is the answer of code that ended its goroutine.
func exited() *answer {
	return &answer{failed: &failed{text: "the task ended its goroutine (runtime.Goexit)", code: stabilize.CodePanic}}
}
