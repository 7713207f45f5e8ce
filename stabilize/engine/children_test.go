package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// subWorkflow registers a task that runs a workflow of the stages.
func (r *rig) subWorkflow(name string, stages func() []*stabilize.StageSpec, opts ...engine.WorkflowOption) {
	r.Helper()
	r.must(r.RegisterWorkflow(name, func(*stabilize.Execution) (*stabilize.WorkflowSpec, error) {
		return stabilize.NewWorkflow("app", name).Add(stages()...), nil
	}, opts...))
}

// gate registers a task that waits for the signal "go" and puts out its value.
func (r *rig) gate(name string) {
	r.Helper()
	r.task(name, func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		if x.Signal == nil {
			return stabilize.Suspend("go"), nil
		}
		return stabilize.Success().WithOutputs(x.Signal.Data), nil
	})
}

// of returns the workflows of that name, oldest first.
func (r *rig) of(name string) (out []*stabilize.Workflow) {
	r.Helper()
	q := persistence.Query{Application: "app"}
	for {
		page, err := r.List(r.Context(), q)
		r.must(err)
		for _, h := range page.Workflows {
			if h.Name == name {
				w, err := r.Get(r.Context(), h.ID)
				r.must(err)
				out = append(out, w)
			}
		}
		if q.Token = page.Next; q.Token == "" {
			slices.SortStableFunc(out, func(a, b *stabilize.Workflow) int { return a.CreatedAt.Compare(b.CreatedAt) })
			return out
		}
	}
}

// only returns the one workflow of that name.
func (r *rig) only(name string) *stabilize.Workflow {
	r.Helper()
	all := r.of(name)
	if len(all) != 1 {
		r.Fatalf("there are %d workflows %q, want one", len(all), name)
	}
	return all[0]
}

func (r *rig) deliver(id, name string, data stabilize.Values) {
	r.Helper()
	delivered, err := r.Signal(r.Context(), id, name, data)
	r.must(err)
	if !delivered {
		r.Errorf("nobody took signal %q", name)
	}
	settle()
}

func output[T any](r *rig, w *stabilize.Workflow, key string) T {
	r.Helper()
	v, err := stabilize.Get[T](w.Result(), key)
	if err != nil {
		r.Errorf("output %q: %v; there are %v", key, err, w.Result())
	}
	return v
}

// factorial registers a workflow that calls itself.
func factorial(r *rig) {
	r.task("one", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
		return stabilize.Success().WithOutput("result", 1), nil
	})
	r.task("times", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		n, _ := stabilize.Get[int](x.Context, "n")
		below, err := stabilize.Get[int](x.Context, "result")
		return stabilize.Success().WithOutput("result", n*below), err
	})
	r.must(r.RegisterWorkflow("fact", func(x *stabilize.Execution) (*stabilize.WorkflowSpec, error) {
		n, err := stabilize.Get[int](x.Context, "n")
		return factorialOf(n - 1), err
	}))
}

func factorialOf(n int) *stabilize.WorkflowSpec {
	spec := stabilize.NewWorkflow("app", "fact").Context("n", n)
	if n == 0 {
		return spec.Add(stage("one").Do("one"))
	}
	return spec.Add(stage("sub").Do("fact"), stage("mul", "sub").Do("times"))
}

func TestRecursion(t *testing.T) {
	both(t, func(r *rig) {
		factorial(r)
		id, err := r.Start(r.Context(), factorialOf(5))
		r.must(err)
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		if got := output[int](r, w, "result"); got != 120 {
			r.Errorf("5! is %d", got)
		}
		runs := r.of("fact")
		if len(runs) != 6 {
			r.Errorf("%d workflows ran, want 6", len(runs))
		}
		for _, run := range runs {
			r.wantStatus(run, stabilize.Succeeded)
		}
	})
}

func TestRecursionHasALimit(t *testing.T) {
	both(t, func(r *rig) {
		factorial(r)
		id, err := r.Start(r.Context(), factorialOf(5))
		r.must(err)
		w := r.wait(id)
		r.wantStatus(w, stabilize.Terminal)
		if w.Failure == nil || w.Failure.Code != stabilize.CodeChildFailed || !strings.Contains(w.Failure.Message, stabilize.CodeDepth) {
			r.Errorf("the failure does not say that it was too deep: %v", w.Failure)
		}
		runs := r.of("fact")
		if len(runs) != 5 {
			r.Errorf("%d workflows ran, want 5", len(runs))
		}
		for _, run := range runs {
			r.wantStatus(run, stabilize.Terminal)
		}
	}, engine.WithConfig(engine.Config{MaxDepth: 4}))
}

func TestChildrenHaveNoMoreThanThreeMessagesEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := tamper(memstore.Open(memstore.NewData(), memstore.Config{}))
		between := map[string]int{}
		store.each = func(c *persistence.Commit) {
			for _, m := range c.Messages {
				if to := queue.WorkflowOf(m.Message); to != c.WorkflowID {
					between[m.Message.Kind()]++
				}
			}
		}
		r := newRigOn(t, store)
		r.start()
		defer r.close()
		r.task("slow", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			if x.Polls < 100 {
				return stabilize.StillRunning(time.Hour), nil
			}
			return stabilize.Success(), nil
		})
		r.subWorkflow("child", func() []*stabilize.StageSpec { return []*stabilize.StageSpec{stage("a").Do("slow")} })
		id := r.begin(stage("s").Do("child"))
		w, err := r.Wait(t.Context(), id)
		r.must(err)
		r.wantStatus(w, stabilize.Succeeded)
		if got := fmt.Sprint(between); got != "map[ChildEnded:1 CreateWorkflow:1]" {
			t.Errorf("messages between the workflows: %s", got)
		}
	})
}

func TestCancelReachesAllDescendants(t *testing.T) {
	both(t, func(r *rig) {
		r.gate("gate")
		r.subWorkflow("leaf", func() []*stabilize.StageSpec { return []*stabilize.StageSpec{stage("g").Do("gate")} })
		r.subWorkflow("middle", func() []*stabilize.StageSpec {
			return []*stabilize.StageSpec{stage("x").Do("leaf"), stage("y").Do("leaf"), stage("after", "x", "y").Do("ok")}
		})
		id := r.begin(stage("s").Do("middle"))
		settle()
		r.must(r.Cancel(r.Context(), id, "ann", "enough"))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Canceled)
		settle()
		below := append(r.of("leaf"), r.only("middle"))
		if len(below) != 3 {
			r.Errorf("%d descendants, want 3", len(below))
		}
		for _, c := range below {
			r.checkFinished(c)
			r.wantStatus(c, stabilize.Canceled)
			if c.Cancel == nil || c.Cancel.Reason != stabilize.ReasonParentEnded {
				r.Errorf("workflow %s was canceled because of %+v", c.Name, c.Cancel)
			}
		}
	})
}

func TestAFailureTravelsUp(t *testing.T) {
	both(t, func(r *rig) {
		r.subWorkflow("leaf", func() []*stabilize.StageSpec { return []*stabilize.StageSpec{stage("deep").Do("fail")} })
		r.subWorkflow("middle", func() []*stabilize.StageSpec { return []*stabilize.StageSpec{stage("x").Do("leaf", "ok")} })
		w := r.finish(stage("s").Do("middle", "ok"), stage("t", "s").Do("ok"))
		r.wantStatus(w, stabilize.Terminal)
		f := w.Failure
		if f == nil || f.Code != stabilize.CodeChildFailed || f.Stage != "s" {
			r.Fatalf("the failure is %v", f)
		}
		for _, part := range []string{r.only("middle").ID, r.only("leaf").ID, stabilize.CodeTaskFailed, `stage "deep"`, "it broke"} {
			if !strings.Contains(f.Message, part) {
				r.Errorf("the failure does not name %q: %s", part, f.Message)
			}
		}
		r.wantLog("deep.fail")
	})
}

func TestAChildThatIsNotWaitedFor(t *testing.T) {
	both(t, func(r *rig) {
		r.gate("gate")
		r.subWorkflow("child", func() []*stabilize.StageSpec { return []*stabilize.StageSpec{stage("g").Do("gate")} }, engine.WithoutWaiting())
		w := r.finish(stage("s").Do("child"))
		r.wantStatus(w, stabilize.Succeeded)
		c := r.only("child")
		if got := output[string](r, w, "child"); got != c.ID {
			r.Errorf("the output names %q, the child is %q", got, c.ID)
		}
		if c.Status != stabilize.Running || c.Parent == nil || c.Parent.WorkflowID != w.ID || c.Parent.Waits {
			r.Errorf("the child is %s, its parent %+v", c.Status, c.Parent)
		}
		r.deliver(c.ID, "go", nil)
		r.wantStatus(r.wait(c.ID), stabilize.Succeeded)
	})
}

func TestAnExplicitEndInAChildEndsOnlyTheChild(t *testing.T) {
	both(t, func(r *rig) {
		r.gate("gate")
		r.subWorkflow("child", func() []*stabilize.StageSpec {
			return []*stabilize.StageSpec{stage("end").Do("ok").EndsWorkflow(), stage("other").Do("gate")}
		})
		w := r.finish(stage("s").Do("child"), stage("t", "s").Do("ok"))
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "t", stabilize.Succeeded, "")
		r.wantStage(r.only("child"), "other", stabilize.Canceled, stabilize.ReasonWithdrawn)
	})
	both(t, func(r *rig) {
		r.gate("gate")
		r.subWorkflow("child", func() []*stabilize.StageSpec { return []*stabilize.StageSpec{stage("g").Do("gate")} })
		r.gate("first")
		id := r.begin(stage("s").Do("child"), stage("end").Do("first").EndsWorkflow())
		settle()
		r.deliver(id, "go", nil)
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "s", stabilize.Canceled, stabilize.ReasonWithdrawn)
		settle()
		r.wantStatus(r.only("child"), stabilize.Canceled)
	})
}

func TestAPausedParentKeepsTheEndOfItsChild(t *testing.T) {
	pauses := map[string]struct{ pause, resume func(r *rig, id string) error }{
		"workflow": {
			func(r *rig, id string) error { return r.Pause(r.Context(), id, "ann") },
			func(r *rig, id string) error { return r.Engine.Resume(r.Context(), id, "ann") },
		},
		"stage": {
			func(r *rig, id string) error { return r.PauseStage(r.Context(), id, "s") },
			func(r *rig, id string) error { return r.ResumeStage(r.Context(), id, "s") },
		},
	}
	for name, p := range pauses {
		for _, tasks := range [][]string{{"child"}, {"child", "ok"}} {
			t.Run(fmt.Sprint(name, tasks), func(t *testing.T) {
				both(t, func(r *rig) {
					r.gate("gate")
					r.subWorkflow("child", func() []*stabilize.StageSpec { return []*stabilize.StageSpec{stage("g").Do("gate")} })
					id := r.begin(stage("s").Do(tasks...), stage("t", "s").Do("ok"))
					settle()
					r.must(p.pause(r, id))
					r.deliver(r.only("child").ID, "go", nil)
					time.Sleep(time.Minute)
					if got := r.logged(); len(got) != 2 { // the gate's two
						r.Errorf("these tasks ran while it was paused: %v", got)
					}
					r.must(p.resume(r, id))
					w := r.wait(id)
					r.wantStatus(w, stabilize.Succeeded)
					r.wantStage(w, "t", stabilize.Succeeded, "")
				})
			})
		}
	}
}

func TestABufferedChildIsWaitedFor(t *testing.T) {
	both(t, func(r *rig) {
		r.gate("gate")
		r.must(r.RegisterWorkflow("child", func(*stabilize.Execution) (*stabilize.WorkflowSpec, error) {
			return stabilize.NewWorkflow("app", "child").LimitConcurrent("c", 1).Add(stage("g").Do("gate")), nil
		}))
		first := r.begin(stage("s").Do("child"))
		settle()
		second := r.begin(stage("s").Do("child"))
		settle()
		third := r.begin(stage("s").Do("child"))
		settle()
		children := r.of("child")
		if children[1].Status != stabilize.Buffered || children[2].Status != stabilize.Buffered {
			r.Fatalf("the others are %s and %s", children[1].Status, children[2].Status)
		}
		r.must(r.Cancel(r.Context(), third, "ann", ""))
		r.wantStatus(r.wait(third), stabilize.Canceled)
		for i, id := range []string{first, second} {
			r.deliver(children[i].ID, "go", nil)
			r.wantStatus(r.wait(id), stabilize.Succeeded)
		}
		r.wantStatus(r.of("child")[2], stabilize.Canceled)
	})
}
