package engine_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// counter registers a task that counts up what it finds in "i".
func (r *rig) counter(name string) {
	r.task(name, func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		i, _ := stabilize.Get[int](x.Context, "i")
		return stabilize.Success().WithOutput("i", i+1), nil
	})
}

func TestLoops(t *testing.T) {
	for _, c := range []struct {
		name string
		loop *stabilize.StageSpec
		runs int
		out  string
		code string
	}{
		{"while never", stage("l").While("false", 0), 0, "", ""},
		{"while the output says so", stage("l").With("i", 0).While("i < 3", 0), 3, "3", ""},
		{"while the index says so", stage("l").While("index < 4", 4), 4, "4", ""},
		{"until at once", stage("l").RepeatUntil("true", 0), 1, "1", ""},
		{"until the output says so", stage("l").RepeatUntil("i >= 3", 0), 3, "3", ""},
		{"limit", stage("l").While("true", 5), 5, "5", stabilize.CodeLoopLimit},
		{"limit of until", stage("l").RepeatUntil("false", 2), 2, "2", stabilize.CodeLoopLimit},
		{"a wrong condition", stage("l").While("1", 0), 0, "", stabilize.CodeExpression},
	} {
		c.loop.Do("count")
		t.Run(c.name, func(t *testing.T) {
			both(t, func(r *rig) {
				r.counter("count")
				w := r.finish(c.loop, stage("after", "l").Do("ok"))
				r.wantRuns("count", c.runs)
				r.wantOutput(w, "l", "i", c.out)
				if c.code != "" {
					r.wantStatus(w, stabilize.Terminal)
					r.wantStageFailure(w, "l", c.code)
					return
				}
				r.wantStatus(w, stabilize.Succeeded)
				r.wantRuns("ok", 1)
			})
		})
	}
}

func TestALoopWithSeveralStagesInside(t *testing.T) {
	both(t, func(r *rig) { // what a stage further down puts out counts
		r.counter("count")
		r.task("echo", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.Success().WithOutputs(stabilize.Values{"at": x.Context["index"]}), nil
		})
		w := r.finish(stage("l").RepeatUntil("i == 3", 0).Body(
			stage("a").Do("echo"), stage("b", "a").Do("count"), stage("c", "a").Do("ok"), stage("d", "b", "c").Do("ok"),
		), stage("after", "l").Do("ok"))
		r.wantStatus(w, stabilize.Succeeded)
		r.wantRuns("echo", 3)
		r.wantRuns("ok", 7)
		r.wantOutput(w, "l", "i", "3")
		r.wantOutput(w, "l", "at", "2")
		for i := range 3 {
			r.wantStage(w, fmt.Sprintf("l[%d]/d", i), stabilize.Succeeded, "")
		}
	})
	both(t, func(r *rig) { // loops in loops
		r.counter("count")
		w := r.finish(stage("l").While("index < 3", 0).Body(
			stage("in").While("index < 2", 0).Body(stage("x").Do("count")),
		))
		r.wantStatus(w, stabilize.Succeeded)
		r.wantRuns("count", 6)
		r.wantOutput(w, "l", "i", "6")
	})
	both(t, func(r *rig) { // a jump inside
		jumps := 0
		r.task("back", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			if jumps++; jumps%2 == 1 {
				return stabilize.JumpTo("a"), nil
			}
			return stabilize.Success(), nil
		})
		w := r.finish(stage("l").While("index < 2", 0).Body(stage("a").Do("ok"), stage("b", "a").Do("back")))
		r.wantStatus(w, stabilize.Succeeded)
		r.wantRuns("ok", 4)
		r.wantRuns("back", 4)
	})
	both(t, func(r *rig) { // a failure inside
		r.counter("count")
		w := r.finish(stage("l").While("true", 0).Body(stage("a").Do("count"), stage("b", "a").Do("fail"), stage("c").Do("ok")), stage("after", "l").Do("ok"))
		r.wantStatus(w, stabilize.Terminal)
		r.wantStageFailure(w, "l", stabilize.CodeTaskFailed)
		r.wantRuns("count", 1)
		r.wantStage(w, "after", stabilize.Skipped, stabilize.ReasonUpstreamHalted)
	})
	both(t, func(r *rig) { // and one that the loop tolerates
		w := r.finish(stage("l").While("true", 0).Do("fail").OnFailure(stabilize.ContinueOnFailure), stage("after", "l").Do("ok"))
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "l", stabilize.FailedContinue, "")
		r.wantRuns("ok", 1)
	})
}

func TestLoopsArePausedCanceledAndRestarted(t *testing.T) {
	begin := func(r *rig) string {
		r.free("free")
		id := r.begin(stage("l").While("index < 3", 0).Body(stage("a").Do("free")), stage("after", "l").Do("ok"))
		settle()
		r.deliver(id, "go", nil)
		return id
	}
	both(t, func(r *rig) {
		id := begin(r)
		r.must(r.Cancel(r.Context(), id, "ann", ""))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Canceled)
		r.wantStage(w, "l[0]", stabilize.Succeeded, "")
		r.wantStage(w, "l[1]/a", stabilize.Canceled, stabilize.ReasonCanceled)
		r.must(r.Restart(r.Context(), id, "l", "ann"))
		settle()
		for range 3 {
			r.deliver(id, "go", nil)
		}
		w, err := r.Wait(r.Context(), id)
		r.must(err)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "l[2]", stabilize.Succeeded, "")
	})
	for _, whole := range []bool{true, false} {
		both(t, func(r *rig) {
			id := begin(r)
			if whole {
				r.must(r.Pause(r.Context(), id, "ann"))
			} else {
				r.must(r.PauseStage(r.Context(), id, "l"))
			}
			r.deliver(id, "go", nil)
			r.pass(time.Minute)
			r.wantRuns("free", 3)
			if whole {
				r.must(r.Engine.Resume(r.Context(), id, "ann"))
			} else {
				r.must(r.ResumeStage(r.Context(), id, "l"))
			}
			settle()
			r.deliver(id, "go", nil)
			r.wantStatus(r.wait(id), stabilize.Succeeded)
			r.wantRuns("free", 6)
		})
	}
}

func TestLoopsSurviveCrashes(t *testing.T) {
	setup := func(r *rig) { r.counter("count") }
	begin := func(r *rig) string {
		return r.begin(stage("l").RepeatUntil("i == 3", 0).Body(stage("a").Do("count"), stage("b", "a").Do("ok")))
	}
	crashes(t, setup, begin, func(r *rig, w *stabilize.Workflow) {
		r.wantStatus(w, stabilize.Succeeded)
		r.wantOutput(w, "l", "i", "3")
		if n := len(w.Stages); n != 10 {
			r.Errorf("there are %d stages", n)
		}
	})
}
