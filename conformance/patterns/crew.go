package patterns

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/faults"
	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// crew is the processes that work on the data of a cell. One that dies is
// replaced by another at once. Locks are channels, so that time in a bubble goes
// on while somebody waits for one.
type crew struct {
	t       conformance.T
	backend backend
	options []engine.Option
	tasks   map[string]stabilize.TaskType
	depth   int // of workflows that start workflows; 0: the default

	life  chan struct{} // held by who starts or ends processes
	mu    sync.Mutex
	procs []*process
	first *process // whose commits are counted
	over  chan struct{}
	watch sync.WaitGroup
}

// process is an engine on a handle of its own.
type process struct {
	engine   *engine.Engine
	store    faults.Store
	stop     context.CancelFunc
	ended    chan error
	replaced chan struct{} // closed when another has taken its place
}

func newCrew(t conformance.T, b backend) *crew {
	return &crew{
		t: t, backend: b, tasks: map[string]stabilize.TaskType{},
		life: make(chan struct{}, 1), over: make(chan struct{}),
	}
}

// begin starts the processes of a cell; only the first meets its crash.
func (c *crew) begin(at cell, numbers engine.Config, record events.RecorderFunc) {
	numbers.Concurrency, numbers.MaxDepth = max(1, at.workers, at.least), c.depth
	processes := 1
	if at.workers > 1 {
		processes, numbers.Concurrency = 2, max(1, at.workers/2, at.least)
	}
	c.options = []engine.Option{
		engine.WithConfig(numbers), engine.WithRecorder(record), engine.WithLogger(slog.New(slog.DiscardHandler)),
	}
	if !at.cascade {
		c.options = append(c.options, engine.WithoutCascade())
	}
	for i := range processes {
		plan := at.plan
		if i > 0 {
			plan.Crash = faults.Crash{}
			plan.Seed += 1000
		}
		c.procs = append(c.procs, c.spawn(plan))
	}
	c.first = c.procs[0]
	for i, p := range c.procs {
		c.guard(i, p, at.plan)
	}
}

func (c *crew) spawn(plan faults.Plan) *process {
	plan.Panicked = func(value any, stack []byte) { c.t.Errorf("the store panicked: %v\n%s", value, stack) }
	p := &process{store: faults.Wrap(c.backend.Open(), plan), replaced: make(chan struct{})}
	var err error
	if p.engine, err = engine.New(p.store, c.options...); err != nil {
		c.t.Fatalf("making an engine: %v", err)
	}
	for name, task := range c.tasks {
		if err := p.engine.RegisterTask(name, task); err != nil {
			c.t.Fatalf("registering task %s: %v", name, err)
		}
	}
	p.run()
	return p
}

func (p *process) run() {
	ctx, cancel := context.WithCancel(context.Background())
	p.stop, p.ended = cancel, make(chan error, 1)
	go func() { p.ended <- p.engine.Run(ctx) }()
}

// halt ends the process's work as a kill would: nothing is waited for.
func (p *process) halt() error {
	hard, cancel := context.WithCancel(context.Background())
	cancel()
	p.engine.Stop(hard)
	p.stop()
	return <-p.ended
}

func (p *process) dead() bool {
	select {
	case <-p.store.Died():
		return true
	default:
		return false
	}
}

// guard replaces a process when it dies.
func (c *crew) guard(i int, p *process, plan faults.Plan) {
	c.watch.Add(1)
	go func() {
		defer c.watch.Done()
		select {
		case <-c.over:
			return
		case <-p.store.Died():
		}
		c.life <- struct{}{}
		defer func() { <-c.life }()
		if c.procs[i] == p {
			c.replace(i, plan)
		}
	}()
}

// replace ends a process and puts another, which knows nothing, in its place.
func (c *crew) replace(i int, plan faults.Plan) *process {
	p := c.procs[i]
	c.bury(p)
	plan.Crash = faults.Crash{}
	plan.Seed++
	next := c.spawn(plan)
	c.mu.Lock()
	c.procs[i] = next
	c.mu.Unlock()
	close(p.replaced)
	return next
}

// kill ends all processes as if they died in the midst of what they do; others
// take their places, which meet no crash.
func (c *crew) kill(plan faults.Plan) {
	c.life <- struct{}{}
	defer func() { <-c.life }()
	for i := range c.procs {
		c.guard(i, c.replace(i, plan), plan)
	}
}

// bury ends a process for good.
func (c *crew) bury(p *process) {
	ran := p.halt()
	if errors.Is(ran, context.Canceled) || p.dead() && errors.Is(ran, stabilize.ErrClosed) {
		ran = nil // it was ended before it had begun
	}
	if err := errors.Join(ran, p.engine.Close(), c.backend.Done(p.store)); err != nil {
		c.t.Errorf("stopping a process: %v", err)
	}
}

// close ends all processes.
func (c *crew) close() {
	close(c.over)
	c.watch.Wait()
	for _, p := range c.procs {
		c.bury(p)
	}
}

// hibernate ends the work of all processes, waits, and has them work again.
func (c *crew) hibernate(wait func()) {
	c.life <- struct{}{}
	defer func() { <-c.life }()
	var asleep []*process
	for _, p := range c.procs {
		if p.dead() {
			continue
		}
		asleep = append(asleep, p)
		if err := p.halt(); err != nil && !errors.Is(err, context.Canceled) && !p.dead() {
			c.t.Errorf("stopping a process for a while: %v", err)
		}
	}
	wait()
	for _, p := range asleep {
		p.run()
	}
}

func (c *crew) speaker() *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.procs[0]
}

// ask has the first process do something, again if it died of it. Then what the
// first try did may be in the data already: again says so.
func (c *crew) ask(do func(e *engine.Engine, again bool) error) error {
	for again := false; ; again = true {
		p := c.speaker()
		err := do(p.engine, again)
		if err == nil || !p.dead() {
			return err
		}
		<-p.replaced
	}
}

// commits returns how many commits the first process made.
func (c *crew) commits() int { return c.first.store.Commits() }
