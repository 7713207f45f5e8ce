package engine_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// A wait that is over while the workflow is paused is over when it resumes; seen:
// the message is gone and the task waits for ever.
func TestMixedAWaitThatIsOverDuringAPause(t *testing.T) {
	mixed(t, func(r *rig) {
		id := r.begin(stage("a").Do("wait1h"))
		settle()
		r.must(r.Pause(r.Context(), id, "me"))
		r.pass(3 * time.Hour)
		r.must(r.Resume(r.Context(), id, "me"))
		r.wantStatus(r.wait(id), stabilize.Succeeded)
	})
}

// The same of a stage that is paused alone.
func TestMixedAWaitThatIsOverWhileItsStageIsPaused(t *testing.T) {
	mixed(t, func(r *rig) {
		id := r.begin(stage("a").Do("wait1h"))
		settle()
		r.must(r.PauseStage(r.Context(), id, "a"))
		r.pass(3 * time.Hour)
		r.must(r.ResumeStage(r.Context(), id, "a"))
		r.wantStatus(r.wait(id), stabilize.Succeeded)
	})
}

// A stage resumed while its workflow is paused goes on with the workflow; seen:
// its parked task never runs again.
func TestMixedAStageResumedInAPausedWorkflow(t *testing.T) {
	mixed(t, func(r *rig) {
		id := r.begin(stage("a").Do("poll"))
		settle()
		r.must(r.PauseStage(r.Context(), id, "a"))
		r.pass(3 * time.Minute) // the poll is parked
		r.must(r.Pause(r.Context(), id, "me"))
		r.must(r.ResumeStage(r.Context(), id, "a"))
		settle()
		r.must(r.Resume(r.Context(), id, "me"))
		r.wantStatus(r.wait(id), stabilize.Succeeded)
	})
}

// The time a stage was paused is charged neither if its own pause began within
// that of the workflow nor credited twice if the pauses overlap the other way.
func TestMixedPausesOfStageAndWorkflowOverlap(t *testing.T) {
	mixed(t, func(r *rig) {
		id := r.begin(stage("a").Do("wait").Timeout(time.Hour).SucceedOnTimeout())
		settle()
		r.must(r.Pause(r.Context(), id, "me"))
		r.pass(2 * time.Hour)
		r.must(r.PauseStage(r.Context(), id, "a"))
		r.pass(time.Hour)
		r.must(r.Resume(r.Context(), id, "me"))
		r.pass(time.Hour)
		r.must(r.ResumeStage(r.Context(), id, "a"))
		w := r.wait(id)
		if ran := w.StageByRef("a").EndedAt.Sub(w.StartedAt); ran < 5*time.Hour-time.Minute || ran > 5*time.Hour+time.Minute {
			t.Errorf("of 4 h paused and 1 h allowed it had %s", ran)
		}
	})
	mixed(t, func(r *rig) {
		id := r.begin(stage("a").Do("wait").Timeout(time.Hour).SucceedOnTimeout())
		settle()
		r.must(r.PauseStage(r.Context(), id, "a"))
		r.pass(time.Hour)
		r.must(r.Pause(r.Context(), id, "me"))
		r.pass(2 * time.Hour)
		r.must(r.ResumeStage(r.Context(), id, "a"))
		r.pass(time.Hour)
		r.must(r.Resume(r.Context(), id, "me"))
		w := r.wait(id)
		if ran := w.StageByRef("a").EndedAt.Sub(w.StartedAt); ran < 5*time.Hour-time.Minute || ran > 5*time.Hour+time.Minute {
			t.Errorf("of 4 h paused and 1 h allowed it had %s", ran)
		}
	})
}

// A workflow that timed out can be retried; seen: the new run is charged with the
// time since the first start and times out at once.
func TestMixedRetryAfterATimeout(t *testing.T) {
	mixed(t, func(r *rig) {
		id, err := r.Start(r.Context(), stabilize.NewWorkflow("app", "wf").Timeout(time.Hour).Add(stage("a").Do("wait")))
		r.must(err)
		r.wantStatus(r.wait(id), stabilize.Terminal)
		r.pass(time.Hour)
		r.must(r.Retry(r.Context(), id, "me"))
		settle()
		_, err = r.Signal(r.Context(), id, "go", nil)
		r.must(err)
		r.wantStatus(r.end(id), stabilize.Succeeded)
	})
}

// A workflow canceled while paused runs when it is retried; seen: it is paused
// from the start.
func TestMixedRetryAfterACancelDuringAPause(t *testing.T) {
	mixed(t, func(r *rig) {
		id := r.begin(stage("a").Do("wait"), stage("b", "a").Do("ok"))
		settle()
		r.must(r.Pause(r.Context(), id, "me"))
		r.must(r.Cancel(r.Context(), id, "me", "no"))
		r.wantStatus(r.wait(id), stabilize.Canceled)
		r.must(r.Retry(r.Context(), id, "me"))
		settle()
		_, err := r.Signal(r.Context(), id, "go", nil)
		r.must(err)
		r.wantStatus(r.end(id), stabilize.Succeeded)
	})
}

// What is asked of a stage of a buffered workflow holds when it starts; seen: the
// workflow starts nothing and is RUNNING for ever.
func TestMixedRequestsToABufferedWorkflow(t *testing.T) {
	for name, c := range map[string]struct {
		ask  func(r *rig, id string) error
		want stabilize.Status
	}{
		"skip":     {func(r *rig, id string) error { return r.Engine.Skip(r.Context(), id, "a") }, stabilize.Succeeded},
		"withdraw": {func(r *rig, id string) error { return r.Withdraw(r.Context(), id, "a") }, stabilize.Succeeded},
		"abort":    {func(r *rig, id string) error { return r.Abort(r.Context(), id, "a", "no") }, stabilize.Terminal},
		"cancel":   {func(r *rig, id string) error { return r.CancelStage(r.Context(), id, "a") }, stabilize.Canceled},
		"region":   {func(r *rig, id string) error { return r.CancelRegion(r.Context(), id, "r") }, stabilize.Succeeded},
	} {
		t.Run(name, func(t *testing.T) {
			mixed(t, func(r *rig) {
				limited := func(stages ...*stabilize.StageSpec) string {
					id, err := r.Start(r.Context(), stabilize.NewWorkflow("app", "wf").LimitConcurrent("cfg", 1).Add(stages...))
					r.must(err)
					return id
				}
				first := limited(stage("a").Do("work"))
				second := limited(stage("a").Do("ok").InRegion("r"), stage("b", "a").Do("ok"))
				third := limited(stage("a").Do("ok"))
				settle()
				r.must(c.ask(r, second))
				r.wantStatus(r.wait(first), stabilize.Succeeded)
				w := r.wait(second)
				r.wantStatus(w, c.want)
				if name == "skip" && w.StageByRef("b").Status != stabilize.Succeeded {
					t.Errorf("b is %s", w.StageByRef("b").Status)
				}
				r.wantStatus(r.wait(third), stabilize.Succeeded)
			})
		})
	}
}

// Instances that a stage did not wait for all run; seen: those whose turn comes
// during a pause are lost.
func TestMixedDetachedInstancesOfAPausedWorkflow(t *testing.T) {
	mixed(t, func(r *rig) {
		id := r.begin(stage("m").Do("work").Instances(stabilize.Multi{Count: 3, Limit: 1, Detached: true}))
		settle()
		r.must(r.Pause(r.Context(), id, "me"))
		r.pass(time.Hour)
		r.must(r.Resume(r.Context(), id, "me"))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		if n := r.ran("m[0].work") + r.ran("m[1].work") + r.ran("m[2].work"); n != 3 {
			t.Errorf("%d of 3 instances ran: %s", n, describe(w))
		}
	})
}

// Skipping a suspended stage with what is in it, pausing it before.
func TestMixedSkipOfAPausedFamily(t *testing.T) {
	mixed(t, func(r *rig) {
		id := r.begin(stage("p").Do("ok").Body(stage("a").Do("hooked"), stage("b", "a").Do("ok")), stage("z", "p").Do("ok"))
		settle()
		r.must(r.PauseStage(r.Context(), id, "p"))
		r.must(r.Pause(r.Context(), id, "me"))
		r.must(r.Engine.Skip(r.Context(), id, "p"))
		r.pass(3 * time.Hour)
		r.must(r.Resume(r.Context(), id, "me"))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "p", stabilize.Skipped, stabilize.ReasonManualSkip)
		r.wantStage(w, "z", stabilize.Succeeded, "")
	})
}

// A pause while a jump waits for a join to reset.
func TestMixedAPauseWhileAJumpWaits(t *testing.T) {
	mixed(t, func(r *rig) {
		r.jumpOnce("back", "s")
		id := r.begin(stage("s").Do("ok"), stage("a", "s").Do("ok"), stage("b", "s").Do("work", "work"), stage("d", "a", "b").First().Do("back"))
		settle()
		r.must(r.Pause(r.Context(), id, "me"))
		r.pass(time.Hour)
		r.must(r.Resume(r.Context(), id, "me"))
		settle()
		r.must(r.PauseStage(r.Context(), id, "d"))
		r.pass(time.Hour)
		if err := r.ResumeStage(r.Context(), id, "d"); err != nil {
			t.Logf("resuming d: %v", err)
		}
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		if r.ran("s.ok") != 2 {
			t.Errorf("ran %v", slices.Compact(r.logged()))
		}
	})
}
