package handlers

import (
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// unanswered is what goes out in place of a message to a workflow that does not
// exist (any more): nobody waits for an answer from there.
func unanswered(m queue.Message) []queue.Outgoing {
	switch m := m.(type) {
	case queue.LockGranted:
		return []queue.Outgoing{{Message: lockRelease(m.Key, m.WorkflowID, m.Ticket)}}
	case queue.ReportEnd:
		if m.Asker.WorkflowID == "" { // sent by an earlier version
			return nil
		}
		return []queue.Outgoing{{Message: queue.ChildEnded{
			OfTask: m.Asker, Child: m.WorkflowID, Version: m.Version, Status: stabilize.Terminal,
			Failure: &stabilize.Failure{Code: stabilize.CodeChildFailed, Message: "it does not exist any more"},
		}}}
	}
	return nil
}
