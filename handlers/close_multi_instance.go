package handlers

import (
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// CloseMultiInstance promises: no instance is added any more, so that the stage
// completes when those it has have ended; with Complete it completes at once with
// what has ended well, and the rest is withdrawn (patterns 15, 27, 36).
func CloseMultiInstance() Handler { return Handle(closeMultiInstance) }

func closeMultiInstance(x *Decision, m queue.CloseMultiInstance) error {
	return x.WithStage(m, func(s *stabilize.Stage) error {
		if s.Declared().Multi == nil || s.State == nil || s.State.Multi == nil || s.Status.IsComplete() || s.Ending != stabilize.NotStarted {
			if x.Requested() {
				return stabilize.NotAllowed("closing the instances of stage "+s.Ref, "it has none under way")
			}
			return nil
		}
		s = x.draft.Stage(s.ID)
		s.State.Multi.Closed = true
		if !m.Complete {
			return x.judgeInstances(s, nil)
		}
		s.State.Multi.Met = true
		if err := x.withdrawInstances(s); err != nil {
			return err
		}
		x.Push(queue.CompleteStage{OfStage: queue.ToStage(x.Workflow().ID, s.ID)})
		return nil
	})
}
