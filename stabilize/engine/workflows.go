package engine

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"

	"github.com/stabilize-dev/go-stabilize/handlers"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// StartOption changes how a workflow is started.
type StartOption func(*startConfig)

type startConfig struct {
	key     string
	keyed   bool
	unsound bool
}

// WithKey makes the start idempotent: among workflows of the same application
// and name, one key starts one workflow, however often and from wherever Start
// is called.
func WithKey(key string) StartOption { return func(c *startConfig) { c.key, c.keyed = key, true } }

// AllowUnsound starts a workflow even if its graph cannot work as it stands, for
// graphs that only jumps make work; see stabilize.Workflow.Soundness.
func AllowUnsound() StartOption { return func(c *startConfig) { c.unsound = true } }

// Start creates a workflow and returns its id when it is durable. It begins at
// once if this engine runs, else when one on the same data does. With a key
// that was used before it returns the id of the workflow started then. Errors:
// ErrInvalid, naming stage and field, for a spec with a mistake or a type that
// is not registered here, and stabilize.UnsoundError (of the same class) for a
// graph in which something can never work, before anything is stored. What may go
// wrong is logged as a warning.
func (q *Requests) Start(ctx context.Context, spec *stabilize.WorkflowSpec, opts ...StartOption) (string, error) {
	if spec == nil {
		return "", stabilize.Invalid("workflow spec", "is nil")
	}
	var cfg startConfig
	for _, o := range opts {
		o(&cfg)
	}
	w, err := spec.Build(q.e.cfg.ids, q.e.cfg.clock.Now())
	if err != nil {
		return "", fmt.Errorf("starting a workflow: %w", err)
	}
	if err := q.e.registry.Check(w); err != nil {
		return "", fmt.Errorf("starting workflow %q: %w", w.Name, err)
	}
	if err := q.e.checkSound(w, cfg.unsound); err != nil {
		return "", fmt.Errorf("starting workflow %q: %w", w.Name, err)
	}
	if cfg.keyed {
		if cfg.key == "" {
			return "", stabilize.Invalid("key", "is empty")
		}
		if err := stabilize.CheckText("key", cfg.key); err != nil {
			return "", err
		}
		w.Key, w.ID = cfg.key, keyedID(w.Application, w.Name, cfg.key)
	}
	id, name := w.ID, w.Name // w is the runner's from here on, also when ctx ends
	err = q.decide(ctx, id, &handlers.Request{Create: w})
	if errors.Is(err, stabilize.ErrExists) {
		err = nil // by this key; or our own commit, whose reply was lost
	}
	if err != nil {
		return "", fmt.Errorf("starting workflow %q: %w", name, err)
	}
	return id, nil
}

// checkSound refuses a graph that cannot work and logs what may go wrong.
func (e *Engine) checkSound(w *stabilize.Workflow, allow bool) error {
	var refused []stabilize.Finding
	for _, f := range w.Soundness() {
		if f.Severity == stabilize.Refused && !allow {
			refused = append(refused, f)
			continue
		}
		e.cfg.logger.Warn("a workflow that may go wrong", "name", w.Name, "finding", f.String())
	}
	if len(refused) > 0 {
		return &stabilize.UnsoundError{Findings: refused}
	}
	return nil
}

// keyedID is the id that a key stands for.
func keyedID(application, name, key string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s%d:%s%s", len(application), application, len(name), name, key))
	return "K" + base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])[:31]
}

// request has something decided, in the workflow's mailbox if workers run here.
func (e *Engine) request(ctx context.Context, id string, req *handlers.Request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	req.Done = make(chan error, 1)
	if proc := e.processor(); proc == nil || !proc.Submit(ctx, id, req) {
		e.runner.Handle(ctx, nil, []queue.Item{{Value: req}})
	}
	select {
	case err := <-req.Done:
		if errors.Is(err, context.Canceled) && ctx.Err() == nil {
			// It was in the mailbox of a worker that stopped hard.
			req.Done = make(chan error, 1)
			e.runner.Handle(ctx, nil, []queue.Item{{Value: req}})
			return <-req.Done
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Get returns a workflow with all its stages as of now. ErrNotFound. Within a
// transaction of the caller's it keeps others from changing it, as a change does.
func (q *Requests) Get(ctx context.Context, id string) (*stabilize.Workflow, error) {
	return q.store.Load(ctx, id)
}

// List returns workflows' headers by application, configuration, status and
// time, page by page.
func (q *Requests) List(ctx context.Context, query persistence.Query) (persistence.Page, error) {
	return q.store.Query(ctx, query)
}

// Cancel asks a workflow to end. One that has not begun ends at once; in a
// running one, everything under way is told, and Wait returns when it has
// ended. Cancelling again changes nothing: the first user and reason are kept.
// Errors: ErrNotFound, ErrFinished.
func (q *Requests) Cancel(ctx context.Context, id, user, reason string) error {
	return q.ask(ctx, "cancelling", queue.CancelWorkflow{OfWorkflow: queue.ToWorkflow(id), User: user, Reason: reason}, user, reason)
}

// ask has a message decided and waits for its commit.
func (q *Requests) ask(ctx context.Context, doing string, m queue.Addressed, texts ...string) error {
	_, err := q.answer(ctx, doing, m, texts...)
	return err
}

// answer is ask for a message that is answered. The texts are checked first.
func (q *Requests) answer(ctx context.Context, doing string, m queue.Addressed, texts ...string) (any, error) {
	id := m.Workflow()
	fail := func(err error) (any, error) { return nil, fmt.Errorf("%s workflow %q: %w", doing, id, err) }
	if err := stabilize.CheckID("workflow id", id); err != nil {
		return nil, err
	}
	for _, text := range texts {
		if err := stabilize.CheckText("text of the request", text); err != nil {
			return fail(err)
		}
	}
	req := &handlers.Request{Message: m}
	if err := q.decide(ctx, id, req); err != nil {
		return fail(err)
	}
	return req.Answer, nil
}
