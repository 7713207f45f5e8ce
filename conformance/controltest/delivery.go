package controltest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/faults"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// Messages twice, late and out of order: IR-01, IR-02.
func deliveries() []check {
	return []check{
		clause("IR-01", "Delivering every message of a run twice ends in the same state as delivering it once.", deliveredTwice),
		clause("IR-02", "Delivering messages late and out of order ends in a legal state, and nothing leaves an end on the way.", deliveredLate),
	}
}

// graph is a small workflow, and how it ends.
type graph struct {
	name   string
	end    stabilize.Status
	stages []*stabilize.StageSpec
}

// graphs end in every way.
func graphs() []graph {
	return []graph{
		{"join", stabilize.Succeeded, []*stabilize.StageSpec{stage("a", done), stage("b", flaky, "a"), stage("c", polls, "a"), stage("d", done, "b", "c")}},
		{"failure", stabilize.Terminal, []*stabilize.StageSpec{stage("a", polls), stage("b", fails, "a"), stage("c", waits), stage("d", done, "b")}},
		{"signal", stabilize.Succeeded, []*stabilize.StageSpec{stage("a", waits), stage("b", done, "a")}},
		{"cancel", stabilize.Canceled, []*stabilize.StageSpec{stage("a", tidy), stage("b", slow), stage("c", done, "a", "b")}},
	}
}

// play runs the graphs to their ends on one hostile handle and returns their ids
// by name. What is asked from outside is asked when nothing more moves by itself.
func (e *env) play(round string, plan faults.Plan, opts ...engine.Option) (p *process, ids map[string]string) {
	e.Helper()
	p = e.process(e.h.Store(), e.faulty(plan), opts...)
	ids = map[string]string{}
	var all []string
	for _, g := range graphs() {
		ids[g.name] = e.start(p, g.name+" "+round, g.stages...)
		all = append(all, ids[g.name])
	}
	e.settle(p)
	data, err := stabilize.NewValues(map[string]any{"said": "go"})
	e.Must(err, "making values")
	_, err = p.Signal(e.Ctx(), ids["signal"], "go", data, engine.SignalKey("once"))
	e.Must(err, "signalling")
	e.Must(p.Cancel(e.Ctx(), ids["cancel"], "u", "why"), "cancelling")
	e.drain(all, plan.Late/4, p) // what is due soon after comes with it: fewer shifts
	return p, ids
}

// mode is how an engine uses the store: without the cascade everything passes
// through the queue, and forgetful it is read for every decision.
func mode(n uint64) []engine.Option {
	if n%2 == 0 {
		return []engine.Option{engine.WithoutCascade(), forgetful}
	}
	return nil
}

func deliveredTwice(e *env) {
	_, ids := e.play("once", faults.Plan{}, mode(0)...)
	want := e.digest(ids)
	for seed := range uint64(e.Effort.Of(2, 2)) {
		_, ids := e.play(fmt.Sprint("twice ", seed), faults.Plan{Seed: seed, Copies: 1}, mode(seed)...)
		if got := e.digest(ids); got != want {
			e.Errorf("with every message twice, seed %d, the workflows end otherwise than with every message once; %s", seed, kit.Difference(want, got))
		}
	}
}

// digest is how the workflows ended, and how often each task ran.
func (e *env) digest(ids map[string]string) string {
	e.Helper()
	var all []string
	for name, id := range ids {
		w := e.load(id)
		all = append(all, kit.Digest(name, w)...)
		for _, s := range w.Stages {
			all = append(all, fmt.Sprintf("%s %s ran %d times", name, s.Ref, e.runs(id, s.Ref)))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func deliveredLate(e *env) {
	for seed := range uint64(e.Effort.Of(2, 2)) {
		plan := faults.Plan{Seed: seed, Copies: 1, Late: 10 * time.Minute, Shuffled: true, HeldBack: 0.3}
		p, ids := e.play(fmt.Sprint("late ", seed), plan, mode(seed)...)
		for _, g := range graphs() {
			e.nothingLeft(e.status(g.end, ids[g.name], "of the graph %q, its messages late and out of order, seed %d,", g.name, seed))
		}
		e.legal(p.store.moments(), fmt.Sprintf("seed %d", seed))
		if letters := e.DeadIDs(e.h.Second()); len(letters) > 0 {
			e.Errorf("seed %d: messages that came late became dead letters: %v", seed, letters)
		}
	}
}

// legal fails unless every move is allowed: none out of an end.
func (e *env) legal(past []moment, when string) {
	e.Helper()
	slices.SortStableFunc(past, func(a, b moment) int {
		return cmp.Or(cmp.Compare(a.workflow, b.workflow), cmp.Compare(a.version, b.version))
	})
	last := map[string]stabilize.Status{}
	for _, m := range past {
		key := m.workflow + " " + m.what
		if from := last[key]; from.IsComplete() && from != m.status {
			e.Errorf("%s: %s went from %s, an end, to %s", when, m.what, from, m.status)
		}
		last[key] = m.status
	}
}
