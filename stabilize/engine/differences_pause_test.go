package engine_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// status is what a workflow is now.
func (r *rig) status(id string) stabilize.Status {
	r.Helper()
	synctest.Wait()
	w, err := r.Get(r.Context(), id)
	r.must(err)
	return w.Status
}

// sleeps registers a task that takes as long as its stage's context says, in minutes.
func (r *rig) sleeps() {
	r.task("sleep", func(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		minutes, err := stabilize.Get[int](x.Context, "minutes")
		r.must(err)
		select {
		case <-ctx.Done():
			return stabilize.Result{}, context.Cause(ctx)
		case <-time.After(time.Duration(minutes) * time.Minute):
			return stabilize.Success(), nil
		}
	})
}

// gates registers tasks that wait for a signal: "gate" for one named as its stage
// and "timed" for an hour at most; both log what came.
func (r *rig) gates() {
	r.task("gate", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		if x.Signal == nil {
			return stabilize.Suspend(x.Stage.Ref), nil
		}
		r.logf("%s got %s", x.Stage.Ref, x.Signal.Data)
		return stabilize.Success(), nil
	})
	r.task("timed", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		switch {
		case x.Signal != nil:
			r.logf("%s got %s", x.Stage.Ref, x.Signal.Data)
			return stabilize.Success(), nil
		case x.WaitOver:
			r.logf("%s over", x.Stage.Ref)
			return stabilize.Success(), nil
		}
		return stabilize.SuspendFor(x.Stage.Ref, time.Hour), nil
	})
}

// about fails unless it took as long as wanted, give or take a few seconds.
func (r *rig) about(what string, took, want time.Duration) {
	r.Helper()
	if took < want || took > want+10*time.Second {
		r.Errorf("%s took %s, want %s", what, took, want)
	}
}

func TestDifference09_PausingPauses(t *testing.T) {
	both(t, func(r *rig) {
		r.sleeps()
		polls := 0
		r.task("poll", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			if polls++; polls > 30 {
				return stabilize.Success(), nil
			}
			return stabilize.StillRunning(time.Minute), nil
		})
		tries := 0
		r.task("retry", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			if tries++; tries == 1 {
				return stabilize.Result{}, &stabilize.TransientError{Cause: errors.New("busy"), RetryAfter: 20 * time.Minute}
			}
			return stabilize.Success(), nil
		})
		id := r.begin(stage("a").Do("sleep", "ok").With("minutes", 20), stage("b", "a").Do("ok"), stage("p").Do("poll"), stage("t").Do("retry"))
		time.Sleep(10*time.Minute + 30*time.Second)
		r.must(r.Pause(r.Context(), id, "ann"))
		time.Sleep(time.Hour) // the code that ran ends; nothing else moves
		if s := r.status(id); s != stabilize.Paused || polls != 11 || tries != 1 || slices.Contains(r.logged(), "a.ok") {
			r.Errorf("while it is paused it is %s, polled %d times, tried %d times, ran %v", s, polls, tries, r.logged())
		}
		w, err := r.Get(r.Context(), id)
		r.must(err)
		if a := w.StageByRef("a").Tasks; a[0].Status != stabilize.Succeeded || a[1].Status == stabilize.Succeeded || w.Pause.By != "ann" {
			r.Errorf("the task under way is %s, the next %s, paused by %q", a[0].Status, a[1].Status, w.Pause.By)
		}
		r.must(r.Resume(r.Context(), id, "bob"))
		w = r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		if polls != 31 || tries != 2 || len(r.logged()) != 31+2+3 {
			r.Errorf("polled %d times, tried %d times: %v", polls, tries, r.logged())
		}
		r.about("the pause", w.Pause.Total, time.Hour)
	}, patient())
}

// The time that a workflow or a stage is paused is charged to no timeout: of the
// workflow, of a stage, of a wait.
func TestDifference09_PausedTimeIsNotCharged(t *testing.T) {
	both(t, func(r *rig) {
		r.gates()
		for _, alone := range []bool{false, true} {
			began := time.Now()
			id, err := r.Start(r.Context(), stabilize.NewWorkflow("app", "wf").Timeout(90*time.Minute).Add(
				stage("s").Do("gate").Timeout(30*time.Minute).OnFailure(stabilize.ContinueOnFailure),
				stage("w").Do("timed"), stage("rest").Do("gate")))
			r.must(err)
			time.Sleep(20 * time.Minute)
			pause := func(op func(context.Context, string, string) error, stageOp func(context.Context, string, string) error) {
				if !alone {
					r.must(op(r.Context(), id, "ann"))
					return
				}
				r.must(stageOp(r.Context(), id, "s"))
				r.must(stageOp(r.Context(), id, "w"))
			}
			pause(r.Pause, r.PauseStage)
			time.Sleep(5 * time.Hour)
			if alone {
				// The workflow itself was not paused: its own time is over.
				w := r.wait(id)
				if w.Failure == nil || w.Failure.Code != stabilize.CodeTimeout || time.Since(began) < 5*time.Hour {
					r.Errorf("the workflow is %s: %v", w.Status, w.Failure)
				}
				r.about("the workflow", w.EndedAt.Sub(w.StartedAt), 90*time.Minute)
				continue
			}
			if s := r.status(id); s != stabilize.Paused {
				r.Fatalf("its time was over while it was paused: %s", s)
			}
			pause(r.Resume, r.ResumeStage)
			w := r.wait(id)
			r.wantStatus(w, stabilize.Terminal)
			r.about("the stage", w.StageByRef("s").EndedAt.Sub(began), 5*time.Hour+30*time.Minute)
			r.about("the wait", w.StageByRef("w").EndedAt.Sub(began), 6*time.Hour)
			r.about("the workflow", w.EndedAt.Sub(began), 6*time.Hour+30*time.Minute)
		}
	}, patient())
}

func TestDifference09_AStagePausedAloneIsNotChargedEither(t *testing.T) {
	both(t, func(r *rig) {
		r.gates()
		began := time.Now()
		id := r.begin(stage("s").Do("gate").Timeout(30*time.Minute), stage("w").Do("timed").OnFailure(stabilize.StopBranch))
		time.Sleep(20 * time.Minute)
		r.must(r.PauseStage(r.Context(), id, "s"))
		r.must(r.PauseStage(r.Context(), id, "w"))
		time.Sleep(time.Hour)
		r.must(r.Pause(r.Context(), id, "ann")) // both pauses overlap
		time.Sleep(time.Hour)
		r.must(r.ResumeStage(r.Context(), id, "w"))
		time.Sleep(time.Hour)
		r.must(r.Resume(r.Context(), id, "ann"))
		time.Sleep(time.Hour)
		r.must(r.ResumeStage(r.Context(), id, "s"))
		w := r.wait(id)
		r.about("the wait", w.StageByRef("w").EndedAt.Sub(began), 4*time.Hour)
		r.about("the stage", w.StageByRef("s").EndedAt.Sub(began), 4*time.Hour+30*time.Minute)
		if f := w.StageByRef("s").Failure; f == nil || f.Code != stabilize.CodeTimeout {
			r.Errorf("the stage failed with %v", f)
		}
	}, patient())
}

// The six cases of pausing; in the reference four of them end stuck.
func TestDifference19_PausingIsExact(t *testing.T) {
	both(t, func(r *rig) {
		r.sleeps()
		r.gates()
		refused := func(what string, err, class error) {
			r.Helper()
			if !errors.Is(err, class) {
				r.Errorf("%s: %v, want %v", what, err, class)
			}
		}
		// Before the start is handled: it waits under a limit.
		limited := func() string {
			id, err := r.Start(r.Context(), stabilize.NewWorkflow("app", "wf").LimitConcurrent("cfg", 1).Add(stage("a").Do("sleep").With("minutes", 10)))
			r.must(err)
			return id
		}
		first, second := limited(), limited()
		synctest.Wait()
		r.must(r.Pause(r.Context(), second, "ann"))
		refused("pausing it again", r.Pause(r.Context(), second, "ann"), stabilize.ErrInvalidTransition)
		r.wait(first)
		time.Sleep(time.Hour)
		if s := r.status(second); s != stabilize.Paused || len(r.logged()) != 1 {
			r.Errorf("paused before it began it is %s, and %v ran", s, r.logged())
		}
		r.must(r.Resume(r.Context(), second, "ann"))
		r.wantStatus(r.wait(second), stabilize.Succeeded)

		// Paused and resumed before it begins: as if nothing had been.
		first, second = limited(), limited()
		synctest.Wait()
		r.must(r.Pause(r.Context(), second, "ann"))
		r.must(r.Resume(r.Context(), second, "ann"))
		refused("resuming it again", r.Resume(r.Context(), second, "ann"), stabilize.ErrInvalidTransition)
		r.wait(first)
		r.wantStatus(r.wait(second), stabilize.Succeeded)

		// During the last stage: it ends when it is resumed, not before.
		id := r.begin(stage("a").Do("sleep").With("minutes", 10))
		time.Sleep(time.Minute)
		r.must(r.Pause(r.Context(), id, "ann"))
		time.Sleep(time.Hour)
		if s := r.status(id); s != stabilize.Paused {
			r.Errorf("paused during its last stage it is %s", s)
		}
		r.must(r.Resume(r.Context(), id, "ann"))
		r.wantStatus(r.wait(id), stabilize.Succeeded)

		// Paused again at once, several times.
		id = r.begin(stage("a").Do("sleep", "ok").With("minutes", 10), stage("b", "a").Do("sleep").With("minutes", 10))
		time.Sleep(time.Minute)
		for range 3 {
			r.must(r.Pause(r.Context(), id, "ann"))
			r.must(r.Resume(r.Context(), id, "ann"))
		}
		r.must(r.Pause(r.Context(), id, "ann"))
		refused("pausing what is paused", r.Pause(r.Context(), id, "ann"), stabilize.ErrInvalidTransition)
		time.Sleep(time.Hour)
		r.must(r.Resume(r.Context(), id, "ann"))
		r.must(r.Pause(r.Context(), id, "ann"))
		r.must(r.Resume(r.Context(), id, "ann"))
		refused("resuming what runs", r.Resume(r.Context(), id, "ann"), stabilize.ErrInvalidTransition)
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.about("the pauses", w.Pause.Total, time.Hour)

		// A finished one.
		refused("pausing what has ended", r.Pause(r.Context(), id, "ann"), stabilize.ErrFinished)
		refused("resuming what has ended", r.Resume(r.Context(), id, "ann"), stabilize.ErrFinished)

		// Canceled while it is paused.
		id = r.begin(stage("a").Do("gate"), stage("b", "a").Do("ok"))
		time.Sleep(time.Minute)
		r.must(r.Pause(r.Context(), id, "ann"))
		r.must(r.Cancel(r.Context(), id, "ann", ""))
		r.wantStatus(r.wait(id), stabilize.Canceled)
	}, patient())
}
