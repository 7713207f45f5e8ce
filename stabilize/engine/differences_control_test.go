package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// What the reference's cancel leaves alone: synthetic children of any depth,
// suspended and paused tasks, child workflows and theirs, running code, waits
// under a timer, instances.
func TestDifference06_CancellationReachesWhatIsHidden(t *testing.T) {
	both(t, func(r *rig) {
		r.gates()
		told := make(chan string, 20)
		r.task("block", func(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), stabilize.ErrCanceled) {
				t.Errorf("%s was told %v", x.Stage.Ref, context.Cause(ctx))
			}
			told <- x.Stage.Ref
			return stabilize.Success().WithOutput("late", true), nil
		})
		r.task("poll", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.StillRunning(time.Minute), nil
		})
		r.task("child", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			in := "block"
			if x.Workflow.Parent == nil {
				in = "child"
			}
			return stabilize.AwaitChild(stabilize.NewWorkflow("app", "child of "+x.Workflow.Name).Add(stage("in").Do(in), stage("next", "in").Do("ok"))), nil
		})
		r.must(r.RegisterStage("family", familyType{after: []string{"gate"}, tasks: []string{"ok"}}))
		id := r.begin(
			stage("body").Do("ok").Body(stage("deep").Do("ok").Body(stage("er").Do("block"))),
			stage("after").OfType("family"),
			stage("waits").Do("gate"), stage("timed").Do("timed"),
			stage("parked").Do("poll"), stage("waitsParked").Do("gate"),
			stage("kids").Do("child"),
			stage("many").Do("block").Instances(stabilize.Multi{Count: 3, Limit: 2}),
			stage("loop").Do("gate").While("true", 5),
		)
		time.Sleep(time.Second)
		r.must(r.PauseStage(r.Context(), id, "parked"))
		r.must(r.PauseStage(r.Context(), id, "waitsParked"))
		time.Sleep(5 * time.Minute)
		w, err := r.Get(r.Context(), id)
		r.must(err)
		if s := w.StageByRef("parked"); s.Tasks[0].Status != stabilize.Paused || s.Status != stabilize.Paused {
			t.Fatalf("the poll of the paused stage is %s", s.Tasks[0].Status)
		}
		before := len(r.logged())
		r.must(r.Cancel(r.Context(), id, "ann", "enough"))
		w = r.wait(id)
		r.wantStatus(w, stabilize.Canceled)
		for _, s := range w.Stages {
			if s.Status != stabilize.Canceled || s.Outputs.Has("late") {
				t.Errorf("stage %s is %s with %s", s.Ref, s.Status, s.Outputs)
			}
		}
		// All of the family below, to the last workflow.
		page, err := r.List(r.Context(), persistence.Query{Application: "app"})
		r.must(err)
		if len(page.Workflows) != 3 {
			t.Fatalf("there are %d workflows, want three generations", len(page.Workflows))
		}
		for _, h := range page.Workflows {
			end := r.wait(h.ID)
			r.wantStatus(end, stabilize.Canceled)
			if h.Parent != nil && (end.Cancel == nil || end.Cancel.Reason != stabilize.ReasonParentEnded) {
				t.Errorf("%s was canceled by %+v", h.Name, end.Cancel)
			}
		}
		synctest.Wait()
		var heard []string
		for len(told) > 0 {
			heard = append(heard, <-told)
		}
		slices.Sort(heard)
		if want := []string{"body/deep/er", "in", "many[0]", "many[1]"}; !slices.Equal(heard, want) {
			t.Errorf("of the running code %v was told, want %v", heard, want)
		}
		if log := r.logged(); len(log) != before {
			t.Errorf("after the cancel these ran: %v", log[before:])
		}
	}, patient())
}

// In the reference a restart resets the one stage, and the run hangs.
func TestDifference08_RestartingAStageResetsWhatDependsOnIt(t *testing.T) {
	both(t, func(r *rig) {
		good := false
		r.task("maybe", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			if !good {
				time.Sleep(time.Second)
				return stabilize.Fail("not yet"), nil
			}
			return stabilize.Success().WithOutput("v", x.Stage.Round), nil
		})
		r.task("slow", func(ctx context.Context, _ *stabilize.Execution) (stabilize.Result, error) {
			if !good {
				<-ctx.Done()
			}
			return stabilize.Success(), ctx.Err()
		})
		r.task("read", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			v, err := stabilize.Get[int](x.Context, "v")
			r.must(err)
			return stabilize.Success().WithOutput(x.Stage.Ref, v).WithContext("scratch", v), nil
		})
		id := r.begin(stage("a").Do("ok"), stage("b", "a").Do("maybe"), stage("c", "b").Do("read"), stage("d", "c").Do("read"), stage("side", "a").Do("slow"))
		w := r.wait(id)
		r.wantStatus(w, stabilize.Terminal)
		for _, round := range []int{1, 2} {
			good = true
			r.forget()
			r.must(r.Restart(r.Context(), id, "b", fmt.Sprint("user", round)))
			w = r.wait(id)
			r.wantStatus(w, stabilize.Succeeded)
			for _, ref := range []string{"b", "c", "d"} {
				s := w.StageByRef(ref)
				want := round
				if ref != "b" && round == 1 { // it had not begun: nothing to keep
					want = s.Round
				}
				if s.Status != stabilize.Succeeded || s.Round != want || s.Round == 0 && ref == "b" {
					t.Errorf("after restart %d stage %s is in round %d, %s", round, ref, s.Round, s.Status)
				}
				if ref != "b" {
					if v, err := stabilize.Get[int](s.Outputs, ref); err != nil || v != round {
						t.Errorf("after restart %d stage %s read %d (%v)", round, ref, v, err)
					}
				}
			}
			if a, side := w.StageByRef("a"), w.StageByRef("side"); a.Round != 0 || side.Round != 1 {
				t.Errorf("what does not depend on it is in round %d, what was cut short in %d", a.Round, side.Round)
			}
			o := w.StageByRef("b").State.Origin
			if o == nil || o.Kind != stabilize.OriginRestart || o.By != fmt.Sprint("user", round) || (o.Failure != nil) != (round == 1) {
				t.Errorf("the origin of round %d is %+v", round, o)
			}
		}
		// What was stays to be read.
		first := w.StageInRound("b", 0)
		if first == nil || !first.Superseded || first.Status != stabilize.Terminal || first.Failure == nil || len(w.Rounds("b")) != 3 {
			t.Errorf("the first round is %+v", first)
		}
		if v, err := stabilize.Get[int](w.Rounds("c")[len(w.Rounds("c"))-2].Outputs, "c"); err != nil || v != 1 {
			t.Errorf("the round before put out %d (%v)", v, err)
		}
		r.wantRan(map[string]int{"a.ok": 1, "b.maybe": 3, "c.read": 2, "d.read": 2, "side.slow": 2})
	})
}

// forget lets a workflow end once more: the ends recorded so far do not count.
func (r *rig) forget() {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = nil
}
