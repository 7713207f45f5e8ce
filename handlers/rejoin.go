package handlers

import (
	"slices"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// When a workflow that a task waited for is restarted, the task waits for it
// again, in a new round of its stage. Of a task inside other stages these are
// opened anew, down to the task: what had ended well inside them stays done, the
// rest is run, so that no workflow is started twice.

// lineage returns a stage with the stages it is inside, outermost first.
func lineage(w *stabilize.Workflow, s *stabilize.Stage) []*stabilize.Stage {
	path := []*stabilize.Stage{s}
	for parent := w.Stage(s.ParentID); parent != nil; parent = w.Stage(parent.ParentID) {
		path = append(path, parent)
	}
	slices.Reverse(path)
	return path
}

// rejoinChild makes the new round of a stage, whose round before is the first of
// path, wait for a workflow that was restarted itself at that version: in the place
// of the task of the last of path that waited for it.
func (x *Decision) rejoinChild(path []*stabilize.Stage, child string, version int64) error {
	w := x.Workflow()
	next := w.StageByRef(path[0].Ref)
	last := path[len(path)-1]
	if next.ID == path[0].ID || !rejoinable(w, path, child) {
		return nil // it starts one of its own
	}
	at := slices.IndexFunc(last.Tasks, func(t *stabilize.Task) bool { return t.Waits().Child == child })
	for i, old := range path {
		if i > 0 {
			var err error
			if next, err = x.carryOver(path[i-1], old, next); err != nil {
				return err
			}
		}
		s, err := x.SetStageStatus(next.ID, stabilize.Running)
		if err != nil {
			return err
		}
		x.armStage(s)
		s.BeforePlanned = true
		s.Outputs = old.Outputs.Clone()
		s.WriteContext(old.Context)
		if old.Owner == stabilize.OwnerInstance && i > 0 {
			x.startInstances(x.draft.Stage(s.ParentID))
		}
	}
	s := x.draft.Stage(next.ID)
	if err := x.skipTasks(s, at, stabilize.ReasonRejoined); err != nil {
		return err
	}
	t := s.Tasks[at]
	t.Waiting().Child, t.Waiting().ChildVersion = child, version
	x.Push(queue.ReportEnd{OfWorkflow: queue.ToWorkflow(child), Asker: queue.ToTask(w.ID, s.ID, t.ID), Version: version})
	if _, err := x.SetTaskStatus(s.ID, t.ID, stabilize.Running); err != nil {
		return err
	}
	if err := x.awaitChild(s, t); err != nil {
		return err
	}
	if w.Status != stabilize.Running {
		return nil // all of it goes on when the workflow does
	}
	for parent := w.Stage(s.ParentID); parent != nil; parent = w.Stage(parent.ParentID) {
		if err := x.proceed(parent); err != nil {
			return err
		}
	}
	return nil
}

// rejoinInstance is rejoinChild for an instance whose stage goes on without it: only
// the instance gets a new round. It reports whether there was one to do that with.
func (x *Decision) rejoinInstance(path []*stabilize.Stage, m queue.RestartStage) (bool, error) {
	for i, s := range path[1:] {
		parent := path[i]
		if !s.Status.IsComplete() {
			continue
		}
		state := parent.Known().Multi
		if s.Owner != stabilize.OwnerInstance || parent.Rules.Loop != nil || state.Met ||
			parent.Status != stabilize.Running || parent.Ending != stabilize.NotStarted || s.Superseded || !rejoinable(x.Workflow(), path[i+1:], m.Child) {
			return false, nil
		}
		x.draft.Supersede(s.ID)
		next := x.draft.OpenRound(s.Ref, x.env.IDs, stabilize.Origin{Kind: stabilize.OriginRestart, By: m.User, At: stabilize.Instant(x.now), Failure: s.Failure})
		x.Record(events.Event{Type: events.StageAdded, To: next.Status}, next, nil)
		state = x.draft.Stage(parent.ID).State.Multi
		state.Running++
		if !s.Status.IsHalt() {
			state.Good--
		}
		return true, x.rejoinChild(path[i+1:], m.Child, m.ChildVersion)
	}
	return false, nil
}

// rejoinable reports whether a task of the last stage of a path waited for the
// workflow, and what is inside the stages can be taken over into new rounds: an
// on-failure stage can not, nor tasks that a type planned, nor stages that ran
// several times.
func rejoinable(w *stabilize.Workflow, path []*stabilize.Stage, child string) bool {
	if waitsFor(path[len(path)-1], child) == nil {
		return false
	}
	for _, s := range path {
		if slices.ContainsFunc(s.Tasks, func(t *stabilize.Task) bool { return t.Planned }) {
			return false
		}
	}
	for i, s := range path[1:] {
		if s.Owner == stabilize.OwnerFailure {
			return false
		}
		seen := map[string]bool{}
		for _, c := range w.Children(path[i], stabilize.NoOwner) {
			if seen[c.Ref] && !c.Superseded {
				return false
			}
			seen[c.Ref] = seen[c.Ref] || !c.Superseded
		}
	}
	return true
}

// skipTasks skips the first n tasks of a stage that do not run in this round.
func (x *Decision) skipTasks(s *stabilize.Stage, n int, reason string) error {
	for _, t := range s.Tasks[:n] {
		t.Reason = reason
		if _, err := x.SetTaskStatus(s.ID, t.ID, stabilize.Skipped); err != nil {
			return err
		}
	}
	return nil
}

// carryOver gives a stage that is opened anew what was inside its last round,
// and returns the new round of what goes on there, within.
func (x *Decision) carryOver(old, within, next *stabilize.Stage) (found *stabilize.Stage, err error) {
	w := x.Workflow()
	next = x.draft.Stage(next.ID)
	next.AfterPlanned = old.AfterPlanned
	switch within.Owner {
	case stabilize.OwnerInstance:
		m := old.Known().Multi
		next.Note().Multi = &stabilize.MultiState{Total: m.Total, Running: 1, Closed: m.Closed, Keys: slices.Clone(m.Keys)}
		if err := x.skipTasks(next, len(next.Tasks), stabilize.ReasonInstances); err != nil {
			return nil, err
		}
	case stabilize.OwnerAfter:
		if err := x.skipTasks(next, len(next.Tasks), stabilize.ReasonRejoined); err != nil {
			return nil, err
		}
	}
	for _, c := range w.Children(old, stabilize.NoOwner) {
		if c.Superseded || c.Owner == stabilize.OwnerFailure {
			continue
		}
		var carried *stabilize.Stage
		if c.ID != within.ID && staysDone(c) {
			carried = x.carry(c, next)
			if c.Owner == stabilize.OwnerInstance {
				next.State.Multi.Good++
			}
		} else {
			carried = x.draft.OpenInside(c, next, x.env.IDs)
			x.Record(events.Event{Type: events.StageAdded, To: carried.Status}, carried, nil)
		}
		if c.ID == within.ID {
			found = carried
		}
	}
	return found, nil
}

// staysDone reports whether what a stage inside another did need not be done
// again when that is opened anew.
func staysDone(s *stabilize.Stage) bool {
	return !s.Status.IsHalt() && s.Status.IsComplete() && s.Reason != stabilize.ReasonStageEnded && s.Reason != stabilize.ReasonUpstreamHalted
}

// carry copies a stage that ended, with all that is inside it, into a new round of
// its parent.
func (x *Decision) carry(s, parent *stabilize.Stage) *stabilize.Stage {
	c := s.Clone()
	c.ID, c.ParentID, c.Round = x.NewID(), parent.ID, parent.Round
	for _, t := range c.Tasks {
		t.ID = x.NewID()
	}
	if c.State != nil {
		c.State.Consumed = nil // of its siblings there is one execution each
	}
	x.addStages([]*stabilize.Stage{c})
	for _, inside := range x.Workflow().Children(s, stabilize.NoOwner) {
		if !inside.Superseded {
			x.carry(inside, c)
		}
	}
	return c
}
