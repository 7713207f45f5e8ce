package engine

import (
	"context"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// The methods below return when what they ask for is durable. They may be called
// from any process on the same data, whether it runs workers or not. Errors of
// all: ErrNotFound for a workflow or stage that does not exist, ErrFinished for a
// workflow that has ended (but for Restart and Retry, which need or allow one),
// ErrInvalidTransition for what the present status does not allow, ErrInvalid.
// A stage is named by its ref and means its latest round; an empty name is
// ErrInvalid. After an error the workflow is as it was.

// SignalOption changes how a signal is sent.
type SignalOption func(*queue.SignalStage)

// ToStage sends the signal to the waits of one stage only.
func ToStage(ref string) SignalOption { return func(m *queue.SignalStage) { m.StageRef = ref } }

// SignalKey makes sending idempotent: in a workflow, one key and name is one
// signal.
func SignalKey(key string) SignalOption { return func(m *queue.SignalStage) { m.Key = key } }

// Transient loses the signal if nobody waits for it now (pattern 23); otherwise
// it is kept until somebody does (pattern 24).
func Transient() SignalOption { return func(m *queue.SignalStage) { m.Persistent = false } }

// Signal sends a signal to the task that waits for its name (see
// stabilize.Suspend), the first in line if several do. It reports whether one
// did. Of several signals of one name the first sent is the first consumed; those
// nobody has consumed are listed in the workflow's Signals.
func (q *Requests) Signal(ctx context.Context, id, name string, data stabilize.Values, opts ...SignalOption) (delivered bool, err error) {
	m := queue.SignalStage{OfStage: queue.ToRef(id, ""), Name: name, Data: data, Persistent: true}
	for _, o := range opts {
		o(&m)
	}
	if name == "" {
		return false, stabilize.Invalid("signal name", "is empty")
	}
	if err := data.Check("signal data"); err != nil {
		return false, err
	}
	answer, err := q.answer(ctx, "signalling", m, name, m.Key, m.StageRef)
	delivered, _ = answer.(bool)
	return delivered, err
}

// Pause keeps a workflow from starting anything until Resume. Code under way
// finishes and its result counts. One that has not begun pauses as it begins.
func (q *Requests) Pause(ctx context.Context, id, user string) error {
	return q.ask(ctx, "pausing", queue.PauseWorkflow{OfWorkflow: queue.ToWorkflow(id), User: user}, user)
}

// Resume lets a paused workflow go on exactly where it was. The time in between
// counts for no timeout.
func (q *Requests) Resume(ctx context.Context, id, user string) error {
	return q.ask(ctx, "resuming", queue.ResumeWorkflow{OfWorkflow: queue.ToWorkflow(id), User: user}, user)
}

// PauseStage pauses one stage, with the synthetic stages in it.
func (q *Requests) PauseStage(ctx context.Context, id, ref string) error {
	return q.askStage(ctx, "pausing a stage of", ref, queue.PauseStage{OfStage: queue.ToRef(id, ref)})
}

// ResumeStage lets a stage go on that PauseStage paused.
func (q *Requests) ResumeStage(ctx context.Context, id, ref string) error {
	return q.askStage(ctx, "resuming a stage of", ref, queue.ResumeStage{OfStage: queue.ToRef(id, ref)})
}

// Restart opens a new round of a stage that has ended and of everything that
// depends on it. A workflow that had ended starts again, under its concurrency
// limit, with new rounds of what failed or was cut short by its end as well; and
// so does the stage of a parent workflow that waited for it. A stage that has not
// ended, and one that a choice passed over, is ErrInvalidTransition.
func (q *Requests) Restart(ctx context.Context, id, ref, user string) error {
	return q.askStage(ctx, "restarting a stage of", ref, queue.RestartStage{OfStage: queue.ToRef(id, ref), User: user}, user)
}

// Retry starts a workflow again that ended other than SUCCEEDED: what succeeded
// in it stays, the rest gets new rounds.
func (q *Requests) Retry(ctx context.Context, id, user string) error {
	return q.ask(ctx, "retrying", queue.RetryWorkflow{OfWorkflow: queue.ToWorkflow(id), User: user}, user)
}

// Skip ends a stage SKIPPED, begun or not, with all that is in it; the workflow
// goes on as if it had run.
func (q *Requests) Skip(ctx context.Context, id, ref string) error {
	return q.askStage(ctx, "skipping a stage of", ref, queue.SkipStage{OfStage: queue.ToRef(id, ref), Manual: true})
}

// Withdraw cancels one stage; the workflow goes on without it: what follows is a
// dead path, but for stages declared with OnCancelOf (patterns 19, 26).
func (q *Requests) Withdraw(ctx context.Context, id, ref string) error {
	return q.askStage(ctx, "withdrawing a stage of", ref, queue.CancelStage{OfStage: queue.ToRef(id, ref), Reason: stabilize.ReasonWithdrawn})
}

// CancelStage cancels one stage and, with it, the workflow, which ends CANCELED.
func (q *Requests) CancelStage(ctx context.Context, id, ref string) error {
	return q.askStage(ctx, "cancelling a stage of", ref, queue.CancelStage{OfStage: queue.ToRef(id, ref), Reason: stabilize.ReasonStageCanceled})
}

// Abort ends one stage TERMINAL with an error; its workflow ends with it.
func (q *Requests) Abort(ctx context.Context, id, ref, why string) error {
	return q.askStage(ctx, "aborting a stage of", ref, queue.AbortStage{OfStage: queue.ToRef(id, ref), Error: why}, why)
}

// CancelRegion withdraws what is live in a cancel region (pattern 25).
func (q *Requests) CancelRegion(ctx context.Context, id, region string) error {
	if region == "" {
		return stabilize.Invalid("region", "is empty")
	}
	return q.ask(ctx, "cancelling a region of", queue.CancelRegion{OfWorkflow: queue.ToWorkflow(id), Region: region}, region)
}

// AddInstance adds an instance to a stage that is open for more, with values over
// the stage's context. One key adds one instance; an empty key always adds.
// ErrInstancesClosed once none can be added.
func (q *Requests) AddInstance(ctx context.Context, id, ref, key string, context stabilize.Values) error {
	return q.askStage(ctx, "adding an instance to a stage of", ref, queue.AddMultiInstance{OfStage: queue.ToRef(id, ref), Key: key, Context: context}, key)
}

// CloseInstances lets no more instances be added to a stage.
func (q *Requests) CloseInstances(ctx context.Context, id, ref string) error {
	return q.askStage(ctx, "closing the instances of a stage of", ref, queue.CloseMultiInstance{OfStage: queue.ToRef(id, ref)})
}

// CompleteInstances completes a stage with the instances that have ended well;
// the rest is withdrawn (pattern 27).
func (q *Requests) CompleteInstances(ctx context.Context, id, ref string) error {
	return q.askStage(ctx, "completing the instances of a stage of", ref, queue.CloseMultiInstance{OfStage: queue.ToRef(id, ref), Complete: true})
}

// Jump ends a stage under way and begins another, as if its task had answered
// with stabilize.JumpTo.
func (q *Requests) Jump(ctx context.Context, id, from, to string, context stabilize.Values) error {
	if to == "" {
		return stabilize.Invalid("target of the jump", "is empty")
	}
	return q.askStage(ctx, "jumping in", from, queue.JumpToStage{OfStage: queue.ToRef(id, from), Target: to, Context: context}, to)
}

// Reschedule runs now what waits in a back-off or between two polls.
func (q *Requests) Reschedule(ctx context.Context, id string) error {
	return q.ask(ctx, "rescheduling", queue.RescheduleWorkflow{OfWorkflow: queue.ToWorkflow(id)})
}

// askStage is ask for a message about the stage with that ref.
func (q *Requests) askStage(ctx context.Context, doing, ref string, m queue.Addressed, texts ...string) error {
	if ref == "" {
		return stabilize.Invalid("stage ref", "is empty")
	}
	return q.ask(ctx, doing, m, append(texts, ref)...)
}

// Send has a message of the caller's own decided by the handler that was added
// for it (see WithHandlers), and returns what the handler answered.
func (q *Requests) Send(ctx context.Context, m queue.Addressed) (answer any, err error) {
	if m == nil {
		return nil, stabilize.Invalid("message", "is nil")
	}
	return q.answer(ctx, "sending "+m.Kind()+" to", m)
}
