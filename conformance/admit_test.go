package conformance

import (
	"strings"
	"testing"
)

type lacking []Power

func (l lacking) Lacks() []Power { return l }

type wrapped struct{ inner any }

func (w wrapped) Unwrap() any { return w.inner }

func TestAMissingPowerMustBeDeclared(t *testing.T) {
	for _, c := range []struct {
		name            string
		needs           Power
		present, lacked bool
		run, problem    bool
	}{
		{"nothing is needed", "", true, false, true, false},
		{"it is there", CanTamper, true, false, true, false},
		{"it is lacked, as declared", CanTamper, false, true, false, false},
		{"it is missing without a word", CanTamper, false, false, false, true},
		{"it is there in spite of the declaration", CanTamper, true, true, false, true},
	} {
		run, problem := admit(c.needs, c.present, c.lacked)
		if run != c.run || (problem != "") != c.problem || c.problem && !strings.Contains(problem, string(c.needs)) {
			t.Errorf("%s: run %t, problem %q", c.name, run, problem)
		}
	}
	if got := lackedBy(wrapped{lacking{CanLimit}}); len(got) != 1 || got[0] != CanLimit {
		t.Errorf("what a wrapped harness lacks is read as %v", got)
	}
}
