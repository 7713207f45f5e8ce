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
	failed *failed       // nil: the code answered with result
	putOff time.Duration // not 0: the code was not run and shall be later
	why    string        // it was put off
	took   time.Duration // by the code, or until its time was over
}

// failed is what is known of a failure, read from the user's error while his
// code was still guarded: nothing of his runs later.
type failed struct {
	text, code string
	retry      bool
	after      time.Duration    // asked for by a transient error; 0: the backoff's delay
	context    stabilize.Values // to be merged before another try
	timedOut   bool             // the time allowed was over, whatever the code says
	counts     bool             // as a failure, for a breaker
}

// policy is how a task type's failures are judged.
type policy struct {
	retry   stabilize.RetryPolicy
	breaker *stabilize.BreakerPolicy
}

func (p policy) readFailure(err error) *failed {
	f := &failed{text: errorText(err), code: stabilize.CodeTaskFailed, retry: p.retry.Retries(err)}
	f.counts = f.retry
	if p.breaker != nil && p.breaker.Counts != nil {
		f.counts = p.breaker.Counts(err)
	}
	if _, ok := errors.AsType[*stabilize.VerificationError](err); ok {
		f.code = stabilize.CodeVerification
		return f
	}
	if p, ok := errors.AsType[*stabilize.PermanentError](err); ok && p.Code != "" {
		f.code = fitText(p.Code)
	}
	if t, ok := errors.AsType[*stabilize.TransientError](err); ok && f.retry {
		f.after, f.context = t.RetryAfter, t.Context
	}
	return f
}

// timedOut is the failure of a run whose time was over. Only a type that says
// which errors are tried again is asked about this one, if the task has time left.
func (p policy) timedOut(late error, left bool) *answer {
	f := &failed{text: errorText(late), code: stabilize.CodeTimeout, timedOut: true, counts: true}
	if left && p.retry.When != nil {
		if err := resilience.Guard(func() error { f.retry = p.retry.Retries(late); return nil }); err != nil {
			f.text = fitText(fmt.Sprintf("%s; asking whether to try again: %s", f.text, err))
		}
	}
	return &answer{failed: f}
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
	r := &taskRun{env: env, x: executionOf(env, t.w, s, task, env.deliveries(task.Type, d)), phase: m.Phase, policy: policy{powers.Retry, powers.Breaker}}
	r.limit(powers, task)
	if r.code = phaseCode(m.Phase, typ, powers); r.code == nil {
		// The hook was there when the run was decided, by another program.
		return func(context.Context) any { return &answer{result: stabilize.Success()} }
	}
	if m.Phase == stabilize.RunExecute && s.Rules != nil && s.Rules.Verify != nil {
		r.code = verified(env.Registry, s, task, r.code)
	}
	r.code = intercept(env.Interceptors, m.Phase, r.code)
	if m.Phase == stabilize.RunExecute { // a hook must not keep its stage from ending
		r.guard = env.protection.of(env.Clock, env.Logger, task.Type, powers)
	}
	return r.run
}

// limit sets how long the run may take: the task's time that is left, if that is
// less than one run may take. A hook runs when the task's time may be over.
func (r *taskRun) limit(powers stabilize.Powers, t *stabilize.Task) {
	whole := r.env.timeout(powers)
	r.timeout, r.allowed = powers.RunTimeout, powers.RunTimeout
	if whole == 0 || r.phase != stabilize.RunExecute && r.timeout > 0 {
		return
	}
	if left := whole - t.Waits().Used; r.phase != stabilize.RunExecute {
		r.timeout, r.allowed = whole, whole
	} else if r.timeout == 0 || left <= r.timeout {
		r.timeout, r.allowed, r.last = max(left, stabilize.Precision), whole, true
	}
}

// timeout is how long tasks of a type may take; 0: no limit.
func (env *Env) timeout(powers stabilize.Powers) time.Duration {
	if powers.Timeout > 0 {
		return powers.Timeout
	}
	return env.TaskTimeout
}

// phaseCode is the user's code for a phase.
func phaseCode(phase stabilize.RunPhase, typ stabilize.TaskType, powers stabilize.Powers) Run {
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

// taskRun is one run of the user's code.
type taskRun struct {
	env     *Env
	x       stabilize.Execution
	phase   stabilize.RunPhase
	timeout time.Duration // 0: none
	allowed time.Duration // what it is part of: the task's time, or one run's
	last    bool          // when it is over the task's is
	policy  policy
	guard   *guard // nil: none
	code    Run
}

// run runs the code, if its guard lets it. It returns when the code does, or
// when the time allowed is over: code that ignores its context does not get
// more, and what it answers later is dropped.
func (r *taskRun) run(ctx context.Context) any {
	if r.guard == nil {
		return r.traced(ctx, nil)
	}
	pass, wait, why := r.guard.enter(ctx, r.x.Task.ID)
	if pass == nil {
		r.env.Logger.Debug("a task run is put off", "workflow", r.x.Workflow.ID, "stage", r.x.Stage.Ref,
			"task", r.x.Task.Name, "taskType", r.x.Task.Type, "for", wait)
		return &answer{putOff: wait, why: why}
	}
	var a *answer
	defer func() {
		if a == nil { // the code ended this goroutine
			a = exited()
		}
		pass.answered(a.outcome(ctx))
	}()
	a = r.traced(ctx, pass.ended)
	return a
}

// traced is within in a span.
func (r *taskRun) traced(ctx context.Context, ended func(called bool)) *answer {
	if r.env.Tracer == nil {
		return r.within(ctx, ended)
	}
	ctx, span := r.env.span(ctx, "stabilize.task", func() []attribute.KeyValue {
		return []attribute.KeyValue{
			attribute.String("stabilize.workflow.id", r.x.Workflow.ID),
			attribute.String("stabilize.stage.ref", r.x.Stage.Ref),
			attribute.String("stabilize.task.name", r.x.Task.Name),
			attribute.String("stabilize.task.phase", r.phase.String()),
			attribute.Int("stabilize.attempt", r.x.Attempt),
		}
	})
	defer span.End()
	a := r.within(ctx, ended)
	if a.failed != nil {
		span.SetStatus(codes.Error, a.failed.text)
	}
	return a
}

// within runs the code within its time. ended, if it is not nil, is called when
// the code has returned, which may be later than this.
func (r *taskRun) within(ctx context.Context, ended func(called bool)) *answer {
	ctx = stabilize.WithExecution(ctx, &r.x)
	if r.timeout <= 0 {
		if ended != nil {
			defer ended(true)
		}
		return r.guarded(ctx)
	}
	what := whatTask(r.x.Stage, r.x.Task)
	limited, cancel := resilience.WithTimeout(ctx, r.env.Clock, r.timeout, what)
	defer cancel()
	done := make(chan *answer, 1)
	go func() {
		var a *answer
		defer func() {
			if a == nil {
				a = exited()
			}
			done <- a
		}()
		if ended != nil {
			defer ended(true)
		}
		a = r.guarded(limited)
	}()
	began := r.env.Clock.Now()
	select {
	case a := <-done:
		a.took = max(0, r.env.Clock.Now().Sub(began))
		return a
	case <-limited.Done():
	}
	if ctx.Err() != nil {
		return &answer{} // nobody listens any more
	}
	a := r.policy.timedOut(&stabilize.TimeoutError{What: what, After: r.allowed}, !r.last)
	a.took = r.timeout
	return a
}

func whatTask(s *stabilize.Stage, t *stabilize.Task) string {
	return fmt.Sprintf("task %q of stage %q", t.Name, s.Ref)
}

// guarded runs the code to its end and reads what it answered; a panic, of the
// code or of the error it answered with, is a failure.
func (r *taskRun) guarded(ctx context.Context) *answer {
	a := &answer{}
	err := resilience.Guard(func() error {
		result, err := r.code(ctx, &r.x)
		if err != nil {
			a.failed = r.policy.readFailure(err)
			return nil
		}
		a.result = result
		return nil
	})
	if err == nil {
		return a
	}
	if p, ok := errors.AsType[*resilience.PanicError](err); ok {
		a = &answer{failed: &failed{text: fitText(p.Error()), code: stabilize.CodePanic, counts: true}}
		r.env.Logger.Error("a task panicked", "workflow", r.x.Workflow.ID, "stage", r.x.Stage.Ref,
			"task", r.x.Task.Name, "panic", a.failed.text, "stack", string(p.Stack))
	}
	return a
}

// exited is the answer of code that ended its goroutine.
func exited() *answer {
	return &answer{failed: &failed{text: "the task ended its goroutine (runtime.Goexit)", code: stabilize.CodePanic, counts: true}}
}
