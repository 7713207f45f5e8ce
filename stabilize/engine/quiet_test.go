package engine_test

import (
	"testing"

	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// A workflow in which nothing moves ends, also one that never moved: its first
// stage waits for the cancelling of what only follows it.
func TestAWorkflowWhoseFirstStageWaitsForEverEnds(t *testing.T) {
	both(t, func(r *rig) {
		id, err := r.Start(r.Context(), stabilize.NewWorkflow("app", "wf").Add(
			stage("a").OnCancelOf("b").Do("ok"), stage("b", "a").Do("ok")), engine.AllowUnsound())
		r.must(err)
		w := r.wait(id)
		for _, ref := range []string{"a", "b"} {
			r.wantStage(w, ref, stabilize.Skipped, stabilize.ReasonDeadPath)
		}
		if n := len(r.logged()); n > 0 {
			t.Errorf("%d tasks ran", n)
		}
	})
}

// A split that finds no branch and goes on all the same splits its other edges
// into threads as one that found a branch does.
func TestASplitWithoutABranchKeepsItsThreads(t *testing.T) {
	both(t, func(r *rig) {
		w := r.finish(
			stage("a").Do("ok").OnFailure(stabilize.ContinueOnFailure).ChooseOne(stabilize.To("b", "false")).Threads(2),
			stage("b", "a").Do("ok"), stage("c", "a").Do("ok"))
		r.wantStage(w, "a", stabilize.FailedContinue, "")
		if n := r.ran("c.ok"); n != 2 {
			t.Errorf("c ran %d times, want once for each thread", n)
		}
		if n := r.ran("b.ok"); n != 0 {
			t.Errorf("b ran %d times, and was not chosen", n)
		}
	})
}
