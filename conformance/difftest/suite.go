package difftest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Run compares a store with the memory store, in seconds: 20 sequences of 120
// operations, a sub-test each, and as many in which calls are refused, replies of
// commits are lost and the process dies, as package faults does it; a quarter of
// them under go test -short. The harness must be fresh at each call; Run closes
// its handles, so closing them once more must be no error.
func Run(t *testing.T, newHarness func(t *testing.T) conformance.Harness, opts ...conformance.Option) {
	t.Helper()
	opts = slices.Concat([]conformance.Option{conformance.InSuite("difftest")}, opts)
	first, ok := conformance.Setting[firstSeed](opts)
	if !ok {
		first = 1
	}
	newSource := func(t *testing.T) source {
		return source{newHarness(t), func() conformance.Harness { return newHarness(t) }}
	}
	conformance.Run(t, checks(uint64(first), conformance.EffortOf(opts)), newSource, func(source) any { return nil }, opts...)
}

// RunStress is Run with ten times the sequences, in minutes.
func RunStress(t *testing.T, newHarness func(t *testing.T) conformance.Harness, opts ...conformance.Option) {
	t.Helper()
	Run(t, newHarness, slices.Concat([]conformance.Option{conformance.At(conformance.Stress)}, opts)...)
}

// RunDifferential is Run for a night: 5,000 sequences of 200 operations, and as
// many with faults. The -timeout has to be raised.
func RunDifferential(t *testing.T, newHarness func(t *testing.T) conformance.Harness, opts ...conformance.Option) {
	t.Helper()
	Run(t, newHarness, slices.Concat([]conformance.Option{conformance.At(conformance.Differential)}, opts)...)
}

// From is the first seed; it is 1 otherwise. Two nights with the same seeds are
// the same night.
func From(seed uint64) conformance.Option { return conformance.Set(firstSeed(seed)) }

type firstSeed uint64

// source is where a sequence takes its stores from: one for the first try, more
// to find a short one.
type source struct {
	first conformance.Harness
	more  func() conformance.Harness
}

// Unwrap has the powers of the harness found.
func (s source) Unwrap() any { return s.first }

// options are the size of a sequence and of the search for a short one.
type options struct {
	steps   int
	faulty  bool
	shrinks int // how many sequences are tried
}

// checks returns a check for each seed, as many as the effort asks for.
func checks(first uint64, e conformance.Effort) []conformance.Check[source] {
	seeds, o := 20, options{steps: 120, shrinks: 400}
	switch e {
	case conformance.Least:
		seeds = 2
	case conformance.Short:
		seeds = 5
	case conformance.Stress:
		seeds = 200
	case conformance.Differential:
		seeds, o = 5000, options{steps: 200, shrinks: 2000}
	}
	var out []conformance.Check[source]
	for _, kind := range []struct {
		group, sentence string
		faulty          bool
	}{
		{"DF", "Any sequence of operations gives the answers, the classes of errors and the state that it gives on the memory store.", false},
		{"DX", "Where calls are refused, replies are lost and processes die, a commit happened as a whole or not at all, and what follows is as on the memory store.", true},
	} {
		o.faulty = kind.faulty
		for i := range seeds {
			out = append(out, check(kind.group, kind.sentence, first+uint64(i), o))
		}
	}
	return out
}

func check(group, sentence string, seed uint64, o options) conformance.Check[source] {
	return conformance.Check[source]{
		Clause: conformance.Clause{ID: fmt.Sprint(group, "-", seed), Group: group, Sentence: sentence},
		Run: func(t conformance.T, from source, _ conformance.Effort) {
			next := from.first
			fresh := func() conformance.Harness {
				h := next
				if next = nil; h == nil {
					h = from.more()
				}
				return h
			}
			if f := explore(t.Context(), seed, o, fresh); f != nil {
				t.Errorf("%s", f)
			}
		},
	}
}

// finding is a disagreement and the operations that lead to it.
type finding struct {
	seed uint64
	made int
	ops  []op
	trouble
}

// trouble is where a play went wrong and how.
type trouble struct {
	at   int // index of the operation; beyond the last: the state that is left
	says string
}

// explore plays the seed's sequence and, if the two disagree, looks for a short
// one. It returns nil if they agree.
func explore(ctx context.Context, seed uint64, o options, fresh func() conformance.Harness) *finding {
	ops := generate(seed, o.steps, o.faulty)
	full := &filled{map[int]*stabilize.Header{}, map[int]*stabilize.Stage{}}
	try := func(ops []op) *trouble { return play(ctx, ops, full, o.faulty, fresh()) }
	t := try(ops)
	if t == nil {
		return nil
	}
	f := &finding{seed: seed, made: len(ops), ops: ops, trouble: *t}
	f.shrink(try, o.shrinks)
	return f
}

// String tells the finding in lines.
func (f *finding) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the store and the memory store disagree: seed %d, %d of %d operations are left\n", f.seed, len(f.ops), f.made)
	for i, o := range f.ops {
		mark := "   "
		if i == f.at {
			mark = ">>>"
		}
		fmt.Fprintf(&b, "%s %2d. %s\n", mark, i+1, o)
	}
	if f.at >= len(f.ops) {
		b.WriteString(">>> and then\n")
	}
	b.WriteString("    " + f.says)
	return b.String()
}
