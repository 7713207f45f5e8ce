package difftest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Option changes how Run looks.
type Option func(*options)

type options struct {
	from    uint64
	seeds   int
	steps   int
	faulty  bool
	shrinks int // how many sequences are tried to find a short one
}

// From sets the first seed; it is 1 otherwise.
func From(seed uint64) Option { return func(o *options) { o.from = seed } }

// Seeds sets how many sequences are tried.
func Seeds(n int) Option { return func(o *options) { o.seeds = n } }

// Steps sets how many operations a sequence has.
func Steps(n int) Option { return func(o *options) { o.steps = n } }

// WithFaults lets some calls to the candidate go wrong, as package faults does it:
// calls are refused, replies of commits are lost, the process dies before or after
// a commit and the data is opened anew. Commits are then sent one by one.
func WithFaults() Option { return func(o *options) { o.faulty = true } }

// Run compares a store with the memory store: one sub-test per seed, named by it.
// The harness must be fresh at each call; its handles are closed by Run, so
// closing them once more must be no error. It tries 40 sequences of 120 operations
// if the options do not say otherwise, a quarter of them under go test -short.
func Run(t *testing.T, newHarness func(t *testing.T) conformance.Harness, opts ...Option) {
	t.Helper()
	seeds := 40
	if testing.Short() {
		seeds = 10
	}
	runAll(t, newHarness, options{from: 1, seeds: seeds, steps: 120, shrinks: 400}, opts)
}

// RunStress is Run for a night: 5000 sequences of 200 operations, which the
// options may change.
func RunStress(t *testing.T, newHarness func(t *testing.T) conformance.Harness, opts ...Option) {
	t.Helper()
	runAll(t, newHarness, options{from: 1, seeds: 5000, steps: 200, shrinks: 2000}, opts)
}

func runAll(t *testing.T, newHarness func(t *testing.T) conformance.Harness, o options, opts []Option) {
	t.Helper()
	for _, opt := range opts {
		opt(&o)
	}
	for i := range o.seeds {
		seed := o.from + uint64(i)
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			if f := explore(t.Context(), seed, o, func() conformance.Harness { return newHarness(t) }); f != nil {
				t.Error(f)
			}
		})
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
