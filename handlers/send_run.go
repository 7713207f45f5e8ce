package handlers

import (
	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// sendRun makes the durable RunTask message of a task; the task remembers its id.
func (x *Decision) sendRun(s *stabilize.Stage, t *stabilize.Task, phase stabilize.RunPhase) {
	t.Run, t.Phase = x.NewID(), phase
	t.Prompt()
	x.out = append(x.out, queue.Outgoing{
		ID: t.Run, MaxAttempts: x.env.deliveryLimit(t.Type),
		Message: queue.RunTask{OfTask: queue.ToTask(x.Workflow().ID, s.ID, t.ID), Phase: phase},
	})
}

// sendCleanups sends the cleanup hooks of a stage that is about to end and
// reports whether any is still out.
func (x *Decision) sendCleanups(s *stabilize.Stage) bool {
	open := false
	for _, t := range s.Tasks {
		if t.CleanedUp || t.StartedAt.IsZero() {
			continue
		}
		if t.Phase == stabilize.RunCleanup && t.Run != "" {
			open = true
			continue
		}
		_, powers, err := x.env.Registry.Task(t.Type)
		if err != nil || powers.Cleanup == nil {
			continue
		}
		x.sendRun(s, x.draft.Task(s.ID, t.ID), stabilize.RunCleanup)
		open = true
	}
	return open
}

// recordTask adds an event about a task that keeps its status.
func (x *Decision) recordTask(typ events.Type, s *stabilize.Stage, t *stabilize.Task, reason string) {
	x.Record(events.Event{Type: typ, From: t.Status, To: t.Status, Reason: reason}, s, t)
}
