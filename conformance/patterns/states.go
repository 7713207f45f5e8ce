package patterns

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// State-based: 16, 18 here, 17, 39, 40 in sections.go.
func states() []pattern {
	return slices.Concat([]pattern{{
		id: 16, name: "Deferred Choice", built: "stages with the same `Choice(\"name\")`",
		sentence: "Several stages are offered to the environment; the first that gets anywhere is chosen, and the others are withdrawn at that moment.",
		scenarios: []scenario{
			{name: "signal", play: chooseBySignal("B", "D"), span: 2 * time.Hour},
			{name: "message", play: chooseBySignal("D", "B"), span: 2 * time.Hour},
			{name: "timer", play: chooseByTimer, span: 2 * time.Hour},
			{name: "in the same instant", play: chooseRace, varies: true},
		},
	}, {
		id: 18, name: "Milestone", built: "`Milestone(\"m\", \"x\")`",
		sentence: "A stage may start only while a state holds: after one stage has ended and before another begins.",
		scenarios: []scenario{
			{name: "waits for it", play: milestoneWaits},
			{name: "holds", play: milestoneHolds},
			{name: "passed", play: milestonePassed},
			{name: "passes meanwhile", play: milestoneMeanwhile},
			{name: "never reached", play: milestoneNever},
		},
	}}, sections())
}

// offered is A, then a choice of B, which waits for a signal, C, for an hour, and
// D, for another signal, each with something to do after that, and then M.
func offered(merge *stabilize.StageSpec, after time.Duration) []*stabilize.StageSpec {
	offer := func(task, ref string) *stabilize.StageSpec {
		return stabilize.NewStage(ref).Do(task, "act").After("A").Choice("first")
	}
	return []*stabilize.StageSpec{
		ok("A"), offer("gate", "B"), offer("timer", "C").With("for", after), offer("gate", "D"),
		merge.After("B", "C", "D").Joining(stabilize.JoinExclusive, 0),
	}
}

// acts are the stages that have come to their second task, by workflow.
type acts struct {
	mu   sync.Mutex
	done map[string]map[string]bool
}

func (r *run) acting() *acts {
	a := &acts{done: map[string]map[string]bool{}}
	r.task("act", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.done[x.Workflow.ID] == nil {
			a.done[x.Workflow.ID] = map[string]bool{}
		}
		a.done[x.Workflow.ID][x.Stage.Ref] = true
		return stabilize.Success(), nil
	})
	return a
}

// only checks that one stage came to its second task, and no other began it.
func (a *acts) only(r *run, id, ref string) {
	r.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.done[id]) != 1 || !a.done[id][ref] {
		r.Errorf("%s was chosen, and those that acted are %v", ref, a.done[id])
	}
}

// chooseBySignal: a signal comes after ten minutes; another then finds nobody.
func chooseBySignal(chosen, late string) func(r *run) {
	return func(r *run) {
		a := r.acting()
		id := r.start(offered(gate("M"), time.Hour)...)
		r.waits(id, "B", "C", "D")
		r.after(10 * time.Minute)
		r.open(id, chosen)
		r.chosen(id, chosen, late)
		a.only(r, id, chosen)
	}
}

func chooseByTimer(r *run) {
	a := r.acting()
	id := r.start(offered(gate("M"), time.Hour)...)
	r.waits(id, "B", "C", "D")
	r.after(time.Hour + time.Minute)
	r.chosen(id, "C", "B")
	a.only(r, id, "C")
}

// chosen checks that one stage was chosen: while M waits nothing is left of the
// others, and a signal that comes late finds nobody.
func (r *run) chosen(id, chosen, late string) {
	r.Helper()
	r.waits(id, "M")
	r.rest()
	left, err := r.look.Pending(r.Context(), id)
	r.must(err)
	if len(left) > 0 {
		r.Errorf("of those not chosen messages are left: %+v", left)
	}
	if r.signal(id, late) {
		r.Errorf("the signal of %s, which was withdrawn, found somebody", late)
	}
	r.leaves(id, 1)
	r.open(id, "M")
	r.succeeds(id, ran("A", "M"), commits(2, chosen), withdrawn(without([]string{"B", "C", "D"}, []string{chosen})...))
}

// chooseRace: the signal comes shortly before the time is over, in the same
// instant, or shortly after.
func chooseRace(r *run) {
	const after = 20 * time.Second // the lease of a process that dies lapses before
	a := r.acting()
	for i := range 6 {
		id := r.start(append(offered(ok("M"), after), gate("N"))...)
		r.waits(id, "B", "C", "D", "N")
		due := r.load(id).StageByRef("C").Tasks[0].StartedAt.Add(r.scaled(after))
		r.pause(due.Sub(r.clock.Now()) + time.Duration(i%3-1)*time.Millisecond)
		delivered := false
		r.must(r.try(func(ctx context.Context, e *engine.Engine) (err error) {
			delivered, err = e.Signal(ctx, id, "B", nil, engine.SignalKey("race"))
			return err
		}))
		w := r.until(id, "M has run", func(w *stabilize.Workflow) bool { return w.StageByRef("M").Status.IsComplete() })
		winner := "C"
		if w.StageByRef("B").Status == stabilize.Succeeded {
			winner = "B"
		} else {
			r.leaves(id, 1)
		}
		if delivered != (winner == "B") {
			r.Errorf("the signal was delivered: %t, and %s was chosen", delivered, winner)
		}
		r.open(id, "N")
		r.succeeds(id, ran("A", "M", "N"), commits(2, winner), withdrawn(without([]string{"B", "C", "D"}, []string{winner})...))
		a.only(r, id, winner)
	}
}

// milestone is M, W and X one after the other, and beside them P and then G, which
// may start after M has ended and before X begins.
func (r *run) milestone(g *stabilize.StageSpec) string {
	r.Helper()
	id := r.start(gate("M"), gate("W", "M"), ok("X", "W"), gate("P"), g.After("P").Milestone("M", "X"))
	r.waits(id, "M", "P")
	return id
}

func (r *run) hasRun(id string, refs ...string) {
	r.Helper()
	for _, ref := range refs {
		r.until(id, ref+" has run", func(w *stabilize.Workflow) bool { return w.StageByRef(ref).Status == stabilize.Succeeded })
	}
}

func milestoneWaits(r *run) {
	id := r.milestone(ok("G"))
	r.open(id, "P")
	r.still(id, "G")
	r.open(id, "M")
	r.hasRun(id, "G")
	r.open(id, "W")
	r.succeeds(id, ran("M", "W", "X", "P", "G"))
	r.order("M", "G", "X")
}

func milestoneHolds(r *run) {
	id := r.milestone(ok("G"))
	r.open(id, "M")
	r.still(id, "G")
	r.open(id, "P")
	r.hasRun(id, "G")
	r.open(id, "W")
	r.succeeds(id, ran("M", "W", "X", "P", "G"))
	r.order("P", "G", "X")
}

func milestonePassed(r *run) {
	id := r.milestone(ok("G"))
	r.open(id, "M", "W")
	r.hasRun(id, "X")
	r.open(id, "P")
	r.succeeds(id, ran("M", "W", "X", "P"), ended(0, stabilize.Skipped, stabilize.ReasonMilestone, "G"))
}

// milestoneMeanwhile: what has begun goes on.
func milestoneMeanwhile(r *run) {
	id := r.milestone(gate("G"))
	r.open(id, "P", "M")
	r.waits(id, "G")
	r.open(id, "W")
	r.hasRun(id, "X")
	r.still(id, "G")
	r.open(id, "G")
	r.succeeds(id, ran("M", "W", "X", "P", "G"))
}

// milestoneNever: M is withdrawn, before the turn of G or while G waits for it.
func milestoneNever(r *run) {
	for _, first := range []bool{true, false} {
		id := r.milestone(ok("G"))
		if first {
			r.open(id, "P")
			r.still(id, "G")
		}
		r.act(func(ctx context.Context, e *engine.Engine) error { return e.Withdraw(ctx, id, "M") })
		if !first {
			r.still(id, "G")
			r.open(id, "P")
		}
		r.succeeds(id, withdrawn("M"), dead("W", "X"), ran("P"), ended(0, stabilize.Skipped, stabilize.ReasonMilestone, "G"))
	}
}
