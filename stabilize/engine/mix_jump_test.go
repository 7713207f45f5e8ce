package engine_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// A jump waits for joins to reset, but not for the stage that jumps; seen: each
// waits for the other.
func TestMixedAJumpOutOfTheBranchThatAJoinWaitsFor(t *testing.T) {
	mixed(t, func(r *rig) {
		r.jumpOnce("back", "s")
		w := r.finish(stage("s").Do("ok"), stage("a", "s").Do("ok"), stage("b", "s").Do("work", "back"), stage("d", "a", "b").First().Do("ok"))
		r.wantStatus(w, stabilize.Succeeded)
		if n := r.ran("s.ok"); n != 2 {
			t.Errorf("s ran %d times", n)
		}
	})
}

// The same where a stage below the one that jumps stands before the join.
func TestMixedAJumpAboveTheBranchThatAJoinWaitsFor(t *testing.T) {
	mixed(t, func(r *rig) {
		r.jumpOnce("back", "s")
		w := r.finish(stage("s").Do("ok"), stage("a", "s").Do("ok"), stage("b", "s").Do("work", "back"), stage("c", "b").Do("ok"),
			stage("d", "a", "c").First().Do("ok"))
		r.wantStatus(w, stabilize.Succeeded)
	})
}

// Two that jump do not wait for each other.
func TestMixedTwoJumpsBeforeOneJoin(t *testing.T) {
	mixed(t, func(r *rig) {
		r.jumpOnce("back1", "s")
		r.jumpOnce("back2", "s")
		w := r.finish(stage("s").Do("ok"), stage("a", "s").Do("ok"), stage("b", "s").Do("work", "back1"), stage("c", "s").Do("work", "back2"),
			stage("d", "a", "b", "c").First().Do("ok"))
		r.wantStatus(w, stabilize.Succeeded)
	})
}

// A jump to a stage that does not exist is refused, and the workflow goes on; seen:
// no error, and the stage is TERMINAL.
func TestMixedARequestedJumpToNowhereIsRefused(t *testing.T) {
	mixed(t, func(r *rig) {
		id := r.begin(stage("a").Do("wait"))
		settle()
		if err := r.Jump(r.Context(), id, "a", "nowhere", nil); !errors.Is(err, stabilize.ErrNotFound) {
			t.Errorf("jumping nowhere: %v", err)
		}
		_, err := r.Signal(r.Context(), id, "go", nil)
		if err != nil {
			t.Errorf("then signalling: %v", err)
		}
		r.wantStatus(r.end(id), stabilize.Succeeded)
	})
}

// A workflow whose stages wait for each other ends with DEADLOCK; seen: a stage
// that waits for a section that never ends is offered, and nothing more happens.
func TestMixedADeadlockOverASection(t *testing.T) {
	mixed(t, func(r *rig) {
		id, err := r.Start(r.Context(), stabilize.NewWorkflow("app", "wf").Add(
			stage("a").Do("work").Section("k"), stage("c").Do("work").Section("k"),
			stage("x", "c").Do("ok"), stage("b", "a", "x").Do("ok").Section("k")), engine.AllowUnsound())
		r.must(err)
		w := r.wait(id)
		r.wantStatus(w, stabilize.Terminal)
		if w.Failure == nil || w.Failure.Code != stabilize.CodeDeadlock {
			t.Errorf("failure %v", w.Failure)
		}
	})
}

// A stage of a section that was left can be restarted while another section is
// under way; seen: each waits for the other.
func TestMixedRestartInASection(t *testing.T) {
	mixed(t, func(r *rig) {
		id := r.begin(stage("a").Do("ok").Section("k"), stage("b", "a").Do("ok").Section("k"),
			stage("c", "b2").Do("work").Section("k"), stage("d", "c").Do("ok").Section("k"), stage("b2", "y").Do("ok"), stage("y").Do("work"))
		time.Sleep(90 * time.Second) // c is under way
		synctest.Wait()
		r.must(r.Restart(r.Context(), id, "b", "me"))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		if r.ran("b.ok") != 2 || r.ran("d.ok") != 1 {
			t.Errorf("ran %v", r.logged())
		}
	})
}

// A mutex is held while its stage is under way, also by a round that was
// superseded and has not ended; seen: the next round starts beside it.
func TestMixedAMutexAndASupersededRound(t *testing.T) {
	mixed(t, func(r *rig) {
		r.jumpOnce("back", "s")
		w := r.finish(stage("s").Do("ok"), stage("m", "s").Do("hooked").Mutex("k").Timeout(4*time.Hour).SucceedOnTimeout(), stage("j", "s").Do("work", "back"))
		r.wantStatus(w, stabilize.Succeeded)
		rounds := w.Rounds("m")
		if len(rounds) != 2 || rounds[1].StartedAt.Before(rounds[0].EndedAt) {
			t.Errorf("round 0 ended at %v, round 1 started at %v", rounds[0].EndedAt, rounds[len(rounds)-1].StartedAt)
		}
	})
}

// A superseded round has no effect on others; seen: it ends the workflow.
func TestMixedASupersededStageThatEndsTheWorkflow(t *testing.T) {
	mixed(t, func(r *rig) {
		r.task("ends", func(context.Context, *stabilize.Execution) (stabilize.Result, error) { return stabilize.Success(), nil },
			stabilize.WithCleanup(func(context.Context, *stabilize.Execution) error { time.Sleep(time.Hour); return nil }))
		r.jumpOnce("back", "s")
		w := r.finish(stage("s").Do("ok"), stage("e", "s").Do("ends").EndsWorkflow(), stage("j", "s").Do("work", "back"))
		r.wantStatus(w, stabilize.Succeeded)
		if last := w.StageByRef("e"); last.Round != 1 || last.Status != stabilize.Succeeded {
			t.Errorf("e is %s in round %d", last.Status, last.Round)
		}
	})
}

// A jump onto a discriminator is its firing: what its branches bring afterwards
// belongs to it, and only the tokens of the next turn fire the join again; seen:
// the first of them did.
func TestMixedAJumpOntoADiscriminatorIsItsFiring(t *testing.T) {
	mixed(t, func(r *rig) {
		r.jumpOnce("ahead", "d")
		id := r.begin(stage("s").Do("ahead"), stage("p").Do("wait"), stage("q").Do("wait"), stage("b").Do("wait"),
			stage("m", "p", "q").Joining(stabilize.JoinMulti, 0).Do("ok"), stage("a", "m").Do("ok"), stage("d", "a", "b").First().Do("ok"))
		settle()
		for _, branch := range []struct {
			ref   string
			after int // how often the join has fired then
		}{{"p", 1}, {"b", 1}, {"q", 2}} {
			r.signal(id, "go", "1", engine.ToStage(branch.ref))
			settle()
			if n := r.ran("d.ok"); n != branch.after {
				t.Errorf("after %s the join has fired %d times, not %d", branch.ref, n, branch.after)
			}
		}
		r.wantStatus(r.end(id), stabilize.Succeeded)
	})
}

// What a cancellation starts comes back with the stages whose cancellation it
// waits for; seen: dead after the first turn, it never ran.
func TestMixedAJumpRevivesWhatACancellationStarts(t *testing.T) {
	mixed(t, func(r *rig) {
		r.jumpOnce("back", "a")
		id := r.begin(stage("s").Do("ok"), stage("a", "s").InRegion("shipping").Do("wait"), stage("b", "a").Do("back"),
			stage("undo").OnCancelOf("shipping").Do("ok"), stage("after", "undo").Do("ok"))
		settle()
		r.signal(id, "go", "1")
		settle()
		r.must(r.CancelRegion(r.Context(), id, "shipping"))
		w := r.end(id)
		if n := r.ran("undo.ok"); n != 1 {
			t.Errorf("the compensation ran %d times: %s", n, describe(w))
		}
		if n := r.ran("after.ok"); n != 1 {
			t.Errorf("what follows the compensation ran %d times", n)
		}
	})
}

// A stage with a milestone comes back with the stage that the milestone wants
// reached; seen: once it had passed it never ran again.
func TestMixedAJumpRevivesAMilestone(t *testing.T) {
	mixed(t, func(r *rig) {
		r.jumpOnce("back", "a")
		w := r.finish(stage("s").Do("ok"), stage("a", "s").Do("ok"), stage("b", "a").Do("work", "back"),
			stage("offer", "s").Milestone("a", "b").Do("ok"))
		r.wantStatus(w, stabilize.Succeeded)
		if got := len(w.Rounds("offer")); got != 2 {
			t.Errorf("the stage with the milestone has %d rounds: %s", got, describe(w))
		}
	})
}

// A branch that was dead before a jump is dead in the new round too, at once;
// seen: known only when all was quiet, so that an OR join below waited for it.
func TestMixedAJumpKeepsWhatIsDeadOutside(t *testing.T) {
	mixed(t, func(r *rig) {
		r.jumpOnce("first", "t")
		r.jumpOnce("second", "t")
		id := r.begin(stage("t").Do("wait"), stage("a").Do("first"), stage("b").Do("wait", "second"), stage("c").Do("ok"),
			stage("d", "a", "t").Do("ok"), stage("e", "c", "d").Joining(stabilize.JoinOr, 0).Do("ok"))
		settle()
		r.signal(id, "go", "1", engine.ToStage("b"))
		settle()
		w, err := r.Get(r.Context(), id)
		r.must(err)
		if d := w.StageByRef("d"); d.Round == 0 || d.Status != stabilize.Skipped || d.Reason != stabilize.ReasonDeadPath {
			t.Errorf("while t runs again, d is not dead: %s", describe(w))
		}
		if e := w.StageByRef("e"); e.Status != stabilize.Succeeded {
			t.Errorf("the join below waits for what never comes: %s", describe(w))
		}
		r.signal(id, "go", "2", engine.ToStage("t"))
		r.wantStatus(r.end(id), stabilize.Succeeded)
	})
}

// A stage that is dead because its milestone had passed comes back when a jump
// goes back behind where it passed; seen: dead for ever. One that ran does not run
// again.
func TestMixedAJumpBehindTheEndOfAMilestone(t *testing.T) {
	mixed(t, func(r *rig) {
		r.jumpOnce("back", "b")
		id := r.begin(stage("a").Do("ok"), stage("b", "a").Do("work"), stage("u", "b").Do("wait"), stage("v", "u").Do("back"),
			stage("in time").Milestone("a", "u").Do("ok"), stage("p").Do("wait"), stage("late", "p").Milestone("a", "u").Do("ok"),
			stage("after", "late").Do("ok"))
		time.Sleep(2 * time.Minute)
		r.signal(id, "go", "1", engine.ToStage("p")) // u has begun
		settle()
		w, err := r.Get(r.Context(), id)
		r.must(err)
		r.wantStage(w, "late", stabilize.Skipped, stabilize.ReasonMilestone)
		r.signal(id, "go", "2", engine.ToStage("u"))
		time.Sleep(2 * time.Minute)
		r.signal(id, "go", "3", engine.ToStage("u"))
		w = r.end(id)
		r.wantStatus(w, stabilize.Succeeded)
		if r.ran("late.ok") != 1 || r.ran("after.ok") != 1 || r.ran("in time.ok") != 1 {
			t.Errorf("ran %v: %s", r.logged(), describe(w))
		}
	})
}

// What watches from inside another stage comes back with that stage, which makes
// it afresh; seen: opened twice.
func TestMixedAJumpAndAWatcherInsideABody(t *testing.T) {
	mixed(t, func(r *rig) {
		r.jumpOnce("back", "a")
		w := r.finish(stage("a").InRegion("r").Do("ok"), stage("p", "a").Body(stage("x").Do("ok"), stage("h").OnCancelOf("r").Do("ok")),
			stage("b", "p").Do("back"))
		r.wantStatus(w, stabilize.Succeeded)
		if n := len(w.Rounds("p/h")); n != 2 || r.ran("p/x.ok") != 2 {
			t.Errorf("the stage inside has %d rounds; ran %v", n, r.logged())
		}
	})
}

// A stage started by the cancelling of what is inside another waits for that to
// be made; seen: dead from the start.
func TestMixedACancellationInsideABodyThatHasNotBegun(t *testing.T) {
	mixed(t, func(r *rig) {
		id := r.begin(stage("s").Do("work"), stage("p", "s").Body(stage("a").InRegion("r").Do("wait")), stage("k").OnCancelOf("r").Do("ok"))
		time.Sleep(2 * time.Minute)
		r.must(r.CancelRegion(r.Context(), id, "r"))
		w := r.end(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "k", stabilize.Succeeded, "")
	})
}

// A jump onto an exclusive join is its firing: its branches exclude each other,
// so what one of them brings later belongs to it; seen: it fired again.
func TestMixedAJumpOntoAnExclusiveJoinIsItsFiring(t *testing.T) {
	mixed(t, func(r *rig) {
		r.jumpOnce("ahead", "m")
		id := r.begin(stage("s").Do("ahead"), stage("r").ChooseOne(stabilize.To("b", "true"), stabilize.Otherwise("c")).Do("ok"),
			stage("b", "r").Do("wait"), stage("c", "r").Do("ok"), stage("m", "b", "c").Joining(stabilize.JoinExclusive, 0).Do("ok"),
			stage("z", "m").Do("ok"))
		settle()
		r.signal(id, "go", "1", engine.ToStage("b"))
		w := r.end(id)
		r.wantStatus(w, stabilize.Succeeded)
		if r.ran("m.ok") != 1 || r.ran("z.ok") != 1 || len(w.Leftover) > 0 {
			t.Errorf("ran %v, left over %v", r.logged(), w.Leftover)
		}
	})
}

// Threads are not the turns of one branch: each that arrives fires an exclusive
// join, also after a jump onto it. What had fired before the jump, by the other two, runs again.
func TestMixedAJumpOntoAnExclusiveJoinAndThreads(t *testing.T) {
	mixed(t, func(r *rig) {
		r.jumpOnce("ahead", "m")
		w := r.finish(stage("s").Do("ok").Threads(3), stage("w", "s").Do("ahead"),
			stage("m", "w").Joining(stabilize.JoinExclusive, 0).Do("ok"))
		r.wantStatus(w, stabilize.Succeeded)
		if n := r.ran("m.ok"); n < 3 || n > 5 {
			t.Errorf("three threads ran it %d times", n)
		}
	})
}

// A jump does not wait for a join whose missing token a stage would bring that
// waits for the one that jumps: for its mutex, its section, its milestone, its
// cancelling; seen: each waits for the other.
func TestMixedAJumpThatHoldsWhatAJoinWaitsFor(t *testing.T) {
	for name, stages := range map[string][2]*stabilize.StageSpec{
		"mutex":     {stage("b", "s").Mutex("k"), stage("c", "s").Mutex("k")},
		"section":   {stage("b", "s").Section("k"), stage("c", "s").Section("k")},
		"milestone": {stage("b", "s"), stage("c", "s").Milestone("b", "")},
		"cancel":    {stage("b", "s"), stage("c", "s").OnCancelOf("b")},
	} {
		t.Run(name, func(t *testing.T) {
			mixed(t, func(r *rig) {
				r.jumpOnce("back", "s")
				w := r.finish(stage("s").Do("ok"), stage("a", "s").Do("ok"), stages[0].Do("work", "back"), stages[1].Do("ok"),
					stage("d", "a", "c").First().Do("ok"))
				r.wantStatus(w, stabilize.Succeeded)
				if n := r.ran("s.ok"); n != 2 {
					t.Errorf("s ran %d times: %s", n, describe(w))
				}
			})
		})
	}
}

// The same while something else goes on.
func TestMixedAJumpThatHoldsWhatAJoinWaitsForBesideAnother(t *testing.T) {
	for name, stages := range map[string][2]*stabilize.StageSpec{
		"mutex":     {stage("b", "s").Mutex("k"), stage("c", "s").Mutex("k")},
		"milestone": {stage("b", "s"), stage("c", "s").Milestone("b", "")},
	} {
		t.Run(name, func(t *testing.T) {
			mixed(t, func(r *rig) {
				r.jumpOnce("back", "s")
				id := r.begin(stage("s").Do("ok"), stage("a", "s").Do("ok"), stages[0].Do("back"), stages[1].Do("ok"),
					stage("d", "a", "c").First().Do("ok"), stage("gate").Do("wait"))
				settle()
				if n := r.ran("s.ok"); n != 2 {
					t.Errorf("s ran %d times while the gate waits", n)
				}
				r.signal(id, "go", "1", engine.ToStage("gate"))
				r.wantStatus(r.end(id), stabilize.Succeeded)
			})
		})
	}
}
