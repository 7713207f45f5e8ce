package handlers

import (
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// PauseTask promises: a task of a paused workflow or stage whose turn to run has
// come is parked, and its stage with it, until they are resumed.
func PauseTask() Handler { return Handle(pauseTask) }

func pauseTask(x *Decision, m queue.PauseTask) error {
	return x.WithTask(m, func(s *stabilize.Stage, t *stabilize.Task) error {
		if t.Status == stabilize.Suspended && s.Ending == stabilize.NotStarted {
			x.draft.Task(s.ID, t.ID).Run = "" // its time to wait is over, which resuming sees
			return nil
		}
		if t.Status != stabilize.Running || s.Ending != stabilize.NotStarted {
			return nil
		}
		edit := x.draft.Task(s.ID, t.ID)
		x.Discard(edit.Run)
		edit.Run = ""
		if _, err := x.SetTaskStatus(s.ID, t.ID, stabilize.Paused); err != nil {
			return err
		}
		if s.Status == stabilize.Running {
			_, err := x.SetStageStatus(s.ID, stabilize.Paused)
			return err
		}
		return nil
	})
}
