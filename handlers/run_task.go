package handlers

import (
	"errors"
	"fmt"
	"time"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/resilience"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// RunTask promises: the task's code runs when, and only when, the message is
// the one the task waits for; what it answers is applied once, in the commit
// that acknowledges the message. Failures, polls and deliveries are counted
// apart. The code itself runs in taskrun.go, outside any decision.
func RunTask() Handler { return Handle(runTask) }

func runTask(x *Decision, m queue.RunTask) error {
	return x.WithTask(m, func(s *stabilize.Stage, t *stabilize.Task) error {
		if t.Run == "" || t.Run != x.MessageID() {
			return nil // of a run that is over
		}
		if x.answer == nil {
			if _, _, err := x.env.Registry.Task(t.Type); err != nil {
				x.draft.Task(s.ID, t.ID).Run = ""
				x.Push(queue.InvalidTaskType{OfTask: m.OfTask, TaskType: t.Type})
				return nil
			}
			x.runs = append(x.runs, x.delivery)
			return nil
		}
		t = x.draft.Task(s.ID, t.ID)
		s = x.Workflow().Stage(s.ID)
		t.Run = ""
		switch m.Phase {
		case stabilize.RunCancel:
			return x.canceledTask(s, t)
		case stabilize.RunTimeout:
			x.timedOutTask(s, t)
			return nil
		case stabilize.RunCleanup:
			t.CleanedUp = true
			if err := x.answer.err; err != nil {
				t.LastError = errorText(err)
			}
			x.Push(queue.CompleteStage{OfStage: m.OfStage})
			return nil
		default:
			return x.answeredTask(s, t)
		}
	})
}

// answeredTask applies what Execute answered.
func (x *Decision) answeredTask(s *stabilize.Stage, t *stabilize.Task) error {
	if err := x.answer.err; err != nil {
		x.failedTask(s, t, err)
		return nil
	}
	r := x.answer.result
	if err := r.Check(); err != nil {
		x.completeTask(s, t, stabilize.Terminal, &stabilize.Failure{Code: stabilize.CodeInvalidResult, Message: errorText(err)})
		return nil
	}
	s.Context, s.Outputs = s.Context.Merge(r.Context), s.Outputs.Merge(r.Outputs)
	switch r.Status {
	case stabilize.Running:
		t.Polls++
		t.Failures = 0 // it got through: what failed before is over
		x.recordTask(events.TaskPolled, s, t, "")
		x.runAgain(s, t, x.pollDelay(t, r.After))
	case stabilize.Suspended:
		t.Signal = r.Signal
		if _, err := x.SetTaskStatus(s.ID, t.ID, stabilize.Suspended); err != nil {
			return err
		}
		_, err := x.SetStageStatus(s.ID, stabilize.Suspended)
		return err
	case stabilize.Redirect:
		if r.Target != "" {
			x.Push(queue.JumpToStage{OfStage: queue.ToStage(x.Workflow().ID, s.ID), Target: r.Target, Context: r.Context})
			return nil
		}
		x.completeTask(s, t, stabilize.Redirect, nil)
	default:
		x.completeTask(s, t, r.Status, fitFailure(r.Failure))
	}
	return nil
}

func (x *Decision) completeTask(s *stabilize.Stage, t *stabilize.Task, status stabilize.Status, failure *stabilize.Failure) {
	x.Push(queue.CompleteTask{OfTask: queue.ToTask(x.Workflow().ID, s.ID, t.ID), Status: status, Failure: failure})
}

// failedTask decides between another try and the end. A transient failure is
// tried again with growing delays, up to the limit; the count is the task's own
// and survives every hop.
func (x *Decision) failedTask(s *stabilize.Stage, t *stabilize.Task, err error) {
	_, powers, lookup := x.env.Registry.Task(t.Type)
	timeout, timedOut := errors.AsType[*stabilize.TimeoutError](err)
	if timedOut && x.answer.timedOut {
		if lookup == nil && powers.OnTimeout != nil {
			t.LastError = timeout.Error()
			x.sendRun(s, t, stabilize.RunTimeout)
			return
		}
		x.completeTask(s, t, stabilize.Terminal, &stabilize.Failure{Code: stabilize.CodeTimeout, Message: timeout.Error()})
		return
	}
	if !worthAnotherTry(err) {
		x.completeTask(s, t, stabilize.Terminal, &stabilize.Failure{Code: fitText(codeOf(err)), Message: errorText(err)})
		return
	}
	t.Failures++
	t.LastError = errorText(err)
	policy := powers.Retry
	delay := policy.Backoff.Delay(t.Failures)
	if transient, ok := errors.AsType[*stabilize.TransientError](err); ok {
		if check := transient.Context.Check("context of a transient error"); check != nil {
			x.completeTask(s, t, stabilize.Terminal, &stabilize.Failure{Code: stabilize.CodeInvalidResult, Message: errorText(check)})
			return
		}
		s.Context = s.Context.Merge(transient.Context)
		if transient.RetryAfter > 0 {
			delay = transient.RetryAfter
		}
	}
	if t.Failures >= policy.Limit() {
		x.completeTask(s, t, stabilize.Terminal, &stabilize.Failure{
			Code: stabilize.CodeRetriesExhausted, Message: fmt.Sprintf("failed %d times, at last: %s", t.Failures, errorText(err)),
		})
		return
	}
	x.recordTask(events.TaskRetried, s, t, t.LastError)
	x.runAgain(s, t, delay)
}

func worthAnotherTry(err error) bool {
	if v, ok := errors.AsType[*stabilize.VerificationError](err); ok {
		return v.Retry
	}
	return errors.Is(err, stabilize.ErrTransient)
}

func codeOf(err error) string {
	if p, ok := errors.AsType[*resilience.PanicError](err); ok && p != nil {
		return stabilize.CodePanic
	}
	if p, ok := errors.AsType[*stabilize.PermanentError](err); ok && p.Code != "" {
		return p.Code
	}
	if errors.Is(err, stabilize.ErrVerification) {
		return stabilize.CodeVerification
	}
	return stabilize.CodeTaskFailed
}

func (x *Decision) pollDelay(t *stabilize.Task, asked time.Duration) time.Duration {
	if asked > 0 {
		return asked
	}
	if _, powers, err := x.env.Registry.Task(t.Type); err == nil && powers.PollDelay != nil {
		if d := powers.PollDelay(t.Polls); d > 0 {
			return d
		}
	}
	return x.env.PollDelay
}

// runAgain sends the task's next run, due after the delay.
func (x *Decision) runAgain(s *stabilize.Stage, t *stabilize.Task, delay time.Duration) {
	x.sendRun(s, t, stabilize.RunExecute)
	x.out[len(x.out)-1].At = x.now.Add(delay)
}

// canceledTask ends a task whose on-cancel hook has run, keeping what it answered.
func (x *Decision) canceledTask(s *stabilize.Stage, t *stabilize.Task) error {
	r, err := x.answer.result, x.answer.err
	if err == nil {
		r.Status = stabilize.Canceled // the hook has no say in that
		err = r.Check()
	}
	if err != nil {
		t.LastError = "on-cancel hook: " + errorText(err)
	} else {
		s.Context, s.Outputs = s.Context.Merge(r.Context), s.Outputs.Merge(r.Outputs)
	}
	t.Reason = s.Reason
	if _, err := x.SetTaskStatus(s.ID, t.ID, stabilize.Canceled); err != nil {
		return err
	}
	x.Push(queue.CompleteStage{OfStage: queue.ToStage(x.Workflow().ID, s.ID)})
	return nil
}

// timedOutTask ends a task as its on-timeout hook said, or TERMINAL.
func (x *Decision) timedOutTask(s *stabilize.Stage, t *stabilize.Task) {
	r, err := x.answer.result, x.answer.err
	if err == nil {
		err = r.Check()
	}
	if err == nil && !r.Status.IsComplete() {
		err = stabilize.Invalid("result status", "an on-timeout hook cannot answer %s", r.Status)
	}
	if err != nil {
		x.completeTask(s, t, stabilize.Terminal, &stabilize.Failure{
			Code: stabilize.CodeTimeout, Message: fmt.Sprintf("%s; its on-timeout hook: %s", t.LastError, errorText(err)),
		})
		return
	}
	s.Context, s.Outputs = s.Context.Merge(r.Context), s.Outputs.Merge(r.Outputs)
	if r.Status == stabilize.Terminal && r.Failure == nil {
		r.Failure = &stabilize.Failure{Code: stabilize.CodeTimeout, Message: t.LastError}
	}
	x.completeTask(s, t, r.Status, fitFailure(r.Failure))
}
