package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

func (r *rig) wantRan(times map[string]int) {
	r.Helper()
	for what, want := range times {
		if got := r.ran(what); got != want {
			r.Errorf("%s ran %d times, want %d: %v", what, got, want, r.logged())
		}
	}
}

func (r *rig) wantFailure(f *stabilize.Failure, code, stage string) {
	r.Helper()
	if f == nil || f.Code != code || f.Stage != stage {
		r.Errorf("the failure is %v, want %s of stage %s", f, code, stage)
	}
}

func (r *rig) counts() {
	r.task("count", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		n := 0
		if x.Context.Has("n") {
			var err error
			n, err = stabilize.Get[int](x.Context, "n")
			r.must(err)
		}
		return stabilize.Success().WithOutput("n", n+1), nil
	})
}

func TestDifference04_LoopsWork(t *testing.T) {
	both(t, func(r *rig) {
		r.counts()
		none := r.finish(stage("none").Do("count").While("false", 0), stage("after", "none").Do("ok"))
		r.wantStatus(none, stabilize.Succeeded)
		three := r.finish(stage("three").Do("count").With("n", 0).While("n < 3", 0), stage("after3", "three").Do("ok"))
		r.wantStatus(three, stabilize.Succeeded)
		if n, err := stabilize.Get[int](three.StageByRef("three").Outputs, "n"); err != nil || n != 3 {
			t.Errorf("the loop put out %d (%v), want 3", n, err)
		}
		once := r.finish(stage("once").Do("count").RepeatUntil("true", 0))
		r.wantStatus(once, stabilize.Succeeded)
		endless := r.finish(stage("endless").Do("count").While("true", 5), stage("never", "endless").Do("ok"))
		r.wantStatus(endless, stabilize.Terminal)
		r.wantFailure(endless.Failure, stabilize.CodeLoopLimit, "endless")
		r.wantRan(map[string]int{
			"none[0].count": 0, "after.ok": 1, "three[0].count": 1, "three[1].count": 1, "three[2].count": 1, "three[3].count": 0, "after3.ok": 1,
			"once[0].count": 1, "once[1].count": 0, "endless[4].count": 1, "endless[5].count": 0, "never.ok": 0,
		})
	})
}

func TestDifference05_AMultiMergeRunsOncePerBranch(t *testing.T) {
	both(t, func(r *rig) {
		r.task("who", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.Success().WithOutput("from", x.Stage.Ref), nil
		})
		r.task("tell", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			from, err := stabilize.Get[string](x.Context, "from")
			r.logf("%s of %s", x.Stage.Ref, from)
			return stabilize.Success(), err
		})
		w := r.finish(stage("a").Do("ok"), stage("b", "a").Do("who"), stage("c", "a").Do("who"), stage("d", "a").Do("who"),
			stage("m", "b", "c", "d").Joining(stabilize.JoinMulti, 0).Do("tell"), stage("n", "m").Joining(stabilize.JoinMulti, 0).Do("tell"))
		r.wantStatus(w, stabilize.Succeeded)
		for _, ref := range []string{"m", "n"} {
			for _, from := range []string{"b", "c", "d"} {
				r.wantRan(map[string]int{fmt.Sprintf("%s of %s", ref, from): 1})
			}
			if n := len(w.Executions(ref)); n != 3 {
				t.Errorf("%s has %d executions, want 3", ref, n)
			}
		}
	})
}

func TestDifference05_AnAddedInstanceIsWaitedFor(t *testing.T) {
	both(t, func(r *rig) {
		r.gates()
		r.sleeps()
		id := r.begin(stage("mi").Do("sleep").With("minutes", 10).Instances(stabilize.Multi{Count: 1, Open: true}), stage("j", "mi").Do("ok"))
		time.Sleep(9 * time.Minute)
		r.must(r.AddInstance(r.Context(), id, "mi", "k", stabilize.Values{"minutes": []byte("30")}))
		r.must(r.AddInstance(r.Context(), id, "mi", "k", nil)) // the same again
		r.must(r.CloseInstances(r.Context(), id, "mi"))
		time.Sleep(20 * time.Minute)
		if r.ran("j.ok") > 0 {
			t.Error("the join did not wait for the added instance")
		}
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantRan(map[string]int{"mi[0].sleep": 1, "mi[1].sleep": 1, "mi[2].sleep": 0, "j.ok": 1})
		r.wantLog("mi[0].sleep", "mi[1].sleep", "j.ok")
	})
}

func TestDifference11_ErrorsInExpressionsAreErrors(t *testing.T) {
	both(t, func(r *rig) {
		for name, c := range map[string]struct {
			s    *stabilize.StageSpec
			code string
			says string
		}{
			"a condition":    {stage("a").Do("ok").When("missing.field > 1"), stabilize.CodeExpression, "enabled"},
			"no boolean":     {stage("a").Do("ok").When("1 + 1"), stabilize.CodeExpression, "enabled"},
			"a branch":       {stage("a").Do("ok").ChooseOne(stabilize.To("b", "missing.field > 1"), stabilize.Otherwise("c")), stabilize.CodeExpression, "branch to b"},
			"no branch":      {stage("a").Do("ok").ChooseAll(stabilize.To("b", "false"), stabilize.To("c", "1 > 2")), stabilize.CodeNoBranch, "no condition"},
			"no branch, xor": {stage("a").Do("ok").ChooseOne(stabilize.To("b", "false"), stabilize.To("c", "1 > 2")), stabilize.CodeNoBranch, "no condition"},
			"a loop":         {stage("a").Do("ok").While("missing.field", 0), stabilize.CodeExpression, "repeat"},
			"a count":        {stage("a").Do("ok").Instances(stabilize.Multi{CountOf: "missing.field"}), stabilize.CodeBadCount, "number"},
		} {
			w, err := stabilize.NewWorkflow("app", name).Add(c.s, stage("b", "a").Do("ok"), stage("c", "a").Do("ok")).Build(stabilize.NewIDs(stabilize.SystemClock{}, nil), time.Now())
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			r.create(w)
			got := r.wait(w.ID)
			r.wantStatus(got, stabilize.Terminal)
			r.wantFailure(got.Failure, c.code, "a")
			if got.Failure != nil && !strings.Contains(got.Failure.Message, c.says) {
				t.Errorf("%s: the failure says %q", name, got.Failure.Message)
			}
			r.wantStage(got, "b", stabilize.Skipped, stabilize.ReasonUpstreamHalted)
			r.wantStage(got, "c", stabilize.Skipped, stabilize.ReasonUpstreamHalted)
		}
		r.wantRan(map[string]int{"b.ok": 0, "c.ok": 0})
		_, err := r.Start(r.Context(), stabilize.NewWorkflow("app", "wf").Add(stage("a").Do("ok").When("1 +")))
		if !errors.Is(err, stabilize.ErrInvalid) {
			t.Errorf("an expression that cannot be read was accepted: %v", err)
		}
	})
}

func TestDifference14_OneFailingBranchDoesNotKillAJoin(t *testing.T) {
	both(t, func(r *rig) {
		r.gates()
		tolerant := func(ref, task string) *stabilize.StageSpec {
			return stage(ref, "a").Do(task).OnFailure(stabilize.TolerateFailure)
		}
		// One of three may fail for a join of two, and any but the last for a first.
		w := r.finish(stage("a").Do("ok"), tolerant("b", "fail"), tolerant("c", "ok"), tolerant("d", "ok"),
			stage("m", "b", "c", "d").AnyOf(2).Do("ok"))
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "b", stabilize.Stopped, "")
		r.wantStage(w, "m", stabilize.Succeeded, "")
		w = r.finish(stage("a").Do("ok"), tolerant("b", "fail"), tolerant("c", "fail"), tolerant("d", "ok"),
			stage("m2", "b", "c", "d").First().Do("ok"))
		r.wantStatus(w, stabilize.Succeeded)

		// With two of three gone the join of two is known to be dead at once,
		// though the third has not ended and never will by itself.
		id := r.begin(stage("a").Do("ok"), tolerant("b", "fail"), tolerant("c", "fail"), tolerant("d", "gate"),
			stage("m3", "b", "c", "d").AnyOf(2).Do("ok"), stage("n", "m3").Do("ok"))
		began := time.Now()
		w = r.wait(id)
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it was known after %s", took)
		}
		r.wantStatus(w, stabilize.Terminal)
		r.wantStage(w, "d", stabilize.Canceled, stabilize.ReasonWithdrawn)
		r.wantStage(w, "m3", stabilize.Skipped, stabilize.ReasonDeadPath)
		r.wantStage(w, "n", stabilize.Skipped, stabilize.ReasonDeadPath)
		r.wantFailure(w.StageByRef("m3").Failure, stabilize.CodeUnreachable, "m3")
		r.wantRan(map[string]int{"m.ok": 1, "m2.ok": 1, "m3.ok": 0, "n.ok": 0})
	})
}

func TestDifference15_SignalsAreAddressed(t *testing.T) {
	both(t, func(r *rig) {
		r.gates()
		send := func(id, name, text, key string) bool {
			var opts []engine.SignalOption
			if key != "" {
				opts = append(opts, engine.SignalKey(key))
			}
			delivered, err := r.Signal(r.Context(), id, name, stabilize.Values{"text": []byte(text)}, opts...)
			r.must(err)
			synctest.Wait()
			return delivered
		}
		// Two wait; only the one whose name it is goes on.
		id := r.begin(stage("x").Do("gate"), stage("y").Do("gate", "gate"), stage("z", "y").Do("gate"))
		synctest.Wait()
		if send(id, "other", "0", "") {
			t.Error("a signal that nobody waits for was delivered")
		}
		if w, _ := r.Get(r.Context(), id); w.StageByRef("x").Status != stabilize.Suspended || w.StageByRef("y").Status != stabilize.Suspended {
			t.Fatal("a signal of another name ended a wait")
		}
		// Each is consumed once, in order, one key comes once.
		if !send(id, "y", "1", "k1") || !send(id, "y", "2", "k2") || !send(id, "y", "2", "k2") || send(id, "z", "3", "") != true {
			t.Error("a signal was not delivered")
		}
		if send(id, "z", "4", "") || send(id, "z", "5", "") {
			t.Error("a signal was delivered to a stage that has ended")
		}
		w, err := r.Get(r.Context(), id)
		r.must(err)
		var left []string
		for _, s := range w.Signals {
			if !s.Consumed {
				left = append(left, s.Name+string(s.Data["text"]))
			}
		}
		if want := []string{"other0", "z4", "z5"}; !slices.Equal(left, want) {
			t.Errorf("left over are %v, want %v", left, want)
		}
		if !send(id, "x", "6", "") {
			t.Error("the last signal was not delivered")
		}
		w = r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		for what, want := range map[string]int{
			`y got map[text:1]`: 1, `y got map[text:2]`: 1, `z got map[text:3]`: 1, `x got map[text:6]`: 1,
		} {
			if got := r.ran(what); got != want {
				t.Errorf("%s: %d times in %v", what, got, r.logged())
			}
		}
		if _, err := r.Signal(r.Context(), id, "x", nil); !errors.Is(err, stabilize.ErrFinished) {
			t.Errorf("signalling a finished workflow: %v", err)
		}
	})
}

func TestDifference16_AMilestoneWaitsForItsState(t *testing.T) {
	both(t, func(r *rig) {
		r.gates()
		net := func() string {
			return r.begin(stage("r").Do("ok"), stage("m", "r").Do("gate"), stage("w", "m").Do("gate"), stage("x", "w").Do("ok"),
				stage("p", "r").Do("gate"), stage("g", "p").Milestone("m", "x").Do("ok"))
		}
		signal := func(id, name string) {
			_, err := r.Signal(r.Context(), id, name, nil)
			r.must(err)
			synctest.Wait()
		}
		now := func(id, ref string) stabilize.Status {
			w, err := r.Get(r.Context(), id)
			r.must(err)
			return w.StageByRef(ref).Status
		}
		id := net() // its turn comes before the state holds: it waits
		synctest.Wait()
		signal(id, "p")
		if s := now(id, "g"); s != stabilize.NotStarted {
			t.Errorf("before its milestone it is %s", s)
		}
		signal(id, "m")
		if s := now(id, "g"); s != stabilize.Succeeded {
			t.Errorf("with its milestone it is %s", s)
		}
		signal(id, "w")
		r.wantStatus(r.wait(id), stabilize.Succeeded)

		id = net() // the state has passed: it is dead
		synctest.Wait()
		signal(id, "m")
		signal(id, "w")
		signal(id, "p")
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "g", stabilize.Skipped, stabilize.ReasonMilestone)
	})
}
