package engine_test

import (
	"context"
	"testing"

	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// An instance that is withdrawn before its turn is not waited for; seen: the stage
// never ends.
func TestMixedAnInstanceWithdrawnBeforeItsTurn(t *testing.T) {
	for _, ask := range []string{"withdraw", "skip"} {
		mixed(t, func(r *rig) {
			id := r.begin(stage("m").Do("work").Instances(stabilize.Multi{Count: 3, Limit: 1}))
			settle()
			if ask == "skip" {
				r.must(r.Engine.Skip(r.Context(), id, "m[2]"))
			} else {
				r.must(r.Withdraw(r.Context(), id, "m[2]"))
			}
			r.wantStatus(r.wait(id), stabilize.Succeeded)
		})
	}
}

// In a body the loser of a choice is withdrawn and the winner goes on; seen: the
// winner is withdrawn too.
func TestMixedAChoiceInsideABody(t *testing.T) {
	mixed(t, func(r *rig) {
		id := r.begin(stage("p").Do("ok").Body(stage("a").Do("wait", "work").Choice("c"), stage("b").Do("wait1h").Choice("c")))
		settle()
		_, err := r.Signal(r.Context(), id, "go", nil, engine.ToStage("p/a"))
		r.must(err)
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "p/a", stabilize.Succeeded, "")
		r.wantStage(w, "p/b", stabilize.Canceled, stabilize.ReasonWithdrawn)
		if r.ran("p.ok") != 1 {
			t.Errorf("the task of p did not run: %v", r.logged())
		}
	})
}

// In a body a cancelling discriminator withdraws the rest and goes on.
func TestMixedACancellingDiscriminatorInsideABody(t *testing.T) {
	mixed(t, func(r *rig) {
		w := r.finish(stage("p").Do("ok").Body(stage("a").Do("ok"), stage("b").Do("wait"), stage("d", "a", "b").First().CancelRest().Do("work")))
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "p/d", stabilize.Succeeded, "")
		if r.ran("p.ok") != 1 {
			t.Errorf("the task of p did not run: %v", r.logged())
		}
	})
}

// In a body a join that can do without a failed branch does.
func TestMixedAToleratedFailureInsideABody(t *testing.T) {
	mixed(t, func(r *rig) {
		w := r.finish(stage("p").Do("ok").Body(stage("a").Do("fail").OnFailure(stabilize.TolerateFailure), stage("b").Do("work"),
			stage("c").Do("work"), stage("d", "a", "b", "c").AnyOf(2).Do("ok")))
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "p/d", stabilize.Succeeded, "")
	})
}

// A stage inside another that is withdrawn ends alone, and what follows its
// cancelling starts.
func TestMixedWithdrawInsideABody(t *testing.T) {
	mixed(t, func(r *rig) {
		id := r.begin(stage("p").Do("ok").Body(stage("a").Do("wait"), stage("b").Do("work"), stage("h").OnCancelOf("a").Do("ok")))
		settle()
		r.must(r.Withdraw(r.Context(), id, "p/a"))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "p/b", stabilize.Succeeded, "")
		r.wantStage(w, "p/h", stabilize.Succeeded, "")
		if r.ran("p.ok") != 1 {
			t.Errorf("the task of p did not run: %v", r.logged())
		}
	})
}

// The same of a region inside a body.
func TestMixedCancelRegionInsideABody(t *testing.T) {
	mixed(t, func(r *rig) {
		id := r.begin(stage("p").Do("ok").Body(stage("a").Do("wait").InRegion("r"), stage("a2", "a").Do("ok").InRegion("r"),
			stage("b").Do("work"), stage("h").OnCancelOf("r").Do("ok")))
		settle()
		r.must(r.CancelRegion(r.Context(), id, "r"))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "p/b", stabilize.Succeeded, "")
		r.wantStage(w, "p/h", stabilize.Succeeded, "")
	})
}

// A jump inside a body supersedes what is below its target there, and the new
// rounds run; seen: what is superseded ends the family.
func TestMixedAJumpInsideABodyBesideAnotherBranch(t *testing.T) {
	mixed(t, func(r *rig) {
		r.jumpOnce("back", "p/a")
		w := r.finish(stage("p").Do("ok").Body(stage("a").Do("ok"), stage("b", "a").Do("work", "back"), stage("c", "a").Do("poll")))
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "p/c", stabilize.Succeeded, "")
		if r.ran("p/a.ok") != 2 || r.ran("p.ok") != 1 {
			t.Errorf("ran %v", r.logged())
		}
	})
}

// An instance that begins again is waited for; seen: its stage completes without.
func TestMixedAnInstanceThatJumpsToItself(t *testing.T) {
	mixed(t, func(r *rig) {
		r.jumpOnce("back", "m[0]")
		w := r.finish(stage("m").Do("back", "work").Instances(stabilize.Multi{Count: 1}), stage("z", "m").Do("ok"))
		r.wantStatus(w, stabilize.Succeeded)
		if log := r.logged(); log[len(log)-1] != "z.ok" {
			t.Errorf("ran %v", log)
		}
	})
}

// Withdrawing an iteration does not fail the workflow.
func TestMixedWithdrawAnIteration(t *testing.T) {
	mixed(t, func(r *rig) {
		id := r.begin(stage("l").Do("work").While("index < 3", 10), stage("z", "l").Do("ok"))
		settle()
		r.must(r.Withdraw(r.Context(), id, "l[0]"))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
	})
}

// A round sees fresh outputs, also inside a body; seen: those of a superseded
// round are still there.
func TestMixedOutputsOfASupersededRoundInsideABody(t *testing.T) {
	mixed(t, func(r *rig) {
		n := 0
		r.task("out", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if n++; n == 1 {
				return stabilize.Success().WithOutput("old", 1), nil
			}
			return stabilize.Success().WithOutput("new", 1), nil
		})
		r.jumpOnce("back", "p/a")
		w := r.finish(stage("p").Body(stage("a").Do("out"), stage("b", "a").Do("back")))
		out := w.Result()
		if _, old := out["old"]; old || out["new"] == nil {
			t.Errorf("it put out %v", out)
		}
	})
}

// Explicit termination inside a body, an instance, a loop.
func TestMixedTheEndOfTheWorkflowInsideAnother(t *testing.T) {
	mixed(t, func(r *rig) {
		for _, p := range []*stabilize.StageSpec{
			stage("p").Body(stage("e").Do("ok").EndsWorkflow(), stage("x").Do("hooked")),
			stage("p").Instances(stabilize.Multi{Count: 2}).Body(stage("e").Do("work").EndsWorkflow(), stage("x").Do("hooked")),
			stage("p").While("true", 3).Body(stage("e").Do("work").EndsWorkflow()),
		} {
			w := r.finish(p, stage("q").Do("wait"), stage("z", "q").Do("ok"))
			r.wantStatus(w, stabilize.Succeeded)
			r.wantStage(w, "q", stabilize.Canceled, stabilize.ReasonWithdrawn)
		}
	})
}
