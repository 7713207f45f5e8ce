package handlers

import (
	"time"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// ResumeStage promises: a paused stage goes on where it was, with the synthetic
// stages in it; the time in between is not charged to its timeout.
func ResumeStage() Handler { return Handle(resumeStage) }

func resumeStage(x *Decision, m queue.ResumeStage) error {
	return x.WithStage(m, func(s *stabilize.Stage) error {
		if s.Status != stabilize.Paused || s.Ending != stabilize.NotStarted {
			if x.Requested() {
				return &stabilize.TransitionError{Kind: "stage", ID: s.Ref, From: s.Status, To: stabilize.Running}
			}
			return nil
		}
		return x.unparkStage(s)
	})
}

func (x *Decision) unparkStage(s *stabilize.Stage) error {
	edit := x.draft.Stage(s.ID)
	if at := edit.Known().PausedAt; !at.IsZero() {
		note := edit.Note()
		until := x.now
		if w := x.Workflow(); w.Status == stabilize.Paused && w.Pause != nil && w.Pause.At.Before(until) {
			until = w.Pause.At // from then on it counts as the workflow's pause
		}
		note.Paused += max(0, until.Sub(at))
		note.PausedAt = time.Time{}
		x.armStage(edit)
		x.extendWaits(edit, x.now.Add(-max(0, until.Sub(at))))
	}
	if _, err := x.SetStageStatus(s.ID, stabilize.Running); err != nil {
		return err
	}
	w := x.Workflow()
	for _, c := range w.Children(s, stabilize.NoOwner) {
		if c.Status == stabilize.Paused && c.Ending == stabilize.NotStarted {
			if err := x.unparkStage(c); err != nil {
				return err
			}
		}
	}
	for _, t := range edit.Tasks {
		switch t.Status {
		case stabilize.Paused:
			x.Push(queue.ResumeTask{OfTask: queue.ToTask(w.ID, s.ID, t.ID)})
			return nil
		case stabilize.Suspended:
			if !waitOver(t) {
				_, err := x.SetStageStatus(s.ID, stabilize.Suspended)
				return err
			}
		}
	}
	if w.Status != stabilize.Running {
		return nil
	}
	return x.proceed(edit)
}
