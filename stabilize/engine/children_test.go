package engine_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
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

// settle lets everything happen that is to happen now, on stores that tell
// nobody of new messages too.
func settle() {
	time.Sleep(time.Second)
	synctest.Wait()
}

// pass lets virtual time pass.
func pass(d time.Duration) { time.Sleep(d) }

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

func TestRestartingAFailedLeafResumesItsParents(t *testing.T) {
	both(t, func(r *rig) {
		r.gate("gate")
		r.task("check", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			if v, _ := stabilize.Get[bool](x.Context, "good"); !v {
				return stabilize.Fail("not good"), nil
			}
			return stabilize.Success().WithOutput("checked", true), nil
		})
		r.subWorkflow("leaf", func() []*stabilize.StageSpec {
			return []*stabilize.StageSpec{stage("g").Do("gate"), stage("c", "g").Do("check")}
		})
		r.subWorkflow("middle", func() []*stabilize.StageSpec { return []*stabilize.StageSpec{stage("x").Do("ok", "leaf", "ok")} })
		id := r.begin(stage("s").Do("middle", "ok"), stage("t", "s").Do("ok"))
		settle()
		leaf, middle := r.only("leaf").ID, r.only("middle").ID
		r.deliver(leaf, "go", nil)
		w, err := r.Wait(r.Context(), id)
		r.must(err)
		r.wantStatus(w, stabilize.Terminal)

		r.must(r.Restart(r.Context(), leaf, "g", "ann"))
		settle()
		for _, up := range []string{id, middle} {
			if w, err = r.Get(r.Context(), up); err != nil || w.Status != stabilize.Running {
				r.Fatalf("workflow %s does not wait again: %s", up, describe(w))
			}
		}
		good, _ := stabilize.NewValues(map[string]any{"good": true})
		r.deliver(leaf, "go", good)
		w, err = r.Wait(r.Context(), id)
		r.must(err)
		r.wantStatus(w, stabilize.Succeeded)
		if !output[bool](r, w, "checked") {
			r.Error("the outputs did not come up")
		}
		r.only("leaf")
		if m := r.only("middle"); m.StageByRef("x").Round != 1 || m.StageByRef("x").Tasks[0].Reason != stabilize.ReasonRejoined {
			r.Errorf("middle ran %s", describe(m))
		}
		r.wantLog("x.ok", "g.gate", "g.gate", "c.check", "g.gate", "g.gate", "c.check", "x.ok", "s.ok", "t.ok")
	})
}

// The news of a restart and that of the end after it may come in any order, and
// old news late.
func TestNewsOfARestartedChildMayComeInAnyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := tamper(memstore.Open(memstore.NewData(), memstore.Config{}))
		var held []queue.Outgoing
		holding := ""
		store.each = func(c *persistence.Commit) {
			c.Messages = slices.DeleteFunc(slices.Clone(c.Messages), func(m queue.Outgoing) bool {
				if m.Message.Kind() == holding {
					held = append(held, m)
					return true
				}
				return false
			})
		}
		hold := func(kind string) {
			store.mu.Lock()
			defer store.mu.Unlock()
			holding = kind
		}
		r := newRigOn(t, store)
		r.start()
		defer r.close()
		deliver := func() {
			hold("")
			r.must(store.Push(t.Context(), held...))
			held = nil
			settle()
		}
		r.gate("gate")
		r.task("check", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			if x.Context.Has("good") {
				return stabilize.Success(), nil
			}
			return stabilize.Fail("not good"), nil
		})
		r.subWorkflow("child", func() []*stabilize.StageSpec {
			return []*stabilize.StageSpec{stage("g").Do("gate"), stage("c", "g").Do("check")}
		})
		good, _ := stabilize.NewValues(map[string]any{"good": true})
		is := func(id string, want stabilize.Status) {
			t.Helper()
			w, err := r.Get(t.Context(), id)
			r.must(err)
			r.wantStatus(w, want)
		}

		// The end after the restart is heard before the restart.
		id := r.begin(stage("s").Do("child"))
		settle()
		child := r.only("child").ID
		r.deliver(child, "go", nil)
		is(id, stabilize.Terminal)
		hold("RestartStage")
		r.must(r.Restart(t.Context(), child, "g", "ann"))
		settle()
		r.deliver(child, "go", good)
		is(id, stabilize.Terminal)
		deliver()
		is(id, stabilize.Succeeded)

		// The first end is heard after the restart.
		id = r.begin(stage("s").Do("child"))
		settle()
		child = r.of("child")[1].ID
		hold("ChildEnded")
		r.deliver(child, "go", nil)
		hold("")
		r.must(r.Restart(t.Context(), child, "g", "ann"))
		settle()
		deliver()
		is(id, stabilize.Running)
		r.deliver(child, "go", good)
		is(id, stabilize.Succeeded)
	})
}

func TestRestartingAStageStartsAFreshChild(t *testing.T) {
	both(t, func(r *rig) {
		r.subWorkflow("child", func() []*stabilize.StageSpec { return []*stabilize.StageSpec{stage("a").Do("ok")} })
		id := r.begin(stage("s").Do("child"))
		r.wait(id)
		r.must(r.Restart(r.Context(), id, "s", "ann"))
		settle()
		w, err := r.Wait(r.Context(), id)
		r.must(err)
		r.wantStatus(w, stabilize.Succeeded)
		if n := len(r.of("child")); n != 2 {
			r.Errorf("%d children ran, want 2", n)
		}
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

func TestAChildWhoseTypesAreUnknownFailsItsParent(t *testing.T) {
	stores(t, func(t *testing.T, d data) {
		know := newRig(t, d)
		know.task("special", func(context.Context, *stabilize.Execution) (stabilize.Result, error) { return stabilize.Success(), nil })
		know.subWorkflow("child", func() []*stabilize.StageSpec { return []*stabilize.StageSpec{stage("a").Do("special")} })
		store := tamper(d())
		store.after = 1 // it dies when the child has been asked for
		first := newRigOn(t, store)
		first.task("special", func(context.Context, *stabilize.Execution) (stabilize.Result, error) { return stabilize.Success(), nil })
		first.subWorkflow("child", func() []*stabilize.StageSpec { return []*stabilize.StageSpec{stage("a").Do("special")} })
		id := know.begin(stage("s").Do("child"))
		first.start()
		settle()
		killed, cancel := context.WithCancel(t.Context())
		cancel()
		first.Stop(killed)
		first.stop()
		if n := len(know.of("child")); n != 0 {
			t.Fatalf("there are %d children already", n)
		}
		other := newRig(t, d) // knows neither
		other.start()
		w := other.wait(id)
		other.wantStatus(w, stabilize.Terminal)
		if w.Failure == nil || w.Failure.Code != stabilize.CodeChildFailed || !strings.Contains(w.Failure.Message, stabilize.CodeUnknownTaskType) {
			t.Errorf("the failure is %v", w.Failure)
		}
		other.wantStatus(other.only("child"), stabilize.Terminal)
		other.close()
	})
	both(t, func(r *rig) {
		r.subWorkflow("child", func() []*stabilize.StageSpec { return []*stabilize.StageSpec{stage("a").Do("nobody")} })
		w := r.finish(stage("s").Do("child"))
		r.wantStatus(w, stabilize.Terminal)
		if w.Failure == nil || w.Failure.Code != stabilize.CodeInvalidResult || !strings.Contains(w.Failure.Message, "nobody") {
			r.Errorf("the failure is %v", w.Failure)
		}
	})
}

// Cancelling a parent whose child has been asked for and not created takes the
// child back: no worker that comes late creates it.
func TestAChildThatWasNotCreatedYetNeverIs(t *testing.T) {
	stores(t, func(t *testing.T, d data) {
		store := tamper(d())
		store.after = 1 // it dies when the child has been asked for
		first := newRigOn(t, store)
		setup := func(r *rig) {
			r.subWorkflow("child", func() []*stabilize.StageSpec { return []*stabilize.StageSpec{stage("a").Do("ok")} })
		}
		setup(first)
		second := newRig(t, d)
		setup(second)
		id := second.begin(stage("s").Do("child"))
		first.start()
		settle()
		killed, cancel := context.WithCancel(t.Context())
		cancel()
		first.Stop(killed)
		first.stop()
		w, err := second.Get(t.Context(), id)
		second.must(err)
		child := w.StageByRef("s").Tasks[0].Waits().Child
		if child == "" || w.StageByRef("s").Status != stabilize.Suspended {
			t.Fatalf("it does not wait for a child: %s", describe(w))
		}
		second.must(second.Cancel(t.Context(), id, "ann", ""))
		pending, err := second.Store().Pending(t.Context(), child)
		second.must(err)
		for _, m := range pending {
			if m.Kind == (queue.CreateWorkflow{}).Kind() {
				t.Error("the child is still to be created")
			}
		}
		second.start()
		second.wantStatus(second.wait(id), stabilize.Canceled)
		settle()
		if _, err := second.Get(t.Context(), child); !errors.Is(err, stabilize.ErrNotFound) {
			t.Errorf("the child exists: %v", err)
		}
		second.close()
	})
}

func TestAParentOfADeletedChildCanBeEndedAndRestarted(t *testing.T) {
	both(t, func(r *rig) {
		r.gate("gate")
		r.subWorkflow("child", func() []*stabilize.StageSpec { return []*stabilize.StageSpec{stage("g").Do("gate")} })
		id := r.begin(stage("s").Do("child"))
		settle()
		r.must(r.Store().Delete(r.Context(), r.only("child").ID))
		settle()
		r.must(r.Cancel(r.Context(), id, "ann", ""))
		r.wantStatus(r.wait(id), stabilize.Canceled)
		r.must(r.Restart(r.Context(), id, "s", "ann"))
		settle()
		r.deliver(r.only("child").ID, "go", nil)
		w, err := r.Wait(r.Context(), id)
		r.must(err)
		r.wantStatus(w, stabilize.Succeeded)
	})
}

func TestTheSameChildHoweverOftenWorkersCrash(t *testing.T) {
	setup := func(r *rig) { factorial(r) }
	begin := func(r *rig) string {
		id, err := r.Start(r.Context(), factorialOf(2))
		r.must(err)
		return id
	}
	check := func(r *rig, w *stabilize.Workflow) {
		r.wantStatus(w, stabilize.Succeeded)
		if got := output[int](r, w, "result"); got != 2 {
			r.Errorf("2! is %d", got)
		}
		if n := len(r.of("fact")); n != 3 {
			r.Errorf("%d workflows ran, want 3", n)
		}
	}
	t.Run("cascade", func(t *testing.T) { crashes(t, setup, begin, check) })
	t.Run("queue", func(t *testing.T) { crashes(t, setup, begin, check, engine.WithoutCascade()) })
}

// What does not fit into a message fails the task that asked for it, and the one
// that waits for it, and keeps neither workflow from ending.
func TestAChildThatDoesNotFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := sqlstore.Open(t.Context(), sqlstore.Config{
			Path: filepath.Join(t.TempDir(), "x.db"), Migrate: true, Synchronous: sqlstore.Normal, MaxPayload: 64 << 10,
		})
		if err != nil {
			t.Fatal(err)
		}
		r := newRigOn(t, store)
		r.task("large", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.Success().WithOutput(x.Stage.Ref, strings.Repeat("x", 40<<10)), nil
		})
		r.subWorkflow("wide", func() (stages []*stabilize.StageSpec) {
			for i := range 3 {
				stages = append(stages, stage(fmt.Sprint("s", i)).Do("ok").With("v", strings.Repeat("x", 30<<10)))
			}
			return stages
		})
		r.subWorkflow("loud", func() []*stabilize.StageSpec {
			return []*stabilize.StageSpec{stage("a").Do("large"), stage("b").Do("large")}
		})
		r.start()
		w := r.finish(stage("s").Do("wide"))
		r.wantStatus(w, stabilize.Terminal)
		r.wantStageFailure(w, "s", stabilize.CodeInvalidResult)
		if n := len(r.of("wide")); n != 0 {
			t.Errorf("%d children exist", n)
		}
		w = r.finish(stage("s").Do("loud"))
		r.wantStatus(w, stabilize.Terminal)
		r.wantStageFailure(w, "s", stabilize.CodeChildFailed)
		r.wantStatus(r.only("loud"), stabilize.Succeeded)
		r.close()
		_ = store.Close()
	})
}
