package memstore

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// workflow is the stored form: what it points to is never changed, only replaced.
type workflow struct {
	version   int64
	header    *stabilize.Header  // its Version is not kept
	slots     []*stabilize.Stage // nil where one was removed
	slotOf    map[string]int
	holes     int
	unsorted  bool  // a stage was added before the end
	removedAt int64 // version of the last commit that removed a stage
}

func newWorkflow(stages int) *workflow {
	return &workflow{slots: make([]*stabilize.Stage, 0, stages), slotOf: make(map[string]int, stages)}
}

func (w *workflow) stage(id string) *stabilize.Stage {
	if slot, ok := w.slotOf[id]; ok {
		return w.slots[slot]
	}
	return nil
}

// put stores a stage, changed or added.
func (w *workflow) put(s *stabilize.Stage) {
	if slot, ok := w.slotOf[s.ID]; ok {
		w.slots[slot] = s
		return
	}
	if n := len(w.slots); n > 0 && (w.slots[n-1] == nil || w.slots[n-1].Position >= s.Position) {
		w.unsorted = true
	}
	w.slotOf[s.ID] = len(w.slots)
	w.slots = append(w.slots, s)
}

func (w *workflow) removeStage(id string) {
	w.slots[w.slotOf[id]] = nil
	delete(w.slotOf, id)
	w.holes++
}

// list returns a copy of the stages by Position. Putting the slots in order is
// left to the reader: a commit costs what it changes.
func (w *workflow) list() []*stabilize.Stage {
	if w.unsorted || w.holes > 0 {
		w.slots = slices.DeleteFunc(w.slots, func(s *stabilize.Stage) bool { return s == nil })
		slices.SortFunc(w.slots, func(a, b *stabilize.Stage) int {
			return cmp.Or(cmp.Compare(a.Position, b.Position), cmp.Compare(a.ID, b.ID))
		})
		for slot, s := range w.slots {
			w.slotOf[s.ID] = slot
		}
		w.unsorted, w.holes = false, 0
	}
	return slices.Clone(w.slots)
}

// headerAt returns the caller's own copy.
func headerAt(h *stabilize.Header, version int64) *stabilize.Header {
	c := h.Clone()
	c.Version = version
	return c
}

// snapshot is a workflow as of one instant, still shared.
type snapshot struct {
	header    *stabilize.Header
	version   int64
	removedAt int64
	stages    []*stabilize.Stage
}

func (s *Store) snapshot(ctx context.Context, id string, stages bool) (snapshot, error) {
	if err := s.begin(ctx); err != nil {
		return snapshot{}, err
	}
	if err := stabilize.CheckID("workflow id", id); err != nil {
		return snapshot{}, err
	}
	s.data.mu.Lock()
	defer s.data.mu.Unlock()
	o := s.data.owners[id]
	if o == nil || o.workflow == nil {
		return snapshot{}, &stabilize.NotFoundError{Kind: "workflow", ID: id}
	}
	w := o.workflow
	snap := snapshot{header: w.header, version: w.version, removedAt: w.removedAt}
	if stages {
		snap.stages = w.list()
	}
	return snap, nil
}

// Load implements persistence.WorkflowStore.
func (s *Store) Load(ctx context.Context, id string) (*stabilize.Workflow, error) {
	snap, err := s.snapshot(ctx, id, true)
	if err != nil {
		return nil, err
	}
	w := &stabilize.Workflow{
		Header: *headerAt(snap.header, snap.version),
		Stages: make([]*stabilize.Stage, len(snap.stages)),
	}
	for i, st := range snap.stages {
		w.Stages[i] = st.Clone()
	}
	w.Index()
	return w, nil
}

// Summary implements persistence.WorkflowStore.
func (s *Store) Summary(ctx context.Context, id string) (*stabilize.Header, error) {
	snap, err := s.snapshot(ctx, id, false)
	if err != nil {
		return nil, err
	}
	return headerAt(snap.header, snap.version), nil
}

// Unfinished implements persistence.Watcher.
func (s *Store) Unfinished(ctx context.Context, ids ...string) ([]string, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	if err := persistence.CheckIDs(ids); err != nil {
		return nil, err
	}
	s.data.mu.Lock()
	defer s.data.mu.Unlock()
	found := map[string]bool{}
	for _, id := range ids {
		if o := s.data.owners[id]; o != nil && o.workflow != nil && !o.workflow.header.Status.IsComplete() {
			found[id] = true
		}
	}
	return slices.Collect(maps.Keys(found)), nil
}

// Refresh implements persistence.Refresher.
func (s *Store) Refresh(ctx context.Context, id string, since int64) (*persistence.Delta, error) {
	if err := persistence.CheckRefresh(id, since); err != nil {
		return nil, err
	}
	snap, err := s.snapshot(ctx, id, true)
	if err != nil {
		return nil, err
	}
	delta := &persistence.Delta{
		Header: *headerAt(snap.header, snap.version),
		Whole:  snap.removedAt > since || since > snap.version,
	}
	for _, st := range snap.stages {
		if delta.Whole || st.Version > since {
			delta.Stages = append(delta.Stages, st.Clone())
		}
	}
	return delta, nil
}

// Prune implements persistence.WorkflowStore.
func (s *Store) Prune(ctx context.Context, finished ...*stabilize.Header) (removed int, err error) {
	if err := s.begin(ctx); err != nil {
		return 0, err
	}
	if err := persistence.CheckPrune(finished); err != nil {
		return 0, err
	}
	s.data.mu.Lock()
	defer s.data.unlock()
	for _, h := range finished {
		o := s.data.owners[h.ID]
		if o == nil || o.workflow == nil || len(o.messages)+len(o.dead) > 0 ||
			!persistence.IsAsRead(h, o.workflow.version, o.workflow.header.CreatedAt) {
			continue
		}
		s.data.remove(o)
		removed++
	}
	return removed, nil
}

// Delete implements persistence.WorkflowStore. It removes all of them in one step.
func (s *Store) Delete(ctx context.Context, ids ...string) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	if err := persistence.CheckIDs(ids); err != nil {
		return err
	}
	s.data.mu.Lock()
	defer s.data.unlock()
	for _, id := range ids {
		if o := s.data.owners[id]; o != nil {
			s.data.remove(o)
		}
	}
	return nil
}
