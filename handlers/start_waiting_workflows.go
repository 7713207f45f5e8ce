package handlers

import (
	"fmt"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// StartWaitingWorkflows promises: when a place under a concurrency limit may
// have become free, as many as there are places start, first in, first out; a
// limit of 0 or less starts all. Purging cancels the rest, with the reference's
// reason (start_waiting_workflows.py).
func StartWaitingWorkflows() Handler { return Handle(startWaitingWorkflows) }

const purgeReason = "Queue purged by keepWaitingPipelines=False policy"

func startWaitingWorkflows(x *Decision, m queue.StartWaitingWorkflows) error {
	if x.places == nil {
		return fmt.Errorf("%w: StartWaitingWorkflows was decided without the waiting list", stabilize.ErrInternal)
	}
	waiting := x.places.Waiting
	free := len(waiting)
	if m.Limit > 0 {
		least := 1 // the first in line is always asked: its own limit may be another
		if m.Purge {
			least = 0 // the next may have been started already
		}
		free = min(free, max(m.Limit-len(x.places.Holding), least))
	}
	for _, id := range waiting[:free] {
		x.Push(queue.StartWorkflow{OfWorkflow: queue.ToWorkflow(id)})
	}
	if m.Purge {
		for _, id := range waiting[free:] {
			x.Push(queue.CancelWorkflow{OfWorkflow: queue.ToWorkflow(id), User: "system", Reason: purgeReason, OnlyWaiting: true})
		}
	}
	return nil
}
