package patterns

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

func triggers() []pattern {
	return []pattern{{
		id: 23, name: "Transient Trigger", built: "`stabilize.Suspend(\"s\")` of a task; `engine.Signal(…, engine.Transient())`",
		sentence: "A signal goes to who waits for it now; if nobody does it is lost, and the sender is told.",
		scenarios: []scenario{
			{name: "too early", play: transientEarly},
			{name: "two at once", play: transientTwice},
			{name: "another name", play: transientOther},
		},
	}, {
		id: 24, name: "Persistent Trigger", built: "`stabilize.Suspend(\"s\")` of a task; `engine.Signal`",
		sentence: "A signal is kept until somebody waits for its name, and is consumed once, first come first served.",
		scenarios: []scenario{
			{name: "kept in order", play: persistentKept},
			{name: "two wait", play: persistentTwoWait},
			{name: "at the same instant", play: persistentAtOnce},
			{name: "one key", play: persistentKey},
			{name: "another name", play: persistentOther},
			{name: "of one stage", play: persistentOfStage},
			{name: "ended", play: persistentFinished},
		},
	}}
}

// delivers checks what the sender of a signal was told.
func (r *run) delivers(want, got bool, what string) {
	r.Helper()
	if got != want {
		r.Errorf("a signal %s is answered with delivered = %v", what, got)
	}
}

func transientEarly(r *run) {
	id := r.start(gate("R"), gate("G", "R"))
	r.waits(id, "R")
	r.delivers(false, r.signal(id, "G", engine.Transient()), "that nobody waits for")
	r.open(id, "R")
	r.waits(id, "G")
	r.still(id, "G")
	r.delivers(true, r.signal(id, "G", engine.Transient()), "that is waited for")
	r.succeeds(id, ran("R", "G"))
}

// transientTwice: one of two signals ends the wait, and the other is lost.
func transientTwice(r *run) {
	id := r.start(gate("G"), gate("H", "G").With("signal", "G"))
	r.waits(id, "G")
	var wg sync.WaitGroup
	delivered, errs := make([]bool, 2), make([]error, 2)
	for i, key := range []string{"first", "second"} {
		wg.Go(func() {
			errs[i] = r.try(func(ctx context.Context, e *engine.Engine) (err error) {
				delivered[i], err = e.Signal(ctx, id, "G", nil, engine.Transient(), engine.SignalKey(key), engine.ToStage("G"))
				return err
			})
		})
	}
	wg.Wait()
	r.must(errors.Join(errs...))
	if delivered[0] == delivered[1] {
		r.Errorf("of two signals for one wait, delivered are %v", delivered)
	}
	r.waits(id, "H")
	r.still(id, "H")
	r.open(id, "H")
	r.succeeds(id, ran("G", "H"))
}

func transientOther(r *run) {
	id := r.start(gate("G"), gate("H"))
	r.waits(id, "G", "H")
	r.delivers(false, r.signal(id, "other", engine.Transient()), "of another name")
	r.delivers(false, r.signal(id, "g", engine.Transient()), "of almost the name")
	r.delivers(false, r.signal(id, "G", engine.Transient(), engine.ToStage("H")), "for another stage")
	r.still(id, "G", "H")
	r.delivers(true, r.signal(id, "G", engine.Transient(), engine.ToStage("G")), "for the stage that waits")
	r.open(id, "H")
	r.succeeds(id, ran("G", "H"))
}

// trio is three gates one after the other; the last two wait for "s".
func trio() []*stabilize.StageSpec {
	return []*stabilize.StageSpec{gate("R"), gate("G1", "R").With("signal", "s"), gate("G2", "G1").With("signal", "s")}
}

// got checks which of the signals a gate got.
func (r *run) got(w *stabilize.Workflow, ref string, n int) {
	r.Helper()
	if got, err := stabilize.Get[int](w.StageByRef(ref).Outputs, "n"); err != nil || got != n {
		r.Errorf("stage %s got %v, want the signal %d", ref, w.StageByRef(ref).Outputs, n)
	}
}

func numbered(n int) map[string]any { return map[string]any{"n": n} }

func persistentKept(r *run) {
	id := r.start(trio()...)
	r.waits(id, "R")
	for n := range 2 {
		r.delivers(false, r.signalWith(id, "s", numbered(n+1)), "that nobody waits for yet")
	}
	r.open(id, "R")
	w := r.succeeds(id, ran("R", "G1", "G2"))
	r.got(w, "G1", 1)
	r.got(w, "G2", 2)
}

// persistentTwoWait: each signal ends one wait.
func persistentTwoWait(r *run) {
	id := r.start(gate("G1").With("signal", "s"), gate("G2").With("signal", "s"))
	r.waits(id, "G1", "G2")
	r.delivers(true, r.signalWith(id, "s", numbered(1)), "that two wait for")
	r.succeeded(id, "G1")
	r.still(id, "G2")
	r.delivers(true, r.signalWith(id, "s", numbered(2)), "that one waits for")
	w := r.succeeds(id, ran("G1", "G2"))
	r.got(w, "G1", 1)
	r.got(w, "G2", 2)
}

// persistentAtOnce: signals that come while the gates begin to wait are not lost.
func persistentAtOnce(r *run) {
	id := r.start(gate("G1").With("signal", "s"), gate("G2", "G1").With("signal", "s"), gate("G3", "G2").With("signal", "s"))
	for n := range 3 {
		r.signalWith(id, "s", numbered(n+1))
		r.pause(r.scaled(1))
	}
	w := r.succeeds(id, ran("G1", "G2", "G3"))
	for i, ref := range []string{"G1", "G2", "G3"} {
		r.got(w, ref, i+1)
	}
}

// persistentKey: what is sent twice under one key comes once, consumed or not.
func persistentKey(r *run) {
	id := r.start(trio()...)
	r.waits(id, "R")
	for range 2 {
		r.delivers(false, r.signalWith(id, "s", numbered(1), engine.SignalKey("k")), "that nobody waits for yet")
	}
	r.open(id, "R")
	r.waits(id, "G2")
	r.signalWith(id, "s", numbered(3), engine.SignalKey("k"))
	r.still(id, "G2")
	r.delivers(true, r.signalWith(id, "s", numbered(2), engine.SignalKey("another")), "under another key")
	w := r.succeeds(id, ran("R", "G1", "G2"))
	r.got(w, "G1", 1)
	r.got(w, "G2", 2)
}

// persistentOther: signals of other names stay, and are listed at the end.
func persistentOther(r *run) {
	id := r.start(trio()...)
	r.waits(id, "R")
	r.signalWith(id, "other", numbered(1))
	r.signalWith(id, "s", numbered(2))
	r.signalWith(id, "other", numbered(3))
	r.open(id, "R")
	r.waits(id, "G2")
	r.still(id, "G2")
	r.signalWith(id, "s", numbered(4))
	r.leaves(id, 2)
	w := r.succeeds(id, ran("R", "G1", "G2"))
	r.got(w, "G1", 2)
	r.got(w, "G2", 4)
	var left []int
	for _, g := range w.Signals {
		if n, err := stabilize.Get[int](g.Data, "n"); !g.Consumed && g.Name == "other" && err == nil {
			left = append(left, n)
		}
	}
	if !slices.Equal(left, []int{1, 3}) {
		r.Errorf("left are %+v, want the two of the other name", w.Signals)
	}
}

// persistentOfStage: a signal for one stage is kept for it, whoever else waits.
func persistentOfStage(r *run) {
	id := r.start(trio()...)
	r.open(id, "R")
	r.waits(id, "G1")
	r.delivers(false, r.signalWith(id, "s", numbered(2), engine.ToStage("G2")), "for a stage that does not wait yet")
	r.still(id, "G1", "G2")
	r.delivers(true, r.signalWith(id, "s", numbered(1)), "for anybody")
	w := r.succeeds(id, ran("R", "G1", "G2"))
	r.got(w, "G1", 1)
	r.got(w, "G2", 2)
}

func persistentFinished(r *run) {
	id := r.start(ok("A"))
	r.succeeds(id, ran("A"))
	for _, opts := range [][]engine.SignalOption{nil, {engine.Transient()}} {
		r.refuses("a signal to what has ended", stabilize.ErrFinished, func(ctx context.Context, e *engine.Engine) error {
			_, err := e.Signal(ctx, id, "s", nil, opts...)
			return err
		})
	}
	r.refuses("a signal to what does not exist", stabilize.ErrNotFound, func(ctx context.Context, e *engine.Engine) error {
		_, err := e.Signal(ctx, "none", "s", nil)
		return err
	})
}
