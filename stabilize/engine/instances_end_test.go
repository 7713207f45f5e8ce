package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func TestPartialJoinsOfInstances(t *testing.T) {
	both(t, func(r *rig) { // the rest runs on
		r.free("free")
		id := r.begin(many("w", stabilize.Multi{Count: 5, Need: 3}).Do("free"), stage("j", "w").Do("ok"))
		settle()
		for i := range 3 {
			r.deliver(id, "go", values("v", i))
		}
		w := r.get(id)
		r.wantStage(w, "j", stabilize.Succeeded, "")
		r.wantStage(w, "w", stabilize.Succeeded, "")
		r.wantOutput(w, "w", "results", `[{"v":0},{"v":1},{"v":2}]`)
		r.wantStatus(w, stabilize.Running)
		r.deliver(id, "go", nil)
		r.deliver(id, "go", nil)
		w = r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantOutput(w, "w", "results", `[{"v":0},{"v":1},{"v":2}]`)
	})
	both(t, func(r *rig) { // it runs on under a limit too
		r.echo()
		w := r.finish(many("w", stabilize.Multi{Count: 9, Need: 3, Limit: 2}).Do("echo"), stage("j", "w").Do("ok"))
		r.wantStatus(w, stabilize.Succeeded)
		r.wantRuns("echo", 9)
	})
	both(t, func(r *rig) { // the rest is withdrawn
		r.free("free")
		id := r.begin(many("w", stabilize.Multi{Count: 5, Need: 3, Withdraw: true, Limit: 4}).Do("free"), stage("j", "w").Do("ok"))
		settle()
		for range 3 {
			r.deliver(id, "go", nil)
		}
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		for i, want := range []stabilize.Status{stabilize.Succeeded, stabilize.Succeeded, stabilize.Succeeded, stabilize.Canceled, stabilize.Canceled} {
			if s := w.StageByRef(fmt.Sprintf("w[%d]", i)); s.Status != want || want == stabilize.Canceled && s.Reason != stabilize.ReasonWithdrawn {
				r.Errorf("instance %d is %s (%s)", i, s.Status, s.Reason)
			}
		}
	})
	both(t, func(r *rig) { // too many failed
		r.free("free")
		id := r.begin(many("w", stabilize.Multi{Count: 5, Need: 4}).Do("free"), stage("j", "w").Do("ok"))
		settle()
		r.deliver(id, "go", values("fail", true))
		r.wantStage(r.get(id), "w", stabilize.Running, "")
		r.deliver(id, "go", values("fail", true))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Terminal)
		r.wantStageFailure(w, "w", stabilize.CodeUnreachable)
		r.wantStage(w, "w[4]", stabilize.Canceled, "")
	})
}

func TestInstancesUntilACondition(t *testing.T) {
	const enough = "sum(map(results, .score)) >= 10"
	both(t, func(r *rig) {
		r.free("free")
		id := r.begin(many("w", stabilize.Multi{Count: 2, Open: true, Until: enough}).Do("free"), stage("j", "w").Do("ok"))
		settle()
		r.deliver(id, "go", values("score", 4))
		r.deliver(id, "go", values("score", 3))
		r.must(r.AddInstance(r.Context(), id, "w", "", nil))
		settle()
		r.wantRuns("ok", 0)
		r.deliver(id, "go", values("score", 5))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantOutput(w, "w", "results", `[{"score":4},{"score":3},{"score":5}]`)
	})
	for _, unmet := range []bool{false, true} {
		both(t, func(r *rig) {
			r.set("set", map[string]any{"score": 1})
			w := r.finish(many("w", stabilize.Multi{Count: 3, Until: enough, Unmet: unmet}).Do("set"), stage("j", "w").Do("ok"))
			if unmet {
				r.wantStatus(w, stabilize.Succeeded)
				return
			}
			r.wantStatus(w, stabilize.Terminal)
			r.wantStageFailure(w, "w", stabilize.CodeConditionUnmet)
		})
	}
	both(t, func(r *rig) { // none ended well
		w := r.finish(many("w", stabilize.Multi{Count: 2, Until: enough}).Do("fail"))
		r.wantStatus(w, stabilize.Terminal)
		r.wantStageFailure(w, "w", stabilize.CodeConditionUnmet)
	})
	both(t, func(r *rig) { // an error in the condition
		r.set("set", map[string]any{"score": "many"})
		w := r.finish(many("w", stabilize.Multi{Count: 2, Until: enough}).Do("set"))
		r.wantStatus(w, stabilize.Terminal)
		r.wantStageFailure(w, "w", stabilize.CodeExpression)
	})
}

func TestDetachedInstances(t *testing.T) {
	both(t, func(r *rig) {
		r.free("free")
		id := r.begin(many("w", stabilize.Multi{Count: 3, Detached: true}).Do("free"), stage("n", "w").Do("ok"))
		settle()
		w := r.get(id)
		r.wantStage(w, "n", stabilize.Succeeded, "")
		r.wantStatus(w, stabilize.Running)
		for range 3 {
			r.deliver(id, "go", nil)
		}
		r.wantStatus(r.wait(id), stabilize.Succeeded)
	})
	both(t, func(r *rig) { // under a limit all run
		r.echo()
		w := r.finish(many("w", stabilize.Multi{Count: 7, Detached: true, Limit: 2}).Do("echo"))
		r.wantStatus(w, stabilize.Succeeded)
		r.wantRuns("echo", 7)
	})
	both(t, func(r *rig) { // one that fails fails the workflow
		r.free("free")
		id := r.begin(many("w", stabilize.Multi{Count: 3, Detached: true}).Do("free"), stage("n", "w").Do("ok"))
		settle()
		r.deliver(id, "go", values("fail", true))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Terminal)
		r.wantStage(w, "w[2]", stabilize.Canceled, stabilize.ReasonFailed)
	})
}

func TestAnInstanceThatFails(t *testing.T) {
	both(t, func(r *rig) {
		r.free("free")
		id := r.begin(many("w", stabilize.Multi{Count: 4, Limit: 3}).Do("free"), stage("j", "w").Do("ok"))
		settle()
		r.deliver(id, "go", nil)
		r.deliver(id, "go", values("fail", true))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Terminal)
		r.wantStageFailure(w, "w", stabilize.CodeTaskFailed)
		r.wantStage(w, "w[0]", stabilize.Succeeded, "")
		r.wantStage(w, "w[1]", stabilize.Terminal, "")
		r.wantStage(w, "w[2]", stabilize.Canceled, "")
		r.wantStage(w, "w[3]", stabilize.Canceled, "")
		if w.Failure == nil || !strings.Contains(w.Failure.Message, "told to") {
			r.Errorf("the failure is %v", w.Failure)
		}
	})
	both(t, func(r *rig) {
		r.free("free")
		id := r.begin(many("w", stabilize.Multi{Count: 3}).Do("free").AllowSiblings(), stage("j", "w").Do("ok"))
		settle()
		r.deliver(id, "go", values("v", 0))
		r.deliver(id, "go", values("fail", true))
		r.deliver(id, "go", values("v", 2))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "w", stabilize.FailedContinue, "")
		r.wantOutput(w, "w", "results", `[{"v":0},{"v":2}]`)
		r.wantStage(w, "j", stabilize.Succeeded, "")
	})
}

func TestInstancesAreEndedFromOutside(t *testing.T) {
	begin := func(r *rig) string {
		r.free("free")
		id := r.begin(
			many("w", stabilize.Multi{Count: 5, Limit: 4, Open: true}).Do("free"), stage("j", "w").Do("ok"),
			stage("k").Do("ok").OnCancelOf("w"),
		)
		settle()
		r.deliver(id, "go", nil)
		r.deliver(id, "go", nil)
		return id
	}
	ends := func(r *rig, w *stabilize.Workflow, reason string) {
		for i := range 5 {
			want, why := stabilize.Succeeded, ""
			if i > 1 {
				want, why = stabilize.Canceled, reason
			}
			r.wantStage(w, fmt.Sprintf("w[%d]", i), want, why)
		}
	}
	both(t, func(r *rig) {
		id := begin(r)
		r.must(r.Withdraw(r.Context(), id, "w"))
		if err := r.AddInstance(r.Context(), id, "w", "", nil); err == nil {
			r.Error("an instance was added to what was withdrawn")
		}
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		ends(r, w, stabilize.ReasonWithdrawn)
		r.wantStage(w, "j", stabilize.Skipped, stabilize.ReasonDeadPath)
		r.wantStage(w, "k", stabilize.Succeeded, "")
	})
	both(t, func(r *rig) {
		id := begin(r)
		r.must(r.CompleteInstances(r.Context(), id, "w"))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		ends(r, w, stabilize.ReasonWithdrawn)
		r.wantStage(w, "j", stabilize.Succeeded, "")
		r.wantOutput(w, "w", "results", `[{},{}]`)
		r.wantStage(w, "k", stabilize.Skipped, stabilize.ReasonDeadPath)
	})
	both(t, func(r *rig) {
		id := begin(r)
		r.must(r.Cancel(r.Context(), id, "ann", ""))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Canceled)
		ends(r, w, stabilize.ReasonCanceled)
	})
	both(t, func(r *rig) {
		id := begin(r)
		r.must(r.Engine.Skip(r.Context(), id, "w"))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "w", stabilize.Skipped, stabilize.ReasonManualSkip)
		r.wantStage(w, "j", stabilize.Succeeded, "")
	})
	both(t, func(r *rig) { // one instance is withdrawn: the others go on
		id := begin(r)
		r.must(r.CloseInstances(r.Context(), id, "w"))
		r.must(r.Withdraw(r.Context(), id, "w[3]"))
		settle()
		r.deliver(id, "go", nil)
		r.deliver(id, "go", nil)
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantOutput(w, "w", "results", `[{},{},{},{}]`)
	})
}

func TestInstancesOfPausedAndRestartedStages(t *testing.T) {
	for _, whole := range []bool{true, false} {
		both(t, func(r *rig) {
			r.free("free")
			id := r.begin(many("w", stabilize.Multi{Count: 5, Limit: 2}).Do("free"), stage("j", "w").Do("ok"))
			settle()
			if whole {
				r.must(r.Pause(r.Context(), id, "ann"))
			} else {
				r.must(r.PauseStage(r.Context(), id, "w"))
			}
			_, err := r.Signal(r.Context(), id, "go", nil)
			r.must(err)
			r.pass(time.Minute)
			r.wantRuns("free", 2)
			if whole {
				r.must(r.Engine.Resume(r.Context(), id, "ann"))
			} else {
				r.must(r.ResumeStage(r.Context(), id, "w"))
			}
			settle()
			r.wantRuns("free", 4) // one went on, and one more began
			for range 4 {
				r.deliver(id, "go", nil)
			}
			r.wantStatus(r.wait(id), stabilize.Succeeded)
			r.wantRuns("free", 10)
		})
	}
	both(t, func(r *rig) {
		r.echo()
		id := r.begin(many("w", stabilize.Multi{Count: 3, Limit: 2}).Do("echo"), stage("j", "w").Do("ok"))
		r.wait(id)
		for _, ref := range []string{"w", "w[1]"} { // an instance stands for its stage
			r.must(r.Restart(r.Context(), id, ref, "ann"))
			settle()
		}
		w, err := r.Wait(r.Context(), id)
		r.must(err)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantRuns("echo", 9)
		r.wantRuns("ok", 3)
		r.wantOutput(w, "w", "results", `[{"i":0},{"i":1},{"i":2}]`)
		if s := w.StageByRef("w[2]"); s.Round != 2 {
			r.Errorf("the last instance is of round %d", s.Round)
		}
	})
}
