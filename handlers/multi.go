package handlers

import (
	"encoding/json"
	"fmt"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// beginInstances makes the instances of a stage, all in the commit that begins
// it, and starts as many as may run at once. The reference expands them when
// the workflow is built, and never reads a count from the context.
func (x *Decision) beginInstances(s *stabilize.Stage) error {
	items, failure := x.countInstances(s)
	if failure != nil {
		return x.haltStage(s, failureStatus(s.OnFailure), "", failure)
	}
	m := s.Rules.Multi
	for _, item := range items {
		if err := x.addInstance(s, itemContext(item)); err != nil {
			return err
		}
	}
	s.State.Multi.Closed = !m.Open
	if m.Need > len(items) && !m.Open {
		return x.haltStage(s, failureStatus(s.OnFailure), "", &stabilize.Failure{
			Code: stabilize.CodeBadCount, Message: fmt.Sprintf("%d of %d instances can never end well", m.Need, len(items)),
		})
	}
	x.startInstances(s)
	if m.Detached {
		return x.meet(s)
	}
	return x.judgeInstances(s, nil)
}

// maxInstances bounds what one decision makes.
const maxInstances = 100_000

// countInstances returns an item for each instance; items of a mere count are nil.
func (x *Decision) countInstances(s *stabilize.Stage) ([]json.RawMessage, *stabilize.Failure) {
	m := s.Rules.Multi
	bad := func(code, format string, args ...any) ([]json.RawMessage, *stabilize.Failure) {
		return nil, &stabilize.Failure{Code: code, Message: fitText(fmt.Sprintf(format, args...))}
	}
	env := x.Workflow().TaskContext(s)
	n := m.Count
	switch {
	case m.Over != "":
		items, err := x.env.Expressions.List(m.Over, env)
		if err != nil {
			return bad(stabilize.CodeBadCount, "the list of its instances: %v", err)
		}
		if n = len(items); n <= maxInstances {
			return items, nil
		}
	case m.CountOf != "":
		var err error
		if n, err = x.env.Expressions.Int(m.CountOf, env); err != nil {
			return bad(stabilize.CodeBadCount, "the number of its instances: %v", err)
		}
	}
	if n < 0 || n > maxInstances {
		return bad(stabilize.CodeBadCount, "%d is no number of instances; the most is %d", n, maxInstances)
	}
	return make([]json.RawMessage, n), nil
}

// judgeInstances decides, after one has ended (nil: none has yet), whether the
// stage is complete, has failed, or goes on.
func (x *Decision) judgeInstances(s, c *stabilize.Stage) error {
	m, state := s.Rules.Multi, s.State.Multi
	for state.Started < state.Total { // those that were ended before their turn are not waited for
		if next := x.instance(s, state.Started); next != nil && !next.Status.IsComplete() {
			break
		}
		state.Started++
	}
	left := state.Total - state.Started + state.Running
	over := left == 0 && state.Closed
	if c != nil && c.Status.IsHalt() && c.Reason != stabilize.ReasonWithdrawn && m.Need == 0 && m.Until == "" && !s.AllowSiblings {
		return x.haltStage(s, failureStatus(s.OnFailure), "", instanceFailure(c))
	}
	if m.Until != "" && c != nil && !c.Status.IsHalt() {
		met, failure := x.untilMet(s, c)
		if failure != nil {
			return x.haltStage(s, failureStatus(s.OnFailure), "", failure)
		}
		if met {
			return x.meet(s)
		}
	}
	switch {
	case m.Need > 0 && state.Good >= m.Need, m.Need == 0 && m.Until == "" && over, m.Until != "" && over && m.Unmet:
		return x.meet(s)
	case m.Until != "" && over:
		return x.haltStage(s, failureStatus(s.OnFailure), "", &stabilize.Failure{
			Code: stabilize.CodeConditionUnmet, Message: "all instances have ended, and the condition was never true",
		})
	case m.Need > 0 && state.Closed && state.Good+left < m.Need:
		return x.haltStage(s, failureStatus(s.OnFailure), "", &stabilize.Failure{
			Code: stabilize.CodeUnreachable, Message: fmt.Sprintf("only %d of the %d instances needed can still end well", state.Good+left, m.Need),
		})
	}
	x.startInstances(s)
	return nil
}

func instanceFailure(c *stabilize.Stage) *stabilize.Failure {
	if c.Failure != nil {
		f := *c.Failure
		return &f
	}
	return &stabilize.Failure{Code: stabilize.CodeTaskFailed, Message: "instance " + c.Ref + " is " + c.Status.String()}
}

// untilMet asks, when c has ended well, whether the instances that did are enough.
func (x *Decision) untilMet(s, c *stabilize.Stage) (bool, *stabilize.Failure) {
	met, err := x.askUntil(s, c)
	if err != nil {
		return false, &stabilize.Failure{Code: stabilize.CodeExpression, Message: "asking whether its instances are enough: " + errorText(err)}
	}
	return met, nil
}

func (x *Decision) askUntil(s, c *stabilize.Stage) (bool, error) {
	tally, err := x.tally(s, c)
	if err != nil {
		return false, err
	}
	env, err := x.bodyEnv(s, map[string]any{"done": s.State.Multi.Good, "total": s.State.Multi.Total})
	if err != nil {
		return false, err
	}
	return tally.fold.Bool(env)
}

// tally is what is remembered of the instances of a stage that ended well, so
// that its condition is not asked about each of them every time one ends.
type tally struct {
	fold *stabilize.Fold
	good int // how many it knows of, those that put out nothing included
}

// tally returns the stage's tally with c. One that does not know of all that ended
// well before, because this process did not see them or took a decision back, is
// made anew.
func (x *Decision) tally(s, c *stabilize.Stage) (*tally, error) {
	w, good := x.Workflow(), s.State.Multi.Good
	if t, ok := w.Remembered(s.ID).(*tally); ok && t.good == good-1 {
		return t, t.add(w, c)
	}
	fold, err := x.env.Expressions.Fold(s.Rules.Multi.Until, "results")
	if err != nil {
		return nil, err
	}
	t := &tally{fold: fold, good: good}
	if fold.NamesList() {
		for _, r := range x.endedWell(s) {
			if err := fold.Add(r.Known().Index, w.FamilyOutputs(r)); err != nil {
				return nil, err
			}
		}
	}
	w.Remember(s.ID, t)
	return t, nil
}

func (t *tally) add(w *stabilize.Workflow, c *stabilize.Stage) error {
	t.good++
	if !t.fold.NamesList() || !hasResult(c) {
		return nil
	}
	return t.fold.Add(c.Known().Index, w.FamilyOutputs(c))
}

// meet completes a stage whose instances are enough. The rest is withdrawn, or
// runs on; then the workflow waits for it.
func (x *Decision) meet(s *stabilize.Stage) error {
	s.State.Multi.Met, s.State.Multi.Closed = true, true
	if s.Rules.Multi.Withdraw {
		if err := x.withdrawInstances(s); err != nil {
			return err
		}
	} else {
		x.startInstances(s)
	}
	x.Push(queue.CompleteStage{OfStage: queue.ToStage(x.Workflow().ID, s.ID)})
	return nil
}

func (x *Decision) withdrawInstances(s *stabilize.Stage) error {
	w := x.Workflow()
	for _, c := range w.Children(s, stabilize.OwnerInstance) {
		switch {
		case c.Status.IsComplete():
		case c.Status == stabilize.NotStarted:
			if err := x.settleUnstarted(c, stabilize.Canceled, stabilize.ReasonWithdrawn); err != nil {
				return err
			}
		default: // here and now, so that none ends well after the results were gathered
			if err := x.haltStage(c, stabilize.Canceled, stabilize.ReasonWithdrawn, nil); err != nil {
				return err
			}
		}
	}
	return nil
}
