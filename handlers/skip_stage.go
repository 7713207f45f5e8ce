package handlers

import (
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// SkipStage promises: a stage that has not begun ends SKIPPED with the reason,
// its tasks too, and the flow moves on: past a disabled stage with live tokens,
// past a dead one with dead tokens, so that a skip travels down its branch.
func SkipStage() Handler { return Handle(skipStage) }

func skipStage(x *Decision, m queue.SkipStage) error {
	return x.WithStage(m, func(s *stabilize.Stage) error {
		if s.Status != stabilize.NotStarted || x.Workflow().Halting() {
			return nil
		}
		reason := m.Reason
		if reason == "" {
			reason = stabilize.ReasonDisabled
		}
		for _, t := range s.Tasks {
			if _, err := x.SetTaskStatus(s.ID, t.ID, stabilize.Skipped); err != nil {
				return err
			}
		}
		return x.EndStage(s.ID, stabilize.Skipped, reason)
	})
}
