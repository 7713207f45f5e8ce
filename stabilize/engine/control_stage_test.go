package engine_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// blocks registers a task that runs until it is told to stop, and says why.
func (r *rig) blocks() chan error {
	told := make(chan error, 20)
	r.task("block", func(ctx context.Context, _ *stabilize.Execution) (stabilize.Result, error) {
		<-ctx.Done()
		told <- context.Cause(ctx)
		return stabilize.Success().WithOutput("late", true), nil
	})
	return told
}

// A skipped stage goes on as if it had run: begun or not, with all that is in it.
func TestSkip(t *testing.T) {
	both(t, func(r *rig) {
		told := r.blocks()
		r.gates()
		id := r.begin(
			stage("runs").Do("block", "ok"),
			stage("family", "runs").Do("ok").Body(stage("one").Do("gate"), stage("two", "one").Do("ok")),
			stage("later", "family").Do("ok"),
			stage("last", "later").Do("ok"),
		)
		synctest.Wait()
		r.must(r.Engine.Skip(r.Context(), id, "later")) // before its turn
		r.must(r.Engine.Skip(r.Context(), id, "runs"))
		if cause := <-told; !errors.Is(cause, stabilize.ErrCanceled) {
			t.Errorf("the running code was told %v", cause)
		}
		synctest.Wait()
		r.must(r.Engine.Skip(r.Context(), id, "family"))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		for _, ref := range []string{"runs", "family", "family/one", "family/two", "later"} {
			r.wantStage(w, ref, stabilize.Skipped, stabilize.ReasonManualSkip)
			for _, task := range w.StageByRef(ref).Tasks {
				if task.Status != stabilize.Skipped {
					t.Errorf("task %s of %s is %s", task.Name, ref, task.Status)
				}
			}
		}
		r.wantStage(w, "last", stabilize.Succeeded, "")
		r.wantRan(map[string]int{"runs.ok": 0, "family.ok": 0, "family/two.ok": 0, "later.ok": 0, "last.ok": 1})
		if w.StageByRef("runs").Outputs.Has("late") {
			t.Error("what the skipped code answered was applied")
		}
	}, patient())
}

func TestSkipInTheMiddleOfABody(t *testing.T) {
	both(t, func(r *rig) {
		r.gates()
		id := r.begin(stage("family").Do("ok").Body(stage("one").Do("gate"), stage("two", "one").Do("ok")))
		synctest.Wait()
		r.must(r.Engine.Skip(r.Context(), id, "family/one"))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "family", stabilize.Succeeded, "")
		r.wantRan(map[string]int{"family/two.ok": 1, "family.ok": 1})
	}, patient())
}

// Withdraw goes on without the stage, CancelStage and Abort end the workflow.
func TestEndingOneStage(t *testing.T) {
	both(t, func(r *rig) {
		told := r.blocks()
		r.gates()
		net := func() string {
			id := r.begin(stage("r").Do("ok"), stage("a", "r").Do("block"), stage("b", "r").Do("gate"), stage("j", "a", "b").Do("ok"),
				stage("k", "r").OnCancelOf("a").Do("ok"))
			synctest.Wait()
			return id
		}
		id := net()
		r.must(r.Withdraw(r.Context(), id, "a"))
		if cause := <-told; !errors.Is(cause, stabilize.ErrCanceled) {
			t.Errorf("the running code was told %v", cause)
		}
		r.signal(id, "b", "1")
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "a", stabilize.Canceled, stabilize.ReasonWithdrawn)
		r.wantStage(w, "b", stabilize.Succeeded, "")
		r.wantStage(w, "j", stabilize.Skipped, stabilize.ReasonDeadPath)
		r.wantStage(w, "k", stabilize.Succeeded, "")

		id = net()
		r.must(r.CancelStage(r.Context(), id, "a"))
		w = r.wait(id)
		r.wantStatus(w, stabilize.Canceled)
		r.wantStage(w, "a", stabilize.Canceled, stabilize.ReasonStageCanceled)
		r.wantStage(w, "b", stabilize.Canceled, stabilize.ReasonFailed)
		if w.Cancel != nil {
			t.Errorf("nobody canceled the workflow: %+v", w.Cancel)
		}

		id = net()
		r.must(r.Abort(r.Context(), id, "a", "it is on fire"))
		w = r.wait(id)
		r.wantStatus(w, stabilize.Terminal)
		r.wantStage(w, "a", stabilize.Terminal, "")
		r.wantFailure(w.Failure, stabilize.CodeAborted, "a")
		if w.Failure.Message != "it is on fire" {
			t.Errorf("it says %q", w.Failure.Message)
		}

		// Before its turn: the same.
		id = net()
		r.must(r.Withdraw(r.Context(), id, "j"))
		r.signal(id, "b", "1")
		r.must(r.Withdraw(r.Context(), id, "a"))
		w = r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "j", stabilize.Canceled, stabilize.ReasonWithdrawn)
	}, patient())
}

func TestCancelRegion(t *testing.T) {
	both(t, func(r *rig) {
		told := r.blocks()
		r.gates()
		in := func(ref, task string, after ...string) *stabilize.StageSpec {
			return stage(ref, after...).Do(task).InRegion("reg")
		}
		net := func() string {
			return r.begin(stage("r").Do("ok"), in("e1", "gate", "r"), in("e2", "block", "r"), in("e3", "ok", "r"), in("e4", "ok", "e1"),
				stage("u", "r").Do("gate"), stage("v", "u").Do("ok"), stage("k", "r").OnCancelOf("reg").Do("ok"))
		}
		id := net()
		synctest.Wait()
		r.must(r.CancelRegion(r.Context(), id, "reg"))
		if cause := <-told; !errors.Is(cause, stabilize.ErrCanceled) {
			t.Errorf("the running code was told %v", cause)
		}
		synctest.Wait()
		if err := r.CancelRegion(r.Context(), id, "reg"); !errors.Is(err, stabilize.ErrInvalidTransition) {
			t.Errorf("cancelling what has ended: %v", err)
		}
		r.signal(id, "u", "1")
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		for _, ref := range []string{"e1", "e2", "e4"} {
			r.wantStage(w, ref, stabilize.Canceled, stabilize.ReasonWithdrawn)
		}
		for _, ref := range []string{"e3", "u", "v", "k"} {
			r.wantStage(w, ref, stabilize.Succeeded, "")
		}

		// Where nobody cancels it, what waits for that is dead.
		id = net()
		synctest.Wait()
		r.must(r.Engine.Skip(r.Context(), id, "e2"))
		<-told
		r.signal(id, "e1", "1")
		r.signal(id, "u", "1")
		w = r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "k", stabilize.Skipped, stabilize.ReasonDeadPath)
	}, patient())
}

// A stage alone is paused, with what is in it; the others go on.
func TestPauseStage(t *testing.T) {
	both(t, func(r *rig) {
		r.sleeps()
		id := r.begin(
			stage("a").Do("ok").Body(stage("in").Do("sleep", "ok").With("minutes", 10)),
			stage("b").Do("sleep").With("minutes", 20), stage("c", "b").Do("ok"), stage("d", "a", "c").Do("ok"))
		time.Sleep(time.Minute)
		r.must(r.PauseStage(r.Context(), id, "a"))
		if err := r.PauseStage(r.Context(), id, "a"); !errors.Is(err, stabilize.ErrInvalidTransition) {
			t.Errorf("pausing it again: %v", err)
		}
		time.Sleep(time.Hour)
		w, err := r.Get(r.Context(), id)
		r.must(err)
		r.wantStatus(w, stabilize.Running)
		r.wantStage(w, "a", stabilize.Paused, "")
		r.wantStage(w, "a/in", stabilize.Paused, "")
		r.wantRan(map[string]int{"a/in.sleep": 1, "b.sleep": 1, "c.ok": 1, "a/in.ok": 0})
		r.must(r.ResumeStage(r.Context(), id, "a"))
		w = r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		if log := r.logged(); !slices.Equal(log[3:], []string{"a/in.ok", "a.ok", "d.ok"}) {
			t.Errorf("after it was resumed these ran: %v", log[3:])
		}
	}, patient())
}

// A stage resumed while its workflow is paused waits for that.
func TestResumeStageInAPausedWorkflow(t *testing.T) {
	both(t, func(r *rig) {
		polls := 0
		r.task("poll", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			if polls++; polls > 10 {
				return stabilize.Success(), nil
			}
			return stabilize.StillRunning(time.Minute), nil
		})
		id := r.begin(stage("a").Do("poll"), stage("b", "a").Do("ok"))
		time.Sleep(time.Second)
		r.must(r.Pause(r.Context(), id, "u"))
		time.Sleep(time.Hour)
		r.must(r.ResumeStage(r.Context(), id, "a"))
		time.Sleep(time.Hour)
		if polls != 1 {
			t.Errorf("polled %d times", polls)
		}
		r.must(r.Resume(r.Context(), id, "u"))
		r.wantStatus(r.wait(id), stabilize.Succeeded)
	}, patient())
}

// Reschedule runs what waits now, once, and leaves alone what runs.
func TestReschedule(t *testing.T) {
	both(t, func(r *rig) {
		r.sleeps()
		var tries, polls atomic.Int32
		r.task("retry", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			if tries.Add(1) < 3 {
				return stabilize.Result{}, &stabilize.TransientError{Cause: errors.New("busy"), RetryAfter: 10 * time.Hour}
			}
			if x.Attempt != 3 {
				t.Errorf("the third try is told it is attempt %d", x.Attempt)
			}
			return stabilize.Success(), nil
		})
		r.task("poll", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			if polls.Add(1) < 3 {
				return stabilize.StillRunning(20 * time.Hour), nil
			}
			return stabilize.Success(), nil
		})
		id := r.begin(stage("r").Do("retry"), stage("p").Do("poll"), stage("s").Do("sleep").With("minutes", 600))
		began := time.Now()
		for n := int32(1); n <= 2; n++ {
			time.Sleep(time.Minute)
			if tries.Load() != n || polls.Load() != n {
				t.Fatalf("%d tries and %d polls before the %d. request", tries.Load(), polls.Load(), n)
			}
			r.must(r.Reschedule(r.Context(), id))
			synctest.Wait()
			if tries.Load() != n+1 || polls.Load() != n+1 {
				t.Fatalf("%d tries and %d polls after the %d. request", tries.Load(), polls.Load(), n)
			}
		}
		r.must(r.Reschedule(r.Context(), id)) // nothing waits: nothing happens
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.about("the code that ran", time.Since(began), 10*time.Hour)
		if log := r.logged(); len(log) != 7 || !slices.Contains(log, "s.sleep") {
			t.Errorf("ran %v", log)
		}
		id = r.begin(stage("p").Do("sleep").With("minutes", 1))
		synctest.Wait()
		r.must(r.Pause(r.Context(), id, "u"))
		if err := r.Reschedule(r.Context(), id); !errors.Is(err, stabilize.ErrInvalidTransition) {
			t.Errorf("in a paused workflow: %v", err)
		}
		r.must(r.Cancel(r.Context(), id, "", ""))
		r.wait(id)
	}, patient())
}
