package handlers

import (
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/resilience"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// StartTask promises: a task that has not begun becomes RUNNING together with
// the durable message that runs it, or is skipped if it says it is disabled. An
// error in asking fails the task: it is no "yes".
func StartTask() Handler { return Handle(startTask) }

func startTask(x *Decision, m queue.StartTask) error {
	return x.WithTask(m, func(s *stabilize.Stage, t *stabilize.Task) error {
		if t.Status != stabilize.NotStarted || s.Status != stabilize.Running ||
			s.Ending != stabilize.NotStarted || x.Workflow().Halting() || x.Workflow().Status != stabilize.Running {
			return nil
		}
		_, powers, err := x.env.Registry.Task(t.Type)
		if err != nil {
			x.Push(queue.InvalidTaskType{OfTask: m.OfTask, TaskType: t.Type})
			return nil
		}
		if powers.Enabled != nil {
			enabled := false
			err := resilience.Guard(func() (err error) {
				enabled, err = powers.Enabled(x.execution(s, t, 1))
				return err
			})
			if err != nil {
				x.Push(queue.CompleteTask{OfTask: m.OfTask, Status: stabilize.Terminal, Failure: &stabilize.Failure{
					Code: stabilize.CodePlanning, Message: "asking whether it is enabled: " + errorText(err),
				}})
				return nil
			}
			if !enabled {
				x.draft.Task(s.ID, t.ID).Reason = stabilize.ReasonDisabled
				x.Push(queue.CompleteTask{OfTask: m.OfTask, Status: stabilize.Skipped})
				return nil
			}
		}
		t, err = x.SetTaskStatus(s.ID, t.ID, stabilize.Running)
		if err != nil {
			return err
		}
		x.sendRun(s, t, stabilize.RunExecute)
		return nil
	})
}
