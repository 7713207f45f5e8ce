package handlers

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// A bodied stage runs its tasks and body as synthetic stages of its own: all at
// once as instances (multi.go), or one after the other as iterations (loop.go).
// It counts them instead of looking at them all, so that the end of one of ten
// thousand costs no more than that of one of two.

func (x *Decision) beginBody(s *stabilize.Stage) error {
	s.BeforePlanned = true
	s.Note().Multi = &stabilize.MultiState{}
	for _, t := range s.Tasks {
		t.Reason = stabilize.ReasonInstances
		if _, err := x.SetTaskStatus(s.ID, t.ID, stabilize.Skipped); err != nil {
			return err
		}
	}
	if s.Rules.Loop != nil {
		return x.nextIteration(s)
	}
	return x.beginInstances(s)
}

// addInstance adds one more run of the body, with values over the declared
// context.
func (x *Decision) addInstance(parent *stabilize.Stage, over stabilize.Values) error {
	state := parent.Note().Multi
	index := state.Total
	context := parent.Context
	if parent.State.Initial != nil {
		context = *parent.State.Initial
	}
	c := &stabilize.Stage{
		ID: x.NewID(), Ref: instanceRef(parent, index), Round: parent.Round, Type: parent.Type, Name: parent.Name,
		ParentID: parent.ID, Owner: stabilize.OwnerInstance,
		Context: context.Clone().Merge(over), // each has its own index in it
		State:   &stabilize.StageState{Index: index},
	}
	if err := c.Context.Set("index", index); err != nil {
		return err
	}
	if len(parent.Rules.Body) > 0 || parent.Rules.Verify != nil {
		r := parent.Rules.Clone()
		c.Rules = &stabilize.Rules{Body: r.Body, Verify: r.Verify}
	}
	for i, t := range parent.Tasks {
		c.Tasks = append(c.Tasks, &stabilize.Task{ID: x.NewID(), Position: i, Name: t.Name, Type: t.Type})
	}
	state.Total++
	x.addStages([]*stabilize.Stage{c})
	return nil
}

func instanceRef(parent *stabilize.Stage, index int) string {
	return fmt.Sprintf("%s[%d]", parent.Ref, index)
}

func (x *Decision) instance(parent *stabilize.Stage, index int) *stabilize.Stage {
	if c := x.Workflow().StageByRef(instanceRef(parent, index)); c != nil && c.ParentID == parent.ID {
		return c
	}
	return nil
}

// startInstances starts as many as the limit lets run at once.
func (x *Decision) startInstances(parent *stabilize.Stage) {
	limit, state := 0, parent.State.Multi
	if m := parent.Rules.Multi; m != nil {
		limit = m.Limit
	}
	for state.Started < state.Total && (limit == 0 || state.Running < limit) {
		c := x.instance(parent, state.Started)
		state.Started++
		if c == nil || c.Status != stabilize.NotStarted {
			continue
		}
		state.Running++
		x.Push(queue.StartStage{OfStage: queue.ToStage(x.Workflow().ID, c.ID)})
	}
}

// instanceEnded counts an instance or iteration that ended and decides what
// that means for its parent.
func (x *Decision) instanceEnded(parent, c *stabilize.Stage) error {
	parent = x.draft.Stage(parent.ID)
	state := parent.Note().Multi
	if state == nil {
		return fmt.Errorf("%w: stage %q has an instance but counts none", stabilize.ErrInternal, parent.Ref)
	}
	if !c.StartedAt.IsZero() {
		state.Running--
	} else if c.Known().Index < state.Started {
		state.Running-- // it was asked to start, and never did
	}
	good := !c.Status.IsHalt()
	if good {
		state.Good++
	}
	switch {
	case parent.Status.IsComplete():
		return x.lateInstance(parent, c)
	case parent.Ending != stabilize.NotStarted:
		x.Push(queue.CompleteStage{OfStage: queue.ToStage(x.Workflow().ID, parent.ID)})
		return nil
	case parent.Rules.Loop != nil:
		return x.iterationEnded(parent, c)
	default:
		return x.judgeInstances(parent, c)
	}
}

// lateInstance goes on with instances whose parent did not wait for them. One
// that fails fails the workflow, unless its parent's policy is another.
func (x *Decision) lateInstance(parent, c *stabilize.Stage) error {
	m := parent.Rules.Multi
	if m != nil && !m.Withdraw && !x.Workflow().Halting() && !parent.Superseded && !parent.Status.IsHalt() {
		x.startInstances(parent)
	}
	if m != nil && m.Detached && c.Status == stabilize.Terminal && parent.OnFailure == stabilize.FailWorkflow && !parent.Superseded {
		failure := stabilize.Failure{Code: stabilize.CodeTaskFailed, Stage: c.Ref}
		if c.Failure != nil {
			failure = *c.Failure
		}
		return x.failWorkflow(&failure)
	}
	return nil
}

// bodyUnderWay reports whether the stage waits for instances or iterations.
func (x *Decision) bodyUnderWay(s *stabilize.Stage) bool {
	state := s.Known().Multi
	if state == nil || state.Met {
		return false
	}
	if s.Ending != stabilize.NotStarted {
		return x.Workflow().ActiveChildren(s) > 0
	}
	return true // its instances say when it is over
}

// bodyOutcome is what the instances or iterations make of their stage; it is
// asked once they are done.
func (x *Decision) bodyOutcome(s *stabilize.Stage) (stabilize.Status, string, *stabilize.Failure) {
	edit := x.draft.Stage(s.ID)
	if s.Rules.Loop != nil {
		return stabilize.Succeeded, "", nil
	}
	results := x.results(edit)
	put, err := stabilize.NewValues(map[string]any{"results": results})
	if err == nil {
		edit.Outputs = edit.Outputs.Merge(put)
		var reduced stabilize.Values
		if reduced, err = x.env.Registry.Reduce(s.Rules.Reduce, results); err == nil {
			edit.Outputs = edit.Outputs.Merge(reduced)
		}
	}
	if err == nil {
		err = x.env.checkRoom(edit)
	}
	if err != nil {
		return failureStatus(s.OnFailure), "", &stabilize.Failure{Code: stabilize.CodeReduction, Message: errorText(err)}
	}
	status := stabilize.Succeeded
	if s.State.Multi.Good < s.State.Multi.Total && s.Rules.Multi.Need == 0 && s.Rules.Multi.Until == "" && !s.Rules.Multi.Detached && s.AllowSiblings {
		status = stabilize.FailedContinue
	}
	return status, "", nil
}

// results are the outputs of the instances that ended well, by index.
func (x *Decision) results(s *stabilize.Stage) []stabilize.Values {
	out := []stabilize.Values{}
	for _, c := range x.endedWell(s) {
		v := x.Workflow().FamilyOutputs(c)
		if v == nil {
			v = stabilize.Values{}
		}
		out = append(out, v)
	}
	return out
}

// endedWell returns the instances that have results, by index.
func (x *Decision) endedWell(s *stabilize.Stage) []*stabilize.Stage {
	out := slices.DeleteFunc(x.Workflow().Children(s, stabilize.OwnerInstance), func(c *stabilize.Stage) bool { return !hasResult(c) })
	slices.SortStableFunc(out, func(a, b *stabilize.Stage) int { return a.Known().Index - b.Known().Index })
	return out
}

func hasResult(c *stabilize.Stage) bool {
	return !c.Superseded && (c.Status == stabilize.Succeeded || c.Status == stabilize.FailedContinue)
}

// bodyEnv is what conditions on a body see: the stage's context, what it has put
// out so far, and the extra names.
func (x *Decision) bodyEnv(s *stabilize.Stage, extra map[string]any) (stabilize.Values, error) {
	w := x.Workflow()
	over, err := stabilize.NewValues(extra)
	if err != nil {
		return nil, err
	}
	return w.TaskContext(s).Merge(s.Outputs).Merge(over), nil
}

func itemContext(item json.RawMessage) stabilize.Values {
	if item == nil {
		return nil
	}
	return stabilize.Values{"item": item}
}
