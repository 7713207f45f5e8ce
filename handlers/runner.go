package handlers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/resilience"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Runner is the queue.Handler that makes decisions: it takes the snapshot, lets
// everything that waits in a mailbox be decided on it, commits once, and starts
// the task runs that came of it. Safe for concurrent use.
type Runner struct {
	env   *Env
	cache *cache
	guest bool // the store is within a caller's transaction
}

// NewRunner makes a Runner; the error is ErrInvalid.
func NewRunner(env Env) (*Runner, error) {
	full, err := env.Defaults()
	if err != nil {
		return nil, err
	}
	return &Runner{env: full, cache: newCache(full.CacheSize)}, nil
}

// Within returns a Runner that decides requests on the store as it is within a
// caller's transaction: it keeps nothing in memory, tells nobody but recorder, and
// begins again only after a conflict; what else is in the way is the transaction's
// trouble. Its Handle is called with a nil Box.
func (r *Runner) Within(store persistence.WorkflowStore, recorder events.Recorder) *Runner {
	env := *r.env
	env.Store, env.Recorder, env.Ended = store, recorder, nil
	env.Commit = func(ctx context.Context, c *persistence.Commit) error {
		return store.CommitBatch(ctx, []*persistence.Commit{c})[0]
	}
	return &Runner{env: &env, cache: newCache(-1), guest: true}
}

// Env returns what the runner works with, defaults filled in. Read it only.
func (r *Runner) Env() *Env { return r.env }

// Knows reports whether this process has decided about the workflow lately and
// saw no end of it.
func (r *Runner) Knows(id string) bool { return r.cache.has(id) }

// Request asks for something outside the queue: a message to be decided at
// once, or, with Create, a new workflow.
type Request struct {
	Message queue.Message
	Create  *stabilize.Workflow
	// Answer is what the handler answered; set before Done receives nil.
	Answer any
	// Done receives what became of it; give it room for one.
	Done chan error
}

// input is one item being decided.
type input struct {
	delivery *queue.Delivery
	answer   *answer
	request  *Request
}

func (in *input) message() queue.Message {
	if in.delivery != nil {
		return in.delivery.Message
	}
	return in.request.Message
}

// Handle implements queue.Handler. Without a processor it may be called with a
// nil Box and requests only.
func (r *Runner) Handle(ctx context.Context, box *queue.Box, items []queue.Item) {
	inputs := make([]*input, len(items))
	for i, it := range items {
		in := &input{delivery: it.Delivery}
		switch v := it.Value.(type) {
		case *answer:
			in.answer = v
		case queue.Exited:
			in.answer = exited()
		case *Request:
			in.request = v
		}
		inputs[i] = in
	}
	id := r.workflowOf(inputs[0])
	ctx, span := r.env.span(ctx, "stabilize.decide", func() []attribute.KeyValue {
		return []attribute.KeyValue{attribute.String("stabilize.workflow.id", id), attribute.Int("stabilize.items", len(inputs))}
	})
	defer span.End()
	r.decide(ctx, box, id, inputs)
}

func (r *Runner) workflowOf(in *input) string {
	if in.request != nil && in.request.Create != nil {
		return in.request.Create.ID
	}
	return queue.WorkflowOf(in.message())
}

// decide brings the inputs to an end: committed, given back, or answered.
func (r *Runner) decide(ctx context.Context, box *queue.Box, id string, inputs []*input) {
	t := &turn{r: r, box: box, id: id, inputs: inputs}
	err := retryOn(ctx, r.env.Clock, r.env.Conflicts, r.passing(), t.try)
	if err == nil {
		return
	}
	r.cache.put(id, nil)
	// Nobody is at fault: the inputs go back without counting an attempt.
	for _, in := range t.inputs {
		if in.request != nil {
			in.request.Done <- err
			continue
		}
		if ctx.Err() == nil {
			r.env.Logger.Error("deciding", "workflow", id, "message", in.message().Kind(), "error", err)
		}
		box.Return(ctx, in.delivery)
	}
}

// passing are the errors after which a decision is made again.
func (r *Runner) passing() []error {
	if r.guest {
		return []error{stabilize.ErrConflict}
	}
	return concurrencyErrors()
}

// turn is the decision of one batch of inputs, over all its tries.
type turn struct {
	r       *Runner
	box     *queue.Box
	id      string
	inputs  []*input
	w       *stabilize.Workflow
	stale   bool              // w must be refreshed
	cached  bool              // w was never compared with the store
	again   int               // tries that began at once
	refused error             // why the last try was not admitted
	cut     map[followUp]bool // follow-ups that failed and go through the queue
}

// maxAgain is how many tries may follow each other at once.
const maxAgain = 32

// errAgain asks for another try at once with fewer inputs or another course; it
// is a conflict with oneself.
var errAgain = fmt.Errorf("decide again: %w", stabilize.ErrConflict)

// try makes one decision and commits it.
func (t *turn) try(ctx context.Context) error {
	for {
		if len(t.inputs) == 0 {
			t.r.cache.put(t.id, t.w)
			return nil
		}
		if err := t.snapshot(ctx); err != nil {
			return err
		}
		if len(t.inputs) == 0 {
			continue
		}
		x, culprit, err := t.decideAll(ctx)
		if err != nil {
			if x.draft != nil {
				x.draft.Rollback()
			}
			if t.cached { // perhaps it is not the message but the snapshot
				t.stale = true
				continue
			}
			if culprit != nil && (errors.Is(err, stabilize.ErrTransient) || errors.Is(err, stabilize.ErrClosed) || ctx.Err() != nil) {
				return err // the store's trouble, not the message's
			}
			t.fail(ctx, culprit, err)
			continue
		}
		err = t.commit(ctx, x)
		if !errors.Is(err, errAgain) {
			return err
		}
		if t.again++; t.again%maxAgain == 0 {
			return err // and try again after a while
		}
	}
}

// snapshot makes sure that t.w is there and as new as known.
func (t *turn) snapshot(ctx context.Context) error {
	if t.id == "" || t.w != nil && !t.stale {
		return nil
	}
	var err error
	if t.w == nil {
		sent := t.takeDelivered()
		if t.w = cmp.Or(t.r.cache.take(t.id), sent); t.w != nil {
			t.cached = true
			return nil
		}
		if t.takeCreate() {
			return nil
		}
		t.w, err = t.r.env.Store.Load(ctx, t.id)
	} else {
		t.w, err = refresh(ctx, t.r.env.Store, t.w)
	}
	t.stale, t.cached = false, false
	switch {
	case err == nil:
		return nil
	case errors.Is(err, stabilize.ErrNotFound):
		if t.w = nil; !t.takeCreate() && !t.creates() {
			t.missing(ctx, err)
		}
		return nil
	case errors.Is(err, stabilize.ErrCorrupt):
		t.w = nil
		for len(t.inputs) > 0 {
			t.fail(ctx, t.inputs[0], err)
		}
		return nil
	default:
		return err
	}
}

// takeDelivered returns the workflow that came along with one of the messages, as if
// it had been kept here since; else nil.
func (t *turn) takeDelivered() (w *stabilize.Workflow) {
	for _, in := range t.inputs {
		if in.delivery == nil || in.delivery.Workflow == nil {
			continue
		}
		if w == nil {
			w = in.delivery.Workflow
		}
		in.delivery.Workflow = nil // once: it is changed now
	}
	return w
}

// forget lets a snapshot go that was never compared with the store, to load it.
func (t *turn) forget() {
	if t.cached {
		t.w, t.cached = nil, false
	}
}

// takeCreate begins with the workflow that the first input asks to create.
func (t *turn) takeCreate() bool {
	if req := t.inputs[0].request; req != nil && req.Create != nil {
		t.w = req.Create
		return true
	}
	return false
}

// creates begins with the workflow that one of the messages makes, if there is
// none: such a message is decided like any other, on a workflow of version 0.
func (t *turn) creates() bool {
	for _, in := range t.inputs {
		if in.delivery == nil {
			continue
		}
		if c, ok := in.delivery.Message.(interface {
			Creates(time.Time) *stabilize.Workflow
		}); ok {
			t.w = c.Creates(t.r.env.Clock.Now())
			return true
		}
	}
	return false
}

// missing answers inputs for a workflow that does not exist.
func (t *turn) missing(ctx context.Context, err error) {
	for _, in := range t.inputs {
		if in.request != nil {
			in.request.Done <- err
			continue
		}
		marker := queue.InvalidWorkflowID{OfWorkflow: queue.ToWorkflow(t.id), Handling: in.message().Kind()}
		x := &Decision{env: t.r.env, now: t.r.env.Clock.Now(), current: marker}
		if h, err := t.r.env.Handlers.For(marker.Kind()); err == nil {
			if err := resilience.Guard(func() error { return h.Decide(x, marker) }); err != nil {
				t.r.env.Logger.Error("deciding", "message", marker.Kind(), "error", err)
			}
		}
		if err := t.r.env.Commit(ctx, &persistence.Commit{Handled: []queue.Receipt{in.delivery.Receipt()}, Messages: unanswered(in.message())}); err != nil {
			t.r.env.Logger.Warn("acknowledging a message of a missing workflow", "message", in.delivery.ID, "error", err)
		}
		t.box.Settled(in.delivery)
	}
	t.inputs = nil
}

// decideAll decides every input and its follow-ups on one draft. On an error
// culprit is the input at fault; nil means a follow-up was, and was cut.
func (t *turn) decideAll(ctx context.Context) (x *Decision, culprit *input, err error) {
	x = &Decision{env: t.r.env, now: t.r.env.Clock.Now(), refused: t.refused, cut: t.cut}
	if t.w != nil {
		x.draft = stabilize.NewDraft(t.w)
	}
	for _, in := range t.inputs {
		if req := in.request; req != nil && req.Create != nil {
			if req.Create != t.w || t.w.Version != 0 {
				return x, in, &stabilize.ExistsError{Kind: "workflow", ID: t.id}
			}
			for _, s := range t.w.Stages {
				if err := t.r.env.checkRoom(s); err != nil {
					return x, in, err
				}
			}
			x.current, x.by = queue.StartWorkflow{OfWorkflow: queue.ToWorkflow(t.id)}, t.w.Trigger.User
			x.created()
		} else if err := t.decideOne(ctx, x, in); err != nil {
			return x, in, err
		}
		for len(x.local) > 0 {
			m := x.local[0]
			x.local = x.local[1:]
			x.delivery, x.answer, x.request = nil, nil, nil
			if err := t.call(x, m); err != nil {
				if t.cut == nil {
					t.cut = map[followUp]bool{}
				}
				t.cut[keyOf(m)] = true
				t.r.env.Logger.Warn("a follow-up failed and goes through the queue", "workflow", t.id, "message", m.Kind(), "error", err)
				return x, nil, err
			}
		}
	}
	return x, nil, nil
}

func (t *turn) decideOne(ctx context.Context, x *Decision, in *input) error {
	x.delivery, x.answer, x.request = in.delivery, in.answer, in.request
	m := in.message()
	x.by = queue.UserOf(m)
	if k, ok := m.(interface{ AdmissionKey() string }); ok && x.places == nil {
		places, err := t.r.env.Store.Admissions(ctx, k.AdmissionKey())
		if err != nil {
			return err
		}
		x.places = &places
	}
	return t.call(x, m)
}

// call runs the handler of one message; a panic is an error.
func (t *turn) call(x *Decision, m queue.Message) error {
	h, err := t.r.env.Handlers.For(m.Kind())
	if err != nil {
		return err
	}
	x.current = m
	return resilience.Guard(func() error { return h.Decide(x, m) })
}

// fail takes an input out of the turn: a message goes back to the queue with
// the error, or to the dead letters when its attempts are used up; a request
// gets the error. A nil culprit only means another try.
func (t *turn) fail(ctx context.Context, culprit *input, err error) {
	if culprit == nil {
		return
	}
	t.inputs = slices.DeleteFunc(t.inputs, func(in *input) bool { return in == culprit })
	if culprit.request != nil && culprit.request.Create != nil && culprit.request.Create == t.w {
		t.w = nil // it was not created
	}
	if culprit.request != nil {
		culprit.request.Done <- err
		return
	}
	d := culprit.delivery
	t.r.env.Logger.Error("handling a message", "workflow", t.id, "message", d.Message.Kind(), "attempt", d.Attempts, "error", err)
	var at time.Time
	if d.Attempts < d.MaxAttempts {
		at = t.r.env.Clock.Now().Add(t.r.env.Redelivery.Delay(d.Attempts))
	}
	t.box.Release(ctx, d, at, err)
}

// refresh brings w up to date, reading only what changed where the store can.
func refresh(ctx context.Context, store persistence.WorkflowStore, w *stabilize.Workflow) (*stabilize.Workflow, error) {
	r, ok := store.(persistence.Refresher)
	if !ok || w.Version == 0 {
		return store.Load(ctx, w.ID)
	}
	delta, err := r.Refresh(ctx, w.ID, w.Version)
	if err != nil {
		return nil, err
	}
	fresh := &stabilize.Workflow{Header: delta.Header}
	if delta.Whole {
		fresh.Stages = delta.Stages
	} else {
		fresh.Stages = slices.Clone(w.Stages)
		for _, s := range delta.Stages {
			i, found := slices.BinarySearchFunc(fresh.Stages, s.Position, func(a *stabilize.Stage, p int) int { return a.Position - p })
			if found {
				fresh.Stages[i] = s
			} else {
				fresh.Stages = slices.Insert(fresh.Stages, i, s)
			}
		}
	}
	fresh.Index()
	return fresh, nil
}
