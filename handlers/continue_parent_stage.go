package handlers

import (
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// ContinueParentStage promises: when the last of a stage's before-stages has
// ended well its first task starts, and when the last of its after-stages has,
// it completes. While some have not ended it does nothing: each says so when it
// does (the reference asks again every 15 s).
func ContinueParentStage() Handler { return Handle(continueParentStage) }

func continueParentStage(x *Decision, m queue.ContinueParentStage) error {
	return x.WithStage(m, func(parent *stabilize.Stage) error {
		if parent.Status != stabilize.Running || parent.Ending != stabilize.NotStarted {
			return nil
		}
		for _, c := range x.Workflow().Children(parent, m.Owner) {
			if !c.Status.IsComplete() {
				return nil
			}
		}
		if m.Owner != stabilize.OwnerBefore || len(parent.Tasks) == 0 {
			x.Push(queue.CompleteStage{OfStage: m.OfStage})
		} else if first := parent.Tasks[0]; first.Status == stabilize.NotStarted {
			x.Push(queue.StartTask{OfTask: queue.ToTask(x.Workflow().ID, parent.ID, first.ID)})
		} else { // its tasks were skipped, because one of the family halted
			x.Push(queue.CompleteStage{OfStage: m.OfStage})
		}
		return nil
	})
}
