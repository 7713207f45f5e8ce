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

	"pgregory.net/rapid"

	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// plannedStage is a stage as drawn: data, so that the same workflow can be
// built again.
type plannedStage struct {
	after     []int
	tasks     []string
	typ       string
	join      stabilize.JoinType
	threshold int
	policy    stabilize.OnFailure
	disabled  bool
}

func drawWorkflow(t *rapid.T) []plannedStage {
	behaviours := []string{"ok", "ok", "ok", "slow", "fail", "shrug", "skip", "stop", "flaky", "poll", "panic", "late"}
	var plan []plannedStage
	for i := range rapid.IntRange(1, 8).Draw(t, "stages") {
		var s plannedStage
		for j := range i {
			if rapid.IntRange(0, 2).Draw(t, "edge") == 0 {
				s.after = append(s.after, j)
			}
		}
		s.tasks = rapid.SliceOfN(rapid.SampledFrom(behaviours), 0, 3).Draw(t, "tasks")
		s.typ = rapid.SampledFrom([]string{"", "", "", "family", "sour", "sourBefore"}).Draw(t, "type")
		s.join = rapid.SampledFrom([]stabilize.JoinType{stabilize.JoinAnd, stabilize.JoinAnd, stabilize.JoinOr, stabilize.JoinDiscriminator}).Draw(t, "join")
		if n := len(s.after); n > 0 && rapid.Bool().Draw(t, "n of m") {
			s.join, s.threshold = stabilize.JoinNOfM, rapid.IntRange(1, n).Draw(t, "n")
		}
		s.policy = rapid.SampledFrom([]stabilize.OnFailure{stabilize.FailWorkflow, stabilize.ContinueOnFailure, stabilize.StopBranch, stabilize.FailAfterOthers}).Draw(t, "policy")
		s.disabled = rapid.IntRange(0, 9).Draw(t, "disabled") == 0
		plan = append(plan, s)
	}
	return plan
}

func specOf(plan []plannedStage) []*stabilize.StageSpec {
	var specs []*stabilize.StageSpec
	for i, p := range plan {
		s := stabilize.NewStage(fmt.Sprint("s", i)).Do(p.tasks...).OfType(p.typ).Joining(p.join, p.threshold).OnFailure(p.policy)
		for _, j := range p.after {
			s.After(fmt.Sprint("s", j))
		}
		if p.disabled {
			s.Disabled()
		}
		specs = append(specs, s)
	}
	return specs
}

// TestAnyWorkflowEnds runs random workflows of every behaviour, canceled at a
// random time or not: each ends, with nothing left over, and without the
// interference of time it ends the same way with and without the cascade.
func TestAnyWorkflowEnds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plan := drawWorkflow(rt)
		cancelAfter := time.Duration(rapid.IntRange(-20, 20).Draw(rt, "cancel after")) * 10 * time.Second
		var ends []string
		for _, opts := range [][]engine.Option{nil, {engine.WithoutCascade()}} {
			ended := t.Run("run", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, inMemory(t), opts...)
					r.behaviours()
					r.start()
					defer r.close()
					id := r.begin(specOf(plan)...)
					if cancelAfter > 0 {
						time.Sleep(cancelAfter)
						if err := r.Cancel(r.Context(), id, "", ""); err != nil && !errors.Is(err, stabilize.ErrFinished) {
							r.Fatal(err)
						}
					}
					w := r.wait(id)
					if cancelAfter <= 0 {
						parts := strings.Fields(describe(w))
						slices.Sort(parts) // when synthetic stages were added is a matter of time
						ends = append(ends, strings.Join(parts, " "))
					}
				})
			})
			if !ended {
				rt.Fatalf("with %+v, canceled after %s", plan, cancelAfter)
			}
		}
		// A failure stops what happens to be under way, which is a matter of time.
		raced := strings.Contains(fmt.Sprint(ends), stabilize.Canceled.String())
		if len(ends) == 2 && !raced && ends[0] != ends[1] {
			rt.Fatalf("with %+v\nthe cascade ends with %s\nthe queue ends with   %s", plan, ends[0], ends[1])
		}
	})
}

// behaviours registers the tasks and stage types of random workflows.
func (r *rig) behaviours() {
	wait := func(ctx context.Context, d time.Duration) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(d):
			return nil
		}
	}
	answer := func(res stabilize.Result) execute {
		return func(context.Context, *stabilize.Execution) (stabilize.Result, error) { return res, nil }
	}
	r.task("slow", func(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		// No two stages are slow for the same time, so their order is sure.
		d := time.Duration(1+x.Stage.Position) * 7 * time.Second
		return stabilize.Success(), wait(ctx, d)
	}, stabilize.OnCancel(func(ctx context.Context, _ *stabilize.Execution) (stabilize.Result, error) {
		return stabilize.Success(), wait(ctx, time.Second)
	}), stabilize.WithCleanup(func(ctx context.Context, _ *stabilize.Execution) error { return wait(ctx, time.Second) }))
	r.task("shrug", answer(stabilize.FailAndContinue("never mind")))
	r.task("skip", answer(stabilize.Skip()))
	r.task("stop", answer(stabilize.Stop()))
	r.task("flaky", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		if x.Attempt < 3 {
			return stabilize.Result{}, stabilize.Transient(errors.New("busy"))
		}
		return stabilize.Success(), nil
	})
	r.task("poll", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		if x.Polls < 2 {
			return stabilize.StillRunning(3 * time.Second), nil
		}
		return stabilize.Success(), nil
	})
	r.task("panic", func(context.Context, *stabilize.Execution) (stabilize.Result, error) { panic("no") })
	r.task("late", func(ctx context.Context, _ *stabilize.Execution) (stabilize.Result, error) {
		return stabilize.Success(), wait(ctx, time.Hour)
	}, stabilize.WithTimeout(5*time.Second))
	r.must(r.RegisterStage("family", familyType{before: []string{"ok", "skip"}, tasks: []string{"ok"}, after: []string{"slow"}, onFailure: []string{"slow", "fail"}}))
	r.must(r.RegisterStage("sour", familyType{before: []string{"ok"}, after: []string{"ok", "fail", "ok"}, onFailure: []string{"ok"}}))
	r.must(r.RegisterStage("sourBefore", familyType{before: []string{"slow", "stop", "ok"}, tasks: []string{"ok"}}))
}
