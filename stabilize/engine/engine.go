package engine

import (
	"context"
	"errors"
	"sync"

	"github.com/stabilize-dev/go-stabilize/handlers"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Engine runs workflows on a store. Register task and stage types first, then
// start workflows and run workers, in this process or in others on the same
// data, in any order. After a crash nothing needs to be called: what a dead
// worker held is taken over by any that runs.
//
// What can be asked about workflows (Start, Signal, Cancel and the rest) is listed at
// Requests.
//
// Safe for concurrent use, except that registering must be done before Run and
// Start.
type Engine struct {
	Requests

	cfg      Config
	store    persistence.Store
	owned    bool // opened by Open, so closed by Close
	registry *stabilize.Registry
	runner   *handlers.Runner
	group    *persistence.Group
	waiters  *waiters
	looks    *looks

	mu     sync.Mutex
	proc   *queue.Processor // while Run is under way
	ended  chan struct{}    // closed when that Run has ended
	closed bool
}

// New makes an engine on a store that the caller opened and closes. The error
// is ErrInvalid, naming the setting.
func New(store persistence.Store, opts ...Option) (*Engine, error) {
	if store == nil {
		return nil, stabilize.Invalid("engine store", "is nil")
	}
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	return newEngine(store, cfg, false)
}

// Open makes an engine on a store that it opens, with the engine's messages, ids
// and, if it was given one, clock, and closes with itself: Open(ctx, stores.DSN("sqlite://orders.db")).
// Errors: ErrInvalid, those of the opener.
func Open(ctx context.Context, open persistence.Opener, opts ...Option) (*Engine, error) {
	if open == nil {
		return nil, stabilize.Invalid("engine opener", "is nil")
	}
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	with := persistence.Settings{Clock: cfg.clock, Messages: cfg.messages, IDs: cfg.ids}
	if cfg.ownClock {
		with.Clock = nil
	}
	store, err := open(ctx, with)
	if err != nil {
		return nil, err
	}
	e, err := newEngine(store, cfg, true)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return e, nil
}

func newEngine(store persistence.Store, cfg Config, owned bool) (*Engine, error) {
	if c, ok := store.(persistence.Clocked); ok && cfg.ownClock {
		cfg.clock = c.Clock()
		if cfg.ownIDs {
			cfg.ids = stabilize.NewIDs(cfg.clock, nil)
		}
	}
	e := &Engine{
		cfg: cfg, store: store, owned: owned,
		registry: stabilize.NewRegistry(),
		group:    persistence.NewGroup(store, 0),
		waiters:  newWaiters(),
		looks:    newLooks(store),
	}
	runner, err := handlers.NewRunner(handlers.Env{
		Store: store, Registry: e.registry, Handlers: cfg.handlers, Commit: e.group.Commit,
		Clock: cfg.clock, IDs: cfg.ids, Logger: cfg.logger, Tracer: cfg.tracer,
		Recorder: cfg.recorder, LogEvents: cfg.logEvents, Ended: e.waiters.ended, Interceptors: cfg.around,
		Cascade: !cfg.noCascade, CacheSize: cfg.CacheSize, TaskTimeout: cfg.TaskTimeout, MaxDepth: cfg.MaxDepth,
	})
	if err != nil {
		return nil, err
	}
	e.runner = runner
	e.Requests.e, e.Requests.store, e.Requests.decide = e, store, e.request
	return e, nil
}

// Store returns the store the engine works on.
func (e *Engine) Store() persistence.Store { return e.store }

// Commits returns how many commits the engine has sent in how many batches.
func (e *Engine) Commits() (batches, commits int64) { return e.group.Counts() }

// Run runs workers until ctx ends or Stop is called: it claims messages, runs
// tasks and moves workflows on. It stops gracefully: tasks under way finish and
// their results are committed. One Run at a time; a second is
// ErrInvalidTransition. Errors of the store while running are logged and tried
// again; Run returns one only if it could not begin or end.
func (e *Engine) Run(ctx context.Context) error {
	proc, err := queue.NewProcessor(queue.ProcessorConfig{
		Queue: e.store, Handler: e.runner, Clock: e.cfg.clock, Logger: e.cfg.logger, IDs: e.cfg.ids,
		Concurrency: e.cfg.Concurrency, LeaseTTL: e.cfg.LeaseTTL, MaxPoll: e.cfg.MaxPoll,
	})
	if err != nil {
		return err
	}
	e.mu.Lock()
	switch {
	case e.closed:
		e.mu.Unlock()
		return stabilize.ErrClosed
	case e.proc != nil:
		e.mu.Unlock()
		return errors.Join(stabilize.ErrInvalidTransition, errors.New("the engine is running already"))
	}
	ended := make(chan struct{})
	e.proc, e.ended = proc, ended
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		e.proc = nil
		e.mu.Unlock()
		close(ended)
	}()
	sweep, cancel := context.WithCancel(ctx)
	var sweepers sync.WaitGroup
	sweepers.Go(func() { e.sweepWaiting(sweep) })
	sweepers.Go(func() { e.sweepFinished(sweep) })
	err = proc.Run(ctx)
	cancel()
	sweepers.Wait()
	return err
}

// Stop ends Run gracefully, and hard when ctx ends first: tasks under way are
// told through their contexts and everything is handed back at once. Without a
// Run under way it returns at once.
func (e *Engine) Stop(ctx context.Context) {
	if proc := e.processor(); proc != nil {
		proc.Stop(ctx)
	}
}

func (e *Engine) processor() *queue.Processor {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.proc
}

// Close stops workers, hard after Config.StopTimeout, and closes the store if
// Open opened it. Closing twice is no error.
func (e *Engine) Close() error {
	e.mu.Lock()
	again, ended := e.closed, e.ended
	e.closed = true
	e.mu.Unlock()
	if again {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	timer, stop := e.cfg.clock.Timer(e.cfg.StopTimeout)
	defer stop()
	go func() {
		select {
		case <-timer:
			cancel()
		case <-ctx.Done():
		}
	}()
	e.Stop(ctx)
	if ended != nil {
		<-ended
	}
	e.waiters.close()
	if e.owned {
		return e.store.Close()
	}
	return nil
}
