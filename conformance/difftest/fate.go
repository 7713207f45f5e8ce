package difftest

import (
	"github.com/stabilize-dev/go-stabilize/conformance/faults"
	"github.com/stabilize-dev/go-stabilize/persistence"
)

// fated is an operation whose call goes wrong.
type fated struct {
	op
	fate fate
}

type fate int

// What may become of a call. The first may befall any that package faults
// refuses, the others a commit.
const (
	refused fate = iota
	unanswered
	diesBefore
	diesAfter
	fates
)

func (f fate) String() string {
	return [...]string{"refused", "the reply is lost", "the process dies before it", "the process dies after it"}[f]
}

func (f fate) plan() faults.Plan {
	switch f {
	case unanswered:
		return faults.Plan{LostReply: 1}
	case diesBefore:
		return faults.Plan{Crash: faults.Before(1)}
	case diesAfter:
		return faults.Plan{Crash: faults.After(1)}
	default:
		return faults.Plan{Refused: 1, RefusedCalls: 1}
	}
}

func (o fated) String() string { return o.op.String() + " [" + o.fate.String() + "]" }

// on makes the candidate's handles hostile for this one call.
func (o fated) on(p *player) func(*side) result {
	for i, s := range p.candidate.handles {
		p.candidate.handles[i] = faults.Wrap(s, o.fate.plan())
	}
	return o.op.on(p)
}

func (o fated) simpler() []op {
	out := []op{o.op}
	if s, ok := o.op.(interface{ simpler() []op }); ok {
		for _, by := range s.simpler() {
			out = append(out, fated{by, o.fate})
		}
	}
	return out
}

// calm returns the side's handles as the harness gives them.
func (s *side) calm() [2]persistence.Store {
	return [2]persistence.Store{s.harness.Store(), s.harness.Second()}
}
