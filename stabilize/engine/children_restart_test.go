package engine_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

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
