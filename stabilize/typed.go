package stabilize

import (
	"cmp"
	"context"
	"reflect"
	"time"
)

// Func makes a TaskType of a plain function. In is decoded from the task's
// context (use struct{} to take nothing), Out becomes the outputs, one for each
// field; an Out that is no struct or map becomes the output "result". If Out is
// Result, it is the answer itself. A context that cannot be decoded as In ends
// the task TERMINAL with an error that names the value.
func Func[In, Out any](fn func(context.Context, In) (Out, error), options ...FuncOption) TaskType {
	t := &funcTask[In, Out]{fn: fn}
	for _, o := range options {
		o(&t.funcConfig)
	}
	t.takesNothing = reflect.TypeFor[In]() == reflect.TypeFor[struct{}]()
	switch out := reflect.TypeFor[Out](); {
	case out == reflect.TypeFor[struct{}]():
		t.outputs = func(any) (Values, error) { return nil, nil }
	case objectKind(out):
		t.outputs = ValuesOf
	default:
		t.outputs = func(x any) (Values, error) {
			var v Values
			err := v.Set("result", x)
			return v, err
		}
	}
	return t
}

func objectKind(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct || t.Kind() == reflect.Map || t.Kind() == reflect.Interface
}

// FuncOption gives a Func optional powers.
type FuncOption func(*funcConfig)

type funcConfig struct {
	retry      RetryPolicy
	bulkhead   int
	breaker    *BreakerPolicy
	rate       RateLimit
	timeout    time.Duration
	runTimeout time.Duration
	poll       time.Duration
	enabled    func(*Execution) (bool, error)
	onCancel   func(context.Context, *Execution) (Result, error)
	onTimeout  func(context.Context, *Execution) (Result, error)
	cleanup    func(context.Context, *Execution) error
}

// WithRetry sets the retry policy.
func WithRetry(p RetryPolicy) FuncOption { return func(c *funcConfig) { c.retry = p } }

// WithBulkhead bounds how many runs of the task type are under way at once in
// one process; 0 means no bound. As many again wait there for their turn, in
// the worker's places; the rest is put off, without counting as a failure, a
// poll or a delivery. So one slow type takes at most twice n of the worker's
// places. A run that goes on after its time was over keeps its place.
func WithBulkhead(n int) FuncOption { return func(c *funcConfig) { c.bulkhead = n } }

// WithBreaker stops running the task type for a while when it fails too often.
// The zero policy is that of the defaults.
func WithBreaker(p BreakerPolicy) FuncOption { return func(c *funcConfig) { c.breaker = &p } }

// WithRateLimit bounds how often the task type is run.
func WithRateLimit(l RateLimit) FuncOption { return func(c *funcConfig) { c.rate = l } }

// WithTimeout limits the task as a whole: what its runs take together, with the
// delays of its polls and retries between them. Time in which it was paused, waited
// for a signal, a workflow or its turn, or lay with a worker that died, does not
// count. When it is over the run under way is told (ErrTimeout), and the task ends
// as its OnTimeout says or TERMINAL with TIMEOUT; it is not tried again. 0: no limit
// but the engine's TaskTimeout.
func WithTimeout(d time.Duration) FuncOption { return func(c *funcConfig) { c.timeout = d } }

// WithRunTimeout limits one run. A run that takes longer is told (ErrTimeout) and
// fails; it is tried again if the RetryPolicy's When says so.
func WithRunTimeout(d time.Duration) FuncOption { return func(c *funcConfig) { c.runTimeout = d } }

// WithPoll sets the delay after a RUNNING answer that names none.
func WithPoll(d time.Duration) FuncOption { return func(c *funcConfig) { c.poll = d } }

// EnabledIf makes the task skippable.
func EnabledIf(fn func(*Execution) (bool, error)) FuncOption {
	return func(c *funcConfig) { c.enabled = fn }
}

// OnCancel runs fn after the task was canceled.
func OnCancel(fn func(context.Context, *Execution) (Result, error)) FuncOption {
	return func(c *funcConfig) { c.onCancel = fn }
}

// OnTimeout runs fn after the time was over; it decides how the task ends.
func OnTimeout(fn func(context.Context, *Execution) (Result, error)) FuncOption {
	return func(c *funcConfig) { c.onTimeout = fn }
}

// WithCleanup runs fn once when the task's stage ends.
func WithCleanup(fn func(context.Context, *Execution) error) FuncOption {
	return func(c *funcConfig) { c.cleanup = fn }
}

type funcTask[In, Out any] struct {
	funcConfig
	fn           func(context.Context, In) (Out, error)
	takesNothing bool
	outputs      func(any) (Values, error)
}

func (t *funcTask[In, Out]) Execute(ctx context.Context, x *Execution) (Result, error) {
	var in In
	if !t.takesNothing {
		if err := x.Context.Decode(&in); err != nil {
			return Result{}, &PermanentError{Cause: err, Code: "INVALID_INPUT"}
		}
	}
	out, err := t.fn(ctx, in)
	if err != nil {
		return Result{}, err
	}
	if r, ok := any(out).(Result); ok {
		return r, nil
	}
	values, err := t.outputs(out)
	if err != nil {
		return Result{}, &PermanentError{Cause: err, Code: CodeInvalidResult}
	}
	return Result{Status: Succeeded, Outputs: values}, nil
}

// The powers of a Func are data, so that asking costs no type assertion per
// combination; PowersOf reads them.
func (t *funcTask[In, Out]) powers() Powers {
	p := Powers{
		Retry: t.retry, Bulkhead: t.bulkhead, Breaker: t.breaker, RateLimit: t.rate,
		Timeout: t.timeout, RunTimeout: t.runTimeout, Enabled: t.enabled,
		OnCancel: t.onCancel, OnTimeout: t.onTimeout, Cleanup: t.cleanup,
	}
	if d := t.poll; d > 0 {
		p.PollDelay = func(int) time.Duration { return d }
	}
	return p
}

// Powers are the optional powers of a TaskType as data; nil functions are
// powers it does not have.
type Powers struct {
	Retry      RetryPolicy
	Bulkhead   int            // 0: none
	Breaker    *BreakerPolicy // nil: none
	RateLimit  RateLimit      // of no runs: none
	Timeout    time.Duration  // of the task; 0: the engine's
	RunTimeout time.Duration  // of one run; 0: none
	PollDelay  func(polls int) time.Duration
	Enabled    func(*Execution) (bool, error)
	OnCancel   func(context.Context, *Execution) (Result, error)
	OnTimeout  func(context.Context, *Execution) (Result, error)
	Cleanup    func(context.Context, *Execution) error
}

// PowersOf returns what t can do beside Execute.
func PowersOf(t TaskType) Powers {
	if f, ok := t.(interface{ powers() Powers }); ok {
		return f.powers()
	}
	var p Powers
	if r, ok := t.(Retryable); ok {
		p.Retry = r.RetryPolicy()
	}
	if r, ok := t.(Bulkheaded); ok {
		p.Bulkhead = r.Bulkhead()
	}
	if r, ok := t.(Breakable); ok {
		policy := r.Breaker()
		p.Breaker = &policy
	}
	if r, ok := t.(RateLimited); ok {
		p.RateLimit = r.RateLimit()
	}
	if r, ok := t.(Timeouter); ok {
		p.Timeout = r.Timeout()
	}
	if r, ok := t.(RunTimeouter); ok {
		p.RunTimeout = r.RunTimeout()
	}
	if r, ok := t.(Poller); ok {
		p.PollDelay = r.PollDelay
	}
	if r, ok := t.(Skippable); ok {
		p.Enabled = r.Enabled
	}
	if r, ok := t.(OnCanceler); ok {
		p.OnCancel = r.OnCancel
	}
	if r, ok := t.(OnTimeouter); ok {
		p.OnTimeout = r.OnTimeout
	}
	if r, ok := t.(Cleaner); ok {
		p.Cleanup = r.Cleanup
	}
	return p
}

// Check returns ErrInvalid, naming what is wrong after field.
func (p Powers) Check(field string) error {
	switch {
	case p.Bulkhead < 0:
		return Invalid(field, "bulkhead of %d is negative", p.Bulkhead)
	case p.Timeout < 0:
		return Invalid(field, "timeout of %s is negative", p.Timeout)
	case p.RunTimeout < 0:
		return Invalid(field, "timeout of a run of %s is negative", p.RunTimeout)
	}
	if p.Breaker != nil {
		if err := p.Breaker.Check(field); err != nil {
			return err
		}
	}
	return cmp.Or(p.Retry.Check(field), p.RateLimit.Check(field))
}
