package stabilize

import "fmt"

// Check returns ErrInvalid, naming stage and field, if the workflow uses a task
// type, stage type, reducer or verifier that is not registered, or an
// expression that CheckExpr refuses.
func (r *Registry) Check(w *Workflow) error {
	for _, s := range w.Stages {
		if err := r.CheckStage(s); err != nil {
			return err
		}
	}
	return nil
}

// CheckStage is Check for one stage and the stages of its body.
func (r *Registry) CheckStage(s *Stage) error {
	if _, err := r.Stage(s.Type); err != nil {
		return Invalid(s.field("type"), "%q is not registered", s.Type)
	}
	for _, t := range s.Tasks {
		if _, ok := r.tasks[t.Type]; !ok {
			return Invalid(s.field("task "+t.Name), "task type %q is not registered", t.Type)
		}
	}
	if s.Rules == nil {
		return nil
	}
	for _, red := range s.Rules.Reduce {
		if _, err := r.Reducer(red.With); err != nil {
			return Invalid(s.field(fmt.Sprintf("reduction of %q", red.Key)), "reducer %q is not registered", red.With)
		}
	}
	if v := s.Rules.Verify; v != nil && v.With != "" {
		if _, err := r.Verifier(v.With); err != nil {
			return Invalid(s.field("verification"), "verifier %q is not registered", v.With)
		}
	}
	if err := s.checkExpressions(); err != nil {
		return err
	}
	for _, c := range s.Rules.Body {
		if err := r.CheckStage(c); err != nil {
			return fmt.Errorf("body of stage %q: %w", s.Ref, err)
		}
	}
	return nil
}

// checkExpressions checks all expressions that the rules hold.
func (s *Stage) checkExpressions() error {
	check := func(field, expression string) error {
		if expression == "" {
			return nil
		}
		if err := CheckExpr(expression); err != nil {
			return Invalid(s.field(field), "%v", err)
		}
		return nil
	}
	r := s.Rules
	if err := check("condition", r.If); err != nil {
		return err
	}
	for _, b := range r.Branches {
		if err := check(fmt.Sprintf("branch %q", b.To), b.When); err != nil {
			return err
		}
	}
	if m := r.Multi; m != nil {
		for _, c := range [...]struct{ field, text string }{
			{"instance count", m.CountOf}, {"instance list", m.Over}, {"instances until", m.Until},
		} {
			if err := check(c.field, c.text); err != nil {
				return err
			}
		}
	}
	if l := r.Loop; l != nil {
		if err := check("loop while", l.While); err != nil {
			return err
		}
		return check("loop until", l.Until)
	}
	return nil
}
