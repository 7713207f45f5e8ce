package handlers

import (
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// AbortStage promises: a stage that has not ended ends TERMINAL with the given
// error, with all that is under way in it (Orca's AbortStageHandler).
func AbortStage() Handler { return Handle(abortStage) }

func abortStage(x *Decision, m queue.AbortStage) error {
	return x.WithStage(m, func(s *stabilize.Stage) error {
		if s.Status.IsComplete() && x.Requested() {
			return &stabilize.TransitionError{Kind: "stage", ID: s.Ref, From: s.Status, To: stabilize.Terminal}
		}
		if s.Ending != stabilize.Canceled { // a failure outranks a cancel
			if err := x.stillTakes(s, stabilize.Terminal, ""); err != nil {
				return err
			}
		}
		code := m.Code
		if code == "" {
			code = stabilize.CodeAborted
		}
		return x.haltStage(s, stabilize.Terminal, "", &stabilize.Failure{Code: code, Message: m.Error})
	})
}
