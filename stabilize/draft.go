package stabilize

import (
	"slices"
	"time"
)

// Draft is one decision in the making: it changes a snapshot and remembers what
// it changed, so that the changes can be committed, or taken back. It costs as
// much as what it changes, not as much as the workflow.
//
// A draft owns its workflow until Seal or Rollback; one goroutine at a time.
type Draft struct {
	w       *Workflow
	header  *Header        // as it was; nil while unchanged
	before  map[int]*Stage // slot → stage as it was; nil for an added one
	order   []int          // slots in the order of their first change
	removed []string
	stages  []*Stage // the slice as it was; nil until a stage is removed
}

// NewDraft starts a decision on w, which it will change in place.
func NewDraft(w *Workflow) *Draft {
	w.Index()
	return &Draft{w: w}
}

// Workflow returns the snapshot with the draft's changes. Do not change it
// other than through the draft.
func (d *Draft) Workflow() *Workflow { return d.w }

// Header returns the header for changing. Statuses go through SetWorkflowStatus.
func (d *Draft) Header() *Header {
	if d.header == nil {
		before := d.w.Header
		d.header = &before
		d.w.Header = before.clone()
		d.w.idx.header = nil
	}
	return &d.w.Header
}

// Stage returns the stage with that id for changing, or nil. Statuses go
// through SetStageStatus and SetTaskStatus.
func (d *Draft) Stage(id string) *Stage {
	slot, ok := d.w.idx.byID[id]
	if !ok {
		return nil
	}
	if d.w.idx.isSettled(slot) {
		d.w.idx.forgetWriters() // it ended, but its outputs may change
	}
	if _, edited := d.before[slot]; !edited {
		old := d.w.Stages[slot]
		d.remember(slot, old)
		d.w.Stages[slot] = old.Clone()
	}
	return d.w.Stages[slot]
}

// Task returns a task for changing, or nil.
func (d *Draft) Task(stageID, taskID string) *Task {
	if s := d.w.Stage(stageID); s == nil || s.Task(taskID) == nil {
		return nil
	}
	return d.Stage(stageID).Task(taskID)
}

// AddStage appends a stage and gives it the next Position, and the next Round if
// one of its ref has had its own.
func (d *Draft) AddStage(s *Stage) {
	s.Round = d.w.freshRound(s.Ref, s.Round)
	s.Position = 0
	if n := len(d.w.Stages); n > 0 {
		s.Position = d.w.Stages[n-1].Position + 1
	}
	if parent, ok := d.w.idx.byID[s.ParentID]; ok && d.w.idx.isSettled(parent) {
		d.w.idx.forgetWriters() // it ended, but its family grows
	}
	slot := len(d.w.Stages)
	d.w.Stages = append(d.w.Stages, s)
	d.remember(slot, nil)
	d.w.indexStage(slot)
}

// RemoveStage removes a stage and its tasks.
func (d *Draft) RemoveStage(id string) {
	slot, ok := d.w.idx.byID[id]
	if !ok {
		return
	}
	if d.stages == nil {
		d.stages = slices.Clone(d.w.Stages)
		for s, old := range d.before {
			d.stages[s] = old
		}
		d.stages = slices.DeleteFunc(d.stages, func(s *Stage) bool { return s == nil })
	}
	old, edited := d.before[slot]
	if !edited || old != nil {
		d.removed = append(d.removed, id)
	}
	d.w.Stages = slices.Delete(d.w.Stages, slot, slot+1)
	shifted := make(map[int]*Stage, len(d.before))
	for s, b := range d.before {
		if s < slot {
			shifted[s] = b
		} else if s > slot {
			shifted[s-1] = b
		}
	}
	d.before = shifted
	d.order = slices.DeleteFunc(d.order, func(s int) bool { return s == slot })
	for i, s := range d.order {
		if s > slot {
			d.order[i] = s - 1
		}
	}
	d.w.reindex()
}

func (d *Draft) remember(slot int, old *Stage) {
	if d.before == nil {
		d.before = make(map[int]*Stage, 4)
	}
	d.before[slot] = old
	d.order = append(d.order, slot)
}

// SetWorkflowStatus moves the workflow to a status, keeping its times. A move
// that the transition table does not allow is ErrInvalidTransition.
func (d *Draft) SetWorkflowStatus(to Status, now time.Time) error {
	if err := checkMove("workflow", d.w.ID, d.w.Status, to); err != nil {
		return err
	}
	h := d.Header()
	h.Status = to
	stamp(to, now, &h.StartedAt, &h.EndedAt)
	return nil
}

// SetStageStatus moves a stage; see SetWorkflowStatus. Its Reason must have been
// set before, because HaltsWorkflow looks at it.
func (d *Draft) SetStageStatus(id string, to Status, now time.Time) error {
	cur := d.w.Stage(id)
	if cur == nil {
		return &NotFoundError{Kind: "stage", ID: id}
	}
	if err := checkMove("stage", id, cur.Status, to); err != nil {
		return err
	}
	s := d.Stage(id)
	from := *s
	s.Status = to
	stamp(to, now, &s.StartedAt, &s.EndedAt)
	d.w.idx.recount(&from, s)
	return nil
}

// SetTaskStatus moves a task; see SetWorkflowStatus.
func (d *Draft) SetTaskStatus(stageID, taskID string, to Status, now time.Time) error {
	t := d.Task(stageID, taskID)
	if t == nil {
		return &NotFoundError{Kind: "task", ID: taskID}
	}
	if err := checkMove("task", taskID, t.Status, to); err != nil {
		return err
	}
	t.Status = to
	stamp(to, now, &t.StartedAt, &t.EndedAt)
	return nil
}

// Supersede makes a stage execution history: a later round takes its place.
func (d *Draft) Supersede(id string) {
	cur := d.w.Stage(id)
	if cur == nil || cur.Superseded {
		return
	}
	s := d.Stage(id)
	from := *s
	s.Superseded = true
	d.w.idx.recount(&from, s)
	d.w.idx.forgetWriters()
}

// SetJump notes where a stage is about to jump to; nil: nowhere.
func (d *Draft) SetJump(id string, to *Jump) {
	s := d.Stage(id)
	d.w.idx.jumping -= waitsToJump(s)
	s.Note().Jump = to
	d.w.idx.jumping += waitsToJump(s)
}

// OpenRound adds the next round of a stage, fresh as it was declared, and
// returns it.
func (d *Draft) OpenRound(ref string, ids *IDs, origin Origin) *Stage {
	s := d.w.StageByRef(ref).nextRound(ids)
	s.Note().Origin = &origin
	d.AddStage(s)
	return s
}

// OpenInside adds a round of a stage inside another, fresh as it was declared, to
// a later round of that.
func (d *Draft) OpenInside(s, parent *Stage, ids *IDs) *Stage {
	c := s.nextRound(ids)
	c.ParentID, c.Round = parent.ID, parent.Round
	d.AddStage(c)
	return c
}

// freshRound is the first round from the given one on that no execution of the
// stage has had: one inside another begins with its parent's, but may have gone on
// by itself.
func (w *Workflow) freshRound(ref string, round int) int {
	if latest := w.StageByRef(ref); latest != nil {
		return max(round, latest.Round+1)
	}
	return round
}

// Reopen takes a workflow that has ended back to NOT_STARTED, to be started
// again: the one path out of an end. In any other status it is
// ErrInvalidTransition.
func (d *Draft) Reopen() error {
	if !d.w.Status.IsComplete() {
		return &TransitionError{Kind: "workflow", ID: d.w.ID, From: d.w.Status, To: NotStarted}
	}
	h := d.Header()
	h.Status, h.Reason, h.Failure, h.Cancel, h.Done = NotStarted, "", nil, nil, false
	h.EndedAt, h.Pause = time.Time{}, nil
	h.StartExpiry = time.Time{} // it did begin in time
	h.Leftover = nil
	return nil
}

func checkMove(kind, id string, from, to Status) error {
	if !from.CanTransition(to) {
		return &TransitionError{Kind: kind, ID: id, From: from, To: to}
	}
	return nil
}

func stamp(to Status, now time.Time, started, ended *time.Time) {
	if to == Running && started.IsZero() {
		*started = Instant(now)
	}
	if to.IsComplete() && !started.IsZero() && ended.IsZero() {
		*ended = Instant(now)
	}
}

// Changed reports whether the draft changed anything.
func (d *Draft) Changed() bool { return d.header != nil || len(d.order) > 0 || len(d.removed) > 0 }

// Changes returns what a commit must carry: the header if it changed, the
// stages changed or added, the ids of those removed.
func (d *Draft) Changes() (header *Header, stages []*Stage, removed []string) {
	if d.header != nil {
		header = &d.w.Header
	}
	stages = make([]*Stage, len(d.order))
	for i, slot := range d.order {
		stages[i] = d.w.Stages[slot]
	}
	return header, stages, d.removed
}

// Seal accepts the changes as committed at the given version. The draft may be
// used for the next decision.
func (d *Draft) Seal(version int64) {
	d.w.Version = version
	for _, slot := range d.order {
		d.w.Stages[slot].Version = version
	}
	d.forget()
}

// Rollback takes every change back. The draft may be used again.
func (d *Draft) Rollback() {
	d.w.idx.remembered = nil
	if d.header != nil {
		d.w.Header = *d.header
		d.w.idx.header = nil
	}
	if d.stages != nil {
		d.w.Stages = d.stages
		d.w.reindex()
		d.forget()
		return
	}
	added := false
	for _, slot := range slices.Backward(d.order) {
		if old := d.before[slot]; old != nil {
			d.w.idx.recount(d.w.Stages[slot], old)
			d.w.Stages[slot] = old
			continue
		}
		d.w.Stages = d.w.Stages[:slot] // added stages stand at the end
		added = true
	}
	if added {
		d.w.reindex()
	} else {
		d.w.idx.forgetWriters()
	}
	d.forget()
}

func (d *Draft) forget() { *d = Draft{w: d.w} }
