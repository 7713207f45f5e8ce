package handlers

import (
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// PauseStage promises: no further task of the stage or of its synthetic stages
// starts until it is resumed; the rest of the workflow goes on (Orca's
// PauseStageHandler). Its time stands still.
func PauseStage() Handler { return Handle(pauseStage) }

func pauseStage(x *Decision, m queue.PauseStage) error {
	return x.WithStage(m, func(s *stabilize.Stage) error {
		if !s.Status.IsActive() || s.Ending != stabilize.NotStarted || !s.Known().PausedAt.IsZero() {
			if x.Requested() {
				return &stabilize.TransitionError{Kind: "stage", ID: s.Ref, From: s.Status, To: stabilize.Paused}
			}
			return nil
		}
		return x.parkStage(s)
	})
}

// parkStage pauses a stage and the synthetic stages in it.
func (x *Decision) parkStage(s *stabilize.Stage) error {
	edit := x.draft.Stage(s.ID)
	edit.Note().PausedAt = stabilize.Instant(x.now)
	if w := x.Workflow(); w.Status == stabilize.Paused && w.Pause != nil { // it has stood still since then
		edit.State.PausedAt = w.Pause.At
		if s.StartedAt.After(w.Pause.At) {
			edit.State.PausedAt = s.StartedAt
		}
	}
	if s.Status == stabilize.Suspended { // what waits for a signal goes on waiting
		if _, err := x.SetStageStatus(s.ID, stabilize.Running); err != nil {
			return err
		}
	}
	if _, err := x.SetStageStatus(s.ID, stabilize.Paused); err != nil {
		return err
	}
	for _, c := range x.Workflow().Children(s, stabilize.NoOwner) {
		if c.Status.IsActive() && c.Ending == stabilize.NotStarted && c.Known().PausedAt.IsZero() {
			if err := x.parkStage(c); err != nil {
				return err
			}
		}
	}
	return nil
}
