package patterns

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// Branching and synchronizing merges: 6, 7, 37, 38.
func branching() []pattern {
	return []pattern{{
		id: 6, name: "Multi-Choice", built: "`ChooseAll(To(\"b\", \"x > 1\"), To(\"c\", \"y\"), Otherwise(\"d\"))`",
		sentence: "One or more branches are taken, those whose condition is true; none of the others runs.",
		scenarios: append(forSubsets("BCD", func(chosen string) func(r *run) { return multiChoice(chosen) }),
			scenario{name: "default", play: multiChoiceDefault},
			scenario{name: "no branch", play: multiChoiceNone},
		),
	}, {
		id: 7, name: "Structured Synchronizing Merge", built: "`Joining(JoinOr, 0)`",
		sentence: "The join waits for every branch that was taken, to its last stage, and for no other.",
		scenarios: append(forSubsets("BCD", func(chosen string) func(r *run) { return structuredMerge(chosen) }),
			scenario{name: "waits ten days", play: structuredMergeWaits, span: 11 * 24 * time.Hour},
		),
	}, {
		id: 37, name: "Local Synchronizing Merge", built: "`Joining(JoinOr, 0)`, nested in any way without cycles",
		sentence: "Joins in an unstructured net decide by the tokens on their own edges for which branches to wait.",
		scenarios: append(forSubsets("BCD", func(chosen string) func(r *run) { return localMerge(chosen) }),
			scenario{name: "waits", play: localMergeWaits},
		),
	}, {
		id: 38, name: "General Synchronizing Merge", built: "`Joining(JoinOr, 0)` after stages that jump",
		sentence: "The join waits as long as a branch can still arrive, also by a cycle, and no longer.",
		scenarios: []scenario{
			{name: "a branch loops", play: generalMerge},
			{name: "the loop cannot be reached", play: generalMergeUnreachable},
			{name: "the loop is withdrawn", play: generalMergeWithdrawn},
		},
	}}
}

// forSubsets makes a scenario for each subset of the letters that is not empty.
func forSubsets(letters string, play func(chosen string) func(r *run)) []scenario {
	var out []scenario
	for bits := 1; bits < 1<<len(letters); bits++ {
		chosen := ""
		for i, letter := range letters {
			if bits&(1<<i) != 0 {
				chosen += string(letter)
			}
		}
		out = append(out, scenario{name: chosen, play: play(chosen)})
	}
	return out
}

// splitting is R, an OR split into B, C and D, of which it takes those chosen.
func splitting(chosen string, more ...stabilize.Branch) *stabilize.StageSpec {
	values := map[string]any{}
	for _, letter := range "BCD" {
		values["take"+string(letter)] = strings.ContainsRune(chosen, letter)
	}
	return ok("R").With("put", values).ChooseAll(append([]stabilize.Branch{
		stabilize.To("B", "takeB"), stabilize.To("C", "takeC"), stabilize.To("D", "takeD"),
	}, more...)...)
}

func letters(s string) []string { return strings.Split(s, "") }

func multiChoice(chosen string) func(r *run) {
	return func(r *run) {
		id := r.start(splitting(chosen), ok("B", "R"), ok("C", "R"), ok("D", "R"),
			ok("J", "B", "C", "D").Joining(stabilize.JoinOr, 0))
		r.succeeds(id, ran("R", "J"), ran(letters(chosen)...), dead(without(letters("BCD"), letters(chosen))...))
		for _, ref := range letters(chosen) {
			r.order("R", ref, "J")
		}
	}
}

func multiChoiceDefault(r *run) {
	id := r.start(splitting("", stabilize.Otherwise("E")), ok("B", "R"), ok("C", "R"), ok("D", "R"), ok("E", "R"),
		ok("J", "B", "C", "D", "E").Joining(stabilize.JoinOr, 0))
	r.succeeds(id, ran("R", "E", "J"), dead("B", "C", "D"))
}

func multiChoiceNone(r *run) {
	id := r.start(splitting(""), ok("B", "R"), ok("C", "R"), ok("D", "R"),
		ok("J", "B", "C", "D").Joining(stabilize.JoinOr, 0))
	r.fails(id, stabilize.CodeNoBranch, failed(stabilize.CodeNoBranch, "R"), unreached("B", "C", "D", "J"))
}

// tails are the branches of a structured merge, by their first stage.
func tails(first string) []string {
	switch first {
	case "C":
		return []string{"C", "C2"}
	case "D":
		return []string{"D", "D2", "D3"}
	default:
		return []string{"B"}
	}
}

func structured(chosen string, last *stabilize.StageSpec) []*stabilize.StageSpec {
	return []*stabilize.StageSpec{
		splitting(chosen), ok("B", "R"), ok("C", "R"), ok("C2", "C"), ok("D", "R"), ok("D2", "D"), last,
		ok("J", "B", "C2", "D3").Joining(stabilize.JoinOr, 0),
	}
}

func structuredMerge(chosen string) func(r *run) {
	return func(r *run) {
		id := r.start(structured(chosen, ok("D3", "D2"))...)
		want := []wants{ran("R", "J")}
		for _, first := range letters("BCD") {
			if strings.Contains(chosen, first) {
				want = append(want, ran(tails(first)...))
			} else {
				want = append(want, dead(tails(first)...))
			}
		}
		r.succeeds(id, want...)
		for _, first := range letters(chosen) {
			r.order(slices.Concat([]string{"R"}, tails(first), []string{"J"})...)
		}
	}
}

func structuredMergeWaits(r *run) {
	id := r.start(structured("BD", gate("D3", "D2"))...)
	r.waits(id, "D3")
	r.after(10 * 24 * time.Hour)
	r.count(id, 1, "B", "D", "D2")
	r.still(id, "J")
	r.open(id, "D3")
	r.succeeds(id, ran("R", "B", "D", "D2", "D3", "J"), dead("C", "C2"))
}

// crossed is R → {B, C, D}, J1 of B and C, J2 of C and D, J3 of J1 and J2.
func crossed(chosen string, d *stabilize.StageSpec) []*stabilize.StageSpec {
	return []*stabilize.StageSpec{
		splitting(chosen), ok("B", "R"), ok("C", "R"), d,
		ok("J1", "B", "C").Joining(stabilize.JoinOr, 0), ok("J2", "C", "D").Joining(stabilize.JoinOr, 0),
		ok("J3", "J1", "J2").Joining(stabilize.JoinOr, 0),
	}
}

func localMerge(chosen string) func(r *run) {
	return func(r *run) {
		joins := []string{"J3"}
		if strings.ContainsAny(chosen, "BC") {
			joins = append(joins, "J1")
		}
		if strings.ContainsAny(chosen, "CD") {
			joins = append(joins, "J2")
		}
		id := r.start(crossed(chosen, ok("D", "R"))...)
		r.succeeds(id, ran("R"), ran(letters(chosen)...), ran(joins...),
			dead(without([]string{"B", "C", "D", "J1", "J2"}, append(joins, letters(chosen)...))...))
		for _, join := range joins[1:] {
			r.order("R", join, "J3")
		}
	}
}

func localMergeWaits(r *run) {
	id := r.start(crossed("BD", gate("D", "R"))...)
	r.waits(id, "D")
	r.still(id, "J2", "J3")
	r.count(id, 1, "J1")
	r.open(id, "D")
	r.succeeds(id, ran("R", "B", "D", "J1", "J2", "J3"), dead("C"))
	r.order("J2", "J3")
}

// looping is R → {B, C} → J, where B waits for a signal and jumps to itself,
// three times.
func looping(r *run, chosen string) string {
	again := jumping("B", 3)
	r.task("loop", func(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		if x.Signal == nil {
			return stabilize.Suspend("B"), nil
		}
		return again(ctx, x)
	})
	return r.start(splitting(chosen), doing("loop", "B", "R"), ok("C", "R"), ok("D", "R"),
		ok("J", "B", "C").Joining(stabilize.JoinOr, 0))
}

func generalMerge(r *run) {
	id := looping(r, "BC")
	for round := range 4 {
		r.waitsInRound(id, "B", round)
		r.still(id, "J")
		r.count(id, 1, "C")
		r.signal(id, "B")
	}
	r.succeeds(id, ran("R", "C", "J"), commits(4, "B"), dead("D"))
}

func generalMergeUnreachable(r *run) {
	id := looping(r, "CD")
	r.succeeds(id, ran("R", "C", "D", "J"), dead("B"))
}

func generalMergeWithdrawn(r *run) {
	id := looping(r, "BC")
	r.waitsInRound(id, "B", 0)
	r.signal(id, "B")
	r.waitsInRound(id, "B", 1)
	r.still(id, "J")
	r.act(func(ctx context.Context, e *engine.Engine) error { return e.Withdraw(ctx, id, "B") })
	r.succeeds(id, ran("R", "C", "J"), withdrawn("B").commits(1), dead("D"))
}
