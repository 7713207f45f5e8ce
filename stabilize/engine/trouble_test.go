package engine_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// Each test here is a way in which something once went wrong.

func sleepy(d time.Duration) execute {
	return func(ctx context.Context, _ *stabilize.Execution) (stabilize.Result, error) {
		select {
		case <-ctx.Done():
			return stabilize.Result{}, ctx.Err()
		case <-time.After(d):
			return stabilize.Success(), nil
		}
	}
}

func TestAnEarlyEndDuringCleanup(t *testing.T) {
	cleaned := stabilize.WithCleanup(func(context.Context, *stabilize.Execution) error { time.Sleep(time.Minute); return nil })
	both(t, func(r *rig) {
		r.task("clean", sleepy(0), cleaned)
		id := r.begin(stage("a").Do("clean"), stage("b", "a").Do("ok"))
		time.Sleep(10 * time.Second)
		r.must(r.Cancel(r.Context(), id, "", ""))
		r.wantStatus(r.wait(id), stabilize.Canceled)
	})
	both(t, func(r *rig) {
		r.task("clean", sleepy(0), cleaned)
		r.task("fail late", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			time.Sleep(30 * time.Second)
			return stabilize.Fail("late"), nil
		})
		r.wantStatus(r.finish(stage("a").Do("clean"), stage("b", "a").Do("ok"), stage("c").Do("fail late")), stabilize.Terminal)
	})
}

type textError struct{ text string }

func (e *textError) Error() string { return e.text } // panics on nil

func TestCodeThatBreaksTheRulesFailsItsTaskOnly(t *testing.T) {
	both(t, func(r *rig) {
		r.task("typed nil", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			var none *textError
			return stabilize.Success(), none
		})
		r.task("exit", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			runtime.Goexit()
			return stabilize.Success(), nil
		})
		r.task("exit in time", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			runtime.Goexit()
			return stabilize.Success(), nil
		}, stabilize.WithTimeout(time.Hour))
		r.task("no text", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.Result{}, errors.New("\xff" + strings.Repeat("long ", 10_000))
		})
		for task, code := range map[string]string{
			"typed nil": stabilize.CodePanic, "exit": stabilize.CodePanic, "exit in time": stabilize.CodePanic, "no text": stabilize.CodeTaskFailed,
		} {
			began := time.Now()
			w := r.finish(stage("a").Do(task))
			r.wantStatus(w, stabilize.Terminal)
			if codeOf(w) != code || time.Since(began) > time.Minute {
				t.Errorf("%s: after %s the failure is %.200v", task, time.Since(began), w.Failure)
			}
		}
	})
}

func TestARecorderThatPanics(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		r := newRig(t, d, engine.WithRecorder(events.RecorderFunc(func(context.Context, []events.Event) { panic("recorder") })))
		r.start()
		w, err := r.Wait(t.Context(), r.begin(stage("a").Do("ok"), stage("b", "a").Do("ok")))
		r.must(err)
		r.wantStatus(w, stabilize.Succeeded)
		r.close()
	})
}

// Two engines take turns, so that one's memory of a workflow is old when it
// sees the next message.
func TestAnOldSnapshotFailsNothing(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		make := func() *rig {
			r := newRig(t, d, engine.WithoutCascade())
			r.task("poll", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
				if x.Polls == 0 {
					return stabilize.StillRunning(time.Minute), nil
				}
				return stabilize.Success(), nil
			})
			r.task("minute", sleepy(time.Minute))
			return r
		}
		one, two := make(), make()
		one.start()
		id := one.begin(stage("a").Do("poll", "minute"))
		time.Sleep(10 * time.Second)
		one.stop()
		two.start()
		time.Sleep(80 * time.Second)
		two.stop() // its result is committed, what follows is in the queue
		one.start()
		began := time.Now()
		w := one.wait(id)
		one.wantStatus(w, stabilize.Succeeded)
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %s to go on", took)
		}
		one.close()
		two.must(two.Close())
	})
}

// refusing refuses the first commit that creates something.
type refusing struct {
	persistence.Store
	done bool
}

func (s *refusing) CommitBatch(ctx context.Context, commits []*persistence.Commit) []error {
	if !s.done && commits[0].Expect == 0 {
		s.done = true
		return []error{&stabilize.TooLargeError{What: "workflow", Size: 2, Max: 1}}
	}
	return s.Store.CommitBatch(ctx, commits)
}

func TestARefusedStartLeavesNoTrace(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		r := newRigOn(t, &refusing{Store: d()})
		r.start()
		spec := stabilize.NewWorkflow("app", "wf").Add(stage("a").Do("ok"))
		if _, err := r.Start(t.Context(), spec, engine.WithKey("k")); !errors.Is(err, stabilize.ErrTooLarge) {
			t.Errorf("the refused start answers %v", err)
		}
		id, err := r.Start(t.Context(), spec, engine.WithKey("k"))
		r.must(err)
		r.wantStatus(r.wait(id), stabilize.Succeeded)
		r.close()
	})
}

func TestAHookWhoseTypeIsGoneKeepsNothingOpen(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		first := newRig(t, d)
		first.task("clean", sleepy(0), stabilize.WithCleanup(func(ctx context.Context, _ *stabilize.Execution) error {
			<-ctx.Done()
			return ctx.Err()
		}))
		first.start()
		id := first.begin(stage("a").Do("clean"))
		synctest.Wait()
		hard, cancel := context.WithCancel(t.Context())
		cancel()
		first.Stop(hard)
		first.stop()
		second := newRig(t, d)
		second.start()
		second.wantStatus(second.wait(id), stabilize.Succeeded)
		second.close()
		first.must(first.Close())
	})
}

func TestAnswersThatLeaveNoRoomAreRefused(t *testing.T) {
	const most = 20_000
	for left := 0; left < 3000; left += 97 {
		t.Run(fmt.Sprint(left), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, err := sqlstore.Open(t.Context(), sqlstore.Config{
					Path: filepath.Join(t.TempDir(), "x.db"), Migrate: true, Synchronous: sqlstore.Normal, MaxPayload: most,
				})
				if err != nil {
					t.Fatal(err)
				}
				r := newRigOn(t, store)
				runs := 0
				r.task("big", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
					runs++
					return stabilize.Success().WithOutput("x", strings.Repeat("x", most-left)), nil
				})
				r.start()
				w := r.finish(stage("a").Do("big", "ok"))
				if w.Status != stabilize.Succeeded && codeOf(w) != stabilize.CodeInvalidResult || runs != 1 {
					t.Errorf("with %d bytes left it is %s after %d runs: %v", left, w.Status, runs, w.Failure)
				}
				r.close()
				r.must(store.Close())
			})
		})
	}
}

func TestLimitsHoldForWhatEndsAtOnce(t *testing.T) {
	both(t, func(r *rig) {
		r.task("long", sleepy(10*time.Minute))
		_, err := r.Start(r.Context(), stabilize.NewWorkflow("app", "one").LimitConcurrent("cfg", 1).Add(stage("a").Do("long")))
		r.must(err)
		id, err := r.Start(r.Context(), stabilize.NewWorkflow("app", "two").LimitConcurrent("cfg", 1).Add(stage("a").Do("ok").Disabled()))
		r.must(err)
		time.Sleep(time.Minute)
		w, err := r.Get(r.Context(), id)
		r.must(err)
		r.wantStatus(w, stabilize.Buffered)
		r.wantStatus(r.wait(id), stabilize.Succeeded)
	})
}

func TestTheFirstInLineIsAskedWhateverTheLimitOfOthers(t *testing.T) {
	both(t, func(r *rig) {
		r.task("minute", sleepy(time.Minute))
		r.task("hour", sleepy(time.Hour))
		begin := func(task string, limit int) string {
			id, err := r.Start(r.Context(), stabilize.NewWorkflow("app", "wf").LimitConcurrent("cfg", limit).Add(stage("a").Do(task)))
			r.must(err)
			return id
		}
		begin("minute", 1)
		begin("hour", 2)
		waiting := begin("minute", 2)
		time.Sleep(90 * time.Second)
		w, err := r.Get(r.Context(), waiting)
		r.must(err)
		r.wantStatus(w, stabilize.Running)
	}, engine.WithConfig(engine.Config{SweepInterval: 1000 * time.Hour}))
}

func TestAPlannedRefThatIsTakenFailsItsStage(t *testing.T) {
	both(t, func(r *rig) {
		r.must(r.RegisterStage("family", familyType{before: []string{"ok"}}))
		w := r.finish(stage("p").OfType("family"), stage("p<s0").Do("ok"))
		r.wantStatus(w, stabilize.Terminal)
		if codeOf(w) != stabilize.CodePlanning {
			t.Errorf("the failure is %v", w.Failure)
		}
	})
}

func TestAStartDuringAHardStopIsAnswered(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		r := newRigOn(t, unhurried{d()})
		r.start()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if _, err := r.Start(t.Context(), stabilize.NewWorkflow("a", "b").Add(stage("a").Do("ok"))); err != nil {
					t.Errorf("Start: %v", err)
				}
			})
		}
		time.Sleep(500 * time.Millisecond)
		hard, cancel := context.WithCancel(t.Context())
		cancel()
		r.Stop(hard)
		all.Wait()
		r.stop()
		r.must(r.Close())
	})
}

// A discriminator lets a ladder of stages run while one branch is under way:
// looking for the ancestors of each must not try every path.
func TestManyPathsBelowAStageUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, inMemory(t))
		r.task("hour", sleepy(time.Hour))
		r.start()
		specs := []*stabilize.StageSpec{
			stage("quick").Do("ok"), stage("slow").Do("hour"),
			stage("0a", "quick", "slow").Joining(stabilize.JoinDiscriminator, 0).Do("ok"),
			stage("0b", "quick", "slow").Joining(stabilize.JoinDiscriminator, 0).Do("ok"),
		}
		for i := range 60 {
			a, b := fmt.Sprint(i, "a"), fmt.Sprint(i, "b")
			specs = append(specs, stage(fmt.Sprint(i+1, "a"), a, b).Do("ok"), stage(fmt.Sprint(i+1, "b"), a, b).Do("ok"))
		}
		r.wantStatus(r.finish(specs...), stabilize.Succeeded)
		r.close()
	})
}

func TestKeysAreNotMixedUp(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		r := newRig(t, d)
		one, err := r.Start(t.Context(), stabilize.NewWorkflow("a\x1fb", "c").Add(stage("a").Do("ok")), engine.WithKey("k"))
		r.must(err)
		two, err := r.Start(t.Context(), stabilize.NewWorkflow("a", "b\x1fc").Add(stage("a").Do("ok")), engine.WithKey("k"))
		r.must(err)
		if one == two {
			t.Error("one key of two applications started one workflow")
		}
		if _, err := r.Start(t.Context(), stabilize.NewWorkflow("a", "b").Add(stage("a").Do("ok")), engine.WithKey("")); !errors.Is(err, stabilize.ErrInvalid) {
			t.Errorf("an empty key: %v", err)
		}
		r.must(r.Close())
	})
}
