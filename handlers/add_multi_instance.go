package handlers

import (
	"fmt"
	"slices"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// AddMultiInstance promises: an instance that is added is waited for, as one of
// those that were there from the start; a key adds one instance, however often it
// comes; once the stage is closed or complete the instance is refused, never
// accepted and lost (pattern 15; in the reference it runs after its parent and
// nothing waits for it).
func AddMultiInstance() Handler { return Handle(addMultiInstance) }

func addMultiInstance(x *Decision, m queue.AddMultiInstance) error {
	return x.WithStage(m, func(s *stabilize.Stage) error {
		refuse := func(class error, why string) error {
			if x.Requested() {
				return fmt.Errorf("adding an instance to stage %q, which %s: %w", s.Ref, why, class)
			}
			x.Logger().Warn("an instance was refused", "stage", s.Ref, "key", m.Key, "reason", why)
			return nil
		}
		switch rules := s.Declared(); {
		case rules.Multi == nil || !rules.Multi.Open:
			return refuse(stabilize.ErrInvalidTransition, "takes none")
		case m.Key != "" && slices.Contains(instanceKeys(s), m.Key):
			return nil
		case s.Status == stabilize.NotStarted:
			return refuse(stabilize.ErrInvalidTransition, "has not begun")
		case s.Status.IsComplete() || s.Ending != stabilize.NotStarted || s.State.Multi.Closed || x.Workflow().Halting():
			return refuse(stabilize.ErrInstancesClosed, "is closed")
		}
		if err := m.Context.Check("instance context"); err != nil {
			return err
		}
		s = x.draft.Stage(s.ID)
		if s.State.Multi.Total >= maxInstances {
			return refuse(stabilize.ErrTooLarge, fmt.Sprintf("has %d instances", maxInstances))
		}
		if m.Key != "" {
			s.State.Multi.Keys = append(s.State.Multi.Keys, m.Key)
		}
		if err := x.addInstance(s, m.Context); err != nil {
			return err
		}
		x.startInstances(s)
		return nil
	})
}

func instanceKeys(s *stabilize.Stage) []string {
	if s.State == nil || s.State.Multi == nil {
		return nil
	}
	return s.State.Multi.Keys
}
