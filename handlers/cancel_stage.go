package handlers

import (
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// CancelStage promises: a stage that has not ended ends CANCELED, with all of
// its family and tasks: running code is told through its context, waits and
// pending retries end, on-cancel and cleanup hooks run before it ends.
func CancelStage() Handler { return Handle(cancelStage) }

func cancelStage(x *Decision, m queue.CancelStage) error {
	return x.WithStage(m, func(s *stabilize.Stage) error {
		return x.haltStage(s, stabilize.Canceled, m.Reason, nil)
	})
}
