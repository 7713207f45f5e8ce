package stabilize

import (
	"errors"
	"fmt"
	"time"
)

// Result is what a task answers. Make one with the functions below.
type Result struct {
	Status  Status
	Outputs Values // laid over the stage's outputs, for stages downstream
	Context Values // laid over the stage's context, for later tasks of the stage
	Failure *Failure

	After  time.Duration // Running: look again after this long; 0: the task's poll delay. Suspended: run again if no signal came by then; 0: wait for ever
	Signal string        // Suspended: name of the signal that ends the wait
	Target string        // Redirect: ref of the stage to jump to; empty: back to the first task
	Child  *WorkflowSpec // Suspended: a workflow to start and wait for; Succeeded: one to start and forget

	err error
}

// Success ends the task; the stage goes on.
func Success() Result { return Result{Status: Succeeded} }

// StillRunning asks to be run again after the delay, which is a poll, not a
// failure, and is not limited in number. A delay of 0 means the task's own.
func StillRunning(after time.Duration) Result { return Result{Status: Running, After: after} }

// Fail ends the task TERMINAL: the rest of its stage does not run, and the
// stage's failure policy decides what that means for the workflow.
func Fail(format string, args ...any) Result {
	return Result{Status: Terminal, Failure: &Failure{Code: CodeTaskFailed, Message: fmt.Sprintf(format, args...)}}
}

// FailAndContinue ends the task FAILED_CONTINUE: it failed, and the next task
// of the stage runs all the same.
func FailAndContinue(format string, args ...any) Result {
	return Result{Status: FailedContinue, Failure: &Failure{Code: CodeTaskFailed, Message: fmt.Sprintf(format, args...)}}
}

// Skip ends the task SKIPPED; the next task runs.
func Skip() Result { return Result{Status: Skipped} }

// CancelStage ends the task CANCELED, and with it its stage and workflow.
func CancelStage() Result { return Result{Status: Canceled} }

// Stop ends the task STOPPED: its stage ends so and its branch goes no further,
// which is not by itself a failure of the workflow.
func Stop() Result { return Result{Status: Stopped} }

// Suspend parks the task until a signal of that name arrives.
func Suspend(signal string) Result { return Result{Status: Suspended, Signal: signal} }

// SuspendFor is Suspend for a time: if no signal has come by then the task is
// run again with none received, and WaitOver set.
func SuspendFor(signal string, d time.Duration) Result {
	return Result{Status: Suspended, Signal: signal, After: d}
}

// AwaitChild starts a workflow and ends the task with it: SUCCEEDED with the
// child's outputs, or as the child failed or was canceled. Canceling the task
// cancels the child. The child is started once, however often the task runs.
func AwaitChild(spec *WorkflowSpec) Result { return Result{Status: Suspended, Child: spec} }

// StartChild starts a workflow and ends the task SUCCEEDED at once, with the
// child's id as the output "child".
func StartChild(spec *WorkflowSpec) Result { return Result{Status: Succeeded, Child: spec} }

// RedirectTask runs the tasks of the stage again from the first, as fresh tasks
// with idempotency keys of their own.
func RedirectTask() Result { return Result{Status: Redirect} }

// JumpTo ends the stage and opens a new round of the stage with that ref.
func JumpTo(ref string) Result { return Result{Status: Redirect, Target: ref} }

// WithOutput adds an output. A value that cannot be encoded fails the task.
func (r Result) WithOutput(key string, x any) Result {
	r.Outputs = r.Outputs.Clone()
	r.err = errors.Join(r.err, r.Outputs.Set(key, x))
	return r
}

// WithOutputs lays v over the outputs.
func (r Result) WithOutputs(v Values) Result {
	r.Outputs = r.Outputs.Merge(v)
	return r
}

// WithContext adds a value to the stage's context. A value that cannot be
// encoded fails the task.
func (r Result) WithContext(key string, x any) Result {
	r.Context = r.Context.Clone()
	r.err = errors.Join(r.err, r.Context.Set(key, x))
	return r
}

// Check returns ErrInvalid unless the result makes sense: a status a task can
// answer with, values that keep the rules, fields that go with the status.
func (r Result) Check() error {
	switch {
	case r.err != nil:
		return r.err
	case !r.Status.Valid() || r.Status == NotStarted || r.Status == Paused || r.Status == Buffered:
		return Invalid("result status", "a task cannot answer %s", r.Status)
	case r.After < 0:
		return Invalid("result delay", "%s is negative", r.After)
	case r.Child != nil && r.Status != Suspended && r.Status != Succeeded:
		return Invalid("result child", "goes with SUSPENDED or SUCCEEDED, not with %s", r.Status)
	case r.Child != nil && r.Signal != "":
		return Invalid("result child", "is waited for, but so is the signal %q", r.Signal)
	case !areText(r.Signal, r.Target):
		return Invalid("result signal or target", "is not valid UTF-8")
	case r.Status == Suspended && r.Signal == "" && r.Child == nil:
		return Invalid("result signal", "is empty: nothing could end the wait")
	case r.Target != "" && r.Status != Redirect:
		return Invalid("result target", "goes with REDIRECT, not with %s", r.Status)
	}
	if err := r.Outputs.Check("result outputs"); err != nil {
		return err
	}
	return r.Context.Check("result context")
}
