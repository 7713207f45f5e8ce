package patterns

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// pattern is one of the 43.
type pattern struct {
	id        int
	name      string
	sentence  string // what the pattern is, in one sentence
	built     string // how it is written here, in Markdown
	scenarios []scenario
}

// label is the name of the pattern's sub-test.
func (p *pattern) label() string { return fmt.Sprintf("WCP-%02d", p.id) }

// of returns the scenarios of a depth.
func (p *pattern) of(d Depth) []scenario {
	if d == Sample {
		return p.scenarios[:1]
	}
	return p.scenarios
}

// scenario is one way a pattern goes. It starts workflows, acts on them from
// outside, and says how they end.
type scenario struct {
	name string // of its sub-test
	play func(r *run)
	// least is how many tasks must be able to run at once; 0: one.
	least int
	// span is the longest time that passes in it; 0: a minute. Only real time
	// needs to know.
	span time.Duration
	// varies: how it ends depends on who was first, so that only what play says
	// is the same in all cells.
	varies bool
	// long: it is run in one plain cell only.
	long bool
}

// all returns the patterns by number.
func all() []pattern {
	ps := slices.Concat(basic(), branching(), partial(), merges(), threads(), instances(), states(), endings(), cycles())
	slices.SortStableFunc(ps, func(a, b pattern) int { return cmp.Compare(a.id, b.id) })
	return ps
}

// Pattern is what one of the 43 is, without its scenarios.
type Pattern struct {
	ID       string // such as "WCP-07", the name of its sub-test
	Name     string
	Sentence string // what the pattern is
	Built    string // how it is written with the builders of package stabilize, in Markdown
}

// All returns the patterns by number.
func All() []Pattern {
	var out []Pattern
	for _, p := range all() {
		out = append(out, Pattern{ID: p.label(), Name: p.name, Sentence: p.sentence, Built: p.built})
	}
	return out
}
