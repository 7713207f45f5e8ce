package stabilize

import (
	"iter"
	"slices"
)

// ruleIndex finds stages by the names in their rules. Slots.
type ruleIndex struct {
	watching  map[string][]int // ref or region → stages whose milestone or on-cancel-of names it
	regions   map[string][]int
	choices   map[string][]int
	excluding map[string][]int
	sections  map[string]int // exclusion key → how many stages have it as a section
	begun     map[string]int // exclusion key → how many of excluding, from the first on, have begun
	threaded  int            // stages that split into threads
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
		if r.Exclusion.Section {
			count(&x.sections, r.Exclusion.Key, 1)
		}
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

// HasSections reports whether an exclusion key is that of a critical section, of
// one stage at least.
func (w *Workflow) HasSections(key string) bool {
	w.Index()
	return w.idx.rules.sections[key] > 0
}

// NotBegun returns the stages with an exclusion key that count and have not begun,
// by Position. It costs no more than what it is asked for.
func (w *Workflow) NotBegun(key string) iter.Seq[*Stage] {
	w.Index()
	return func(yield func(*Stage) bool) {
		slots, x := w.idx.rules.excluding[key], &w.idx.rules
		from := x.begun[key]
		for from < len(slots) && w.Stages[slots[from]].Status != NotStarted {
			from++
		}
		if x.begun == nil {
			x.begun = map[string]int{}
		}
		x.begun[key] = from
		for _, slot := range slots[from:] {
			if s := w.Stages[slot]; s.Status == NotStarted && !s.Superseded && !yield(s) {
				return
			}
		}
	}
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
