package engine

import (
	"context"
	"sync"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/handlers"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/resilience"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Requests is what can be asked about workflows: those of an Engine, or those that
// Engine.Within makes of a transaction of the caller's.
type Requests struct {
	e      *Engine
	store  persistence.WorkflowStore
	decide func(ctx context.Context, id string, req *handlers.Request) error

	mu      sync.Mutex // guards pending
	pending []events.Event
}

// Within returns the requests on the engine's store as it is within a transaction
// of the caller's, such as sqlstore.Store.Within makes of one: what they change is
// committed with the caller's own rows or not at all. Nothing of it is seen by a
// worker, or by the engine's other requests, before the commit, and after a
// rollback nothing of it was ever there; within the transaction one request sees
// what those before it did, so a workflow may be started and signalled in it.
//
// A request that is refused (ErrNotFound, ErrFinished, ErrInvalidTransition,
// ErrInvalid and the rest of those of Requests) leaves the transaction as it was, to
// be committed. ErrTransient means that the whole transaction is to be rolled back
// and run again; the request does not try by itself. What else the transaction owes
// and can expect is said by whoever made the view.
//
// The view must be of the data that the engine works on. Requests are made in the
// caller's goroutine, one at a time; task code does not run in them. A nil view is
// ErrInvalid at each request.
func (e *Engine) Within(view persistence.WorkflowStore) *Requests {
	q := &Requests{e: e, store: view}
	if view == nil {
		q.store = nowhere{}
		q.decide = func(context.Context, string, *handlers.Request) error { return errNowhere() }
		return q
	}
	runner := e.runner.Within(view, events.RecorderFunc(q.record))
	q.decide = func(ctx context.Context, _ string, req *handlers.Request) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		req.Done = make(chan error, 1)
		runner.Handle(ctx, nil, []queue.Item{{Value: req}})
		return <-req.Done
	}
	return q
}

// record keeps what the recorder is told when the transaction has committed.
func (q *Requests) record(_ context.Context, evs []events.Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pending = append(q.pending, evs...)
}

// Committed tells the engine that the caller's transaction was committed: the
// recorder hears of the events, and workers of this process look for work at once.
// It need not be called: without it the recorder misses the events, and work is found
// by notification, where the database has it, or by polling, after Config.MaxPoll at
// the latest. After a rollback it must not be called. The requests of an Engine need
// nothing of the kind.
func (q *Requests) Committed(ctx context.Context) {
	q.mu.Lock()
	evs := q.pending
	q.pending = nil
	q.mu.Unlock()
	if len(evs) > 0 {
		if err := resilience.Guard(func() error { q.e.cfg.recorder.Record(ctx, evs); return nil }); err != nil {
			q.e.cfg.logger.Error("recording events", "error", err)
		}
	}
	if proc := q.e.processor(); proc != nil {
		proc.WakeAt(q.e.cfg.clock.Now())
	}
}

func errNowhere() error { return stabilize.Invalid("engine view", "is nil") }

// nowhere is the store of requests on no view.
type nowhere struct{ persistence.WorkflowStore }

func (nowhere) Load(context.Context, string) (*stabilize.Workflow, error) { return nil, errNowhere() }
func (nowhere) Query(context.Context, persistence.Query) (persistence.Page, error) {
	return persistence.Page{}, errNowhere()
}
