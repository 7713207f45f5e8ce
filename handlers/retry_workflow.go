package handlers

import (
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// RetryWorkflow promises: a workflow that ended other than well starts again with
// new rounds of all stages that did not end well or did not get to run, and of
// what depends on them; what succeeded stays as it is.
func RetryWorkflow() Handler { return Handle(retryWorkflow) }

func retryWorkflow(x *Decision, m queue.RetryWorkflow) error {
	w := x.Workflow()
	if !w.Status.IsComplete() || w.Status == stabilize.Succeeded {
		if x.Requested() {
			return &stabilize.TransitionError{Kind: "workflow", ID: w.ID, From: w.Status, To: stabilize.NotStarted}
		}
		return nil
	}
	var refs []string
	for _, s := range w.Stages {
		if s.IsSynthetic() || s.Superseded || w.StageByRef(s.Ref) != s {
			continue
		}
		switch {
		case s.Status == stabilize.Stopped && s.Failure == nil: // as it was told to
		case s.Status.IsHalt() && s.Reason != stabilize.ReasonWithdrawn,
			s.Status == stabilize.Skipped && s.Reason == stabilize.ReasonUpstreamHalted,
			s.Status == stabilize.Skipped && s.Failure != nil:
			refs = append(refs, s.Ref)
		}
	}
	return x.restart(refs, m.User)
}
