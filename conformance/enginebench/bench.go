package enginebench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// bench measures scenarios.
type bench struct {
	opts  *options
	site  site
	clock stabilize.Clock
	log   *slog.Logger

	stderr io.Writer // of worker processes
}

// measure runs one scenario on a fresh database, between two halves of the raw
// limit, where there is one.
func (b *bench) measure(ctx context.Context, name string, workers int) (_ result, err error) {
	l, err := b.site.limit(ctx)
	if err != nil {
		return result{}, err
	}
	if l == nil {
		return b.play(ctx, name, workers)
	}
	defer func() { err = errors.Join(err, l.close()) }()
	var raw rates
	single, groups, crowded := (b.opts.rawSingle+1)/2, (b.opts.rawGroups+1)/2, (b.opts.rawCrowd+1)/2
	if err := raw.measure(ctx, l, b.clock, single, groups, b.opts.rawSize, crowded); err != nil {
		return result{}, err
	}
	r, err := b.play(ctx, name, workers)
	if err != nil {
		return result{}, err
	}
	if err := raw.measure(ctx, l, b.clock, single, groups, b.opts.rawSize, crowded); err != nil {
		return result{}, err
	}
	r.RawSingle, r.RawGrouped = raw.single.perSecond(), raw.grouped.perSecond()
	r.RawCrowded = raw.crowded.perSecond()
	r.rawCPUPerStep = raw.grouped.cpuOfOne()
	return r, nil
}

// play runs one scenario on a fresh database.
func (b *bench) play(ctx context.Context, name string, workers int) (result, error) {
	if name == "B6" {
		return b.sizes(ctx)
	}
	return b.load(ctx, b.opts.scenario(name), workers)
}

// load runs B1 to B5, in so many worker processes or, with 0, in this one.
func (b *bench) load(ctx context.Context, sc scenario, workers int) (result, error) {
	var ran atomic.Int64
	var latencies, seen []time.Duration
	var used usage
	err := b.withStore(ctx, func(store *counted) (err error) {
		if err := b.fillQueue(ctx, store, sc.delayed); err != nil {
			return err
		}
		m := &meter{b: b, store: store, steps: ran.Load}
		var e *engine.Engine
		look := func(ctx context.Context, id string) (time.Time, error) {
			err := succeeded(e.Wait(ctx, id))
			return b.clock.Now(), err
		}
		wait := look
		if workers == 0 {
			var stop func()
			if e, stop, err = b.startEngine(ctx, store, noop(&ran)); err != nil {
				return err
			}
			defer stop()
		} else {
			c, err := b.hire(ctx, workers)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, c.dismiss()) }()
			if e, err = b.newEngine(store, noop(&ran)); err != nil {
				return err
			}
			wait, m.others = c.wait, func() (counts, error) { return c.counts(ctx) }
		}
		m.engines = []*engine.Engine{e}
		if _, err := b.runWorkflows(ctx, e, wait, sc, b.opts.warmup); err != nil {
			return err
		}
		err = b.profiled(sc.name, func() error {
			from := m.begin()
			latencies, err = b.runWorkflows(ctx, e, wait, sc, sc.workflows)
			used = m.end(from)
			return errors.Join(err, m.err)
		})
		if err == nil && workers > 0 && sc.starters == 1 {
			seen, err = b.runWorkflows(ctx, e, look, sc, (sc.workflows+9)/10)
		}
		return err
	})
	if err != nil {
		return result{}, err
	}
	want := int64(sc.workflows * sc.steps)
	if used.steps < want {
		return result{}, fmt.Errorf("%w: %d tasks ran, %d should have", stabilize.ErrInternal, used.steps, want)
	}
	repeated := used.steps - want // a lease was lost on the way; it is paid for, but is no step
	used.steps = want
	r := newResult(sc.name, sc.workflows, used, latencies)
	r.repeated, r.Workers = float64(repeated), float64(workers)
	slices.Sort(seen)
	r.WaitP50 = milliseconds(quantile(seen, 0.50))
	return r, nil
}

// taskFunc is a task type of one function.
type taskFunc func(context.Context, *stabilize.Execution) (stabilize.Result, error)

// Execute implements stabilize.TaskType.
func (f taskFunc) Execute(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
	return f(ctx, x)
}

// withStore runs fn on a store of its own and closes it.
func (b *bench) withStore(ctx context.Context, fn func(*counted) error) error {
	store, err := b.site.open(ctx, b.clock)
	if err != nil {
		return err
	}
	err = fn(&counted{Store: store})
	return errors.Join(err, store.Close())
}

// startEngine makes an engine on the store and runs its workers until stop.
func (b *bench) startEngine(ctx context.Context, store *counted, work stabilize.TaskType, more ...engine.Option) (e *engine.Engine, stop func(), err error) {
	if e, err = b.newEngine(store, work, more...); err != nil {
		return nil, nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := e.Run(ctx); err != nil {
			b.log.Error("running the engine", "error", err)
		}
	}()
	return e, func() {
		if err := e.Close(); err != nil {
			b.log.Error("closing the engine", "error", err)
		}
		<-done
	}, nil
}

func (b *bench) newEngine(store *counted, work stabilize.TaskType, more ...engine.Option) (*engine.Engine, error) {
	if b.opts.events {
		more = append(more, engine.WithEventLog())
	}
	numbers := engine.Config{Concurrency: b.opts.concurrency, LeaseTTL: b.opts.lease}
	e, err := engine.New(store, append(more, engine.WithConfig(numbers), engine.WithClock(b.clock), engine.WithLogger(b.log))...)
	if err != nil {
		return nil, err
	}
	return e, e.RegisterTask(taskType, work)
}

// fillQueue stores n messages that are due in a day.
func (b *bench) fillQueue(ctx context.Context, store *counted, n int) error {
	due := b.clock.Now().Add(24 * time.Hour)
	const block = 1000
	for first := 0; first < n; first += block {
		msgs := make([]queue.Outgoing, min(block, n-first))
		for i := range msgs {
			id := fmt.Sprintf("delayed-%d", first+i)
			msgs[i] = queue.Outgoing{
				Message: queue.RunTask{OfTask: queue.ToTask(id, id, id)}, At: due.Add(time.Duration(first+i) * time.Millisecond),
			}
		}
		if err := store.Push(ctx, msgs...); err != nil {
			return err
		}
	}
	return nil
}

// runWorkflows starts n workflows from the scenario's goroutines, as a server
// would, and awaits the end of each, which await tells. With one starter the next begins
// when that of the one before is known.
func (b *bench) runWorkflows(ctx context.Context, e *engine.Engine, await func(context.Context, string) (time.Time, error), sc scenario, n int) ([]time.Duration, error) {
	runtime.GC() // what came before is not paid for here
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	latencies := make([]time.Duration, n)
	var next atomic.Int64
	var starters, waiters sync.WaitGroup
	for range min(sc.starters, max(n, 1)) {
		starters.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				began := b.clock.Now()
				id, err := e.Start(ctx, sc.spec())
				if err != nil {
					cancel(err)
					return
				}
				wait := func() {
					ended, err := await(ctx, id)
					if err != nil {
						cancel(err)
						return
					}
					latencies[i] = ended.Sub(began)
				}
				if sc.starters == 1 {
					wait()
				} else {
					waiters.Go(wait)
				}
			}
		})
	}
	starters.Wait()
	waiters.Wait()
	return latencies, context.Cause(ctx)
}

func succeeded(w *stabilize.Workflow, err error) error {
	if err == nil && w.Status != stabilize.Succeeded {
		err = fmt.Errorf("%w: workflow %s ended %s", stabilize.ErrInternal, w.ID, w.Status)
	}
	return err
}
