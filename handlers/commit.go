package handlers

import (
	"context"
	"errors"
	"slices"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/resilience"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// created records the birth of the workflow and asks for its start. Under a
// concurrency limit the start is decided in the creating commit even without
// the cascade: the place in the line is that of the submission.
func (x *Decision) created() {
	w := x.Workflow()
	x.Record(events.Event{Type: events.WorkflowCreated, To: w.Status}, nil, nil)
	start := queue.StartWorkflow{OfWorkflow: queue.ToWorkflow(w.ID)}
	if w.ConcurrencyKey() != "" && !x.cut[keyOf(start)] {
		x.local = append(x.local, start)
		return
	}
	x.Push(start)
}

// commit makes the decision durable and then acts on it. errAgain asks for
// another try at once; ErrConflict and ErrTransient for one after a while.
func (t *turn) commit(ctx context.Context, x *Decision) error {
	c, replies := t.build(x)
	if c == nil && t.cached && len(replies) > 0 {
		// An answer without a commit was compared with nothing: perhaps another
		// process knows better.
		x.draft.Rollback()
		t.stale = true
		return errAgain
	}
	if c == nil { // nothing to write: only task runs of messages held already
		t.launch(ctx, x, nil)
		return t.done(replies)
	}
	if len(x.events) > 0 && x.draft != nil {
		events.Stamp(x.events, t.id, t.w.CreatedAt, c.Expect+1)
		if t.r.env.LogEvents {
			c.Events = x.events
		}
	}
	born := t.leaseRuns(c)
	err := t.r.env.Commit(ctx, c)
	if err != nil {
		t.box.Unreserve(idsOf(born)...)
		if x.draft != nil {
			x.draft.Rollback()
		}
		return t.refusedCommit(ctx, c, err)
	}
	version := c.Expect + 1
	if x.draft != nil {
		x.draft.Seal(version)
	}
	for _, id := range c.Discard {
		t.box.Cancel(id, cause(x))
	}
	for _, in := range t.inputs {
		if in.delivery != nil && !slices.Contains(x.runs, in.delivery) {
			t.box.Settled(in.delivery)
		}
	}
	for i := range c.Messages {
		if at := c.Messages[i].At; !at.IsZero() {
			t.box.WakeAt(at)
		}
	}
	t.launch(ctx, x, born)
	if len(x.events) > 0 {
		t.record(ctx, x.events)
	}
	if t.r.env.Ended != nil && t.w != nil && t.w.Status.IsComplete() {
		t.r.cache.put(t.id, nil) // first: whoever begins to wait now must look
		t.r.env.Ended(t.w)
	}
	return t.done(replies)
}

// cause is what discarded runs are told.
func cause(x *Decision) error {
	if x.cause != nil {
		return x.cause
	}
	return stabilize.ErrCanceled
}

// record tells the recorder; its panic is its own affair.
func (t *turn) record(ctx context.Context, evs []events.Event) {
	err := resilience.Guard(func() error { t.r.env.Recorder.Record(ctx, evs); return nil })
	if err != nil {
		t.r.env.Logger.Error("recording events", "workflow", t.id, "error", err)
	}
}

// done ends the turn.
func (t *turn) done(replies []*Request) error {
	t.r.cache.put(t.id, t.w)
	t.w, t.inputs = nil, nil
	for _, req := range replies {
		req.Done <- nil
	}
	return nil
}

// build makes the commit of a decision; nil if there is nothing to write.
func (t *turn) build(x *Decision) (*persistence.Commit, []*Request) {
	c := &persistence.Commit{WorkflowID: t.id, Messages: x.out, Discard: x.discarded, Admission: x.admission}
	var replies []*Request
	for _, in := range t.inputs {
		switch {
		case in.request != nil:
			replies = append(replies, in.request)
		case !slices.Contains(x.runs, in.delivery):
			c.Handled = append(c.Handled, in.delivery.Receipt())
		}
	}
	if x.draft == nil {
		if len(c.Handled)+len(c.Messages) == 0 {
			return nil, replies
		}
		return c, replies
	}
	c.Expect = t.w.Version
	c.Header, c.Stages, c.Removed = x.draft.Changes()
	if t.w.Version == 0 {
		c.Header, c.Stages = &t.w.Header, t.w.Stages
	} else if c.Header == nil && len(c.Stages)+len(c.Removed)+len(c.Handled)+len(c.Messages)+len(c.Discard) == 0 && c.Admission == nil {
		return nil, replies
	}
	return c, replies
}

// bornRun is a task run whose message the commit stores leased to this worker.
type bornRun struct {
	out   *queue.Outgoing
	token string
}

// leaseRuns leases as many of the commit's immediate task runs to this worker
// as it has room for.
func (t *turn) leaseRuns(c *persistence.Commit) []bornRun {
	var due []*queue.Outgoing
	for i := range c.Messages {
		if m := &c.Messages[i]; m.At.IsZero() && m.ID != "" && queue.LaneOf(m.Message) == queue.Work {
			due = append(due, m)
		}
	}
	born := make([]bornRun, t.box.Reserve(len(due)))
	for i := range born {
		token := t.r.env.IDs.New()
		due[i].Lease = &queue.Lease{Worker: t.box.Worker(), Token: token}
		born[i] = bornRun{due[i], token}
	}
	t.box.Expect(idsOf(born)...)
	return born
}

func idsOf(born []bornRun) []string {
	ids := make([]string, len(born))
	for i, b := range born {
		ids[i] = b.out.ID
	}
	return ids
}

// launch starts the task runs that the decision asked for.
func (t *turn) launch(ctx context.Context, x *Decision, born []bornRun) {
	for _, b := range born {
		max := b.out.MaxAttempts
		if max == 0 {
			max = queue.DefaultMaxAttempts
		}
		d := &queue.Delivery{
			ID: b.out.ID, Token: b.token, Message: b.out.Message,
			Due: x.now, CreatedAt: x.now, Attempts: 1, MaxAttempts: max,
		}
		if run := t.prepare(d); run != nil {
			t.box.Adopt(d, run)
		} else { // gone by a later message of the same batch
			t.box.Unreserve(d.ID)
		}
	}
	for _, d := range x.runs {
		if run := t.prepare(d); run != nil {
			t.box.Run(d, run)
		} else { // gone by a later message of the same batch
			t.box.Return(ctx, d)
		}
	}
}

// refusedCommit decides how to go on after a commit that changed nothing.
func (t *turn) refusedCommit(ctx context.Context, c *persistence.Commit, err error) error {
	if lost, ok := errors.AsType[*stabilize.LeaseLostError](err); ok {
		// Another worker has that message now: decide without it.
		before := len(t.inputs)
		t.inputs = slices.DeleteFunc(t.inputs, func(in *input) bool {
			mine := in.delivery != nil && in.delivery.ID == lost.ID
			if mine {
				t.box.Settled(in.delivery)
			}
			return mine
		})
		if len(t.inputs) == before {
			return stabilize.Transient(err) // none of ours: nothing to leave out
		}
		t.forget()
		return errAgain
	}
	switch {
	case errors.Is(err, stabilize.ErrNoPlace), errors.Is(err, stabilize.ErrPlaceFree):
		t.refused = err
		return errAgain
	case errors.Is(err, stabilize.ErrConflict):
		t.stale = true
		return err
	case errors.Is(err, stabilize.ErrUnknownOutcome) && t.r.guest:
		return err // nobody tries again
	case errors.Is(err, stabilize.ErrUnknownOutcome):
		// If it was applied, the version and the leases refuse it now.
		t.stale = true
		return stabilize.Transient(err)
	case errors.Is(err, stabilize.ErrNotFound) && c.Expect > 0:
		t.w = nil
		return errAgain
	case errors.Is(err, stabilize.ErrExists) && c.Expect == 0 && t.inputs[0].request == nil:
		t.w = nil // another was faster to make it
		return errAgain
	case errors.Is(err, stabilize.ErrExists) && c.Expect == 0 && t.id != "":
		t.w = nil
		t.fail(ctx, t.inputs[0], err)
		return errAgain
	case errors.Is(err, stabilize.ErrTransient), errors.Is(err, stabilize.ErrClosed), ctx.Err() != nil:
		return err
	}
	if t.cached { // perhaps it is another workflow of that id by now
		t.forget()
		return errAgain
	}
	// The decision itself cannot be stored: too large, or against a rule. Find
	// whose fault it is by deciding one input at a time.
	if len(t.inputs) > 1 {
		rest := t.inputs[1:]
		t.inputs = t.inputs[:1]
		if again := t.try(ctx); again != nil {
			t.inputs = append(t.inputs, rest...)
			return again
		}
		t.inputs = rest
		return errAgain
	}
	in := t.inputs[0]
	if in.answer != nil && in.answer.failed == nil {
		// What the task answered cannot be stored: that is its failure.
		in.answer = &answer{failed: &failed{text: errorText(err), code: stabilize.CodeInvalidResult}}
		return errAgain
	}
	t.fail(ctx, in, err)
	return errAgain
}
