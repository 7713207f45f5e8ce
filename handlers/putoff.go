package handlers

import (
	"time"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// putOff sends a run that shall not be done now again, due later. It is neither
// a failure nor a poll; the deliveries that it has used up stay counted.
func (x *Decision) putOff(s *stabilize.Stage, t *stabilize.Task, m queue.RunTask, wait time.Duration, why string) error {
	t = x.draft.Task(s.ID, t.ID)
	t.Run = x.NewID()
	again := queue.Outgoing{ID: t.Run, Message: m, At: x.now.Add(max(wait, stabilize.Precision))}
	if d := x.delivery; d.MaxAttempts > 0 {
		again.MaxAttempts = max(d.MaxAttempts-d.Attempts+1, 1)
	}
	t.Waiting().Due = stabilize.Instant(again.At)
	x.out = append(x.out, again)
	x.recordTask(events.TaskPutOff, s, t, why)
	return nil
}

// quarantine returns how long to put off a run that went down with two workers,
// 0 for others. One of those that went down together killed the worker; each
// alone, it soon kills nobody else's run.
func (x *Decision) quarantine(t *stabilize.Task) time.Duration {
	d := x.delivery
	if d.Attempts < 3 || d.LastError != "" {
		return 0
	}
	used := x.env.deliveries(t.Type, d) - 1
	longest := time.Duration(used) * time.Second
	apart := stabilize.RetryPolicy{Backoff: stabilize.Backoff{Initial: longest, Factor: 1}, Jitter: 1}
	return max(apart.Delay(t.ID, used), stabilize.Precision)
}

// deliveries is how often a run was handed out, with those before it was put off.
func (env *Env) deliveries(taskType string, d *queue.Delivery) int {
	limit := env.deliveryLimit(taskType)
	if limit == 0 {
		limit = queue.DefaultMaxAttempts
	}
	return d.Attempts + max(limit-d.MaxAttempts, 0)
}

// deliveryLimit is the Outgoing.MaxAttempts of the runs of a task type; 0: the
// queue's.
func (env *Env) deliveryLimit(taskType string) int {
	_, powers, err := env.Registry.Task(taskType)
	if err != nil {
		return 0
	}
	return powers.Retry.MaxDeliveries
}
