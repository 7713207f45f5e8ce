package engine_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// leaves registers the task "leaf", a workflow for each stage that runs it: it
// waits for a signal and fails unless that says good.
func (r *rig) leaves() {
	r.Helper()
	r.gate("gate")
	r.task("check", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		if !x.Context.Has("good") {
			return stabilize.Fail("not good"), nil
		}
		return stabilize.Success().WithOutput("checked", true), nil
	})
	r.subWorkflow("leaf", func() []*stabilize.StageSpec {
		return []*stabilize.StageSpec{stage("g").Do("gate"), stage("c", "g").Do("check")}
	})
}

// A child restarted is waited for again where it was waited for, inside other
// stages too: what had ended well there stays done, and no child is started twice;
// seen: the declared stage began afresh, with children of its own.
func TestARestartedChildIsWaitedForInside(t *testing.T) {
	for name, c := range map[string]struct {
		outer   *stabilize.StageSpec
		others  int            // children that end well before the one that fails
		want    map[string]int // how often tasks ran in the end
		results int
	}{
		"an instance": {stage("m").Do("before", "leaf", "ok").Instances(stabilize.Multi{Count: 3}), 2,
			map[string]int{"m[0].before": 1, "m[1].before": 1, "m[2].before": 1, "m[0].ok": 1, "m[1].ok": 1, "m[2].ok": 1}, 3},
		"one of few at once": {stage("m").Do("before", "leaf", "ok").Instances(stabilize.Multi{Count: 4, Limit: 1}), 1,
			map[string]int{"m[0].before": 1, "m[1].before": 1, "m[1].ok": 1}, 4},
		"an iteration": {stage("m").Do("before", "leaf", "ok").While("index < 3", 3), 1,
			map[string]int{"m[0].before": 1, "m[1].before": 1, "m[2].before": 1, "m[1].ok": 1}, 0},
		"a body": {stage("m").Do("ok").Body(stage("a").Do("before"), stage("b", "a").Do("leaf", "ok"), stage("c", "b").Do("ok")), 0,
			map[string]int{"m/a.before": 1, "m/b.ok": 1, "m/c.ok": 1, "m.ok": 1}, 0},
		"a body of instances": {stage("m").Instances(stabilize.Multi{Count: 2}).Body(stage("a").Do("before"), stage("b", "a").Do("leaf"), stage("c", "b").Do("ok")), 1,
			map[string]int{"m[0]/a.before": 1, "m[1]/a.before": 1, "m[0]/c.ok": 1, "m[1]/c.ok": 1}, 2},
		"a loop in a loop": {stage("m").While("index < 2", 2).Body(stage("n").While("index < 2", 2).Body(stage("b").Do("before", "leaf"))), 1,
			map[string]int{"m[0]/n[0]/b.before": 1, "m[0]/n[1]/b.before": 1, "m[1]/n[1]/b.before": 1}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(r *rig) {
				r.leaves()
				r.task("before", func(context.Context, *stabilize.Execution) (stabilize.Result, error) { return stabilize.Success(), nil })
				id := r.begin(c.outer, stage("z", "m").Do("ok"))
				settle()
				for i := range c.others {
					r.deliver(r.of("leaf")[i].ID, "go", values("good", true))
				}
				failing := r.of("leaf")[c.others].ID
				r.deliver(failing, "go", nil)
				w, err := r.Wait(r.Context(), id)
				r.must(err)
				r.wantStatus(w, stabilize.Terminal)
				children := len(r.of("leaf"))

				r.must(r.Restart(r.Context(), failing, "g", "ann"))
				settle()
				if w, err = r.Get(r.Context(), id); err != nil || w.Status != stabilize.Running {
					r.Fatalf("it does not wait again: %v %s", err, describe(w))
				}
				if n := len(r.of("leaf")); n != children {
					r.Errorf("there were %d children, now there are %d", children, n)
				}
				r.deliver(failing, "go", values("good", true))
				for i := 0; i < 10; i++ {
					for _, leaf := range r.of("leaf") {
						if leaf.Status == stabilize.Running {
							r.deliver(leaf.ID, "go", values("good", true))
						}
					}
				}
				w, err = r.Wait(r.Context(), id)
				r.must(err)
				r.wantStatus(w, stabilize.Succeeded)
				for what, n := range c.want {
					if r.ran(what) != n {
						r.Errorf("%s ran %d times, want %d: %v", what, r.ran(what), n, r.logged())
					}
				}
				if r.ran("z.ok") != 1 {
					r.Errorf("what follows ran %d times", r.ran("z.ok"))
				}
				if c.results > 0 {
					if results := output[[]map[string]any](r, w, "results"); len(results) != c.results || fmt.Sprint(results[0]["checked"]) != "true" {
						r.Errorf("results %v", results)
					}
				}
			})
		})
	}
}

// An instance that failed and whose stage goes on without it is opened again alone
// when its child is restarted; seen: the child ran on, and nobody waited.
func TestARestartedChildOfAnInstanceThatMayFail(t *testing.T) {
	both(t, func(r *rig) {
		r.leaves()
		id := r.begin(stage("m").Do("leaf", "ok").Instances(stabilize.Multi{Count: 2}).AllowSiblings(), stage("z", "m").Do("ok"))
		settle()
		first, second := r.of("leaf")[0].ID, r.of("leaf")[1].ID
		r.deliver(first, "go", nil)
		r.must(r.Restart(r.Context(), first, "g", "ann"))
		settle()
		r.deliver(second, "go", values("good", true))
		if w, err := r.Get(r.Context(), id); err != nil || w.Status != stabilize.Running {
			r.Fatalf("it does not wait: %v %s", err, describe(w))
		}
		r.deliver(first, "go", values("good", true))
		w, err := r.Wait(r.Context(), id)
		r.must(err)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "m", stabilize.Succeeded, "")
		if results := output[[]map[string]any](r, w, "results"); len(results) != 2 || len(r.of("leaf")) != 2 || r.ran("z.ok") != 1 {
			r.Errorf("results %v of %d children; ran %v", results, len(r.of("leaf")), r.logged())
		}
	})
}
