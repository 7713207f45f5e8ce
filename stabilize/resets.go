package stabilize

import (
	"cmp"
	"slices"
)

// Resets returns the partial joins among the given stages that have fired and
// still wait for tokens on other edges, by ref. What only a stage that is about
// to jump could still bring, itself or by ending, does not count: it never comes.
func (w *Workflow) Resets(refs []string) []string {
	var out []string
	for _, ref := range refs {
		s := w.StageByRef(ref)
		if s == nil || !s.HasPartialJoin() || s.StartedAt.IsZero() {
			continue
		}
		for _, up := range s.Requisites {
			if w.stillComes(up, map[string]bool{}) {
				out = append(out, ref)
				break
			}
		}
	}
	return out
}

// stillComes reports whether the stage may yet put a token on its edges without
// the stages that are about to jump.
func (w *Workflow) stillComes(ref string, known map[string]bool) bool {
	if comes, ok := known[ref]; ok {
		return comes
	}
	known[ref] = false
	comes := false
	for _, s := range w.Executions(ref) {
		some, more, held := false, false, false
		for _, up := range s.Requisites {
			upComes, open := w.stillComes(up, known), w.open(up)
			some = some || upComes
			more = more || upComes && !open // a second token
			held = held || !upComes && open
		}
		switch {
		case s.Status.IsComplete():
			comes = comes || more || some && s.Join >= JoinExclusive
		case s.Status.IsActive():
			comes = comes || !s.jumps() && !(s.Ending != NotStarted && s.Reason == ReasonJumped)
		case w.heldByRules(s, known):
		case s.Join == JoinAnd || s.Join == JoinOr:
			comes = comes || !held
		default:
			comes = comes || some || !held
		}
	}
	known[ref] = comes
	return comes
}

// heldByRules reports whether a stage that has not begun waits for more than
// tokens, and only the end of a stage that is about to jump would let it begin.
func (w *Workflow) heldByRules(s *Stage, known map[string]bool) bool {
	r := s.Rules
	if r == nil {
		return false
	}
	if m := r.Milestone; m != nil && w.MilestoneState(s) == Waiting && !w.stillComes(m.Reached, known) {
		return true
	}
	if name := r.OnCancelOf; name != "" && w.cancelState(name) == Waiting &&
		slices.ContainsFunc(w.named(name), func(m *Stage) bool { return !m.Status.IsComplete() && !w.stillComes(m.Ref, known) }) {
		return true
	}
	return r.Exclusion != nil && !r.Exclusion.Section && slices.ContainsFunc(w.Excluding(r.Exclusion.Key), (*Stage).jumps)
}

// jumps reports whether the stage is about to jump.
func (s *Stage) jumps() bool { return s.Status.IsActive() && s.State != nil && s.State.Jump != nil }

// open reports whether an execution of the stage has not ended.
func (w *Workflow) open(ref string) bool {
	return slices.ContainsFunc(w.Executions(ref), func(s *Stage) bool { return !s.Status.IsComplete() })
}

// Jumping returns the stages whose jump waits for joins to reset, in
// TopologicalOrder.
func (w *Workflow) Jumping() []*Stage {
	w.Index()
	out := []*Stage{}
	if w.idx.jumping == 0 {
		return out
	}
	for _, s := range w.Stages {
		if s.jumps() && !s.Superseded {
			out = append(out, s)
		}
	}
	if len(out) > 1 {
		order := w.topoOrder()
		slices.SortFunc(out, func(a, b *Stage) int { return cmp.Compare(order[w.idx.byID[a.ID]], order[w.idx.byID[b.ID]]) })
	}
	return out
}

// OnlyJumping reports whether nothing is under way but stages whose jump waits,
// and those they are in.
func (w *Workflow) OnlyJumping() bool {
	w.Index()
	return w.idx.jumping > 0 && !slices.ContainsFunc(w.Stages, func(s *Stage) bool {
		moves := s.Status.IsActive() && (!s.jumps() || s.Superseded)
		return moves && (w.ActiveChildren(s) == 0 || slices.ContainsFunc(s.Tasks, func(t *Task) bool { return t.Status.IsActive() }))
	})
}
