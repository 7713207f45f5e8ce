package handlers

import (
	"fmt"
	"time"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/queue"
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
				return x.unknownType(s, t, m)
			}
			if m.Phase == stabilize.RunExecute && x.parked(s) {
				x.Push(queue.PauseTask{OfTask: m.OfTask})
				return nil
			}
			if t.Status == stabilize.Suspended { // its time to wait is over
				if _, err := x.SetStageStatus(s.ID, stabilize.Running); err != nil {
					return err
				}
				if _, err := x.SetTaskStatus(s.ID, t.ID, stabilize.Running); err != nil {
					return err
				}
			}
			if m.Phase == stabilize.RunExecute && x.timeLeft(t) == 0 { // it was over between two runs
				return x.timeOver(s.ID, t.ID)
			}
			if wait := x.quarantine(t); wait > 0 {
				return x.putOff(s, t, m, wait, stabilize.ReasonQuarantine)
			}
			x.runs = append(x.runs, x.delivery)
			return nil
		}
		if wait := x.answer.putOff; wait > 0 {
			return x.putOff(s, t, m, wait, x.answer.why)
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
			if f := x.answer.failed; f != nil {
				t.LastError = f.text
			}
			x.Push(queue.CompleteStage{OfStage: m.OfStage})
			return nil
		default:
			return x.answeredTask(s, t)
		}
	})
}

// parked reports whether no task of the stage may run now.
func (x *Decision) parked(s *stabilize.Stage) bool {
	return s.Ending == stabilize.NotStarted && (x.Workflow().Status == stabilize.Paused || s.Status == stabilize.Paused)
}

// unknownType ends a run whose code this worker does not have. A hook that
// cannot run must not keep its stage from ending.
func (x *Decision) unknownType(s *stabilize.Stage, t *stabilize.Task, m queue.RunTask) error {
	edit := x.draft.Task(s.ID, t.ID)
	edit.Run = ""
	switch m.Phase {
	case stabilize.RunCancel, stabilize.RunCleanup:
		return x.withoutHook(s, edit, "task type "+t.Type+" is not registered")
	default:
		x.Push(queue.InvalidTaskType{OfTask: m.OfTask, TaskType: t.Type})
		return nil
	}
}

// withoutHook goes on as if a task's on-cancel or cleanup hook had run.
func (x *Decision) withoutHook(s *stabilize.Stage, t *stabilize.Task, why string) error {
	t.LastError = why
	if t.Phase == stabilize.RunCleanup {
		t.CleanedUp = true
	} else if _, err := x.SetTaskStatus(s.ID, t.ID, stabilize.Canceled); err != nil {
		return err
	}
	x.Push(queue.CompleteStage{OfStage: queue.ToStage(x.Workflow().ID, s.ID)})
	return nil
}

// answeredTask applies what Execute answered.
func (x *Decision) answeredTask(s *stabilize.Stage, t *stabilize.Task) error {
	x.charge(t, x.answer.took)
	if x.answer.failed != nil {
		x.failedTask(s, t, x.answer.failed)
		return nil
	}
	r := x.answer.result
	if err := r.Check(); err != nil {
		x.completeTask(s, t, stabilize.Terminal, &stabilize.Failure{Code: stabilize.CodeInvalidResult, Message: errorText(err)})
		return nil
	}
	if f := x.verify(s, t, r); f != nil {
		x.failedTask(s, t, f)
		return nil
	}
	t.Signal = ""
	t.Answered()
	before := *s
	s.WriteContext(r.Context)
	s.Outputs = s.Outputs.Merge(r.Outputs)
	if err := x.env.checkRoom(s); err != nil {
		s.Context, s.Outputs = before.Context, before.Outputs
		x.completeTask(s, t, stabilize.Terminal, &stabilize.Failure{Code: stabilize.CodeInvalidResult, Message: errorText(err)})
		return nil
	}
	switch r.Status {
	case stabilize.Running:
		t.Polls++
		t.Failures = 0 // it got through: what failed before is over
		x.recordTask(events.TaskPolled, s, t, "")
		x.runAgain(s, t, x.pollDelay(t, r.After))
	case stabilize.Suspended:
		if r.Child != nil {
			return x.startChild(s, t, r)
		}
		return x.suspend(s, t, r)
	case stabilize.Redirect:
		if r.Target != "" {
			x.Push(queue.JumpToStage{OfStage: queue.ToStage(x.Workflow().ID, s.ID), Target: r.Target, Context: r.Context})
			return nil
		}
		x.completeTask(s, t, stabilize.Redirect, nil)
	default:
		if r.Child != nil {
			return x.startChild(s, t, r)
		}
		x.completeTask(s, t, r.Status, fitFailure(r.Failure))
	}
	return nil
}

func (x *Decision) completeTask(s *stabilize.Stage, t *stabilize.Task, status stabilize.Status, failure *stabilize.Failure) {
	x.Push(queue.CompleteTask{OfTask: queue.ToTask(x.Workflow().ID, s.ID, t.ID), Status: status, Failure: failure})
}

// failedTask decides between another try and the end. A failure that its policy
// says is worth it is tried again with growing delays, up to the limit; the
// count is the task's own and survives every hop.
func (x *Decision) failedTask(s *stabilize.Stage, t *stabilize.Task, f *failed) {
	_, powers, lookup := x.env.Registry.Task(t.Type)
	end := func(code, message string) {
		x.completeTask(s, t, stabilize.Terminal, &stabilize.Failure{Code: code, Message: message})
	}
	if f.timedOut && lookup == nil && powers.OnTimeout != nil {
		t.LastError = f.text
		x.sendRun(s, t, stabilize.RunTimeout)
		return
	}
	if !f.retry {
		end(f.code, f.text)
		return
	}
	if err := f.context.Check("context of a transient error"); err != nil {
		end(stabilize.CodeInvalidResult, errorText(err))
		return
	}
	s.WriteContext(f.context)
	t.Failures++
	t.LastError = f.text
	policy := powers.Retry
	if t.Failures >= policy.Limit() {
		end(stabilize.CodeRetriesExhausted, fmt.Sprintf("failed %d times, at last: %s", t.Failures, f.text))
		return
	}
	delay := policy.Delay(t.ID, t.Failures)
	if f.after > 0 {
		delay = f.after
	}
	x.recordTask(events.TaskRetried, s, t, t.LastError)
	x.runAgain(s, t, delay)
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

// runAgain sends the task's next run, due after the delay, or when the task's time
// is over.
func (x *Decision) runAgain(s *stabilize.Stage, t *stabilize.Task, delay time.Duration) {
	if left := x.timeLeft(t); left >= 0 {
		delay = min(delay, left)
	}
	x.charge(t, delay)
	x.sendRun(s, t, stabilize.RunExecute)
	x.delayRun(t, delay)
}

// hookAnswer is what an on-cancel or on-timeout hook answered, and what is wrong
// with it, "" if nothing is.
func (x *Decision) hookAnswer() (r stabilize.Result, wrong string) {
	if f := x.answer.failed; f != nil {
		return r, f.text
	}
	if err := x.answer.result.Check(); err != nil {
		return r, errorText(err)
	}
	return x.answer.result, ""
}

// canceledTask ends a task whose on-cancel hook has run, keeping what it
// answered; the hook has no say in the status.
func (x *Decision) canceledTask(s *stabilize.Stage, t *stabilize.Task) error {
	if r, wrong := x.hookAnswer(); wrong != "" {
		t.LastError = "on-cancel hook: " + wrong
	} else {
		s.WriteContext(r.Context)
		s.Outputs = s.Outputs.Merge(r.Outputs)
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
	r, wrong := x.hookAnswer()
	if wrong == "" && !r.Status.IsComplete() {
		wrong = "it cannot answer " + r.Status.String()
	}
	if wrong != "" {
		x.completeTask(s, t, stabilize.Terminal, &stabilize.Failure{
			Code: stabilize.CodeTimeout, Message: fmt.Sprintf("%s; its on-timeout hook: %s", t.LastError, wrong),
		})
		return
	}
	s.WriteContext(r.Context)
	s.Outputs = s.Outputs.Merge(r.Outputs)
	if r.Status == stabilize.Terminal && r.Failure == nil {
		r.Failure = &stabilize.Failure{Code: stabilize.CodeTimeout, Message: t.LastError}
	}
	x.completeTask(s, t, r.Status, fitFailure(r.Failure))
}
