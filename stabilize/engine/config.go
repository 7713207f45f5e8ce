package engine

import (
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/handlers"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/resilience"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Config holds the engine's numbers. The zero value of each means its default.
type Config struct {
	// Concurrency is how many tasks run at once in this process. Default 100.
	Concurrency int `env:"CONCURRENCY,min=1"`
	// LeaseTTL is how long a silent worker keeps its work; a dead worker's work
	// is taken over after this and one poll. Default 3 s.
	LeaseTTL time.Duration `env:"LEASE_TTL,min=100ms"`
	// MaxPoll is the longest wait between two looks for work that nothing told
	// of. Default 500 ms.
	MaxPoll time.Duration `env:"MAX_POLL,min=1ms"`
	// TaskTimeout limits each task whose type names no timeout, as
	// stabilize.WithTimeout does. Default none.
	TaskTimeout time.Duration `env:"TASK_TIMEOUT,min=0s"`
	// StopTimeout is how long Close lets tasks finish. Default 10 s.
	StopTimeout time.Duration `env:"STOP_TIMEOUT,min=0s"`
	// CacheSize is how many workflows are kept in memory. Default 1,000.
	CacheSize int `env:"CACHE_SIZE"`
	// SweepInterval is how often waiting lists are looked at for places whose
	// holder vanished without ending. Default 5 s.
	SweepInterval time.Duration `env:"SWEEP_INTERVAL,min=10ms"`
	// MaxDepth is how many workflows may stand above one that a task starts; one
	// deeper fails the task with DEPTH. Default 100.
	MaxDepth int `env:"MAX_DEPTH,min=1"`

	clock     stabilize.Clock
	ids       *stabilize.IDs
	logger    *slog.Logger
	tracer    trace.Tracer
	recorder  events.Recorder
	messages  *queue.Registry
	handlers  *handlers.Set
	around    []handlers.Interceptor
	noCascade bool
	logEvents bool
	retention Retention

	ownClock, ownIDs bool // not given: the store may have better ones
}

// ConfigFromEnv reads the engine's numbers from the environment, as lookup
// (os.LookupEnv) gives it: STABILIZE_CONCURRENCY, STABILIZE_LEASE_TTL,
// STABILIZE_MAX_POLL, STABILIZE_TASK_TIMEOUT, STABILIZE_STOP_TIMEOUT,
// STABILIZE_CACHE_SIZE, STABILIZE_SWEEP_INTERVAL, STABILIZE_MAX_DEPTH. The error
// names every variable with a mistake and is ErrInvalid.
func ConfigFromEnv(lookup func(string) (string, bool)) (Config, error) {
	var c Config
	err := resilience.Env(lookup, "STABILIZE_", &c)
	return c, err
}

// Option changes how an engine is made.
type Option func(*Config)

// WithConfig sets the engine's numbers.
func WithConfig(c Config) Option {
	return func(cfg *Config) {
		c.clock, c.ids, c.logger, c.tracer, c.recorder = cfg.clock, cfg.ids, cfg.logger, cfg.tracer, cfg.recorder
		c.messages, c.handlers, c.around, c.noCascade, c.retention = cfg.messages, cfg.handlers, cfg.around, cfg.noCascade, cfg.retention
		c.logEvents = cfg.logEvents
		*cfg = c
	}
}

// WithConcurrency sets how many tasks run at once in this process.
func WithConcurrency(n int) Option { return func(c *Config) { c.Concurrency = n } }

// WithClock sets the source of time. The default is the store's, if it tells
// (persistence.Clocked), or the machine's clock.
func WithClock(clock stabilize.Clock) Option { return func(c *Config) { c.clock = clock } }

// WithIDs sets the source of ids.
func WithIDs(ids *stabilize.IDs) Option { return func(c *Config) { c.ids = ids } }

// WithLogger sets the logger; the default is slog.Default().
func WithLogger(l *slog.Logger) Option { return func(c *Config) { c.logger = l } }

// WithTracer traces decisions and task runs.
func WithTracer(t trace.Tracer) Option { return func(c *Config) { c.tracer = t } }

// WithRecorder is told of every event after its commit.
func WithRecorder(r events.Recorder) Option { return func(c *Config) { c.recorder = r } }

// WithEventLog has the store keep the events of every commit, stored with it or not at
// all. They are read through persistence.EventLogOf(e.Store()), are the same as the
// recorder is told, and go with their workflow when it is deleted or pruned. Making an
// engine on a store that keeps none is ErrInvalid. Without this option no event is
// stored; all engines on one store should agree.
func WithEventLog() Option { return func(c *Config) { c.logEvents = true } }

// WithHandlers adds message types and handlers of the caller's own: both must
// hold ours as well, as NewRegistry and NewSet do.
func WithHandlers(messages *queue.Registry, set *handlers.Set) Option {
	return func(c *Config) { c.messages, c.handlers = messages, set }
}

// WithInterceptors puts interceptors around every task run in this process, the
// first outermost, inside those given before.
func WithInterceptors(around ...handlers.Interceptor) Option {
	return func(c *Config) { c.around = append(c.around, around...) }
}

// WithoutCascade sends every message through the queue instead of deciding
// follow-ups in memory. The results are the same; it is slower.
func WithoutCascade() Option { return func(c *Config) { c.noCascade = true } }

func newConfig(opts []Option) (Config, error) {
	var c Config
	for _, o := range opts {
		o(&c)
	}
	for _, n := range []struct {
		field string
		value int64
	}{
		{"concurrency", int64(c.Concurrency)}, {"lease TTL", int64(c.LeaseTTL)}, {"max poll", int64(c.MaxPoll)},
		{"task timeout", int64(c.TaskTimeout)}, {"stop timeout", int64(c.StopTimeout)}, {"sweep interval", int64(c.SweepInterval)},
		{"max depth", int64(c.MaxDepth)},
	} {
		if n.value < 0 {
			return c, stabilize.Invalid("engine "+n.field, "%d is negative", n.value)
		}
	}
	if c.LeaseTTL > 0 && c.LeaseTTL < 100*time.Millisecond || c.MaxPoll > 0 && c.MaxPoll < time.Millisecond {
		return c, stabilize.Invalid("engine lease TTL or max poll", "is shorter than 100ms or 1ms")
	}
	if err := c.retention.complete(); err != nil {
		return c, err
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = 10 * time.Second
	}
	if c.SweepInterval == 0 {
		c.SweepInterval = 5 * time.Second
	}
	c.ownClock, c.ownIDs = c.clock == nil, c.ids == nil
	if c.clock == nil {
		c.clock = stabilize.SystemClock{}
	}
	if c.ids == nil {
		c.ids = stabilize.NewIDs(c.clock, nil)
	}
	if c.logger == nil {
		c.logger = slog.Default()
	}
	if c.recorder == nil {
		c.recorder = events.Nop{}
	}
	if c.messages == nil {
		c.messages = queue.NewRegistry()
	}
	return c, nil
}
