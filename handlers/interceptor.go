package handlers

import (
	"context"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Run is the code of a task, or an Interceptor around it.
type Run func(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error)

// Interceptor stands around every run of every task in this process, hooks
// included; phase tells which code is run. It calls next to go on, with the
// same execution or a changed copy, and answers for the run: what it returns is
// the run's answer. It is inside the run's timeout, and its panic is the
// task's. A run that is put off by a bulkhead, breaker or rate limit does not
// get to it. It must be safe for concurrent use.
type Interceptor func(ctx context.Context, x *stabilize.Execution, phase stabilize.RunPhase, next Run) (stabilize.Result, error)

// Before makes an Interceptor that calls fn before each run. An error is the
// run's answer; the code is then not called.
func Before(fn func(ctx context.Context, x *stabilize.Execution, phase stabilize.RunPhase) error) Interceptor {
	return func(ctx context.Context, x *stabilize.Execution, phase stabilize.RunPhase, next Run) (stabilize.Result, error) {
		if err := fn(ctx, x, phase); err != nil {
			return stabilize.Result{}, err
		}
		return next(ctx, x)
	}
}

// After makes an Interceptor that calls fn with what each run answered. A run
// that panicked answered nothing.
func After(fn func(ctx context.Context, x *stabilize.Execution, phase stabilize.RunPhase, r stabilize.Result, err error)) Interceptor {
	return func(ctx context.Context, x *stabilize.Execution, phase stabilize.RunPhase, next Run) (stabilize.Result, error) {
		r, err := next(ctx, x)
		fn(ctx, x, phase, r, err)
		return r, err
	}
}

// intercept puts the interceptors around the code, the first outermost.
func intercept(interceptors []Interceptor, phase stabilize.RunPhase, code Run) Run {
	for i := len(interceptors) - 1; i >= 0; i-- {
		around, next := interceptors[i], code
		code = func(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			return around(ctx, x, phase, next)
		}
	}
	return code
}
