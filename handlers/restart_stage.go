package handlers

import (
	"slices"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/resilience"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// RestartStage promises: a stage that has ended, or the declared stage that it
// belongs to, gets a new round, fresh as declared, and so does everything that
// depends on it, as in Orca (the reference resets the one stage and hangs). A
// workflow that had ended starts again, with new rounds of all that failed or was
// cut short by its end as well, under its concurrency limit like any
// other, and so does the stage of the parent that waited for it. Earlier rounds
// stay, and the new one says who restarted it and what had failed.
func RestartStage() Handler { return Handle(restartStage) }

func restartStage(x *Decision, m queue.RestartStage) error {
	w := x.Workflow()
	s := x.stageOf(m)
	if s == nil {
		if x.Requested() {
			return &stabilize.NotFoundError{Kind: "stage", ID: m.StageID + m.StageRef}
		}
		x.Logger().Error("a stage to restart does not exist", "stage", m.StageID+m.StageRef)
		return nil
	}
	if m.Child != "" {
		if of, t := x.awaiting(s, m.Child); t != nil {
			if t.Waits().ChildVersion >= m.ChildVersion {
				return nil // it has heard of a later end
			}
			if !of.Status.IsComplete() { // it has not heard of the end yet, and need not
				x.draft.Task(of.ID, t.ID).Waiting().ChildVersion = m.ChildVersion
				return nil
			}
			s = of
		}
	}
	path := lineage(w, s)
	s = w.StageByRef(path[0].Ref)
	if path[0].ID == s.ID && m.Child != "" && !w.Halting() {
		if done, err := x.rejoinInstance(path, m); done || err != nil {
			return err
		}
	}
	if !s.Status.IsComplete() || w.Halting() && !w.Status.IsComplete() {
		if x.Requested() {
			return &stabilize.TransitionError{Kind: "stage", ID: s.Ref, From: s.Status, To: stabilize.NotStarted}
		}
		return nil
	}
	if s.Rules != nil && s.Rules.Choice != "" {
		if other := chosen(w, s); other != nil { // it would be withdrawn again at once
			if x.Requested() {
				return stabilize.NotAllowed("restarting stage "+s.Ref, "the choice fell on stage "+other.Ref)
			}
			return nil
		}
	}
	if err := x.restart([]string{s.Ref}, m.User); err != nil {
		return err
	}
	if m.Child == "" || path[0].ID != s.ID {
		return nil
	}
	return x.rejoinChild(path, m.Child, m.ChildVersion)
}

// restart opens new rounds of the stages and of all that depends on them.
func (x *Decision) restart(refs []string, user string) error {
	w := x.Workflow()
	finished := w.Status.IsComplete()
	if finished {
		refs = append(refs, cutShort(w, refs)...)
	}
	seen := map[string]bool{}
	var region []string
	for _, ref := range refs {
		for _, below := range w.StartsOver(ref) {
			if !seen[below] {
				seen[below] = true
				region = append(region, below)
			}
		}
	}
	bypassed := map[string]bool{}
	for _, ref := range refs {
		bypassed[ref] = w.StageByRef(ref).Known().Bypass
	}
	if finished {
		if err := x.draft.Reopen(); err != nil {
			return err
		}
		x.draft.Header().Jumps = 0
	}
	if err := x.supersede(region, ""); err != nil {
		return err
	}
	x.reopenRounds(region, stabilize.Origin{Kind: stabilize.OriginRestart, By: user, At: stabilize.Instant(x.now)})
	for _, ref := range refs {
		if bypassed[ref] { // it was jumped to: its join is not asked this time either
			x.draft.Stage(w.StageByRef(ref).ID).Note().Bypass = true
		}
		if err := x.prepareRestart(ref); err != nil {
			return err
		}
	}
	if !finished {
		return x.proceedAll()
	}
	if p := w.Parent; p != nil && p.Waits {
		x.Push(queue.RestartStage{OfStage: queue.ToStage(p.WorkflowID, p.StageID), User: user, Child: w.ID, ChildVersion: w.Version + 1})
	}
	x.Push(queue.StartWorkflow{OfWorkflow: queue.ToWorkflow(w.ID)})
	return nil
}

// cutShort returns the other stages that ended a workflow early or were ended
// with it: as they are it could not go on.
func cutShort(w *stabilize.Workflow, but []string) []string {
	var refs []string
	for _, s := range w.Stages {
		halted := s.HaltsWorkflow() || s.Status == stabilize.Skipped && s.Reason == stabilize.ReasonUpstreamHalted
		if halted && !s.Superseded && !s.IsSynthetic() && w.StageByRef(s.Ref) == s && !slices.Contains(but, s.Ref) {
			refs = append(refs, s.Ref)
		}
	}
	return refs
}

// prepareRestart lets the stage's type change the context of the new round.
func (x *Decision) prepareRestart(ref string) error {
	w := x.Workflow()
	s := w.StageByRef(ref)
	typ, err := x.env.Registry.Stage(s.Type)
	if err != nil {
		return nil // it will fail as it begins, with the reason
	}
	p, ok := typ.(stabilize.RestartPreparer)
	if !ok {
		return nil
	}
	var values stabilize.Values
	err = resilience.Guard(func() (err error) {
		values, err = p.PrepareRestart(x.plan(s))
		return err
	})
	if err != nil {
		return stabilize.NotAllowed("restarting stage "+ref, errorText(err))
	}
	x.draft.Stage(s.ID).WriteContext(values)
	return nil
}
