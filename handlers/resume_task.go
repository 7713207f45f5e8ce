package handlers

import (
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// ResumeTask promises: a parked task runs again (Orca's ResumeTaskHandler).
func ResumeTask() Handler { return Handle(resumeTask) }

func resumeTask(x *Decision, m queue.ResumeTask) error {
	return x.WithTask(m, func(s *stabilize.Stage, t *stabilize.Task) error {
		if t.Status != stabilize.Paused || s.Ending != stabilize.NotStarted || x.Workflow().Status != stabilize.Running {
			return nil
		}
		return x.wake(s.ID, t.ID)
	})
}
