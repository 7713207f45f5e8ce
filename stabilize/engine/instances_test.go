package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// wantRuns checks how often a task of that name ran.
func (r *rig) wantRuns(task string, want int) {
	r.Helper()
	got := 0
	for _, line := range r.logged() {
		if strings.HasSuffix(line, "."+task) {
			got++
		}
	}
	if got != want {
		r.Errorf("task %s ran %d times, want %d", task, got, want)
	}
}

func (r *rig) wantOutput(w *stabilize.Workflow, ref, key, want string) {
	r.Helper()
	if got := string(w.FamilyOutputs(w.StageByRef(ref))[key]); got != want {
		r.Errorf("output %s of stage %s is %s, want %s", key, ref, got, want)
	}
}

func (r *rig) wantStageFailure(w *stabilize.Workflow, ref, code string) {
	r.Helper()
	if s := w.StageByRef(ref); s.Failure == nil || s.Failure.Code != code {
		r.Errorf("stage %s failed with %v, want %s", ref, s.Failure, code)
	}
}

func (r *rig) get(id string) *stabilize.Workflow {
	r.Helper()
	w, err := r.Get(r.Context(), id)
	r.must(err)
	return w
}

// echo registers a task that puts out its index and item.
func (r *rig) echo() {
	r.task("echo", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		res := stabilize.Success().WithOutputs(stabilize.Values{"i": x.Context["index"]})
		if x.Context.Has("item") {
			res = res.WithOutputs(stabilize.Values{"it": x.Context["item"]})
		}
		return res, nil
	})
}

// set registers a task that puts out values.
func (r *rig) set(name string, values map[string]any) {
	r.task(name, func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
		v, err := stabilize.NewValues(values)
		return stabilize.Success().WithOutputs(v), err
	})
}

// free registers a task that an instance runs in until the signal "go" comes; a
// signal may say what it puts out, or that it fails.
func (r *rig) free(name string) {
	r.task(name, func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		if x.Signal == nil {
			return stabilize.Suspend("go"), nil
		}
		if x.Signal.Data.Has("fail") {
			return stabilize.Fail("told to"), nil
		}
		return stabilize.Success().WithOutputs(x.Signal.Data), nil
	})
}

func values(pairs ...any) stabilize.Values {
	m := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	v, err := stabilize.NewValues(m)
	if err != nil {
		panic(err)
	}
	return v
}

func many(ref string, m stabilize.Multi, after ...string) *stabilize.StageSpec {
	return stage(ref, after...).Instances(m)
}

func TestInstancesAreCounted(t *testing.T) {
	for _, c := range []struct {
		name    string
		multi   stabilize.Multi
		runs    int
		results string
		code    string
	}{
		{"count", stabilize.Multi{Count: 3}, 3, `[{"i":0},{"i":1},{"i":2}]`, ""},
		{"count of", stabilize.Multi{CountOf: "n"}, 4, `[{"i":0},{"i":1},{"i":2},{"i":3}]`, ""},
		{"none", stabilize.Multi{CountOf: "none"}, 0, `[]`, ""},
		{"over", stabilize.Multi{Over: "items"}, 3, `[{"i":0,"it":9007199254740993},{"i":1,"it":1.50},{"i":2,"it":{"a":null,"b":[]}}]`, ""},
		{"over one", stabilize.Multi{Over: "items", Limit: 1}, 3, `[{"i":0,"it":9007199254740993},{"i":1,"it":1.50},{"i":2,"it":{"a":null,"b":[]}}]`, ""},
		{"over none", stabilize.Multi{Over: "empty"}, 0, `[]`, ""},
		{"negative", stabilize.Multi{CountOf: "0-n"}, 0, "", stabilize.CodeBadCount},
		{"no number", stabilize.Multi{CountOf: "text"}, 0, "", stabilize.CodeBadCount},
		{"unknown", stabilize.Multi{CountOf: "nothing"}, 0, "", stabilize.CodeBadCount},
		{"no list", stabilize.Multi{Over: "n"}, 0, "", stabilize.CodeBadCount},
		{"too many", stabilize.Multi{CountOf: "1000000000"}, 0, "", stabilize.CodeBadCount},
		{"fewer than needed", stabilize.Multi{CountOf: "n", Need: 5}, 0, "", stabilize.CodeBadCount},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(r *rig) {
				r.echo()
				r.task("put", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
					return stabilize.Success().WithOutputs(stabilize.Values{
						"n": json.RawMessage("4"), "none": json.RawMessage("0"), "text": json.RawMessage(`"x"`), "empty": json.RawMessage("[]"),
						"items": json.RawMessage(`[9007199254740993,1.50,{"a":null,"b":[]}]`),
					}), nil
				})
				w := r.finish(stage("a").Do("put"), many("w", c.multi, "a").Do("echo"), stage("j", "w").Do("ok"))
				r.wantRuns("echo", c.runs)
				if c.code != "" {
					r.wantStatus(w, stabilize.Terminal)
					r.wantStageFailure(w, "w", c.code)
					return
				}
				r.wantStatus(w, stabilize.Succeeded)
				r.wantOutput(w, "w", "results", c.results)
				r.wantStage(w, "j", stabilize.Succeeded, "")
			})
		})
	}
}

func TestInstancesRunNoMoreThanTheLimitAtOnce(t *testing.T) {
	both(t, func(r *rig) {
		var c critical
		c.use(r, "work")
		began := time.Now()
		w := r.finish(many("w", stabilize.Multi{Count: 10, Limit: 3}).Do("ok", "work"), stage("j", "w").Do("ok"))
		r.wantStatus(w, stabilize.Succeeded)
		if c.most != 3 || len(c.order) != 10 {
			r.Errorf("%d ran at once, %d in all", c.most, len(c.order))
		}
		if took := time.Since(began); took > 4*time.Second+100*time.Millisecond {
			r.Errorf("it took %s", took)
		}
	})
}

func TestInstancesAreAdded(t *testing.T) {
	both(t, func(r *rig) {
		r.free("free")
		ctx := r.Context()
		id := r.begin(many("w", stabilize.Multi{Count: 2, Open: true}).Do("free"), stage("j", "w").Do("ok"), stage("never", "j").Do("ok").When("false"))
		settle()
		r.must(r.AddInstance(ctx, id, "w", "k3", values("extra", 1)))
		r.must(r.AddInstance(ctx, id, "w", "k3", values("extra", 1)))
		settle()
		for range 3 {
			r.deliver(id, "go", nil)
		}
		pass(time.Minute)
		w := r.get(id)
		r.wantStage(w, "w", stabilize.Running, "")
		r.wantRuns("ok", 0)
		if err := r.AddInstance(ctx, id, "j", "", nil); !errors.Is(err, stabilize.ErrInvalidTransition) {
			r.Errorf("adding to a stage that takes none: %v", err)
		}
		r.must(r.AddInstance(ctx, id, "w", "k4", nil))
		settle()
		r.must(r.CloseInstances(ctx, id, "w"))
		if err := r.AddInstance(ctx, id, "w", "k5", nil); !errors.Is(err, stabilize.ErrInstancesClosed) {
			r.Errorf("adding after closing: %v", err)
		}
		r.must(r.AddInstance(ctx, id, "w", "k4", nil)) // it was taken
		r.deliver(id, "go", nil)
		w = r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantRuns("free", 8)
		r.wantOutput(w, "w", "results", `[{},{},{},{}]`)
		if err := r.AddInstance(ctx, id, "w", "", nil); !errors.Is(err, stabilize.ErrFinished) {
			r.Errorf("adding when all is over: %v", err)
		}
	})
}

// Adding races with the last completion: an instance is accepted and waited for,
// or refused.
func TestAddingRacesWithTheEnd(t *testing.T) {
	rounds := 150
	if testing.Short() {
		rounds = 30
	}
	both(t, func(r *rig) {
		accepted, refused := 0, 0
		ran := make(map[string]bool)
		r.task("quick", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			pass(time.Millisecond)
			if x.Context.Has("added") {
				r.mu.Lock()
				ran[x.Workflow.ID] = true
				r.mu.Unlock()
			}
			return stabilize.Success(), nil
		})
		for i := range rounds {
			id := r.begin(many("w", stabilize.Multi{Count: 1, Open: true, Until: "done >= 1"}).Do("quick"), stage("j", "w").Do("ok"))
			pass(time.Millisecond - time.Duration(i%3)*time.Microsecond + time.Microsecond)
			err := r.AddInstance(r.Context(), id, "w", "late", values("added", true))
			w := r.wait(id)
			r.wantStatus(w, stabilize.Succeeded)
			r.mu.Lock()
			was := ran[id]
			r.mu.Unlock()
			switch {
			case err == nil && was:
				accepted++
			case (errors.Is(err, stabilize.ErrInstancesClosed) || errors.Is(err, stabilize.ErrFinished)) && !was:
				refused++
			default:
				r.Fatalf("adding said %v, and it ran: %t: %s", err, was, describe(w))
			}
		}
		r.Logf("%d accepted, %d refused", accepted, refused)
	})
}

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
		r.must(r.Skip(r.Context(), id, "w"))
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
			pass(time.Minute)
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

type planned struct{}

func (planned) Tasks(p *stabilize.Plan) ([]stabilize.TaskSpec, error) {
	return []stabilize.TaskSpec{{Name: "planned", Type: "echo"}}, nil
}

func (planned) BeforeStages(*stabilize.Plan) ([]*stabilize.StageSpec, error) {
	return []*stabilize.StageSpec{stage("before").Do("ok")}, nil
}

func TestInstancesWithStagesInside(t *testing.T) {
	both(t, func(r *rig) { // a planned type
		r.echo()
		r.must(r.RegisterStage("planned", planned{}))
		w := r.finish(many("w", stabilize.Multi{Count: 2}).OfType("planned"))
		r.wantStatus(w, stabilize.Succeeded)
		r.wantRuns("planned", 2)
		r.wantRuns("ok", 2)
		r.wantOutput(w, "w", "results", `[{"i":0},{"i":1}]`)
	})
	both(t, func(r *rig) { // what is inside sees the item
		r.echo()
		w := r.finish(many("w", stabilize.Multi{Over: "items"}).With("items", []int{7, 8}).Body(stage("x").Do("echo"), stage("y", "x").Do("ok")))
		r.wantStatus(w, stabilize.Succeeded)
		r.wantOutput(w, "w", "results", `[{"i":0,"it":7},{"i":1,"it":8}]`)
	})
	both(t, func(r *rig) { // instances in a loop in instances, and what they put out
		r.task("sum", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			total, _ := stabilize.Get[int](x.Context, "total")
			each, err := stabilize.Get[[]map[string]int](x.Context, "results")
			for _, e := range each {
				total += e["i"]
			}
			return stabilize.Success().WithOutput("total", total), err
		})
		r.echo()
		w := r.finish(
			many("w", stabilize.Multi{Count: 2}).Body(
				stage("l").While("index < 3", 0).Body(
					many("in", stabilize.Multi{Count: 3}).Do("echo"),
					stage("add", "in").Do("sum"),
				),
			).Reduce("total", "sum"),
			stage("j", "w").Do("ok"),
		)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantRuns("echo", 18)
		r.wantRuns("sum", 6)
		r.wantOutput(w, "w", "total", "18") // 2 × 3 × (0+1+2)
	})
}

func TestInstancesSurviveCrashes(t *testing.T) {
	setup := func(r *rig) { r.echo() }
	begin := func(r *rig) string {
		return r.begin(many("w", stabilize.Multi{Count: 4, Limit: 2}).Do("echo"), stage("j", "w").Do("ok"))
	}
	crashes(t, setup, begin, func(r *rig, w *stabilize.Workflow) {
		r.wantStatus(w, stabilize.Succeeded)
		r.wantOutput(w, "w", "results", `[{"i":0},{"i":1},{"i":2},{"i":3}]`)
		if n := len(w.Stages); n != 6 {
			r.Errorf("there are %d stages", n)
		}
	})
}
