package handlers

import (
	"slices"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// CompleteTask promises: a task takes its final status once, then the next task
// of the stage starts, or the stage completes. A task that halted ends its
// stage: the tasks after it are skipped (in the reference they run). An explicit
// FAILED_CONTINUE lets them run.
func CompleteTask() Handler { return Handle(completeTask) }

func completeTask(x *Decision, m queue.CompleteTask) error {
	return x.WithTask(m, func(s *stabilize.Stage, t *stabilize.Task) error {
		if t.Status.IsComplete() {
			return nil
		}
		w := x.Workflow()
		complete := queue.CompleteStage{OfStage: m.OfStage}
		edit := x.draft.Task(s.ID, t.ID)
		edit.Run, edit.Signal = "", ""
		edit.Answered()
		if m.Failure != nil {
			f := *m.Failure
			f.Stage, f.Task = s.Ref, t.Name
			edit.Failure = &f
		}
		if m.Status == stabilize.Redirect {
			return x.repeatTasks(s.ID, t.ID)
		}
		if !edit.Status.CanTransition(m.Status) { // it was parked
			if _, err := x.SetTaskStatus(s.ID, t.ID, stabilize.Running); err != nil {
				return err
			}
		}
		if _, err := x.SetTaskStatus(s.ID, t.ID, m.Status); err != nil {
			return err
		}
		s = w.Stage(s.ID)
		if s.Ending != stabilize.NotStarted {
			x.Push(complete)
			return nil
		}
		if !m.Status.IsHalt() {
			if err := x.choose(s); err != nil {
				return err
			}
		}
		if m.Status.IsHalt() {
			if err := x.skipRest(s.ID); err != nil {
				return err
			}
			x.Push(complete)
			return nil
		}
		if next := s.TaskAfter(edit); next != nil {
			x.Push(queue.StartTask{OfTask: queue.ToTask(w.ID, s.ID, next.ID)})
		} else {
			x.Push(complete)
		}
		return nil
	})
}

// repeatTasks makes the tasks up to the one with that id afresh and starts the
// first of them.
func (x *Decision) repeatTasks(stageID, taskID string) error {
	s := x.draft.Stage(stageID)
	if s.Ending != stabilize.NotStarted {
		if _, err := x.SetTaskStatus(stageID, taskID, stabilize.Canceled); err != nil {
			return err
		}
		x.Push(queue.CompleteStage{OfStage: queue.ToStage(x.Workflow().ID, stageID)})
		return nil
	}
	last := slices.IndexFunc(s.Tasks, func(t *stabilize.Task) bool { return t.ID == taskID })
	s.Note().Repeated = true
	for i, t := range s.Tasks[:last+1] {
		s.Tasks[i] = &stabilize.Task{ID: x.NewID(), Position: t.Position, Name: t.Name, Type: t.Type, Planned: t.Planned}
	}
	x.Push(queue.StartTask{OfTask: queue.ToTask(x.Workflow().ID, stageID, s.Tasks[0].ID)})
	return nil
}
