package handlers

import (
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// branches returns the refs whose edge gets no live token, by the conditions of
// the stage's split. In the reference an OR split without a true branch takes
// the first.
func (x *Decision) branches(s *stabilize.Stage) ([]string, *stabilize.Failure) {
	r := s.Rules
	if r.Split == stabilize.SplitAnd {
		return nil, nil
	}
	env := x.Workflow().EndContext(s)
	taken := make([]bool, len(r.Branches))
	any := false
	for i, b := range r.Branches {
		if b.Default {
			continue
		}
		yes, err := x.env.Expressions.Bool(b.When, env)
		if err != nil {
			return nil, &stabilize.Failure{Code: stabilize.CodeExpression, Message: "branch to " + b.To + ": " + errorText(err)}
		}
		if taken[i] = yes; yes {
			any = true
			if r.Split == stabilize.SplitExclusive {
				break
			}
		}
	}
	if !any {
		for i, b := range r.Branches {
			if b.Default {
				taken[i], any = true, true
			}
		}
	}
	if !any {
		return nil, &stabilize.Failure{Code: stabilize.CodeNoBranch, Message: "no condition is true, and there is no default"}
	}
	var closed []string
	for i, b := range r.Branches {
		if !taken[i] {
			closed = append(closed, b.To)
		}
	}
	return closed, nil
}
