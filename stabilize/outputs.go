package stabilize

import (
	"cmp"
	"maps"
	"slices"
)

// Inherited returns what the stage sees from before it: the outputs of all its
// ancestors. Where two wrote the same key the later in TopologicalOrder wins,
// so the answer is the same on every call, process and store. A stage counts
// with its synthetic stages: those before it, then itself, then those after.
// A synthetic stage sees what its parent sees and what the parent's family has
// put out so far, and one inside an instance the instance's context, with its
// index and item; instances are not seen, by each other nor by others: what
// they put out is their parent's to pass on. An execution that was started with
// certain tokens sees only where those came from. The result is the caller's to
// change.
func (w *Workflow) Inherited(s *Stage) Values {
	w.Index()
	out := Values{}
	w.inherit(s, out)
	return out.orNil()
}

// TaskContext returns what a task of the stage sees: the workflow's context,
// below it Inherited, below it the stage's own context, the later the stronger.
func (w *Workflow) TaskContext(s *Stage) Values {
	w.Index()
	out := make(Values, len(w.Context)+len(s.Context))
	maps.Copy(out, w.Context)
	w.inherit(s, out)
	maps.Copy(out, s.Context)
	return out.orNil()
}

// EndContext is what the stage's conditions see when it ends: its TaskContext,
// and over it what it and its synthetic stages put out.
func (w *Workflow) EndContext(s *Stage) Values {
	out := w.TaskContext(s)
	if out == nil {
		out = Values{}
	}
	w.familyOutputs(s, nil, out)
	return out
}

// Result is what the workflow as a whole put out: the outputs of all its stages
// that count, where two wrote the same key the later in TopologicalOrder.
func (w *Workflow) Result() Values {
	out := Values{}
	for _, s := range w.TopologicalOrder() {
		if !s.IsSynthetic() && !s.Superseded {
			w.familyOutputs(s, nil, out)
		}
	}
	return out.orNil()
}

// FamilyOutputs returns what the stage and its synthetic stages put out.
func (w *Workflow) FamilyOutputs(s *Stage) Values {
	w.Index()
	out := Values{}
	w.familyOutputs(s, nil, out)
	return out.orNil()
}

func (w *Workflow) inherit(s *Stage, into Values) {
	w.inheritOutside(s, into)
	for _, child := range w.ordered(w.Children(s, OwnerBefore)) {
		w.familyOutputs(child, nil, into)
	}
}

// inheritOutside lays over into what s sees from outside its own family.
func (w *Workflow) inheritOutside(s *Stage, into Values) {
	if parent := w.Stage(s.ParentID); parent != nil {
		w.inheritOutside(parent, into)
		if parent.Owner == OwnerInstance {
			maps.Copy(into, parent.Context) // its index and item
		}
		w.familyOutputs(parent, s, into)
		return
	}
	if slot, ok := w.idx.byID[s.ID]; ok {
		for _, writer := range w.writersOf(slot) {
			w.familyOutputs(w.Stages[writer], nil, into)
		}
	}
}

// familyOutputs lays the outputs of s and its synthetic stages over into, but
// for one of them with its own.
func (w *Workflow) familyOutputs(s, except *Stage, into Values) {
	if except != nil && s.ID == except.ID || s.Superseded && s.IsSynthetic() {
		return
	}
	if len(w.idx.children[s.ID]) == 0 {
		maps.Copy(into, s.Outputs)
		return
	}
	if s.bodied() {
		maps.Copy(into, s.Outputs)
		return
	}
	for _, c := range w.ordered(w.Children(s, OwnerBefore)) {
		w.familyOutputs(c, except, into)
	}
	maps.Copy(into, s.Outputs)
	for _, c := range w.ordered(w.Children(s, NoOwner)) {
		if c.Owner == OwnerAfter || c.Owner == OwnerFailure {
			w.familyOutputs(c, except, into)
		}
	}
}

// ordered brings siblings from the order of Position to TopologicalOrder, which
// is the same unless one waits for another.
func (w *Workflow) ordered(siblings []*Stage) []*Stage {
	if slices.ContainsFunc(siblings, func(s *Stage) bool { return !s.IsInitial() }) {
		order := w.topoOrder()
		slices.SortFunc(siblings, func(a, b *Stage) int { return cmp.Compare(order[w.idx.byID[a.ID]], order[w.idx.byID[b.ID]]) })
	}
	return siblings
}

// writersOf returns the slots of the ancestors that have outputs, in
// topological order. It is remembered once every ancestor has ended, so a long
// chain does not pay for its length at every step.
func (w *Workflow) writersOf(slot int) []int {
	order := w.topoOrder()
	w.idx.mu.Lock()
	defer w.idx.mu.Unlock()
	return w.findWriters(slot, order)
}

// findWriters must be called with the index's mu held. It visits each ancestor
// once, and none above one whose writers are remembered.
func (w *Workflow) findWriters(slot int, order []int64) []int {
	x := w.idx
	if known := x.knownWriters(slot); known != nil {
		return known
	}
	if up := w.sources(slot); len(up) == 1 && order[up[0]] < order[slot] && w.Stages[up[0]].Status.IsComplete() {
		if known := x.knownWriters(up[0]); known != nil { // the step of a chain
			if w.writes(w.Stages[up[0]]) {
				known = append(slices.Clip(known), up[0])
			}
			x.rememberWriters(slot, known, up, len(w.Stages))
			return known
		}
	}
	out, walked := []int{}, []int(nil)
	final := true
	visited, listed := make([]bool, len(w.Stages)), make([]bool, len(w.Stages))
	list := func(writer int) {
		if !listed[writer] {
			listed[writer] = true
			out = append(out, writer)
		}
	}
	for todo := []int{slot}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, up := range w.sources(at) {
			if visited[up] || order[up] >= order[at] {
				continue // done, or a cycle, which Validate refuses
			}
			visited[up] = true
			walked = append(walked, up)
			final = final && w.Stages[up].Status.IsComplete()
			if w.writes(w.Stages[up]) {
				list(up)
			}
			if known := x.knownWriters(up); known != nil {
				for _, writer := range known {
					list(writer)
				}
			} else {
				todo = append(todo, up)
			}
		}
	}
	slices.SortFunc(out, func(a, b int) int { return cmp.Or(cmp.Compare(order[a], order[b]), a-b) })
	if final {
		x.rememberWriters(slot, out, walked, len(w.Stages))
	}
	return out
}

func (x *index) knownWriters(slot int) []int {
	if slot < len(x.writers) {
		return x.writers[slot]
	}
	return nil
}

// rememberWriters takes the writers of a slot, not nil, and the ancestors that
// may not change while they are to be right.
func (x *index) rememberWriters(slot int, writers, ancestors []int, stages int) {
	if missing := stages - len(x.writers); missing > 0 {
		x.writers = append(x.writers, make([][]int, missing)...)
		x.settled = append(x.settled, make([]bool, missing)...)
	}
	x.writers[slot] = writers
	for _, up := range ancestors {
		x.settled[up] = true
	}
}

func (w *Workflow) writes(s *Stage) bool {
	return len(s.Outputs) > 0 || len(w.idx.children[s.ID]) > 0
}
