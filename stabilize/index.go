package stabilize

import (
	"container/heap"
	"slices"
	"sync"
)

// index is derived from the stages, never stored. Slots are indexes of Stages.
type index struct {
	byID       map[string]int
	latest     map[string]int   // ref → slot of its highest round
	children   map[string][]int // parent id → slots
	downstream map[string][]int // ref → slots of the stages that require it
	active     int              // stages begun and not ended
	halting    int              // declared stages, latest rounds, whose end ends the workflow

	// What follows is filled in by readers, who may be several.
	mu      sync.Mutex
	order   []int32       // slot → place in topological order; nil until asked for
	writers map[int][]int // slot → ancestors with outputs, see outputs.go
	settled map[int]bool  // ancestors on whom writers relies
}

// forgetWriters must be called when outputs that writers relies on may change.
func (x *index) forgetWriters() { x.writers, x.settled = nil, nil }

// Index prepares the lookups below. It must have been called once before a
// workflow is read by several goroutines; every store does.
func (w *Workflow) Index() {
	if w.idx == nil {
		w.reindex()
	}
}

func (w *Workflow) reindex() {
	x := &index{
		byID:       make(map[string]int, len(w.Stages)),
		latest:     make(map[string]int, len(w.Stages)),
		children:   map[string][]int{},
		downstream: make(map[string][]int, len(w.Stages)),
	}
	w.idx = x
	for slot := range w.Stages {
		w.indexStage(slot)
	}
}

func (w *Workflow) indexStage(slot int) {
	s, x := w.Stages[slot], w.idx
	x.byID[s.ID] = slot
	if old, ok := x.latest[s.Ref]; !ok || w.Stages[old].Round < s.Round {
		if ok {
			x.halting -= halts(w.Stages[old])
		}
		x.latest[s.Ref] = slot
		x.halting += halts(s)
	}
	if s.IsSynthetic() {
		x.children[s.ParentID] = append(x.children[s.ParentID], slot)
	}
	for _, ref := range s.Requisites {
		x.downstream[ref] = append(x.downstream[ref], slot)
	}
	if s.Status.IsActive() {
		x.active++
	}
	x.order = nil
	x.forgetWriters()
}

// Stage returns the stage execution with that id, or nil.
func (w *Workflow) Stage(id string) *Stage {
	w.Index()
	if slot, ok := w.idx.byID[id]; ok {
		return w.Stages[slot]
	}
	return nil
}

// StageByRef returns the latest round of the stage with that ref, or nil.
func (w *Workflow) StageByRef(ref string) *Stage {
	w.Index()
	if slot, ok := w.idx.latest[ref]; ok {
		return w.Stages[slot]
	}
	return nil
}

// InitialStages returns the declared stages that wait for no other, by Position.
func (w *Workflow) InitialStages() []*Stage {
	out := []*Stage{}
	for _, s := range w.Stages {
		if s.IsInitial() && !s.IsSynthetic() {
			out = append(out, s)
		}
	}
	return out
}

// Upstream returns the latest rounds of the stages that s requires, by Position;
// refs that name no stage are left out.
func (w *Workflow) Upstream(s *Stage) []*Stage {
	out := []*Stage{}
	for _, ref := range s.Requisites {
		if up := w.StageByRef(ref); up != nil {
			out = append(out, up)
		}
	}
	slices.SortFunc(out, byPosition)
	return out
}

// Downstream returns the latest rounds of the stages that require s, by Position.
func (w *Workflow) Downstream(s *Stage) []*Stage {
	w.Index()
	out := []*Stage{}
	for _, slot := range w.idx.downstream[s.Ref] {
		if w.idx.latest[w.Stages[slot].Ref] == slot {
			out = append(out, w.Stages[slot])
		}
	}
	return out
}

// Children returns the synthetic stages of s with that owner, by Position.
// NoOwner returns all of them.
func (w *Workflow) Children(s *Stage, owner Owner) []*Stage {
	w.Index()
	out := []*Stage{}
	for _, slot := range w.idx.children[s.ID] {
		if c := w.Stages[slot]; owner == NoOwner || c.Owner == owner {
			out = append(out, c)
		}
	}
	return out
}

// Active returns how many stages have begun and not ended.
func (w *Workflow) Active() int {
	w.Index()
	return w.idx.active
}

// Halting reports whether the workflow is on its way to an early end: it was
// asked to cancel, failed as a whole, or one of its stages ended so that
// nothing new may start.
func (w *Workflow) Halting() bool {
	w.Index()
	return w.Cancel != nil || w.Failure != nil || w.idx.halting > 0
}

// recount follows a change of a stage in place.
func (x *index) recount(slot int, from, to *Stage) {
	if from.Status.IsActive() {
		x.active--
	}
	if to.Status.IsActive() {
		x.active++
	}
	if x.latest[to.Ref] == slot {
		x.halting += halts(to) - halts(from)
	}
}

func halts(s *Stage) int {
	if s.HaltsWorkflow() {
		return 1
	}
	return 0
}

func byPosition(a, b *Stage) int { return a.Position - b.Position }

// TopologicalOrder returns the stages so that each comes after all it requires;
// among those that could come next the one with the lowest Position does. So
// the order is total and the same everywhere. Stages on a cycle, which
// Validate refuses, come last by Position.
func (w *Workflow) TopologicalOrder() []*Stage {
	order := w.topoOrder()
	out := make([]*Stage, len(w.Stages))
	for slot, place := range order {
		out[place] = w.Stages[slot]
	}
	return out
}

// topoOrder returns slot → place.
func (w *Workflow) topoOrder() []int32 {
	w.Index()
	w.idx.mu.Lock()
	defer w.idx.mu.Unlock()
	if w.idx.order != nil {
		return w.idx.order
	}
	order, placed := make([]int32, len(w.Stages)), 0
	open := make([]int, len(w.Stages))
	ready := &slotHeap{}
	for slot, s := range w.Stages {
		for _, ref := range s.Requisites {
			if w.StageByRef(ref) != nil {
				open[slot]++
			}
		}
		if open[slot] == 0 {
			*ready = append(*ready, slot) // slots ascend: already a heap
		}
	}
	done := make([]bool, len(w.Stages))
	for ready.Len() > 0 {
		slot := heap.Pop(ready).(int)
		order[slot], done[slot] = int32(placed), true
		placed++
		s := w.Stages[slot]
		if w.idx.latest[s.Ref] != slot {
			continue // edges start at the latest round
		}
		for _, down := range w.idx.downstream[s.Ref] {
			if open[down]--; open[down] == 0 {
				heap.Push(ready, down)
			}
		}
	}
	for slot := range w.Stages {
		if !done[slot] {
			order[slot] = int32(placed)
			placed++
		}
	}
	w.idx.order = order
	return order
}

type slotHeap []int

func (h slotHeap) Len() int           { return len(h) }
func (h slotHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h slotHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *slotHeap) Push(x any)        { *h = append(*h, x.(int)) }
func (h *slotHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
