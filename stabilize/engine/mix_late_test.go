package engine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// Withdrawn is not failed: a hook that outlasts the stage's time does not make it
// so; seen: TERMINAL with TIMEOUT.
func TestMixedAStageIsWithdrawnBeyondItsTimeout(t *testing.T) {
	mixed(t, func(r *rig) {
		id := r.begin(stage("a").Do("hooked").Timeout(time.Hour), stage("b").Do("ok"))
		settle()
		r.must(r.Withdraw(r.Context(), id, "a"))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "a", stabilize.Canceled, stabilize.ReasonWithdrawn)
	})
}

// An end that is decided stands: the workflow's timeout during the last hooks does
// not change it.
func TestMixedTheTimeoutOfAWorkflowThatIsEnding(t *testing.T) {
	for name, want := range map[string]stabilize.Status{"cancel": stabilize.Canceled, "end": stabilize.Succeeded} {
		t.Run(name, func(t *testing.T) {
			mixed(t, func(r *rig) {
				id, err := r.Start(r.Context(), stabilize.NewWorkflow("app", "wf").Timeout(time.Hour).Add(
					stage("a").Do("hooked"), stage("e").Do("wait").EndsWorkflow()))
				r.must(err)
				settle()
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

// A stage that is skipped with what is in it ends although its workflow is
// canceled before the message reaches what is in it; seen: that is left waiting.
func TestMixedSkipOfAFamilyThenCancel(t *testing.T) {
	for _, opts := range [][]engine.Option{nil, {engine.WithoutCascade()}} {
		onStores(t, func(t *testing.T, d data) {
			r := newRig(t, d, opts...)
			r.more()
			r.start()
			id := r.begin(stage("p").Body(stage("a").Do("wait")), stage("z").Do("wait"))
			settle()
			r.stop()
			r.must(r.Engine.Skip(r.Context(), id, "p"))
			r.must(r.Cancel(r.Context(), id, "me", "no"))
			r.start()
			defer r.close()
			r.wantStatus(r.wait(id), stabilize.Canceled)
		})
	}
}

// What cannot be done any more is refused; seen: nil, and nothing happens.
func TestMixedWhatComesTooLateIsRefused(t *testing.T) {
	for name, ask := range map[string]func(r *rig, id string) error{
		"cancel a stage being skipped": func(r *rig, id string) error {
			r.must(r.Engine.Skip(r.Context(), id, "a"))
			return r.CancelStage(r.Context(), id, "a")
		},
		"abort a stage being skipped": func(r *rig, id string) error {
			r.must(r.Engine.Skip(r.Context(), id, "a"))
			return r.Abort(r.Context(), id, "a", "no")
		},
		"cancel a stage being withdrawn": func(r *rig, id string) error {
			r.must(r.Withdraw(r.Context(), id, "a"))
			return r.CancelStage(r.Context(), id, "a")
		},
		"skip a stage being withdrawn": func(r *rig, id string) error {
			r.must(r.Withdraw(r.Context(), id, "a"))
			return r.Engine.Skip(r.Context(), id, "a")
		},
		"skip in a workflow being canceled": func(r *rig, id string) error {
			r.must(r.Cancel(r.Context(), id, "me", "no"))
			return r.Engine.Skip(r.Context(), id, "z")
		},
		"restart in a workflow that is failing": func(r *rig, id string) error {
			r.must(r.Abort(r.Context(), id, "z", "no"))
			settle()
			return r.Restart(r.Context(), id, "b", "me")
		},
		"restart what failed while the rest ends": func(r *rig, id string) error {
			r.must(r.Abort(r.Context(), id, "z", "no"))
			settle()
			return r.Restart(r.Context(), id, "z", "me")
		},
	} {
		t.Run(name, func(t *testing.T) {
			mixed(t, func(r *rig) {
				id := r.begin(stage("a").Do("hooked"), stage("z").Do("wait"), stage("b").Do("ok"))
				settle()
				if err := ask(r, id); !errors.Is(err, stabilize.ErrInvalidTransition) {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// A message that comes twice changes nothing the second time; seen: one that names
// a task repeated since aborts the stage.
func TestMixedAMessageOfATaskThatWasRepeated(t *testing.T) {
	mixed(t, func(r *rig) {
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
		settle()
		w, err := r.Get(r.Context(), id)
		r.must(err)
		s := w.StageByRef("a")
		r.pass(90 * time.Second) // in the second repeat
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
func TestMixedALateSkipAfterARestart(t *testing.T) {
	for _, opts := range [][]engine.Option{nil, {engine.WithoutCascade()}} {
		onStores(t, func(t *testing.T, d data) {
			r := newRig(t, d, opts...)
			r.more()
			r.start()
			defer r.close()
			id := r.begin(stage("a").Do("wait"), stage("b", "a").Do("ok"))
			settle()
			w, err := r.Get(r.Context(), id)
			r.must(err)
			r.must(r.Store().Push(r.Context(), queue.Outgoing{Message: queue.SkipStage{
				OfStage: queue.ToStage(id, w.StageByRef("b").ID), Reason: stabilize.ReasonDeadPath,
			}}))
			settle()
			_, err = r.Signal(r.Context(), id, "go", nil)
			r.must(err)
			r.wantStage(r.wait(id), "b", stabilize.Succeeded, "")
		})
	}
}

// A signal kept for later is there after a jump, and is not given to what is being
// ended.
func TestMixedASignalDoesNotGoToWhatIsBeingEnded(t *testing.T) {
	for _, opts := range [][]engine.Option{nil, {engine.WithoutCascade()}} {
		onStores(t, func(t *testing.T, d data) {
			r := newRig(t, d, opts...)
			r.more()
			r.start()
			id := r.begin(stage("s").Do("ok"), stage("p", "s").Body(stage("a").Do("wait")), stage("z").Do("wait"))
			settle()
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
