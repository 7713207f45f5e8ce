package patterns

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
)

// Opener is a harness that opens more handles on its data, as more processes
// would have; the suite closes them. Without it all processes of a scenario share
// the two handles that every harness has, and one that dies leaves its handle to
// the next.
type Opener interface {
	Open() persistence.Store
}

// Depth says how much of the matrix is run.
type Depth int

// The depths. Under go test -short, and under the race detector, each above Single
// is the one below it.
const (
	// Normal: all modes and faults, three seeds, every crash point in one mode and
	// a few in the others.
	Normal Depth = iota
	// Brief: two modes, one seed, a few crash points; for stores that are slow.
	Brief
	// Single: each scenario once.
	Single
	// Full: every crash point in every mode, and 50 seeds.
	Full
	// Sample: the first scenario of each pattern, once; for servers on which a step
	// takes a tenth of a second.
	Sample
)

// WithDepth sets how much of the matrix is run. Without it that is Single, under
// Stress Brief, and under Differential Normal.
func WithDepth(d Depth) conformance.Option { return conformance.Set(d) }

// RealTime runs outside of synctest bubbles, for stores whose handles talk to a
// network. Delays are shrunk to seconds at most.
func RealTime() conformance.Option { return conformance.Set(realTime(true)) }

type realTime bool

type config struct {
	depth Depth
	real  bool
}

// Run runs every pattern in a sub-test named by its number, such as WCP-07, with
// one sub-test for each scenario and cell below it, in seconds: each scenario
// once. The harness of a cell is made within its bubble; its clock goes, from then
// on, as the bubble's does.
func Run(t *testing.T, newHarness func(t *testing.T) conformance.Harness, opts ...conformance.Option) {
	t.Helper()
	opts = slices.Concat([]conformance.Option{conformance.InSuite("patterns")}, opts)
	cfg := newConfig(opts)
	newPlace := func(t *testing.T) place {
		return place{t, func(t *testing.T) backend { return backendOf(newHarness(t)) }}
	}
	conformance.Run(t, checks(cfg), newPlace, func(place) any { return nil }, opts...)
}

// RunStress is Run with two modes, messages delivered twice and in any order, and
// a few crashes of each scenario, in minutes.
func RunStress(t *testing.T, newHarness func(t *testing.T) conformance.Harness, opts ...conformance.Option) {
	t.Helper()
	Run(t, newHarness, slices.Concat([]conformance.Option{conformance.At(conformance.Stress)}, opts)...)
}

func newConfig(opts []conformance.Option) config {
	var cfg config
	depth, given := conformance.Setting[Depth](opts)
	switch e := conformance.EffortOf(opts); {
	case given:
	case e == conformance.Stress:
		depth = Brief
	case e == conformance.Differential:
		depth = Normal
	default:
		depth = Single
	}
	cfg.depth = depth
	if (testing.Short() || raced) && cfg.depth < Single {
		cfg.depth++
	}
	if real, ok := conformance.Setting[realTime](opts); ok {
		cfg.real = bool(real)
	}
	return cfg
}

// place is where a pattern runs: below the sub-test of its check.
type place struct {
	t    *testing.T
	open func(t *testing.T) backend
}

func checks(cfg config) []conformance.Check[place] {
	var out []conformance.Check[place]
	for _, p := range all() {
		clause := conformance.Clause{ID: p.label(), Group: "WCP", Sentence: p.name + ": " + p.sentence}
		out = append(out, conformance.Check[place]{Clause: clause, Run: func(t conformance.T, at place, _ conformance.Effort) {
			for _, s := range p.of(cfg.depth) {
				at.t.Run(s.name, func(sub *testing.T) {
					s.matrix(sub, at.open, cfg, clause, func(in cell, seen string) {
						t.Errorf("scenario %q, in cell %s, seed %d: %s", s.name, in, in.plan.Seed, seen)
					})
				})
			}
		}})
	}
	return out
}

// matrix runs a scenario in every cell, and tells the first failure of each that
// fails. The plain cell of each mode comes first, in the scenario's own test: it
// tells how many commits there are to crash at, and the ends that all other cells
// must come to.
func (s *scenario) matrix(t *testing.T, open func(t *testing.T) backend, cfg config, clause conformance.Clause, tell func(in cell, seen string)) {
	want := ""
	for _, m := range modes(cfg.depth) {
		plain := s.cell(t, open, cfg, clause, m.plain(), tell)
		if plain.failed || s.long { // the others would say the same
			return
		}
		if want == "" {
			want = plain.digest
		} else if !s.varies && plain.digest != want {
			tell(m.plain(), "it ends otherwise than in the first:\n"+kit.Difference(want, plain.digest))
		}
		for _, c := range m.cells(cfg.depth, plain.commits) {
			t.Run(c.String(), func(t *testing.T) {
				got := s.cell(t, open, cfg, clause, c, tell)
				if !got.failed && !s.varies && got.digest != want {
					t.Fail()
					tell(c, "it ends otherwise than plainly:\n"+kit.Difference(want, got.digest))
				}
			})
		}
	}
}

// cell runs a scenario once, in a bubble if time is virtual; a bubble that fails
// ends the test it is in.
func (s *scenario) cell(t *testing.T, open func(t *testing.T) backend, cfg config, clause conformance.Clause, c cell, tell func(in cell, seen string)) (out outcome) {
	seen := &watcher{}
	defer func() {
		if p := recover(); p != nil { // a bubble in which nobody goes on
			t.Errorf("panic: %v", p)
			seen.note("panic: %v", []any{p})
			out.failed = true
		}
		if out.failed {
			tell(c, seen.failure())
		}
	}()
	play := func(t *testing.T) {
		seen.T = t
		defer func() {
			if p := recover(); p != nil {
				seen.Errorf("panic: %v\n%s", p, debug.Stack())
			}
			out.failed = t.Failed()
		}()
		out = s.once(conformance.Named(seen, clause), open(t), cfg, c)
	}
	if cfg.real {
		t.Run("real", play)
	} else {
		synctest.Test(t, play)
	}
	return out
}

// watcher remembers the first failure of a cell.
type watcher struct {
	*testing.T
	mu    sync.Mutex
	first string
}

func (w *watcher) failure() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first == "" {
		return "the harness failed; the log says how"
	}
	return w.first
}

func (w *watcher) note(format string, args []any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first == "" {
		w.first = fmt.Sprintf(format, args...)
		if _, after, ok := strings.Cut(w.first, "\nSeen: "); ok {
			w.first = after
		}
	}
}

func (w *watcher) Errorf(format string, args ...any) {
	w.T.Helper()
	w.note(format, args)
	w.T.Errorf(format, args...)
}

func (w *watcher) Fatalf(format string, args ...any) {
	w.T.Helper()
	w.note(format, args)
	w.T.Fatalf(format, args...)
}

// outcome is what one run of a scenario came to.
type outcome struct {
	digest  string
	commits int // of the first handle
	failed  bool
}

// once runs a scenario on a backend.
func (s *scenario) once(t conformance.T, b backend, cfg config, c cell) outcome {
	c.least = s.least
	r := newRun(t, b, cfg, c, s.span)
	defer r.close()
	s.play(r)
	r.checkAll()
	return outcome{digest: r.digest(), commits: r.crew.commits()}
}
