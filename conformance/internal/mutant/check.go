package mutant

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Mutation is one break of a store, made for one clause.
type Mutation struct {
	Clause string // the id of the clause that must find it
	Does   string // what the broken store does wrong
	// Also lists the other clauses that inevitably find it too.
	Also []string
	// May lists those that find it in some interleavings only.
	May []string
	// Hooks are made anew for each harness.
	Hooks func() *Hooks
}

// Harness wraps a harness of a good store.
type Harness struct {
	Good          conformance.Harness
	Hooks         *Hooks
	first, second persistence.Store
}

// New makes a harness whose handles are broken by hooks.
func New(good conformance.Harness, hooks *Hooks) *Harness {
	h := &Harness{Good: good, Hooks: hooks}
	h.wrap()
	return h
}

func (h *Harness) wrap() {
	h.first, h.second = &Store{h.Good.Store(), h.Hooks}, &Store{h.Good.Second(), h.Hooks}
}

func (h *Harness) Store() persistence.Store      { return h.first }
func (h *Harness) Second() persistence.Store     { return h.second }
func (h *Harness) Clock() *stabilize.ManualClock { return h.Good.Clock() }
func (h *Harness) Unwrap() any                   { return h.Good }

// Reopen implements conformance.Harness.
func (h *Harness) Reopen() persistence.Store {
	h.Good.Reopen()
	if h.Hooks.Reopened != nil {
		h.Hooks.Reopened()
	}
	h.wrap()
	return h.first
}

// Check runs the whole suite against every mutation and fails unless exactly
// the clauses that it names find it. Every clause must have a mutation, or stand
// in without with the reason why none is possible.
func Check[H any](t *testing.T, checks []conformance.Check[H], mutations []Mutation, without map[string]string, harness func(t *testing.T, hooks *Hooks) (h H, handle any)) {
	made := map[string]bool{}
	for _, m := range mutations {
		made[m.Clause] = true
	}
	for _, c := range checks {
		switch {
		case !made[c.ID] && without[c.ID] == "":
			t.Errorf("%s has no mutation, and no reason why none is possible", c.ID)
		case made[c.ID] && without[c.ID] != "":
			t.Errorf("%s has a mutation, and a reason why none is possible", c.ID)
		}
	}
	for i, m := range mutations {
		t.Run(fmt.Sprintf("%s/%d", m.Clause, i), func(t *testing.T) {
			t.Parallel()
			want := append(slices.Clone(m.Also), m.Clause)
			slices.Sort(want)
			var found []string
			said := map[string]string{}
			for _, c := range checks {
				if slices.Contains(m.May, c.ID) || testing.Short() && !slices.Contains(want, c.ID) {
					continue
				}
				ctx := t.Context()
				if slices.Contains(want, c.ID) {
					ctx = kit.Impatient(ctx)
				}
				h, handle := harness(t, m.Hooks())
				out := conformance.Record(ctx, t.Name(), c, h, handle, conformance.Least)
				if out.Lacks != "" {
					t.Errorf("%s did not run, for want of %s", c.ID, out.Lacks)
				}
				if out.Failed() {
					found = append(found, c.ID)
					said[c.ID] = out.Failures[0]
				}
			}
			slices.Sort(found)
			if !slices.Equal(want, found) {
				t.Errorf("a store that %s was found by\n\t%q, want\n\t%q", m.Does, found, want)
				for _, id := range found {
					if !slices.Contains(want, id) {
						t.Logf("%s: %s", id, said[id])
					}
				}
			}
			if text := said[m.Clause]; text != "" && !strings.HasPrefix(text, m.Clause+" is broken. Promised: ") {
				t.Errorf("the failure does not say which promise was broken: %s", text)
			}
		})
	}
}

// Sound fails unless a good store passes every clause, so that what the
// mutations find is theirs.
func Sound[H any](t *testing.T, checks []conformance.Check[H], harness func(t *testing.T, hooks *Hooks) (h H, handle any)) {
	for _, c := range checks {
		h, handle := harness(t, &Hooks{})
		if out := conformance.Record(t.Context(), t.Name(), c, h, handle, conformance.Least); out.Failed() || out.Lacks != "" {
			t.Errorf("on a good store %s: %q %s", c.ID, out.Failures, out.Lacks)
		}
	}
}
