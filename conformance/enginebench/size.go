package enginebench

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// sizes runs B6. One engine creates the workflows, another, which has to load
// them, runs them; one workflow at a time. Long and short chains take turns, as
// many messages of each.
func (b *bench) sizes(ctx context.Context) (result, error) {
	chains := 5
	if b.opts.workflows > 0 {
		chains = b.opts.workflows
	}
	var long, short sized
	err := b.withStore(ctx, func(store *counted) error {
		s := &sizer{b: b, gate: newGate(b.clock)}
		var err error
		if s.creator, err = b.newEngine(store, s.gate); err != nil {
			return err
		}
		worker, stop, err := b.startEngine(ctx, store, s.gate)
		if err != nil {
			return err
		}
		defer stop()
		s.meter = &meter{b: b, store: store, engines: []*engine.Engine{s.creator, worker}, steps: s.gate.ran}
		var warm sized
		for range b.opts.warmup {
			if err := s.run(ctx, &warm, b.opts.stages, b.opts.stages); err != nil {
				return err
			}
		}
		return b.profiled("B6", func() error {
			for range chains {
				if err := s.run(ctx, &long, b.opts.long, b.opts.messages); err != nil {
					return err
				}
				for done := 0; done < b.opts.messages; done += b.opts.stages {
					if err := s.run(ctx, &short, b.opts.stages, b.opts.stages); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
	if err != nil {
		return result{}, err
	}
	r := newResult("B6", chains, long.used, long.latencies)
	r.sizeResult = &sizeResult{
		LongStages: float64(b.opts.long), ShortStages: float64(b.opts.stages),
		LongMessage: long.perMessage(), ShortMessage: short.perMessage(), Ratio: long.perMessage() / short.perMessage(),
		LongStep: long.perStep(), ShortStep: short.perStep(), StepRatio: long.perStep() / short.perStep(),
		LongCreate: milliseconds(long.create) / float64(chains),
		LongLoad:   milliseconds(long.load) / float64(chains),
	}
	return r, nil
}

// sized is what chains of one length cost.
type sized struct {
	used      usage
	latencies []time.Duration
	create    time.Duration
	load      time.Duration
	between   time.Duration // from the first task's run to that of the last measured
	chains    int
}

// perMessage is in milliseconds, creating and loading included.
func (s *sized) perMessage() float64 {
	return milliseconds(s.used.wall) / float64(max(s.used.steps, 1))
}

// perStep is in milliseconds. Of n runs n-1 had one before.
func (s *sized) perStep() float64 {
	return milliseconds(s.between) / float64(max(s.used.steps-int64(s.chains), 1))
}

type sizer struct {
	b       *bench
	gate    *gate
	creator *engine.Engine
	meter   *meter
}

// run creates a chain and measures until message number n of it runs. What is
// left of the chain is not measured: the task fails there, unless it is the last.
func (s *sizer) run(ctx context.Context, into *sized, stages, n int) error {
	open := s.gate.arm(n-1, n < stages)
	spec := chain(stages)
	from := s.meter.begin()
	id, err := s.creator.Start(ctx, spec)
	if err != nil {
		return err
	}
	created := s.b.clock.Now().Sub(from.at)
	var span time.Duration
	select {
	case span = <-s.gate.reached:
	case <-ctx.Done():
		return ctx.Err()
	}
	used := s.meter.end(from)
	open()
	w, err := s.creator.Wait(ctx, id)
	if err != nil {
		return err
	}
	if used.steps != int64(n) || n == stages && w.Status != stabilize.Succeeded {
		return fmt.Errorf("%w: %d tasks ran, %d should have; the workflow ended %s", stabilize.ErrInternal, used.steps, n, w.Status)
	}
	began := s.b.clock.Now()
	if _, err := s.creator.Get(ctx, id); err != nil {
		return err
	}
	into.load += s.b.clock.Now().Sub(began)
	into.create += created
	into.between += span
	into.latencies = append(into.latencies, used.wall)
	into.used.add(used)
	into.chains++
	return nil
}

// gate is the task of B6. It does nothing, until it runs in the stage where
// measuring ends: there it reports, and waits until it may go on.
type gate struct {
	clock   stabilize.Clock
	reached chan time.Duration // from the first run to the last; room for one

	mu    sync.Mutex
	last  int  // position of the stage where measuring ends
	fails bool // there
	first time.Time
	runs  int64
	open  chan struct{}
}

func newGate(clock stabilize.Clock) *gate {
	return &gate{clock: clock, reached: make(chan time.Duration, 1)}
}

// arm prepares for the next workflow and returns what lets its last task go on.
func (g *gate) arm(last int, fails bool) (open func()) {
	select {
	case <-g.reached: // by a run whose lease was lost
	default:
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	c := make(chan struct{})
	g.last, g.fails, g.open = last, fails, c
	return func() { close(c) }
}

func (g *gate) ran() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.runs
}

// Execute implements stabilize.TaskType.
func (g *gate) Execute(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
	now := g.clock.Now()
	g.mu.Lock()
	g.runs++
	if x.Stage.Position == 0 {
		g.first = now
	}
	measured, between, fails, open := x.Stage.Position < g.last, now.Sub(g.first), g.fails, g.open
	g.mu.Unlock()
	if measured {
		return stabilize.Success(), nil
	}
	select {
	case g.reached <- between:
	default:
	}
	select {
	case <-open:
	case <-ctx.Done():
		return stabilize.Result{}, context.Cause(ctx)
	}
	if fails {
		return stabilize.Fail("measured enough"), nil
	}
	return stabilize.Success(), nil
}
