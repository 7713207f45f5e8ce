package stabilize

// Below returns a stage's ref and those of all stages that require it, directly
// or not, round about or not, by the Position at which each was first declared.
func (w *Workflow) Below(ref string) []string { return w.below(ref, false) }

// StartsOver returns the refs that get a new round with a stage: Below, and, with
// what is below them,
//   - the stages whose milestone wants one of these reached,
//   - those that are dead because one of these had begun (but for the stage
//     itself, which begins again at once),
//   - those which the cancellation of one would start.
//
// What the stage itself requires never starts over with it. A stage inside another
// starts over while that is under way and does not start over itself.
func (w *Workflow) StartsOver(ref string) []string { return w.below(ref, true) }

func (w *Workflow) below(ref string, watching bool) []string {
	w.Index()
	seen := map[string]bool{ref: true}
	var above map[string]bool
	outside := false
	for todo := []string{ref}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		add := func(slot int) {
			if down := w.Stages[slot].Ref; !seen[down] {
				seen[down] = true
				todo = append(todo, down)
			}
		}
		for _, slot := range w.idx.downstream[at] {
			add(slot)
		}
		if !watching {
			continue
		}
		for _, slot := range w.dependents(at, ref) {
			if above == nil {
				above = w.above(ref)
			}
			if !above[w.Stages[slot].Ref] {
				add(slot)
				outside = outside || w.Stages[slot].IsSynthetic()
			}
		}
	}
	if outside {
		w.dropInside(seen, ref)
	}
	var out []string
	for _, s := range w.Stages {
		if seen[s.Ref] {
			seen[s.Ref] = false
			out = append(out, s.Ref)
		}
	}
	return out
}

// dropInside takes stages inside others out of those that start over with ref:
// whose parent has ended, or starts over too and makes them afresh.
func (w *Workflow) dropInside(refs map[string]bool, ref string) {
	for at := range refs {
		s := w.StageByRef(at)
		if s == nil || s.ParentID == w.StageByRef(ref).ParentID {
			continue
		}
		for parent := w.Stage(s.ParentID); parent != nil; parent = w.Stage(parent.ParentID) {
			if parent.Status.IsComplete() || parent.Superseded || refs[parent.Ref] {
				delete(refs, at)
				break
			}
		}
	}
}

// dependents returns the slots of the stages that something other than an edge
// makes depend on a stage which starts over because another does.
func (w *Workflow) dependents(ref, because string) []int {
	if len(w.idx.rules.watching) == 0 {
		return nil
	}
	var out []int
	for _, slot := range w.idx.rules.watching[ref] {
		r, m := w.Stages[slot].Rules, w.Stages[slot].Rules.Milestone
		if r.OnCancelOf == ref || m != nil && (m.Reached == ref || m.Until == ref && ref != because && w.missed(slot)) {
			out = append(out, slot)
		}
	}
	s := w.StageByRef(ref)
	if s == nil || s.Rules == nil {
		return out
	}
	for _, region := range s.Rules.Regions {
		for _, slot := range w.idx.rules.watching[region] {
			if w.Stages[slot].Rules.OnCancelOf == region {
				out = append(out, slot)
			}
		}
	}
	return out
}

// missed reports whether a stage is dead because its milestone had passed.
func (w *Workflow) missed(slot int) bool {
	s := w.StageByRef(w.Stages[slot].Ref)
	return s.Status == Skipped && s.Reason == ReasonMilestone
}

// above returns the refs of the stages that a stage requires, directly or not.
func (w *Workflow) above(ref string) map[string]bool {
	seen := map[string]bool{}
	for todo := []string{ref}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		s := w.StageByRef(at)
		if s == nil {
			continue
		}
		for _, up := range s.Requisites {
			if !seen[up] {
				seen[up] = true
				todo = append(todo, up)
			}
		}
	}
	return seen
}
