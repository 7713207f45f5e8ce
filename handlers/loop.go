package handlers

import (
	"fmt"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// nextIteration starts the next run of a loop's body, or completes the loop. An
// iteration sees what the one before put out (the reference's LoopBuilder names
// tasks that do not exist).
func (x *Decision) nextIteration(s *stabilize.Stage) error {
	l, state := s.Rules.Loop, s.State.Multi
	again, failure := x.loopCondition(s)
	if failure != nil {
		return x.haltStage(s, failureStatus(s.OnFailure), "", failure)
	}
	if !again {
		state.Met, state.Closed = true, true
		x.Push(queue.CompleteStage{OfStage: queue.ToStage(x.Workflow().ID, s.ID)})
		return nil
	}
	most := l.Max
	if most == 0 {
		most = stabilize.DefaultMaxIterations
	}
	if state.Total >= most {
		return x.haltStage(s, failureStatus(s.OnFailure), "", &stabilize.Failure{
			Code: stabilize.CodeLoopLimit, Message: fmt.Sprintf("it has run %d times, which is the most allowed, and would go on", state.Total),
		})
	}
	if err := x.addInstance(s, s.Outputs); err != nil {
		return err
	}
	x.startInstances(s)
	return nil
}

// loopCondition reports whether the body is to run (again).
func (x *Decision) loopCondition(s *stabilize.Stage) (bool, *stabilize.Failure) {
	l, state := s.Rules.Loop, s.State.Multi
	condition, want := l.While, true
	if l.Until != "" {
		if condition, want = l.Until, false; state.Total == 0 {
			return true, nil
		}
	}
	env, err := x.bodyEnv(s, map[string]any{"index": state.Total})
	if err == nil {
		var yes bool
		if yes, err = x.env.Expressions.Bool(condition, env); err == nil {
			return yes == want, nil
		}
	}
	return false, &stabilize.Failure{Code: stabilize.CodeExpression, Message: "asking whether to repeat: " + errorText(err)}
}

// iterationEnded keeps what an iteration put out and goes on, or fails with it.
func (x *Decision) iterationEnded(s, c *stabilize.Stage) error {
	if c.Reason == stabilize.ReasonWithdrawn {
		return x.nextIteration(s)
	}
	if c.Status.IsHalt() {
		return x.haltStage(s, failureStatus(s.OnFailure), "", instanceFailure(c))
	}
	s.Outputs = s.Outputs.Merge(x.Workflow().FamilyOutputs(c))
	return x.nextIteration(s)
}
