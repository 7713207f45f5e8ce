package handlers

import (
	"slices"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// arrive lets a stage act on the tokens before it, and reports whether it did.
func (x *Decision) arrive(s *stabilize.Stage, quiet bool) (bool, error) {
	if x.Workflow().Counted(s.Ref) && (!s.Known().Bypass || s.Status != stabilize.NotStarted || s.HasPartialJoin()) {
		return x.arriveCounted(s.Ref, quiet)
	}
	if s.Status == stabilize.NotStarted && s.Join >= stabilize.JoinDiscriminator && x.Workflow().Readiness(s) == stabilize.Dead {
		if err := x.unreachable(s); err != nil {
			return false, err
		}
	}
	return x.offer(s), nil
}

// arriveCounted starts an execution for each set of tokens that lets the join
// fire. The tokens are consumed here, in the commit that they arrive with.
func (x *Decision) arriveCounted(ref string, quiet bool) (bool, error) {
	w := x.Workflow()
	moved := false
	for !w.Halting() {
		a := w.Arrive(ref, quiet)
		switch {
		case len(a.Absorb) > 0:
			if last := lastFired(w, ref); last != nil {
				note := x.draft.Stage(last.ID).Note()
				note.Consumed = append(note.Consumed, a.Absorb...)
				continue
			}
		case len(a.Fire) > 0:
			s := w.StageByRef(ref)
			if s.Status != stabilize.NotStarted || len(s.Known().Consumed) > 0 {
				s = x.draft.OpenRound(ref, x.env.IDs, stabilize.Origin{Kind: stabilize.OriginToken, At: stabilize.Instant(x.now)})
				x.Record(events.Event{Type: events.StageAdded, To: s.Status}, s, nil)
			}
			if err := x.consume(s, a.Fire); err != nil {
				return moved, err
			}
			moved = true
			continue
		case a.Dead:
			if s := w.StageByRef(ref); s.Status == stabilize.NotStarted {
				x.Push(queue.SkipStage{OfStage: queue.ToStage(w.ID, s.ID), Reason: stabilize.ReasonDeadPath})
				return true, x.unreachable(s)
			}
		}
		return moved, nil
	}
	return moved, nil
}

// consume starts an execution with certain tokens. One that came of a split into
// threads knows its index.
func (x *Decision) consume(s *stabilize.Stage, tokens []stabilize.Token) error {
	w := x.Workflow()
	edit := x.draft.Stage(s.ID)
	edit.Note().Consumed = tokens
	if len(tokens) == 1 {
		if up := w.StageInRound(tokens[0].Ref, tokens[0].Round); up != nil {
			threaded := up.Known().Threaded
			index := up.Known().Index
			if up.Tokens.Threads > 1 {
				threaded, index = true, tokens[0].Thread
			}
			if threaded {
				edit.State.Threaded, edit.State.Index = true, index
				if err := edit.Context.Set("index", index); err != nil {
					return err
				}
			}
		}
	}
	x.Push(queue.StartStage{OfStage: queue.ToStage(w.ID, s.ID)})
	return nil
}

// lastFired is the last execution of a join that has taken tokens, or that a jump
// began.
func lastFired(w *stabilize.Workflow, ref string) *stabilize.Stage {
	for _, s := range slices.Backward(w.Executions(ref)) {
		if len(s.Known().Consumed) > 0 || s.Known().Bypass {
			return s
		}
	}
	return nil
}

// unreachable withdraws what leads only to a partial join that can no longer be
// met because branches failed (pattern 30).
func (x *Decision) unreachable(s *stabilize.Stage) error {
	if !s.HasPartialJoin() {
		return nil
	}
	w := x.Workflow()
	if !branchFailed(w, s) {
		return nil
	}
	edit := x.draft.Stage(s.ID)
	edit.Failure = &stabilize.Failure{Code: stabilize.CodeUnreachable, Message: "too many of its branches failed", Stage: s.Ref}
	return x.withdrawAll(w.OnlyToward(s))
}

// branchFailed reports whether a branch before a stage is dead because a stage of
// it failed that may.
func branchFailed(w *stabilize.Workflow, s *stabilize.Stage) bool {
	seen := map[string]bool{}
	for todo := []*stabilize.Stage{s}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, up := range w.Upstream(at) {
			switch {
			case up.Status == stabilize.Stopped && up.OnFailure == stabilize.TolerateFailure:
				return true
			case up.Status == stabilize.Skipped && up.Reason == stabilize.ReasonDeadPath && !seen[up.ID]:
				seen[up.ID] = true
				todo = append(todo, up)
			}
		}
	}
	return false
}

// withdrawAll ends stages because another branch was chosen.
func (x *Decision) withdrawAll(stages []*stabilize.Stage) error {
	for _, s := range stages {
		if err := x.haltStage(s, stabilize.Canceled, stabilize.ReasonWithdrawn, nil); err != nil {
			return err
		}
	}
	return nil
}
