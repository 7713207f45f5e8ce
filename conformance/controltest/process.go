package controltest

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/faults"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// process is an engine on a handle. It works in shifts: in one it claims once,
// brings what it got to its end, and stops as a worker that is shut down does.
// Between shifts nothing runs, so that no clause waits for a poll and the clock
// moves only when the clause moves it.
type process struct {
	*engine.Engine
	store *watched
}

// shifts bounds how many shifts anything may take: on a store that loses messages,
// or never lets go of them, a clause must fail.
const shifts = 500

// The intervals of a process are longer than a shift is by any clock.
const (
	leaseTTL = 24 * time.Hour
	maxPoll  = time.Hour
)

// process makes an engine on a handle, with the suite's tasks. wrap puts
// something between the two; nil: nothing.
func (e *env) process(handle persistence.Store, wrap func(persistence.Store) persistence.Store, opts ...engine.Option) *process {
	e.Helper()
	p := &process{store: &watched{Store: faults.Wrap(handle, faults.Plan{Clock: e.Clock, Panicked: e.panicked})}}
	store := p.store.withPowers()
	if wrap != nil {
		store = wrap(store)
	}
	base := []engine.Option{
		engine.WithConfig(engine.Config{LeaseTTL: leaseTTL, MaxPoll: maxPoll, SweepInterval: maxPoll}),
		engine.WithClock(hasty{e.Clock}), engine.WithLogger(slog.New(slog.NewTextHandler(aloud{e}, &slog.HandlerOptions{Level: slog.LevelError}))),
	}
	if t, ok := e.h.(tuned); ok {
		base = append(base, t.engineOptions()...)
	}
	var err error
	p.Engine, err = engine.New(store, append(base, opts...)...)
	e.Must(err, "making an engine")
	for name, task := range e.tasks() {
		e.Must(p.RegisterTask(name, task), "registering task %s", name)
	}
	return p
}

// panicked fails the clause: a panic in a goroutine of an engine would end the
// process, and all that was found out with it.
func (e *env) panicked(value any, stack []byte) {
	e.Errorf("the store panicked: %v\n%s", value, stack)
}

// aloud writes into the clause's log, so that what a store answered the engine is
// seen when the clause fails.
type aloud struct{ e *env }

// Write implements io.Writer.
func (a aloud) Write(line []byte) (int, error) {
	a.e.Logf("the engine: %s", bytes.TrimSpace(line))
	return len(line), nil
}

// tuned is a harness whose engines are made with further options: how the suite's
// own tests break an engine.
type tuned interface{ engineOptions() []engine.Option }

// faulty is wrap for a hostile store on the clause's clock.
func (e *env) faulty(plan faults.Plan) func(persistence.Store) persistence.Store {
	plan.Clock = e.Clock
	return func(s persistence.Store) persistence.Store { return faults.Wrap(s, plan) }
}

// shift runs one shift of each process, all at once: their claims and their first
// commits are lined up.
func (e *env) shift(ps ...*process) {
	e.Helper()
	e.Must(kit.First(e.atOnce(ps, func(p *process) error { return p.shift(e.Ctx()) })), "running an engine")
}

// atOnce has each process do something, all at once.
func (e *env) atOnce(ps []*process, do func(p *process) error) []error {
	if len(ps) > 1 {
		l := newLine(len(ps))
		for _, p := range ps {
			p.store.join(l)
		}
	}
	return kit.Race(len(ps), func(i int) error {
		defer ps[i].store.leave()
		return do(ps[i])
	})
}

func (p *process) shift(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	p.store.begin(stop)
	ran := p.Run(ctx)
	claimed := p.store.refused()
	if errors.Is(claimed, stabilize.ErrTransient) {
		claimed = nil // the next shift claims again, as an engine does
	}
	return errors.Join(ran, claimed)
}

// settle has the processes work, in turn, until no message is due.
func (e *env) settle(ps ...*process) {
	e.Helper()
	for n := range shifts {
		if e.Depth(e.h.Second()).Ready == 0 {
			return
		}
		e.shift(ps[n%len(ps)])
	}
	e.Fatalf("after %d shifts of the engine messages are still due: %+v", shifts, e.Depth(e.h.Second()))
}

// drain is settle, and then moves the clock past the next message of the workflows
// by so much, until none is left.
func (e *env) drain(ids []string, past time.Duration, ps ...*process) {
	e.Helper()
	for range shifts {
		e.settle(ps...)
		var next time.Time
		for _, id := range ids {
			stored, err := e.h.Second().Pending(e.Ctx(), id)
			e.Must(err, "listing the messages of %s", id)
			for _, m := range stored {
				if next.IsZero() || m.Due.Before(next) {
					next = m.Due
				}
			}
		}
		if next.IsZero() {
			return
		}
		if next.After(e.Now()) {
			e.Clock.Set(next.Add(past))
		}
	}
	e.Fatalf("the messages of %v never end", ids)
}

// hasty is the clause's clock, which stands still, for those who would wait on it
// only to try again after a conflict: they try at once.
type hasty struct{ *stabilize.ManualClock }

// brief is above every delay between two tries, and below every other.
const brief = time.Second

// Timer implements stabilize.Clock.
func (c hasty) Timer(d time.Duration) (<-chan time.Time, func()) {
	if d < brief {
		d = 0
	}
	return c.ManualClock.Timer(d)
}
