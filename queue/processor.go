package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Handler decides what waits in one mailbox.
type Handler interface {
	// Handle is called with everything that waited, in order, by one goroutine at
	// a time per mailbox. It must settle every delivery among the items: by
	// box.Settled after a commit acknowledged it, by box.Release, or by box.Run.
	// A delivery that it leaves is kept leased and never handled again by this
	// process.
	Handle(ctx context.Context, box *Box, items []Item)
}

// Item is one thing waiting in a mailbox.
type Item struct {
	// Delivery is a message; nil for a request.
	Delivery *Delivery
	// Value is nil for a fresh delivery, the answer of its run for one that was
	// given to Box.Run, and the request itself for a request.
	Value any
}

// ProcessorConfig configures a Processor. Queue and Handler are required.
type ProcessorConfig struct {
	Queue   Queue
	Handler Handler
	Clock   stabilize.Clock // nil: SystemClock
	Logger  *slog.Logger    // nil: slog.Default()
	IDs     *stabilize.IDs  // nil: made from Clock

	// Concurrency is how many task runs are under way at once; 0: 100.
	Concurrency int
	// Backlog is how many control messages are taken in at once; 0: four times
	// Concurrency.
	Backlog int
	// LeaseTTL is how long a silent worker keeps its messages; 0: 3 s. A quarter
	// of it is the interval of heartbeats.
	LeaseTTL time.Duration
	// MaxPoll is the longest wait between two claims when nothing tells of new
	// messages; 0: 500 ms. Polling starts at a 16th of it after work was found.
	MaxPoll time.Duration
}

// Processor claims messages and hands each to the mailbox of its workflow, so
// that in one process a workflow is decided by one goroutine at a time and what
// waits is decided together. It claims never more than it has room for, renews
// all its leases with one heartbeat, and stops the work whose lease was lost.
//
// A Processor runs once.
type Processor struct {
	cfg    ProcessorConfig
	worker Worker

	mu       sync.Mutex
	boxes    map[string]*Box
	held     map[string]*holding // by message id
	orphans  map[Receipt]bool    // leased to us, seen in one heartbeat, unknown to us
	expected map[string]bool     // ids of messages that a commit under way leases to us
	workFree int
	ctlFree  int
	leased   bool // the worker has its first lease
	stopping bool
	due      dueTimes
	claiming bool           // a claim is in flight: what it got is not in held yet
	starved  bool           // the last claim left messages behind for want of room
	jobs     sync.WaitGroup // mailboxes being served
	pool     *pool
	idle     chan struct{} // closed when stopping and nothing is left

	wake    chan struct{}
	stop    chan struct{}
	work    context.Context // ends at a hard stop; set by Run
	hard    context.CancelCauseFunc
	stopped chan struct{}
	once    sync.Once
}

// holding is a delivery in our hands.
type holding struct {
	delivery *Delivery
	lane     Lane
	slot     bool                    // counts against room
	handling bool                    // with the Handler: a commit may be settling it now
	cancel   context.CancelCauseFunc // set while its run is under way
}

// NewProcessor checks the configuration; the error is ErrInvalid.
func NewProcessor(cfg ProcessorConfig) (*Processor, error) {
	switch {
	case cfg.Queue == nil:
		return nil, stabilize.Invalid("processor queue", "is nil")
	case cfg.Handler == nil:
		return nil, stabilize.Invalid("processor handler", "is nil")
	case cfg.Concurrency < 0 || cfg.Backlog < 0:
		return nil, stabilize.Invalid("processor concurrency", "is negative")
	case cfg.LeaseTTL < 0 || cfg.MaxPoll < 0:
		return nil, stabilize.Invalid("processor lease TTL or poll interval", "is negative")
	}
	if cfg.Clock == nil {
		cfg.Clock = stabilize.SystemClock{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.IDs == nil {
		cfg.IDs = stabilize.NewIDs(cfg.Clock, nil)
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 100
	}
	if cfg.Backlog == 0 {
		cfg.Backlog = 4 * cfg.Concurrency
	}
	if cfg.LeaseTTL == 0 {
		cfg.LeaseTTL = 3 * time.Second
	}
	if cfg.MaxPoll == 0 {
		cfg.MaxPoll = 500 * time.Millisecond
	}
	return &Processor{
		cfg:    cfg,
		worker: Worker{ID: cfg.IDs.New(), TTL: cfg.LeaseTTL},
		boxes:  map[string]*Box{}, held: map[string]*holding{}, orphans: map[Receipt]bool{}, expected: map[string]bool{},
		workFree: cfg.Concurrency, ctlFree: cfg.Backlog, pool: newPool(),
		idle: make(chan struct{}), wake: make(chan struct{}, 1),
		stop: make(chan struct{}), stopped: make(chan struct{}),
	}, nil
}

// Worker returns the worker id under which the processor holds its leases.
func (p *Processor) Worker() string { return p.worker.ID }

// Run claims and dispatches until Stop, or until ctx ends, which is a graceful
// stop too. It returns when nothing of it runs any more.
func (p *Processor) Run(ctx context.Context) error {
	if !p.begin(ctx) {
		return fmt.Errorf("%w: a Processor runs once", stabilize.ErrInvalidTransition)
	}
	defer close(p.stopped)
	defer p.pool.close()
	work, hard := p.work, p.hard
	defer hard(nil)
	ready := p.worker
	ready.Ready = true
	if _, err := p.cfg.Queue.Heartbeat(work, ready); err != nil {
		if work.Err() != nil { // stopped before it had begun, whatever became of the lease
			err = errors.Join(context.Cause(work), err)
		}
		hard(errStopped)
		p.drain(work)
		p.jobs.Wait()
		return err
	}
	p.mu.Lock()
	p.leased = true
	p.mu.Unlock()
	beats, drained := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(beats)
		p.heartbeats(work, drained)
	}()
	p.claimLoop(ctx, work)
	p.drain(work)
	close(drained)
	<-beats // one that is under way is not broken off: that costs its connection
	hard(nil)
	p.jobs.Wait()
	// The leases end with the worker even if the caller's context has.
	return p.cfg.Queue.Retire(context.WithoutCancel(ctx), p.worker.ID)
}

// begin makes the context of the work, which outlives the caller's: a graceful
// stop lets it finish. False: Run was called before.
func (p *Processor) begin(ctx context.Context) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hard != nil {
		return false
	}
	p.work, p.hard = context.WithCancelCause(context.WithoutCancel(ctx))
	return true
}

// Stop ends the processor: it claims nothing more, lets what runs finish and
// commits the results. If ctx ends first it stops hard: running tasks are
// told through their contexts and everything still held is handed back at
// once. It returns when Run is about to return; without a Run, never before
// ctx ends.
func (p *Processor) Stop(ctx context.Context) {
	p.once.Do(func() { close(p.stop) })
	select {
	case <-p.stopped:
		return
	case <-ctx.Done():
	}
	p.mu.Lock()
	hard := p.hard
	p.mu.Unlock()
	if hard != nil {
		hard(errStopped)
		<-p.stopped
	}
}

// drain waits until nothing is held and no mailbox is busy, or for a hard stop;
// then it hands back what is left.
func (p *Processor) drain(work context.Context) {
	p.mu.Lock()
	p.stopping = true
	p.checkIdle()
	p.mu.Unlock()
	select {
	case <-p.idle:
		return
	case <-work.Done():
	}
	p.mu.Lock()
	left := make([]Receipt, 0, len(p.held))
	for _, h := range p.held {
		left = append(left, h.delivery.Receipt())
	}
	clear(p.held) // nothing of it is begun or answered any more
	p.mu.Unlock()
	for _, r := range left {
		if err := p.cfg.Queue.Return(context.WithoutCancel(work), r); err != nil {
			p.cfg.Logger.Debug("handing back a message at a hard stop", "message", r.ID, "error", err)
		}
	}
}

// checkIdle must be called with mu held whenever something ended.
func (p *Processor) checkIdle() {
	if !p.stopping || len(p.held) > 0 || len(p.boxes) > 0 || p.claiming {
		return
	}
	select {
	case <-p.idle:
	default:
		close(p.idle)
	}
}

// Submit puts a request into a mailbox, between the messages there. The
// Handler gets it as an Item without a Delivery. False: the processor is not
// taking any more.
func (p *Processor) Submit(ctx context.Context, key string, request any) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopping || p.hard == nil {
		return false
	}
	p.post(key, Item{Value: request})
	return true
}

// WakeAt makes the processor claim at that time, which it would else learn of
// by polling.
func (p *Processor) WakeAt(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.due.add(at)
	p.ping()
}

func (p *Processor) ping() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// roomMade must be called with mu held when a place became free: a claim is
// worth its cost only if the last one left something behind.
func (p *Processor) roomMade() {
	if p.starved {
		p.ping()
	}
}

// post must be called with mu held.
func (p *Processor) post(key string, it Item) {
	b := p.boxes[key]
	if b == nil {
		b = &Box{p: p, key: key}
		p.boxes[key] = b
	}
	b.inbox = append(b.inbox, it)
	if !b.busy {
		b.busy = true
		p.jobs.Add(1)
		p.pool.run(b.serve)
	}
}
