package handlers

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Env is what handlers and their Runner work with. Store and Registry are
// required; Defaults fills in the rest.
type Env struct {
	Store    persistence.WorkflowStore
	Registry *stabilize.Registry
	Handlers *Set
	// Commit applies one commit, normally through a persistence.Group.
	Commit   func(context.Context, *persistence.Commit) error
	Clock    stabilize.Clock
	IDs      *stabilize.IDs
	Logger   *slog.Logger
	Tracer   trace.Tracer // nil: nothing is traced
	Recorder events.Recorder
	// LogEvents stores the events of each commit with it; the store must be a
	// persistence.EventKeeper.
	LogEvents bool
	// Ended is told of a workflow whose end was just committed. It must neither
	// keep nor change it, and be quick; nil: nobody is.
	Ended func(*stabilize.Workflow)

	// Interceptors stand around every task run, the first outermost.
	Interceptors []Interceptor

	protection *protection // of the task types in this process
	unrecorded bool        // nobody wants events: none is put together

	// Cascade decides follow-up messages for the same workflow in memory and
	// commits them together. Without it every message goes through the queue,
	// with the same results.
	Cascade bool
	// CacheSize is how many workflows are kept in memory between decisions; 0
	// means 1,000, negative none.
	CacheSize int
	// PollDelay is the delay after a RUNNING answer when neither answer nor task
	// names one; 0 means one second.
	PollDelay time.Duration
	// TaskTimeout limits each task whose type names no timeout; 0 means
	// none.
	TaskTimeout time.Duration
	// Redelivery is the delay before a message whose handler failed is delivered
	// again, growing with its attempts.
	Redelivery stabilize.Backoff
	// MaxDepth is how many workflows may stand above one that a task starts; 0
	// means DefaultMaxDepth.
	MaxDepth int
	// Expressions evaluates conditions; nil: one is made.
	Expressions *stabilize.Exprs
	// Conflicts bounds the tries after concurrency errors.
	Conflicts ConflictPolicy
}

// Defaults returns env with everything optional filled in. The error is
// ErrInvalid, naming the field.
func (env Env) Defaults() (*Env, error) {
	switch {
	case env.Store == nil:
		return nil, stabilize.Invalid("handlers store", "is nil")
	case env.Registry == nil:
		return nil, stabilize.Invalid("handlers registry", "is nil")
	}
	if env.LogEvents && persistence.EventLogOf(env.Store) == nil {
		return nil, stabilize.Invalid("event log", "is asked for, and the store (%T) keeps no events: it is no persistence.EventKeeper", env.Store)
	}
	for i, around := range env.Interceptors {
		if around == nil {
			return nil, stabilize.Invalid("handlers interceptor", "%d is nil", i)
		}
	}
	env.protection = &protection{}
	if env.Handlers == nil {
		env.Handlers = NewSet()
	}
	if env.Commit == nil {
		env.Commit = persistence.NewGroup(env.Store, 0).Commit
	}
	if env.Clock == nil {
		env.Clock = stabilize.SystemClock{}
	}
	if env.IDs == nil {
		env.IDs = stabilize.NewIDs(env.Clock, nil)
	}
	if env.Logger == nil {
		env.Logger = slog.Default()
	}
	if env.Recorder == nil {
		env.Recorder = events.Nop{}
	}
	_, env.unrecorded = env.Recorder.(events.Nop)
	env.unrecorded = env.unrecorded && !env.LogEvents
	if env.CacheSize == 0 {
		env.CacheSize = 1000
	}
	if env.PollDelay == 0 {
		env.PollDelay = time.Second
	}
	if env.MaxDepth <= 0 {
		env.MaxDepth = DefaultMaxDepth
	}
	if env.Expressions == nil {
		env.Expressions = &stabilize.Exprs{}
	}
	env.Conflicts = env.Conflicts.orDefault()
	return &env, nil
}

// span begins a span; without a tracer it costs nothing.
func (env *Env) span(ctx context.Context, name string, attributes func() []attribute.KeyValue) (context.Context, trace.Span) {
	if env.Tracer == nil {
		return ctx, trace.SpanFromContext(context.Background())
	}
	return env.Tracer.Start(ctx, name, trace.WithAttributes(attributes()...))
}
