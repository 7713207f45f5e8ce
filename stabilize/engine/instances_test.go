package engine_test

import (
	"context"
	"encoding/json"
	"errors"
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
		r.pass(time.Minute)
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
			r.pass(time.Millisecond)
			if x.Context.Has("added") {
				r.mu.Lock()
				ran[x.Workflow.ID] = true
				r.mu.Unlock()
			}
			return stabilize.Success(), nil
		})
		for i := range rounds {
			id := r.begin(many("w", stabilize.Multi{Count: 1, Open: true, Until: "done >= 1"}).Do("quick"), stage("j", "w").Do("ok"))
			r.pass(time.Millisecond - time.Duration(i%3)*time.Microsecond + time.Microsecond)
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
