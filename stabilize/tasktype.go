package stabilize

import (
	"context"
	"log/slog"
	"time"
)

// TaskType is the code of a task: the only place of a workflow with side
// effects. Func makes one of a plain function.
//
// Execute may run more than once: after a crash, a lost lease or a transient
// failure. Its result is committed at most once. Use Execution.IdempotencyKey
// towards the outside. ctx ends when the workflow is canceled (cause
// ErrCanceled), the time is over (ErrTimeout), the worker lost the task
// (ErrLeaseLost) or stops; a result returned after that is ignored. A cancel
// decided by another process arrives within one heartbeat, as ErrLeaseLost:
// what the worker learns is that the task is no longer its own.
//
// An error of class ErrTransient, or a VerificationError that asks for it, is
// tried again as RetryPolicy says, and so is what its When names; any other
// error ends the task TERMINAL. A panic ends it TERMINAL too, and the worker
// lives.
//
// Execute must be safe for concurrent use: one TaskType serves all workflows.
type TaskType interface {
	Execute(ctx context.Context, x *Execution) (Result, error)
}

// Optional powers of a TaskType. Methods without a context are called while
// deciding: they must be pure and quick. Those that answer with a policy are
// asked once, at registration.
type (
	// Retryable says how failures are tried again.
	Retryable interface{ RetryPolicy() RetryPolicy }
	// Bulkheaded bounds how many runs of the type are under way at once in one
	// process; see WithBulkhead.
	Bulkheaded interface{ Bulkhead() int }
	// Breakable stops running the type for a while when it fails too often; see
	// BreakerPolicy.
	Breakable interface{ Breaker() BreakerPolicy }
	// RateLimited bounds how often the type is run in one process.
	RateLimited interface{ RateLimit() RateLimit }
	// Timeouter limits the task; see WithTimeout. 0 means the engine's TaskTimeout.
	Timeouter interface{ Timeout() time.Duration }
	// RunTimeouter limits one run of Execute, and of each hook; 0: the Timeout does.
	RunTimeouter interface{ RunTimeout() time.Duration }
	// Poller sets the delay after a RUNNING result that names none; polls counts
	// from 1.
	Poller interface{ PollDelay(polls int) time.Duration }
	// Skippable tasks are asked before they start; false skips the task.
	Skippable interface {
		Enabled(x *Execution) (bool, error)
	}
	// OnCanceler is run after the task was canceled. Its outputs and context are kept.
	OnCanceler interface {
		OnCancel(ctx context.Context, x *Execution) (Result, error)
	}
	// OnTimeouter is run after the time was over and decides how the task ends:
	// by its result's status, or TERMINAL if it answers with an error.
	OnTimeouter interface {
		OnTimeout(ctx context.Context, x *Execution) (Result, error)
	}
	// Cleaner is run once when the task's stage ends, however it ends, if the
	// task had started. An error is recorded and changes no status.
	Cleaner interface {
		Cleanup(ctx context.Context, x *Execution) error
	}
)

// Execution is what the code of a task may know of the run it is part of. It is
// a snapshot: read it only.
type Execution struct {
	Workflow *Header // without its Version
	Stage    *Stage
	Task     *Task
	Context  Values // see Workflow.TaskContext

	// Attempt counts the tries of this piece of work from 1: failures and
	// redeliveries, not polls. Polls counts the RUNNING answers before it.
	Attempt int
	Polls   int

	// Signal is what ended the task's wait, nil if it did not wait or none came.
	// WaitOver: the time of SuspendFor is over.
	Signal   *Signal
	WaitOver bool

	Logger *slog.Logger
}

// IdempotencyKey is the same on every attempt of the task and differs between
// tasks, rounds and workflows.
func (x *Execution) IdempotencyKey() string { return x.Task.ID }

type executionKey struct{}

// WithExecution returns a context that carries x; the engine does this for
// every run.
func WithExecution(ctx context.Context, x *Execution) context.Context {
	return context.WithValue(ctx, executionKey{}, x)
}

// ExecutionFrom returns the execution a plain function runs in, or nil outside
// of one.
func ExecutionFrom(ctx context.Context) *Execution {
	x, _ := ctx.Value(executionKey{}).(*Execution)
	return x
}
