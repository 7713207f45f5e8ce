package patterns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// run is one run of a scenario: what a scenario acts with. Tasks are made known
// first; the processes begin with the first act. Whatever is asked from outside
// is asked again when the process died that was asked.
type run struct {
	conformance.T
	at    cell
	crew  *crew
	look  persistence.Store // sees what is durable
	clock stabilize.Clock
	real  bool
	slow  bool
	span  time.Duration
	begun bool

	starts, signals int
	finished        map[string]int // how often a workflow has ended
	leftover        map[string]int // signals that may be left, by workflow

	mu      sync.Mutex
	events  []events.Event
	journal []entry
}

func newRun(t conformance.T, b backend, cfg config, at cell, span time.Duration) *run {
	r := &run{
		T: t, at: at, crew: newCrew(t, b), look: b.Open(), clock: stabilize.SystemClock{}, real: cfg.real, slow: cfg.depth == Sample,
		span: max(span, time.Minute), finished: map[string]int{}, leftover: map[string]int{},
	}
	r.standardTasks()
	return r
}

func (r *run) close() {
	r.crew.close()
	if err := r.crew.backend.Done(r.look); err != nil {
		r.Errorf("closing a handle: %v", err)
	}
}

// exact reports whether nothing dies in this cell: then each answer is that of
// the only try, and each run of a task the only one.
func (r *run) exact() bool { return r.at.exact() }

func (r *run) engines() *crew {
	if !r.begun {
		r.begun = true
		r.crew.begin(r.at, r.numbers(), r.record)
	}
	return r.crew
}

// numbers are those of engines: what has died is found out about soon in real time.
func (r *run) numbers() engine.Config {
	switch {
	case !r.real:
		return engine.Config{}
	case r.slow: // a lease must outlast some commands
		return engine.Config{LeaseTTL: 5 * time.Second, MaxPoll: 100 * time.Millisecond}
	}
	return engine.Config{LeaseTTL: 500 * time.Millisecond, MaxPoll: 20 * time.Millisecond}
}

func (r *run) record(_ context.Context, evs []events.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, evs...)
}

func (r *run) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatalf("%v", err)
	}
}

// start starts a workflow of the stages and returns its id, which is the same in
// all cells.
func (r *run) start(stages ...*stabilize.StageSpec) string {
	r.Helper()
	return r.startSpec(stabilize.NewWorkflow("patterns", "run").Add(stages...))
}

// startSpec starts a workflow.
func (r *run) startSpec(spec *stabilize.WorkflowSpec, opts ...engine.StartOption) string {
	r.Helper()
	r.starts++
	opts = append(opts, engine.WithKey(fmt.Sprint(r.starts)))
	id := ""
	r.must(r.engines().ask(func(e *engine.Engine, _ bool) (err error) {
		id, err = e.Start(r.Context(), spec, opts...)
		return err
	}))
	return id
}

// refused checks that a workflow of the stages is not even accepted.
func (r *run) refused(what string, stages ...*stabilize.StageSpec) {
	r.Helper()
	err := r.engines().ask(func(e *engine.Engine, _ bool) error {
		_, err := e.Start(r.Context(), stabilize.NewWorkflow("patterns", "refused").Add(stages...))
		return err
	})
	if !errors.Is(err, stabilize.ErrInvalid) {
		r.Errorf("a workflow with %s is not refused: %v", what, err)
	}
}

// unsound checks that a workflow of the stages is refused for its shape.
func (r *run) unsound(code stabilize.FindingCode, stages ...*stabilize.StageSpec) {
	r.Helper()
	err := r.engines().ask(func(e *engine.Engine, _ bool) error {
		_, err := e.Start(r.Context(), stabilize.NewWorkflow("patterns", "unsound").Add(stages...))
		return err
	})
	var unsound *stabilize.UnsoundError
	if !errors.As(err, &unsound) || !slices.ContainsFunc(unsound.Findings, func(f stabilize.Finding) bool { return f.Code == code }) {
		r.Errorf("a workflow is not refused with %s: %v", code, err)
	}
}

// signal sends a signal, once, and reports whether somebody waited for it.
func (r *run) signal(id, name string, opts ...engine.SignalOption) (delivered bool) {
	r.Helper()
	return r.signalWith(id, name, nil, opts...)
}

// signalWith is signal with data.
func (r *run) signalWith(id, name string, data map[string]any, opts ...engine.SignalOption) (delivered bool) {
	r.Helper()
	values, err := stabilize.NewValues(data)
	r.must(err)
	r.signals++
	opts = append([]engine.SignalOption{engine.SignalKey(fmt.Sprint(r.signals))}, opts...)
	r.must(r.engines().ask(func(e *engine.Engine, _ bool) (err error) {
		delivered, err = e.Signal(r.Context(), id, name, values, opts...)
		return err
	}))
	return delivered
}

// act asks for something that must be done. Asked again after a death, an answer
// that it cannot be done any more means that it was done the first time.
func (r *run) act(do func(ctx context.Context, e *engine.Engine) error) {
	r.Helper()
	r.must(r.engines().ask(func(e *engine.Engine, again bool) error {
		err := do(r.Context(), e)
		if again && (errors.Is(err, stabilize.ErrInvalidTransition) || errors.Is(err, stabilize.ErrFinished) ||
			errors.Is(err, stabilize.ErrExists) || errors.Is(err, stabilize.ErrInstancesClosed)) {
			return nil
		}
		return err
	}))
}

// try asks for something and returns the answer, whatever it is.
func (r *run) try(do func(ctx context.Context, e *engine.Engine) error) error {
	return r.engines().ask(func(e *engine.Engine, _ bool) error { return do(r.Context(), e) })
}

// scaled is how long a time lasts in this run: as long as it says in virtual
// time, and in real time as if the scenario's span were three seconds.
func (r *run) scaled(d time.Duration) time.Duration {
	const most = 3 * time.Second
	if r.real && r.span > most {
		return max(time.Duration(float64(d)*float64(most)/float64(r.span)), time.Millisecond)
	}
	return d
}

// long is the time after which nobody works any more while time passes.
const long = 20 * time.Second

// after lets time pass. Of a long time the processes work through the first
// seconds and the last; what became due meanwhile they find when they come back.
func (r *run) after(d time.Duration) {
	if r.real || d <= 2*long {
		r.pause(r.scaled(d))
		return
	}
	r.pause(long)
	r.engines().hibernate(func() { r.pause(d - 2*long) })
	r.pause(long)
}

// rest lets everything that can happen now happen: leases lapse, and what waits
// for its next look is looked at.
func (r *run) rest() {
	if r.real {
		r.pause(time.Second)
	} else {
		r.pause(8 * time.Second)
	}
}

func (r *run) pause(d time.Duration) {
	timer, stop := r.clock.Timer(d)
	defer stop()
	<-timer
}

// patience is how long a scenario waits for something to happen.
func (r *run) patience() time.Duration {
	switch {
	case !r.real:
		return 5 * time.Minute
	case r.slow:
		return 2 * time.Minute
	}
	return 20 * time.Second
}

// until waits until something holds of a workflow, and returns it.
func (r *run) until(id, what string, holds func(w *stabilize.Workflow) bool) *stabilize.Workflow {
	r.Helper()
	for delay, waited := 2*time.Millisecond, time.Duration(0); ; delay = min(2*delay, time.Second/2) {
		w := r.load(id)
		if holds(w) {
			return w
		}
		if waited > r.patience() {
			left, _ := r.look.Pending(r.Context(), id)
			r.Fatalf("after %s it still does not hold that %s: %s\nmessages: %+v", waited, what, kit.Describe(w), left)
		}
		r.pause(delay)
		waited += delay
	}
}

// load returns a workflow as it is now.
func (r *run) load(id string) *stabilize.Workflow {
	r.Helper()
	w, err := r.look.Load(r.Context(), id)
	r.must(err)
	return w
}

// waits waits until the stages wait for their signals.
func (r *run) waits(id string, refs ...string) {
	r.Helper()
	for _, ref := range refs {
		r.until(id, "stage "+ref+" waits for a signal", func(w *stabilize.Workflow) bool {
			s := w.StageByRef(ref)
			return s != nil && s.Status == stabilize.Suspended
		})
	}
}

// waitsInRound waits until that round of a stage waits for its signal.
func (r *run) waitsInRound(id, ref string, round int) {
	r.Helper()
	r.until(id, fmt.Sprintf("round %d of stage %s waits for a signal", round, ref), func(w *stabilize.Workflow) bool {
		s := w.StageInRound(ref, round)
		return s != nil && s.Status == stabilize.Suspended
	})
}

// waitsTimes waits until so many executions of a stage wait for their signal.
func (r *run) waitsTimes(id, ref string, times int) {
	r.Helper()
	r.until(id, fmt.Sprintf("%d executions of stage %s wait for a signal", times, ref), func(w *stabilize.Workflow) bool {
		n := 0
		for _, s := range w.Executions(ref) {
			if s.Status == stabilize.Suspended {
				n++
			}
		}
		return n == times
	})
}

// open sends the signal that a gate waits for, after it is seen to wait.
func (r *run) open(id string, refs ...string) {
	r.Helper()
	for _, ref := range refs {
		r.waits(id, ref)
		r.signal(id, ref)
	}
}
