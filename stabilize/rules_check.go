package stabilize

import (
	"fmt"
	"slices"
)

// checkRules checks the declared rules when a stage is made. What is stored is
// checked for its text only: rules do not change.
func (s *Stage) checkRules() error {
	r := s.Rules
	if r == nil {
		return nil
	}
	bad := func(name, format string, args ...any) error { return Invalid(s.field(name), format, args...) }
	switch {
	case !r.Split.Valid():
		return bad("split", "%d is not one", uint8(r.Split))
	case r.Split == SplitAnd && len(r.Branches) > 0:
		return bad("branches", "conditions go with an OR or exclusive split")
	case r.Split != SplitAnd && len(r.Branches) == 0:
		return bad("branches", "the split has none")
	case r.Threads < 0 || r.Threads > maxThreads:
		return bad("threads", "%d is negative, or more than %d", r.Threads, maxThreads)
	case r.Cancelling && !s.HasPartialJoin():
		return bad("join", "only a discriminator or N-of-M join cancels the rest")
	case r.Multi != nil && r.Loop != nil:
		return bad("loop", "the stage has instances already")
	case r.SucceedOnTimeout && s.Timeout == 0:
		return bad("timeout", "is missing, but the stage is to succeed when it is over")
	case r.Milestone != nil && r.Milestone.Reached == "":
		return bad("milestone", "names no stage to be reached")
	case r.Exclusion != nil && r.Exclusion.Key == "":
		return bad("exclusion key", "is empty")
	case slices.Contains(r.Regions, ""):
		return bad("region", "is empty")
	case r.Loop != nil && ((r.Loop.While == "") == (r.Loop.Until == "") || r.Loop.Max < 0):
		return bad("loop", "needs either a while or an until condition, and a maximum that is not negative")
	}
	if err := s.checkBranches(); err != nil {
		return err
	}
	for _, red := range r.Reduce {
		if red.Key == "" || red.With == "" {
			return bad("reduction", "names no output or no reducer")
		}
	}
	if v := r.Verify; v != nil {
		for _, t := range v.Types {
			if !slices.Contains(jsonTypes(), t.Type) {
				return bad("verification", "%q is no type", t.Type)
			}
		}
	}
	return r.Multi.check(s)
}

// areText reports whether all text in the rules is valid UTF-8.
func (r *Rules) areText() bool {
	if r == nil {
		return true
	}
	ok := areText(r.If, r.Choice, r.OnCancelOf) && areText(r.Regions...)
	for _, b := range r.Branches {
		ok = ok && areText(b.To, b.When)
	}
	for _, d := range r.Reduce {
		ok = ok && areText(d.Key, d.With)
	}
	if m := r.Milestone; m != nil {
		ok = ok && areText(m.Reached, m.Until)
	}
	if e := r.Exclusion; e != nil {
		ok = ok && areText(e.Key)
	}
	if m := r.Multi; m != nil {
		ok = ok && areText(m.CountOf, m.Over, m.Until)
	}
	if l := r.Loop; l != nil {
		ok = ok && areText(l.While, l.Until)
	}
	if v := r.Verify; v != nil {
		ok = ok && areText(v.With) && areText(v.Required...)
		for _, t := range v.Types {
			ok = ok && areText(t.Key, t.Type)
		}
	}
	return ok
}

// maxThreads bounds what one stage splits into.
const maxThreads = 100_000

func jsonTypes() []string {
	return []string{"string", "integer", "number", "boolean", "array", "object", "null"}
}

func (s *Stage) checkBranches() error {
	seen, defaults := map[string]bool{}, 0
	for _, b := range s.Rules.Branches {
		switch {
		case b.To == "":
			return Invalid(s.field("branches"), "one leads nowhere")
		case seen[b.To]:
			return Invalid(s.field("branches"), "%q is listed twice", b.To)
		case b.Default == (b.When != ""):
			return Invalid(s.field("branches"), "%q needs a condition, or to be the default", b.To)
		case b.Default:
			if defaults++; defaults > 1 && s.Rules.Split == SplitExclusive {
				return Invalid(s.field("branches"), "%q is a second default of an exclusive split", b.To)
			}
		}
		seen[b.To] = true
	}
	return nil
}

func (m *Multi) check(s *Stage) error {
	if m == nil {
		return nil
	}
	ways := 0
	for _, used := range []bool{m.Count != 0, m.CountOf != "", m.Over != ""} {
		if used {
			ways++
		}
	}
	bad := func(format string, args ...any) error { return Invalid(s.field("instances"), format, args...) }
	switch {
	case m.Count < 0 || m.Limit < 0 || m.Need < 0:
		return bad("a count, limit or need is negative")
	case ways > 1:
		return bad("are counted in more than one way")
	case ways == 0 && !m.Open:
		return bad("are not counted, and none can be added")
	case m.Need > 0 && m.CountOf == "" && m.Over == "" && !m.Open && m.Need > m.Count:
		return bad("%d of %d can never end well", m.Need, m.Count)
	case m.Detached && (m.Need > 0 || m.Until != "" || m.Open):
		return bad("are not waited for, so they cannot complete the stage")
	}
	return nil
}

// validateBody checks the stages inside the stage for what cannot be stored.
func (s *Stage) validateBody() error {
	for i, c := range s.Rules.Body {
		if c == nil {
			return Invalid(s.field(fmt.Sprintf("body[%d]", i)), "is nil")
		}
		field := s.field("body")
		ok := areText(c.ID, c.Ref, c.Type, c.Name, c.ParentID, c.Reason) && areText(c.Requisites...) && c.Rules.areText() &&
			areText(c.Tokens.Except...) && c.Failure.isText()
		if !ok {
			return Invalid(field, "stage %d is not valid UTF-8", i)
		}
		for _, err := range []error{c.Context.Check(field), c.Outputs.Check(field), c.State.check(field)} {
			if err != nil {
				return err
			}
		}
		if err := c.validateTasks(); err != nil {
			return fmt.Errorf("body of stage %q: %w", s.Ref, err)
		}
		if c.Rules != nil {
			if err := c.validateBody(); err != nil {
				return err
			}
		}
	}
	return nil
}
