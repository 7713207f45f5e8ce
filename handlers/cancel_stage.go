package handlers

import (
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// CancelStage promises: a stage that has not ended ends CANCELED, with all of
// its family and tasks: running code is told through its context, waits and
// pending retries end, on-cancel and cleanup hooks run before it ends. Withdrawn,
// the workflow goes on without it (pattern 19; in the reference it hangs), and a
// stage that was declared to follow its cancelling starts.
func CancelStage() Handler { return Handle(cancelStage) }

func cancelStage(x *Decision, m queue.CancelStage) error {
	return x.WithStage(m, func(s *stabilize.Stage) error {
		if s.Status.IsComplete() && x.Requested() {
			return &stabilize.TransitionError{Kind: "stage", ID: s.Ref, From: s.Status, To: stabilize.Canceled}
		}
		if err := x.stillTakes(s, stabilize.Canceled, m.Reason); err != nil {
			return err
		}
		if m.Reason == stabilize.ReasonWithdrawn && !s.Status.IsComplete() {
			x.canceledAlone(s.Ref)
		}
		return x.haltStage(s, stabilize.Canceled, m.Reason, nil)
	})
}
