package patterns

import (
	"testing"
	"testing/synctest"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
)

// Backend is one fresh, empty set of data.
type Backend interface {
	// Open returns another handle on the data, as another process would have. The
	// suite closes it. It takes its time from stabilize.SystemClock, which in a
	// synctest bubble is virtual.
	Open() persistence.Store
}

// BackendFunc makes a Backend of its Open.
type BackendFunc func() persistence.Store

// Open implements Backend.
func (f BackendFunc) Open() persistence.Store { return f() }

// Depth says how much of the matrix is run.
type Depth int

// The depths. Under go test -short, and under the race detector, each but Full is
// the one below it.
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
)

// Option changes how the patterns are run.
type Option func(*config)

type config struct {
	depth Depth
	real  bool
}

// WithDepth sets how much of the matrix is run.
func WithDepth(d Depth) Option { return func(c *config) { c.depth = d } }

// RealTime runs outside of synctest bubbles, for stores whose handles talk to a
// network. Delays are shrunk to seconds at most.
func RealTime() Option { return func(c *config) { c.real = true } }

// Run runs every pattern in a sub-test named by its number, such as WCP-07, with
// one sub-test for each scenario and cell below it. Open makes a fresh backend
// for one cell, within the cell's bubble, and registers its own cleanup with t.
func Run(t *testing.T, open func(t testing.TB) Backend, opts ...Option) {
	cfg := newConfig(opts)
	for _, p := range all() {
		t.Run(p.label(), func(t *testing.T) {
			t.Parallel()
			p.run(t, open, cfg)
		})
	}
}

func newConfig(opts []Option) config {
	var cfg config
	for _, o := range opts {
		o(&cfg)
	}
	if (testing.Short() || raced) && cfg.depth < Single {
		cfg.depth++
	}
	return cfg
}

func (p *pattern) run(t *testing.T, open func(t testing.TB) Backend, cfg config) {
	for _, s := range p.scenarios {
		t.Run(s.name, func(t *testing.T) {
			s.matrix(t, open, cfg, conformance.Clause{
				ID: p.label() + " " + p.name, Sentence: p.sentence,
			})
		})
	}
}

// matrix runs a scenario in every cell. The plain cell of each mode comes first,
// in the scenario's own test: it tells how many commits there are to crash at,
// and the ends that all other cells must come to.
func (s *scenario) matrix(t *testing.T, open func(t testing.TB) Backend, cfg config, clause conformance.Clause) {
	want := ""
	for _, m := range modes(cfg.depth) {
		plain := s.cell(t, open, cfg, clause, m.plain())
		if plain.failed {
			t.Logf("in cell %s", m.plain())
			return // the others would say the same
		}
		if s.long {
			return
		}
		if want == "" {
			want = plain.digest
		} else if !s.varies && plain.digest != want {
			t.Errorf("%s: in cell %s it ends otherwise than in the first:\n%s", clause.ID, m.plain(), kit.Difference(want, plain.digest))
		}
		for _, c := range m.cells(cfg.depth, plain.commits) {
			t.Run(c.String(), func(t *testing.T) {
				got := s.cell(t, open, cfg, clause, c)
				if got.failed {
					t.Logf("in cell %s, seed %d", c, c.plan.Seed)
				} else if !s.varies && got.digest != want {
					t.Errorf("%s: in cell %s, seed %d, it ends otherwise than plainly:\n%s", clause.ID, c, c.plan.Seed, kit.Difference(want, got.digest))
				}
			})
		}
	}
}

// cell runs a scenario once, in a bubble if time is virtual.
func (s *scenario) cell(t *testing.T, open func(t testing.TB) Backend, cfg config, clause conformance.Clause, c cell) (out outcome) {
	play := func(t *testing.T) {
		defer func() { out.failed = t.Failed() }()
		out = s.once(conformance.Named(t, clause), open(t), cfg, c)
	}
	if cfg.real {
		t.Run("real", play)
	} else {
		synctest.Test(t, play)
	}
	return out
}

// outcome is what one run of a scenario came to.
type outcome struct {
	digest  string
	commits int // of the first handle
	failed  bool
}

// once runs a scenario on a backend.
func (s *scenario) once(t conformance.T, b Backend, cfg config, c cell) outcome {
	c.least = s.least
	r := newRun(t, b, cfg, c, s.span)
	defer r.close()
	s.play(r)
	r.checkAll()
	return outcome{digest: r.digest(), commits: r.crew.commits()}
}
