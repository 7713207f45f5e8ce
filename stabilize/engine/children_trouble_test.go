package engine_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

func TestAChildWhoseTypesAreUnknownFailsItsParent(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
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
	onStores(t, func(t *testing.T, d data) {
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
