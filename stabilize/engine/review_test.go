package engine_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// Cases that combine features. Each begins with what is promised.

// more registers the task types that the tests here share: "wait" for the signal
// "go", "wait1h" for an hour at most, "work" for a minute, "hooked" waits for ever
// and needs two hours to be canceled.
func (r *rig) more() {
	r.Helper()
	suspend := func(d time.Duration) execute {
		return func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			switch {
			case x.Signal != nil || x.WaitOver:
				return stabilize.Success(), nil
			case d > 0:
				return stabilize.SuspendFor("go", d), nil
			}
			return stabilize.Suspend("go"), nil
		}
	}
	r.task("wait", suspend(0))
	r.task("wait1h", suspend(time.Hour))
	r.task("work", func(ctx context.Context, _ *stabilize.Execution) (stabilize.Result, error) {
		select {
		case <-ctx.Done():
			return stabilize.Result{}, ctx.Err()
		case <-time.After(time.Minute):
			return stabilize.Success(), nil
		}
	})
	r.task("hooked", suspend(0), stabilize.OnCancel(func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
		time.Sleep(2 * time.Hour)
		return stabilize.Success(), nil
	}))
	r.task("poll", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		if x.Polls < 2 {
			return stabilize.StillRunning(time.Minute), nil
		}
		return stabilize.Success(), nil
	})
}

// jumpOnce jumps the first time it runs.
func (r *rig) jumpOnce(name, target string) {
	r.Helper()
	jumped := false
	r.task(name, func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if jumped {
			return stabilize.Success(), nil
		}
		jumped = true
		return stabilize.JumpTo(target), nil
	})
}

// end waits for a workflow that may have ended before, and says where it is if
// it does not.
func (r *rig) end(id string) *stabilize.Workflow {
	r.Helper()
	time.Sleep(4 * time.Hour)
	synctest.Wait()
	w, err := r.Get(r.Context(), id)
	r.must(err)
	if !w.Status.IsComplete() {
		r.Fatalf("it never ends: %s", describe(w))
	}
	return w
}

func (r *rig) settle() {
	r.Helper()
	time.Sleep(time.Second)
	synctest.Wait()
}

func (r *rig) runs(what string) int {
	n := 0
	for _, l := range r.logged() {
		if l == what {
			n++
		}
	}
	return n
}

func reviewed(t *testing.T, test func(r *rig), opts ...engine.Option) {
	t.Helper()
	both(t, func(r *rig) { r.more(); test(r) }, opts...)
}

// A wait that is over while the workflow is paused is over when it resumes; seen:
// the message is gone and the task waits for ever.
func TestReview_AWaitThatIsOverDuringAPause(t *testing.T) {
	reviewed(t, func(r *rig) {
		id := r.begin(stage("a").Do("wait1h"))
		r.settle()
		r.must(r.Pause(r.Context(), id, "me"))
		time.Sleep(3 * time.Hour)
		r.must(r.Resume(r.Context(), id, "me"))
		r.wantStatus(r.wait(id), stabilize.Succeeded)
	})
}

// The same of a stage that is paused alone.
func TestReview_AWaitThatIsOverWhileItsStageIsPaused(t *testing.T) {
	reviewed(t, func(r *rig) {
		id := r.begin(stage("a").Do("wait1h"))
		r.settle()
		r.must(r.PauseStage(r.Context(), id, "a"))
		time.Sleep(3 * time.Hour)
		r.must(r.ResumeStage(r.Context(), id, "a"))
		r.wantStatus(r.wait(id), stabilize.Succeeded)
	})
}

// A stage resumed while its workflow is paused goes on with the workflow; seen:
// its parked task never runs again.
func TestReview_AStageResumedInAPausedWorkflow(t *testing.T) {
	reviewed(t, func(r *rig) {
		id := r.begin(stage("a").Do("poll"))
		r.settle()
		r.must(r.PauseStage(r.Context(), id, "a"))
		time.Sleep(3 * time.Minute) // the poll is parked
		r.must(r.Pause(r.Context(), id, "me"))
		r.must(r.ResumeStage(r.Context(), id, "a"))
		r.settle()
		r.must(r.Resume(r.Context(), id, "me"))
		r.wantStatus(r.wait(id), stabilize.Succeeded)
	})
}

// The time a stage was paused is charged neither if its own pause began within
// that of the workflow nor credited twice if the pauses overlap the other way.
func TestReview_PausesOfStageAndWorkflowOverlap(t *testing.T) {
	reviewed(t, func(r *rig) {
		id := r.begin(stage("a").Do("wait").Timeout(time.Hour).SucceedOnTimeout())
		r.settle()
		r.must(r.Pause(r.Context(), id, "me"))
		time.Sleep(2 * time.Hour)
		r.must(r.PauseStage(r.Context(), id, "a"))
		time.Sleep(time.Hour)
		r.must(r.Resume(r.Context(), id, "me"))
		time.Sleep(time.Hour)
		r.must(r.ResumeStage(r.Context(), id, "a"))
		w := r.wait(id)
		if ran := w.StageByRef("a").EndedAt.Sub(w.StartedAt); ran < 5*time.Hour-time.Minute || ran > 5*time.Hour+time.Minute {
			t.Errorf("of 4 h paused and 1 h allowed it had %s", ran)
		}
	})
	reviewed(t, func(r *rig) {
		id := r.begin(stage("a").Do("wait").Timeout(time.Hour).SucceedOnTimeout())
		r.settle()
		r.must(r.PauseStage(r.Context(), id, "a"))
		time.Sleep(time.Hour)
		r.must(r.Pause(r.Context(), id, "me"))
		time.Sleep(2 * time.Hour)
		r.must(r.ResumeStage(r.Context(), id, "a"))
		time.Sleep(time.Hour)
		r.must(r.Resume(r.Context(), id, "me"))
		w := r.wait(id)
		if ran := w.StageByRef("a").EndedAt.Sub(w.StartedAt); ran < 5*time.Hour-time.Minute || ran > 5*time.Hour+time.Minute {
			t.Errorf("of 4 h paused and 1 h allowed it had %s", ran)
		}
	})
}

// A workflow that timed out can be retried; seen: the new run is charged with the
// time since the first start and times out at once.
func TestReview_RetryAfterATimeout(t *testing.T) {
	reviewed(t, func(r *rig) {
		id, err := r.Start(r.Context(), stabilize.NewWorkflow("app", "wf").Timeout(time.Hour).Add(stage("a").Do("wait")))
		r.must(err)
		r.wantStatus(r.wait(id), stabilize.Terminal)
		time.Sleep(time.Hour)
		r.must(r.Retry(r.Context(), id, "me"))
		r.settle()
		_, err = r.Signal(r.Context(), id, "go", nil)
		r.must(err)
		r.wantStatus(r.end(id), stabilize.Succeeded)
	})
}

// A workflow canceled while paused runs when it is retried; seen: it is paused
// from the start.
func TestReview_RetryAfterACancelDuringAPause(t *testing.T) {
	reviewed(t, func(r *rig) {
		id := r.begin(stage("a").Do("wait"), stage("b", "a").Do("ok"))
		r.settle()
		r.must(r.Pause(r.Context(), id, "me"))
		r.must(r.Cancel(r.Context(), id, "me", "no"))
		r.wantStatus(r.wait(id), stabilize.Canceled)
		r.must(r.Retry(r.Context(), id, "me"))
		r.settle()
		_, err := r.Signal(r.Context(), id, "go", nil)
		r.must(err)
		r.wantStatus(r.end(id), stabilize.Succeeded)
	})
}

// What is asked of a stage of a buffered workflow holds when it starts; seen: the
// workflow starts nothing and is RUNNING for ever.
func TestReview_RequestsToABufferedWorkflow(t *testing.T) {
	for name, c := range map[string]struct {
		ask  func(r *rig, id string) error
		want stabilize.Status
	}{
		"skip":     {func(r *rig, id string) error { return r.Skip(r.Context(), id, "a") }, stabilize.Succeeded},
		"withdraw": {func(r *rig, id string) error { return r.Withdraw(r.Context(), id, "a") }, stabilize.Succeeded},
		"abort":    {func(r *rig, id string) error { return r.Abort(r.Context(), id, "a", "no") }, stabilize.Terminal},
		"cancel":   {func(r *rig, id string) error { return r.CancelStage(r.Context(), id, "a") }, stabilize.Canceled},
		"region":   {func(r *rig, id string) error { return r.CancelRegion(r.Context(), id, "r") }, stabilize.Succeeded},
	} {
		t.Run(name, func(t *testing.T) {
			reviewed(t, func(r *rig) {
				limited := func(stages ...*stabilize.StageSpec) string {
					id, err := r.Start(r.Context(), stabilize.NewWorkflow("app", "wf").LimitConcurrent("cfg", 1).Add(stages...))
					r.must(err)
					return id
				}
				first := limited(stage("a").Do("work"))
				second := limited(stage("a").Do("ok").InRegion("r"), stage("b", "a").Do("ok"))
				third := limited(stage("a").Do("ok"))
				r.settle()
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

// A jump waits for joins to reset, but not for the stage that jumps; seen: each
// waits for the other.
func TestReview_AJumpOutOfTheBranchThatAJoinWaitsFor(t *testing.T) {
	reviewed(t, func(r *rig) {
		r.jumpOnce("back", "s")
		w := r.finish(stage("s").Do("ok"), stage("a", "s").Do("ok"), stage("b", "s").Do("work", "back"), stage("d", "a", "b").First().Do("ok"))
		r.wantStatus(w, stabilize.Succeeded)
		if n := r.runs("s.ok"); n != 2 {
			t.Errorf("s ran %d times", n)
		}
	})
}

// The same where a stage below the one that jumps stands before the join.
func TestReview_AJumpAboveTheBranchThatAJoinWaitsFor(t *testing.T) {
	reviewed(t, func(r *rig) {
		r.jumpOnce("back", "s")
		w := r.finish(stage("s").Do("ok"), stage("a", "s").Do("ok"), stage("b", "s").Do("work", "back"), stage("c", "b").Do("ok"),
			stage("d", "a", "c").First().Do("ok"))
		r.wantStatus(w, stabilize.Succeeded)
	})
}

// Two that jump do not wait for each other.
func TestReview_TwoJumpsBeforeOneJoin(t *testing.T) {
	reviewed(t, func(r *rig) {
		r.jumpOnce("back1", "s")
		r.jumpOnce("back2", "s")
		w := r.finish(stage("s").Do("ok"), stage("a", "s").Do("ok"), stage("b", "s").Do("work", "back1"), stage("c", "s").Do("work", "back2"),
			stage("d", "a", "b", "c").First().Do("ok"))
		r.wantStatus(w, stabilize.Succeeded)
	})
}

// A jump to a stage that does not exist is refused, and the workflow goes on; seen:
// no error, and the stage is TERMINAL.
func TestReview_ARequestedJumpToNowhereIsRefused(t *testing.T) {
	reviewed(t, func(r *rig) {
		id := r.begin(stage("a").Do("wait"))
		r.settle()
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

// An instance that is withdrawn before its turn is not waited for; seen: the stage
// never ends.
func TestReview_AnInstanceWithdrawnBeforeItsTurn(t *testing.T) {
	for _, ask := range []string{"withdraw", "skip"} {
		reviewed(t, func(r *rig) {
			id := r.begin(stage("m").Do("work").Instances(stabilize.Multi{Count: 3, Limit: 1}))
			r.settle()
			if ask == "skip" {
				r.must(r.Skip(r.Context(), id, "m[2]"))
			} else {
				r.must(r.Withdraw(r.Context(), id, "m[2]"))
			}
			r.wantStatus(r.wait(id), stabilize.Succeeded)
		})
	}
}

// Instances that a stage did not wait for all run; seen: those whose turn comes
// during a pause are lost.
func TestReview_DetachedInstancesOfAPausedWorkflow(t *testing.T) {
	reviewed(t, func(r *rig) {
		id := r.begin(stage("m").Do("work").Instances(stabilize.Multi{Count: 3, Limit: 1, Detached: true}))
		r.settle()
		r.must(r.Pause(r.Context(), id, "me"))
		time.Sleep(time.Hour)
		r.must(r.Resume(r.Context(), id, "me"))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		if n := r.runs("m[0].work") + r.runs("m[1].work") + r.runs("m[2].work"); n != 3 {
			t.Errorf("%d of 3 instances ran: %s", n, describe(w))
		}
	})
}

// In a body the loser of a choice is withdrawn and the winner goes on; seen: the
// winner is withdrawn too.
func TestReview_AChoiceInsideABody(t *testing.T) {
	reviewed(t, func(r *rig) {
		id := r.begin(stage("p").Do("ok").Body(stage("a").Do("wait", "work").Choice("c"), stage("b").Do("wait1h").Choice("c")))
		r.settle()
		_, err := r.Signal(r.Context(), id, "go", nil, engine.ToStage("p/a"))
		r.must(err)
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "p/a", stabilize.Succeeded, "")
		r.wantStage(w, "p/b", stabilize.Canceled, stabilize.ReasonWithdrawn)
		if r.runs("p.ok") != 1 {
			t.Errorf("the task of p did not run: %v", r.logged())
		}
	})
}

// In a body a cancelling discriminator withdraws the rest and goes on.
func TestReview_ACancellingDiscriminatorInsideABody(t *testing.T) {
	reviewed(t, func(r *rig) {
		w := r.finish(stage("p").Do("ok").Body(stage("a").Do("ok"), stage("b").Do("wait"), stage("d", "a", "b").First().CancelRest().Do("work")))
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "p/d", stabilize.Succeeded, "")
		if r.runs("p.ok") != 1 {
			t.Errorf("the task of p did not run: %v", r.logged())
		}
	})
}

// In a body a join that can do without a failed branch does.
func TestReview_AToleratedFailureInsideABody(t *testing.T) {
	reviewed(t, func(r *rig) {
		w := r.finish(stage("p").Do("ok").Body(stage("a").Do("fail").OnFailure(stabilize.TolerateFailure), stage("b").Do("work"),
			stage("c").Do("work"), stage("d", "a", "b", "c").AnyOf(2).Do("ok")))
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "p/d", stabilize.Succeeded, "")
	})
}

// A stage inside another that is withdrawn ends alone, and what follows its
// cancelling starts.
func TestReview_WithdrawInsideABody(t *testing.T) {
	reviewed(t, func(r *rig) {
		id := r.begin(stage("p").Do("ok").Body(stage("a").Do("wait"), stage("b").Do("work"), stage("h").OnCancelOf("a").Do("ok")))
		r.settle()
		r.must(r.Withdraw(r.Context(), id, "p/a"))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "p/b", stabilize.Succeeded, "")
		r.wantStage(w, "p/h", stabilize.Succeeded, "")
		if r.runs("p.ok") != 1 {
			t.Errorf("the task of p did not run: %v", r.logged())
		}
	})
}

// The same of a region inside a body.
func TestReview_CancelRegionInsideABody(t *testing.T) {
	reviewed(t, func(r *rig) {
		id := r.begin(stage("p").Do("ok").Body(stage("a").Do("wait").InRegion("r"), stage("a2", "a").Do("ok").InRegion("r"),
			stage("b").Do("work"), stage("h").OnCancelOf("r").Do("ok")))
		r.settle()
		r.must(r.CancelRegion(r.Context(), id, "r"))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "p/b", stabilize.Succeeded, "")
		r.wantStage(w, "p/h", stabilize.Succeeded, "")
	})
}

// A jump inside a body supersedes what is below its target there, and the new
// rounds run; seen: what is superseded ends the family.
func TestReview_AJumpInsideABodyBesideAnotherBranch(t *testing.T) {
	reviewed(t, func(r *rig) {
		r.jumpOnce("back", "p/a")
		w := r.finish(stage("p").Do("ok").Body(stage("a").Do("ok"), stage("b", "a").Do("work", "back"), stage("c", "a").Do("poll")))
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "p/c", stabilize.Succeeded, "")
		if r.runs("p/a.ok") != 2 || r.runs("p.ok") != 1 {
			t.Errorf("ran %v", r.logged())
		}
	})
}

// An instance that begins again is waited for; seen: its stage completes without.
func TestReview_AnInstanceThatJumpsToItself(t *testing.T) {
	reviewed(t, func(r *rig) {
		r.jumpOnce("back", "m[0]")
		w := r.finish(stage("m").Do("back", "work").Instances(stabilize.Multi{Count: 1}), stage("z", "m").Do("ok"))
		r.wantStatus(w, stabilize.Succeeded)
		if log := r.logged(); log[len(log)-1] != "z.ok" {
			t.Errorf("ran %v", log)
		}
	})
}

// Withdrawn is not failed: a hook that outlasts the stage's time does not make it
// so; seen: TERMINAL with TIMEOUT.
func TestReview_AStageIsWithdrawnBeyondItsTimeout(t *testing.T) {
	reviewed(t, func(r *rig) {
		id := r.begin(stage("a").Do("hooked").Timeout(time.Hour), stage("b").Do("ok"))
		r.settle()
		r.must(r.Withdraw(r.Context(), id, "a"))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "a", stabilize.Canceled, stabilize.ReasonWithdrawn)
	})
}

// An end that is decided stands: the workflow's timeout during the last hooks does
// not change it.
func TestReview_TheTimeoutOfAWorkflowThatIsEnding(t *testing.T) {
	for name, want := range map[string]stabilize.Status{"cancel": stabilize.Canceled, "end": stabilize.Succeeded} {
		t.Run(name, func(t *testing.T) {
			reviewed(t, func(r *rig) {
				id, err := r.Start(r.Context(), stabilize.NewWorkflow("app", "wf").Timeout(time.Hour).Add(
					stage("a").Do("hooked"), stage("e").Do("wait").EndsWorkflow()))
				r.must(err)
				r.settle()
				if name == "cancel" {
					r.must(r.Cancel(r.Context(), id, "me", "no"))
				} else {
					_, err = r.Signal(r.Context(), id, "go", nil, engine.ToStage("e"))
					r.must(err)
				}
				r.wantStatus(r.wait(id), want)
			})
		})
	}
}

// A workflow whose stages wait for each other ends with DEADLOCK; seen: a stage
// that waits for a section that never ends is offered, and nothing more happens.
func TestReview_ADeadlockOverASection(t *testing.T) {
	reviewed(t, func(r *rig) {
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
func TestReview_RestartInASection(t *testing.T) {
	reviewed(t, func(r *rig) {
		id := r.begin(stage("a").Do("ok").Section("k"), stage("b", "a").Do("ok").Section("k"),
			stage("c", "b2").Do("work").Section("k"), stage("d", "c").Do("ok").Section("k"), stage("b2", "y").Do("ok"), stage("y").Do("work"))
		time.Sleep(90 * time.Second) // c is under way
		synctest.Wait()
		r.must(r.Restart(r.Context(), id, "b", "me"))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		if r.runs("b.ok") != 2 || r.runs("d.ok") != 1 {
			t.Errorf("ran %v", r.logged())
		}
	})
}

// A stage that is skipped with what is in it ends although its workflow is
// canceled before the message reaches what is in it; seen: that is left waiting.
func TestReview_SkipOfAFamilyThenCancel(t *testing.T) {
	for _, opts := range [][]engine.Option{nil, {engine.WithoutCascade()}} {
		stores(t, func(t *testing.T, d data) {
			r := newRig(t, d, opts...)
			r.more()
			r.start()
			id := r.begin(stage("p").Body(stage("a").Do("wait")), stage("z").Do("wait"))
			r.settle()
			r.stop()
			r.must(r.Skip(r.Context(), id, "p"))
			r.must(r.Cancel(r.Context(), id, "me", "no"))
			r.start()
			defer r.close()
			r.wantStatus(r.wait(id), stabilize.Canceled)
		})
	}
}

// What cannot be done any more is refused; seen: nil, and nothing happens.
func TestReview_WhatComesTooLateIsRefused(t *testing.T) {
	for name, ask := range map[string]func(r *rig, id string) error{
		"cancel a stage being skipped": func(r *rig, id string) error {
			r.must(r.Skip(r.Context(), id, "a"))
			return r.CancelStage(r.Context(), id, "a")
		},
		"abort a stage being skipped": func(r *rig, id string) error {
			r.must(r.Skip(r.Context(), id, "a"))
			return r.Abort(r.Context(), id, "a", "no")
		},
		"cancel a stage being withdrawn": func(r *rig, id string) error {
			r.must(r.Withdraw(r.Context(), id, "a"))
			return r.CancelStage(r.Context(), id, "a")
		},
		"skip a stage being withdrawn": func(r *rig, id string) error {
			r.must(r.Withdraw(r.Context(), id, "a"))
			return r.Skip(r.Context(), id, "a")
		},
		"skip in a workflow being canceled": func(r *rig, id string) error {
			r.must(r.Cancel(r.Context(), id, "me", "no"))
			return r.Skip(r.Context(), id, "z")
		},
		"restart in a workflow that is failing": func(r *rig, id string) error {
			r.must(r.Abort(r.Context(), id, "z", "no"))
			r.settle()
			return r.Restart(r.Context(), id, "b", "me")
		},
		"restart what failed while the rest ends": func(r *rig, id string) error {
			r.must(r.Abort(r.Context(), id, "z", "no"))
			r.settle()
			return r.Restart(r.Context(), id, "z", "me")
		},
	} {
		t.Run(name, func(t *testing.T) {
			reviewed(t, func(r *rig) {
				id := r.begin(stage("a").Do("hooked"), stage("z").Do("wait"), stage("b").Do("ok"))
				r.settle()
				if err := ask(r, id); !errors.Is(err, stabilize.ErrInvalidTransition) {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// A message that comes twice changes nothing the second time; seen: one that names
// a task repeated since aborts the stage.
func TestReview_AMessageOfATaskThatWasRepeated(t *testing.T) {
	reviewed(t, func(r *rig) {
		n := 0
		r.task("twice", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if n++; n < 3 {
				return stabilize.RedirectTask(), nil
			}
			return stabilize.Success(), nil
		})
		id := r.begin(stage("a").Do("work", "twice"))
		r.settle()
		w, err := r.Get(r.Context(), id)
		r.must(err)
		s := w.StageByRef("a")
		time.Sleep(90 * time.Second) // in the second repeat
		for _, m := range []queue.Message{
			queue.StartTask{OfTask: queue.ToTask(id, s.ID, s.Tasks[1].ID)},
			queue.CompleteTask{OfTask: queue.ToTask(id, s.ID, s.Tasks[1].ID), Status: stabilize.Redirect},
		} {
			r.must(r.Store().Push(r.Context(), queue.Outgoing{Message: m}))
		}
		r.wantStatus(r.wait(id), stabilize.Succeeded)
	})
}

// A skip of a dead path that comes after a restart revived the path does nothing.
func TestReview_ALateSkipAfterARestart(t *testing.T) {
	for _, opts := range [][]engine.Option{nil, {engine.WithoutCascade()}} {
		stores(t, func(t *testing.T, d data) {
			r := newRig(t, d, opts...)
			r.more()
			r.start()
			defer r.close()
			id := r.begin(stage("a").Do("wait"), stage("b", "a").Do("ok"))
			r.settle()
			w, err := r.Get(r.Context(), id)
			r.must(err)
			r.must(r.Store().Push(r.Context(), queue.Outgoing{Message: queue.SkipStage{
				OfStage: queue.ToStage(id, w.StageByRef("b").ID), Reason: stabilize.ReasonDeadPath,
			}}))
			r.settle()
			_, err = r.Signal(r.Context(), id, "go", nil)
			r.must(err)
			r.wantStage(r.wait(id), "b", stabilize.Succeeded, "")
		})
	}
}

// A mutex is held while its stage is under way, also by a round that was
// superseded and has not ended; seen: the next round starts beside it.
func TestReview_AMutexAndASupersededRound(t *testing.T) {
	reviewed(t, func(r *rig) {
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
func TestReview_ASupersededStageThatEndsTheWorkflow(t *testing.T) {
	reviewed(t, func(r *rig) {
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

// Withdrawing an iteration does not fail the workflow.
func TestReview_WithdrawAnIteration(t *testing.T) {
	reviewed(t, func(r *rig) {
		id := r.begin(stage("l").Do("work").While("index < 3", 10), stage("z", "l").Do("ok"))
		r.settle()
		r.must(r.Withdraw(r.Context(), id, "l[0]"))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
	})
}

// A round sees fresh outputs, also inside a body; seen: those of a superseded
// round are still there.
func TestReview_OutputsOfASupersededRoundInsideABody(t *testing.T) {
	reviewed(t, func(r *rig) {
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

// A signal kept for later is there after a jump, and is not given to what is being
// ended.
func TestReview_ASignalDoesNotGoToWhatIsBeingEnded(t *testing.T) {
	for _, opts := range [][]engine.Option{nil, {engine.WithoutCascade()}} {
		stores(t, func(t *testing.T, d data) {
			r := newRig(t, d, opts...)
			r.more()
			r.start()
			id := r.begin(stage("s").Do("ok"), stage("p", "s").Body(stage("a").Do("wait")), stage("z").Do("wait"))
			r.settle()
			r.stop()
			r.must(r.Jump(r.Context(), id, "z", "s", nil))
			delivered, err := r.Signal(r.Context(), id, "go", nil)
			r.must(err)
			if delivered {
				t.Error("it was given to a round that is history")
			}
			r.start()
			defer r.close()
			r.wantStatus(r.wait(id), stabilize.Succeeded)
		})
	}
}

// Skipping a suspended stage with what is in it, pausing it before.
func TestReview_SkipOfAPausedFamily(t *testing.T) {
	reviewed(t, func(r *rig) {
		id := r.begin(stage("p").Do("ok").Body(stage("a").Do("hooked"), stage("b", "a").Do("ok")), stage("z", "p").Do("ok"))
		r.settle()
		r.must(r.PauseStage(r.Context(), id, "p"))
		r.must(r.Pause(r.Context(), id, "me"))
		r.must(r.Skip(r.Context(), id, "p"))
		time.Sleep(3 * time.Hour)
		r.must(r.Resume(r.Context(), id, "me"))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "p", stabilize.Skipped, stabilize.ReasonManualSkip)
		r.wantStage(w, "z", stabilize.Succeeded, "")
	})
}

// Explicit termination inside a body, an instance, a loop.
func TestReview_TheEndOfTheWorkflowInsideAnother(t *testing.T) {
	reviewed(t, func(r *rig) {
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

// A pause while a jump waits for a join to reset.
func TestReview_APauseWhileAJumpWaits(t *testing.T) {
	reviewed(t, func(r *rig) {
		r.jumpOnce("back", "s")
		id := r.begin(stage("s").Do("ok"), stage("a", "s").Do("ok"), stage("b", "s").Do("work", "work"), stage("d", "a", "b").First().Do("back"))
		r.settle()
		r.must(r.Pause(r.Context(), id, "me"))
		time.Sleep(time.Hour)
		r.must(r.Resume(r.Context(), id, "me"))
		r.settle()
		r.must(r.PauseStage(r.Context(), id, "d"))
		time.Sleep(time.Hour)
		if err := r.ResumeStage(r.Context(), id, "d"); err != nil {
			t.Logf("resuming d: %v", err)
		}
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		if r.runs("s.ok") != 2 {
			t.Errorf("ran %v", slices.Compact(r.logged()))
		}
	})
}
