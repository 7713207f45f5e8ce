package handlers

import (
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// RescheduleWorkflow promises: what waits in a back-off or between two polls runs
// now, once (Orca's RescheduleExecutionHandler). It is for people: a cancel does
// not need it, it ends such waits itself.
func RescheduleWorkflow() Handler { return Handle(rescheduleWorkflow) }

func rescheduleWorkflow(x *Decision, _ queue.RescheduleWorkflow) error {
	return x.WithWorkflow(func(w *stabilize.Workflow) error {
		if w.Status != stabilize.Running {
			if x.Requested() {
				return &stabilize.TransitionError{Kind: "workflow", ID: w.ID, From: w.Status, To: stabilize.Running}
			}
			return nil
		}
		for _, s := range w.Stages {
			if s.Status != stabilize.Running || s.Ending != stabilize.NotStarted {
				continue
			}
			for _, t := range s.Tasks {
				if t.Status == stabilize.Running && t.Run != "" && t.Waits().Due.After(x.now) {
					edit := x.draft.Task(s.ID, t.ID)
					x.Discard(edit.Run)
					x.charge(edit, x.now.Sub(edit.Waits().Due)) // it does not wait that long
					x.sendRun(x.Workflow().Stage(s.ID), edit, edit.Phase)
				}
			}
		}
		return nil
	})
}
