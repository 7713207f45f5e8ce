package stabilize

import "slices"

// ruleIndex finds stages by the names in their rules. Slots.
type ruleIndex struct {
	watching  map[string][]int // ref or region → stages whose milestone or on-cancel-of names it
	regions   map[string][]int
	choices   map[string][]int
	excluding map[string][]int
	threaded  int // stages that split into threads
}

func (x *ruleIndex) add(slot int, s *Stage) {
	put := func(m *map[string][]int, key string) {
		if key == "" {
			return
		}
		if *m == nil {
			*m = map[string][]int{}
		}
		(*m)[key] = append((*m)[key], slot)
	}
	r := s.Rules
	if r.Threads > 1 {
		x.threaded++
	}
	if m := r.Milestone; m != nil {
		put(&x.watching, m.Reached)
		put(&x.watching, m.Until)
	}
	put(&x.watching, r.OnCancelOf)
	put(&x.choices, r.Choice)
	if r.Exclusion != nil {
		put(&x.excluding, r.Exclusion.Key)
	}
	for _, region := range r.Regions {
		put(&x.regions, region)
	}
}

// bodied reports whether the stage's tasks and body are run as instances or
// iterations, not by the stage itself.
func (s *Stage) bodied() bool { return s.Rules != nil && (s.Rules.Multi != nil || s.Rules.Loop != nil) }

// IsBodied reports whether the stage runs its tasks and body as instances or
// iterations of itself.
func (s *Stage) IsBodied() bool { return s.bodied() }

// Executions returns the executions of a stage that count, by Round: those that
// no later one has superseded. Most stages have one.
func (w *Workflow) Executions(ref string) []*Stage {
	w.Index()
	slots := w.executions(ref)
	out := make([]*Stage, len(slots))
	for i, slot := range slots {
		out[i] = w.Stages[slot]
	}
	return out
}

// Rounds returns all executions of a stage, those that were superseded too, by
// Round.
func (w *Workflow) Rounds(ref string) []*Stage {
	w.Index()
	out := []*Stage{}
	if slots, several := w.idx.rounds[ref]; several {
		for _, slot := range slots {
			out = append(out, w.Stages[slot])
		}
	} else if slot, ok := w.idx.latest[ref]; ok {
		out = append(out, w.Stages[slot])
	}
	return out
}

func (w *Workflow) executions(ref string) []int {
	all, several := w.idx.rounds[ref]
	if !several {
		if slot, ok := w.idx.latest[ref]; ok {
			return []int{slot}
		}
		return nil
	}
	counting := make([]int, 0, len(all))
	for _, slot := range all {
		if !w.Stages[slot].Superseded {
			counting = append(counting, slot)
		}
	}
	return counting
}

// first returns the slot of the first execution of a stage that counts.
func (w *Workflow) first(ref string) (int, bool) {
	if all, several := w.idx.rounds[ref]; several {
		for _, slot := range all {
			if !w.Stages[slot].Superseded {
				return slot, true
			}
		}
	}
	slot, ok := w.idx.latest[ref]
	return slot, ok
}

// sources returns the slots of the executions whose outputs the one in a slot
// sees directly.
func (w *Workflow) sources(slot int) []int {
	s := w.Stages[slot]
	if s.State != nil && len(s.State.Consumed) > 0 {
		out := make([]int, 0, len(s.State.Consumed))
		for _, t := range s.State.Consumed {
			if up, ok := w.execution(t.Ref, t.Round); ok {
				out = append(out, up)
			}
		}
		return out
	}
	out := make([]int, 0, len(s.Requisites))
	for _, ref := range s.Requisites {
		if up, ok := w.first(ref); ok {
			out = append(out, up)
		}
	}
	return out
}

func (w *Workflow) execution(ref string, round int) (int, bool) {
	for _, slot := range w.idx.rounds[ref] {
		if w.Stages[slot].Round == round {
			return slot, true
		}
	}
	slot, ok := w.idx.latest[ref]
	return slot, ok && w.Stages[slot].Round == round
}

// StageInRound returns one execution of a stage, or nil.
func (w *Workflow) StageInRound(ref string, round int) *Stage {
	w.Index()
	if slot, ok := w.execution(ref, round); ok {
		return w.Stages[slot]
	}
	return nil
}

// Sources returns the executions whose outputs s sees directly: those whose
// tokens it was started with.
func (w *Workflow) Sources(s *Stage) []*Stage {
	w.Index()
	out := []*Stage{}
	if slot, ok := w.idx.byID[s.ID]; ok {
		for _, up := range w.sources(slot) {
			out = append(out, w.Stages[up])
		}
	}
	return out
}

// Watching returns the latest rounds of the stages whose milestone or
// on-cancel-of names a stage or region.
func (w *Workflow) Watching(name string) []*Stage {
	w.Index()
	return w.latestOf(w.idx.rules.watching[name])
}

// Region returns the stages of a cancel region that count.
func (w *Workflow) Region(name string) []*Stage {
	w.Index()
	return w.counting(w.idx.rules.regions[name])
}

// Choice returns the stages of a deferred choice that count.
func (w *Workflow) Choice(name string) []*Stage {
	w.Index()
	return w.counting(w.idx.rules.choices[name])
}

// Excluding returns the stages with an exclusion key that count.
func (w *Workflow) Excluding(key string) []*Stage {
	w.Index()
	return w.counting(w.idx.rules.excluding[key])
}

// StillHolding returns the executions with an exclusion key that are history and
// have not ended.
func (w *Workflow) StillHolding(key string) []*Stage {
	w.Index()
	out := []*Stage{}
	for _, slot := range w.idx.rules.excluding[key] {
		if s := w.Stages[slot]; s.Superseded && s.Status.IsActive() {
			out = append(out, s)
		}
	}
	return out
}

// Jumping returns the stages whose jump waits for joins to reset.
func (w *Workflow) Jumping() []*Stage {
	w.Index()
	if w.idx.partial == 0 {
		return nil // no jump ever waits
	}
	out := []*Stage{}
	for _, s := range w.Stages {
		if s.State != nil && s.State.Jump != nil && !s.Superseded {
			out = append(out, s)
		}
	}
	return out
}

func (w *Workflow) latestOf(slots []int) []*Stage {
	out := []*Stage{}
	for _, slot := range slots {
		if s := w.Stages[slot]; w.idx.latest[s.Ref] == slot {
			out = append(out, s)
		}
	}
	return out
}

func (w *Workflow) counting(slots []int) []*Stage {
	out := []*Stage{}
	for _, slot := range slots {
		if s := w.Stages[slot]; !s.Superseded {
			out = append(out, s)
		}
	}
	return out
}

// Below returns a stage's ref and those of all stages that require it, directly
// or not, round about or not, by the Position at which each was first declared.
func (w *Workflow) Below(ref string) []string { return w.below(ref, false) }

// StartsOver returns the refs that get a new round with a stage: Below, and the
// stages, with what is below them, whose milestone wants one of these reached, or
// which the cancellation of one would start. What the stage itself requires never
// starts over with it.
func (w *Workflow) StartsOver(ref string) []string { return w.below(ref, true) }

func (w *Workflow) below(ref string, watching bool) []string {
	w.Index()
	seen := map[string]bool{ref: true}
	var above map[string]bool
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
		for _, slot := range w.dependents(at) {
			if above == nil {
				above = w.above(ref)
			}
			if !above[w.Stages[slot].Ref] {
				add(slot)
			}
		}
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

// dependents returns the slots of the stages that something other than an edge
// makes depend on a stage.
func (w *Workflow) dependents(ref string) []int {
	if len(w.idx.rules.watching) == 0 {
		return nil
	}
	var out []int
	for _, slot := range w.idx.rules.watching[ref] {
		r := w.Stages[slot].Rules
		if r.OnCancelOf == ref || r.Milestone != nil && r.Milestone.Reached == ref {
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

// OnlyToward returns the stages that have not ended, stand above one and lead
// nowhere but to it: what is of no use any more once it needs no more tokens.
// Executions that count, by Position.
func (w *Workflow) OnlyToward(s *Stage) []*Stage {
	w.Index()
	above := map[string]bool{}
	for todo := slices.Clone(s.Requisites); len(todo) > 0; {
		ref := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		slot, ok := w.idx.latest[ref]
		if !ok || above[ref] {
			continue
		}
		above[ref] = true
		todo = append(todo, w.Stages[slot].Requisites...)
	}
	for again := true; again; { // leave out what leads elsewhere too
		again = false
		for ref := range above {
			for _, slot := range w.idx.downstream[ref] {
				if down := w.Stages[slot].Ref; down != s.Ref && !above[down] {
					delete(above, ref)
					again = true
					break
				}
			}
		}
	}
	out := []*Stage{}
	for slot, u := range w.Stages {
		if above[u.Ref] && !u.Superseded && !u.Status.IsComplete() && slices.Contains(w.executions(u.Ref), slot) {
			out = append(out, u)
		}
	}
	return out
}
