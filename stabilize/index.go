package stabilize

import (
	"cmp"
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
	rounds     map[string][]int // ref → slots of all its rounds, where there is more than one
	active     int              // stages begun and not ended
	family     map[string]int   // parent id → how many of its synthetic stages have
	exclusive  map[string]int   // exclusion key → how many of its stages have
	halting    int              // stages whose end ends the workflow
	jumping    int              // stages whose jump waits, see Draft.SetJump
	partial    int              // stages with a join that resets
	merging    int              // stages with a join that fires for each arrival
	rules      ruleIndex

	remembered map[string]any // see Remember

	// What follows is filled in by readers, who may be several.
	mu      sync.Mutex
	order   []int64         // slot → place in topological order; nil until asked for
	ranked  int64           // how many refs have a place
	writers [][]int         // slot → ancestors with outputs, see outputs.go; nil: not known
	settled []bool          // slot → writers relies on it
	header  *Header         // what HeaderCopy returned; nil: it has changed since
	repeat  map[string]bool // refs of stages that may end more than once, see repeating
}

// Remember keeps something that a decision worked out from a stage, for later
// decisions on this snapshot; it is never stored, and forgotten when a decision is
// taken back. nil forgets it. Only for who owns the workflow.
func (w *Workflow) Remember(stageID string, x any) {
	w.Index()
	if x == nil {
		delete(w.idx.remembered, stageID)
		return
	}
	if w.idx.remembered == nil {
		w.idx.remembered = map[string]any{}
	}
	w.idx.remembered[stageID] = x
}

// Remembered returns what Remember kept, or nil.
func (w *Workflow) Remembered(stageID string) any {
	w.Index()
	return w.idx.remembered[stageID]
}

// forgetWriters must be called when outputs that writers relies on may change.
func (x *index) forgetWriters() { x.writers, x.settled = nil, nil }

// isSettled reports whether writers relies on a stage.
func (x *index) isSettled(slot int) bool { return slot < len(x.settled) && x.settled[slot] }

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
	old, again := x.latest[s.Ref]
	if again {
		if x.rounds == nil {
			x.rounds = map[string][]int{}
		}
		if x.rounds[s.Ref] == nil {
			x.rounds[s.Ref] = []int{old}
		}
		x.rounds[s.Ref] = append(x.rounds[s.Ref], slot)
		slices.SortFunc(x.rounds[s.Ref], func(a, b int) int { return w.Stages[a].Round - w.Stages[b].Round })
	}
	if !again || w.Stages[old].Round < s.Round {
		x.latest[s.Ref] = slot
	}
	x.halting += halts(s)
	x.jumping += waitsToJump(s)
	if s.IsSynthetic() {
		x.children[s.ParentID] = append(x.children[s.ParentID], slot)
		if parent, ok := x.byID[s.ParentID]; ok && x.isSettled(parent) {
			x.forgetWriters() // it ended, but its family may put out more
		}
	}
	for _, ref := range s.Requisites {
		x.downstream[ref] = append(x.downstream[ref], slot)
	}
	x.countActive(s, 1)
	if s.HasPartialJoin() {
		x.partial++
	}
	if s.merges() {
		x.merging++
	}
	if s.Rules != nil {
		x.rules.add(slot, s)
	}
	if !again {
		x.repeat = nil
	}
	x.place(slot, s, again)
}

// place puts a stage into the topological order, if that is known and the stage
// does not change it.
func (x *index) place(slot int, s *Stage, again bool) {
	switch {
	case x.order == nil:
	case again:
		x.order = append(x.order, placeOf(rankOf(x.order[x.rounds[s.Ref][0]]), s.Round))
		x.forgetWriters()
	case len(x.downstream[s.Ref]) == 0: // nobody waits for it: it can come last
		x.order = append(x.order, placeOf(x.ranked, s.Round))
		x.ranked++
	default:
		x.order = nil
		x.forgetWriters()
	}
}

// A place is the rank of the ref and, below it, the round.
func placeOf(rank int64, round int) int64 { return rank<<24 | int64(min(round, 1<<24-1)) }
func rankOf(place int64) int64            { return place >> 24 }

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

// InitialStages returns the declared stages that wait for no other, latest
// rounds, by Position.
func (w *Workflow) InitialStages() []*Stage {
	w.Index()
	out := []*Stage{}
	for slot, s := range w.Stages {
		if s.IsInitial() && !s.IsSynthetic() && w.idx.latest[s.Ref] == slot {
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

// ActiveChildren returns how many synthetic stages of s have begun and not ended.
func (w *Workflow) ActiveChildren(s *Stage) int {
	w.Index()
	return w.idx.family[s.ID]
}

// ActiveExcluding returns how many stages with an exclusion key have begun and not
// ended, superseded ones too.
func (w *Workflow) ActiveExcluding(key string) int {
	w.Index()
	return w.idx.exclusive[key]
}

// Halting reports whether the workflow is on its way to an early end: it was
// asked to cancel, failed as a whole, was ended with success by one of its
// stages, or one ended so that nothing new may start.
func (w *Workflow) Halting() bool {
	w.Index()
	return w.Cancel != nil || w.Failure != nil || w.Done || w.idx.halting > 0
}

// recount follows a change of a stage in place.
func (x *index) recount(from, to *Stage) {
	x.countActive(from, -1)
	x.countActive(to, 1)
	if to.Status == NotStarted && to.Rules != nil && to.Rules.Exclusion != nil {
		delete(x.rules.begun, to.Rules.Exclusion.Key)
	}
	x.halting += halts(to) - halts(from)
	x.jumping += waitsToJump(to) - waitsToJump(from)
}

func (x *index) countActive(s *Stage, by int) {
	if !s.Status.IsActive() {
		return
	}
	x.active += by
	if s.IsSynthetic() {
		count(&x.family, s.ParentID, by)
	}
	if s.Rules != nil && s.Rules.Exclusion != nil {
		count(&x.exclusive, s.Rules.Exclusion.Key, by)
	}
}

func count(in *map[string]int, key string, by int) {
	if *in == nil {
		*in = map[string]int{}
	}
	(*in)[key] += by
}

func halts(s *Stage) int {
	if s.HaltsWorkflow() {
		return 1
	}
	return 0
}

func waitsToJump(s *Stage) int {
	if s.jumps() {
		return 1
	}
	return 0
}

func byPosition(a, b *Stage) int { return a.Position - b.Position }

// TopologicalOrder returns the stages so that each comes after all it requires;
// among those that could come next the one with the lowest Position does. So
// the order is total and the same everywhere. Rounds of one stage stand
// together. Stages on a cycle, which Validate refuses, come last by Position.
func (w *Workflow) TopologicalOrder() []*Stage {
	order := w.topoOrder()
	slots := make([]int, len(w.Stages))
	for i := range slots {
		slots[i] = i
	}
	slices.SortFunc(slots, func(a, b int) int { return cmp.Or(cmp.Compare(order[a], order[b]), a-b) })
	out := make([]*Stage, len(slots))
	for i, slot := range slots {
		out[i] = w.Stages[slot]
	}
	return out
}

// topoOrder returns slot → place, growing along the order.
func (w *Workflow) topoOrder() []int64 {
	w.Index()
	x := w.idx
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.order != nil {
		return x.order
	}
	// Everything is counted by the slot of a ref's first execution.
	first := func(ref string) (int, bool) {
		if slots, several := x.rounds[ref]; several {
			return slots[0], true
		}
		slot, ok := x.latest[ref]
		return slot, ok
	}
	n := len(w.Stages)
	ranks, open := make([]int64, n), make([]int32, n)
	ready := &slotHeap{}
	for slot, s := range w.Stages {
		ranks[slot] = -1
		if at, _ := first(s.Ref); at != slot {
			continue
		}
		for _, ref := range s.Requisites {
			if _, exists := x.latest[ref]; exists {
				open[slot]++
			}
		}
		if open[slot] == 0 {
			*ready = append(*ready, slot) // slots ascend: already a heap
		}
	}
	placed := int64(0)
	for ready.Len() > 0 {
		slot := heap.Pop(ready).(int)
		ranks[slot] = placed
		placed++
		for _, down := range x.downstream[w.Stages[slot].Ref] {
			if at, _ := first(w.Stages[down].Ref); at != down {
				continue
			}
			if open[down]--; open[down] == 0 {
				heap.Push(ready, down)
			}
		}
	}
	x.order = ranks // places are made of them in place
	for slot, s := range w.Stages {
		at, _ := first(s.Ref)
		if at == slot && ranks[slot] < 0 { // on a cycle
			ranks[slot] = placed
			placed++
		}
		if at == slot {
			ranks[slot] = placeOf(ranks[slot], s.Round)
		}
	}
	for slot, s := range w.Stages {
		if at, _ := first(s.Ref); at != slot {
			ranks[slot] = placeOf(rankOf(ranks[at]), s.Round)
		}
	}
	x.ranked = placed
	return x.order
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
