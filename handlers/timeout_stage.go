package handlers

import (
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// TimeoutStage promises: a stage that has run for its Timeout, time paused not
// counted, ends: TERMINAL with TIMEOUT by its failure policy, or SUCCEEDED if it
// was declared so (Orca's stageTimeoutMs and markSuccessfulOnTimeout). What runs
// in it is told through its context.
func TimeoutStage() Handler { return Handle(timeoutStage) }

func timeoutStage(x *Decision, m queue.TimeoutStage) error {
	return x.WithStage(m, func(s *stabilize.Stage) error {
		if !s.Status.IsActive() || s.Known().Timer == "" || s.Known().Timer != x.MessageID() {
			return nil // of a time that was moved
		}
		s = x.draft.Stage(s.ID)
		s.State.Timer = ""
		if s.Ending != stabilize.NotStarted {
			return nil // how it ends is decided
		}
		if x.Workflow().Status == stabilize.Paused || !s.State.PausedAt.IsZero() {
			return nil // resuming sets it anew
		}
		timeout := &stabilize.TimeoutError{What: `stage "` + s.Ref + `"`, After: s.Timeout}
		x.cause = timeout
		if s.Declared().SucceedOnTimeout {
			return x.haltStage(s, stabilize.Succeeded, stabilize.ReasonTimeout, nil)
		}
		return x.haltStage(s, failureStatus(s.OnFailure), "", &stabilize.Failure{Code: stabilize.CodeTimeout, Message: timeout.Error()})
	})
}
