package engine_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/handlers"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// poisoned makes the handler of one message kind fail.
func poisoned(t *testing.T, h handlers.Handler) engine.Option {
	t.Helper()
	set := handlers.NewSet()
	if err := set.Add(h); err != nil {
		t.Fatal(err)
	}
	return engine.WithHandlers(queue.NewRegistry(), set)
}

func TestADeadLetterEndsWhatItWasFor(t *testing.T) {
	broken := errors.New("cannot be handled")
	for _, c := range []struct {
		name    string
		handler handlers.Handler
		code    string
	}{
		{"a task message", handlers.Handle(func(*handlers.Decision, queue.StartTask) error { return broken }), stabilize.CodeDeadLetter},
		{"a stage message", handlers.Handle(func(*handlers.Decision, queue.StartStage) error { return broken }), stabilize.CodeDeadLetter},
		{"a stage message, by panic", handlers.Handle(func(*handlers.Decision, queue.CompleteStage) error { panic("poison") }), stabilize.CodeDeadLetter},
		{"the message that would end the workflow", handlers.Handle(func(*handlers.Decision, queue.CompleteWorkflow) error { return broken }), stabilize.CodeDeadLetter},
		{"a workflow message", handlers.Handle(func(*handlers.Decision, queue.StartWorkflow) error { return broken }), stabilize.CodeDeadLetter},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(r *rig) {
				id := r.begin(stage("a").Do("ok"), stage("b", "a").Do("ok"))
				w := r.waitDead(id)
				r.wantStatus(w, stabilize.Terminal)
				if codeOf(w) != c.code || !strings.Contains(w.Failure.Message, "10 attempts") {
					t.Errorf("the failure is %+v", w.Failure)
				}
				dead, err := r.Store().ListDead(r.Context(), "", 10)
				r.must(err)
				if len(dead) == 0 || dead[0].WorkflowID != id || dead[0].LastError == "" {
					t.Errorf("the dead letters are %+v", dead)
				}
			}, poisoned(t, c.handler))
		})
	}
}

func TestAWorkflowThatCannotBeCreatedEndsTheTaskThatWaitsForIt(t *testing.T) {
	both(t, func(r *rig) {
		r.task("call", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.AwaitChild(stabilize.NewWorkflow("test", "child").Add(stage("c").Do("ok"))), nil
		})
		w := r.waitDead(r.begin(stage("a").Do("call"), stage("b", "a").Do("ok")))
		r.wantStatus(w, stabilize.Terminal)
		if codeOf(w) != stabilize.CodeDeadLetter || w.Failure.Task != "call" || !strings.Contains(w.Failure.Message, "CreateWorkflow") {
			t.Errorf("the failure is %+v", w.Failure)
		}
	}, poisoned(t, handlers.Handle(func(*handlers.Decision, queue.CreateWorkflow) error { return errors.New("cannot be handled") })))
}

// waitDead waits without the checks that hold only where every handler works.
func (r *rig) waitDead(id string) *stabilize.Workflow {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), 12*time.Hour)
	defer cancel()
	w, err := r.Wait(ctx, id)
	if err != nil {
		w, _ = r.Get(r.Context(), id)
		r.Fatalf("%v: %s", err, describe(w))
	}
	return w
}

func TestAWorkerThatCrashesOnATaskDoesNotCrashForEver(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		crashes := 0
		var id string
		for id == "" || crashes < queue.DefaultMaxAttempts {
			store := &mortal{Store: d(), dead: make(chan struct{})}
			r := newRigOn(t, store)
			r.task("crash", func(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
				if crashes++; x.Attempt != crashes {
					t.Errorf("run %d was told it is attempt %d", crashes, x.Attempt)
				}
				close(store.dead)
				<-ctx.Done()
				return stabilize.Result{}, ctx.Err()
			})
			r.start()
			if id == "" {
				id = r.begin(stage("a").Do("crash"))
			}
			<-store.dead
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			r.Stop(ctx)
			r.stop()
			time.Sleep(time.Minute) // the lease lapses
		}
		r := newRig(t, d)
		r.task("crash", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			t.Error("the task ran once too often")
			return stabilize.Success(), nil
		})
		r.start()
		w := r.wait(id)
		r.wantStatus(w, stabilize.Terminal)
		if codeOf(w) != stabilize.CodeDeadLetter || w.Failure.Task != "crash" {
			t.Errorf("the failure is %+v", w.Failure)
		}
		r.close()
	})
}

func TestInvalidReferencesEndInAVisibleState(t *testing.T) {
	both(t, func(r *rig) {
		r.task("gate", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.Suspend("never"), nil
		})
		for _, c := range []struct {
			name    string
			message func(w *stabilize.Workflow) queue.Message
			stage   stabilize.Status
		}{
			{"a stage", func(w *stabilize.Workflow) queue.Message {
				return queue.CompleteStage{OfStage: queue.ToStage(w.ID, "no such stage")}
			}, stabilize.Canceled},
			{"a task", func(w *stabilize.Workflow) queue.Message {
				return queue.StartTask{OfTask: queue.ToTask(w.ID, w.Stages[0].ID, "no such task")}
			}, stabilize.Terminal},
		} {
			id := r.begin(stage("a").Do("gate"))
			synctest.Wait()
			w, err := r.Get(r.Context(), id)
			r.must(err)
			r.must(r.Store().Push(r.Context(), queue.Outgoing{Message: c.message(w)}))
			w = r.wait(id)
			r.wantStatus(w, stabilize.Terminal)
			if got := w.StageByRef("a").Status; got != c.stage || codeOf(w) != stabilize.CodeInvalidReference {
				t.Errorf("%s: stage a is %s, the failure %+v", c.name, got, w.Failure)
			}
		}
		// A message for a workflow that is gone is logged and forgotten.
		r.must(r.Store().Push(r.Context(), queue.Outgoing{Message: queue.StartWorkflow{OfWorkflow: queue.ToWorkflow("gone")}}))
		time.Sleep(time.Second)
		depth, err := r.Store().Depth(r.Context())
		r.must(err)
		if depth.Live() != 0 || depth.Dead != 0 {
			t.Errorf("the queue holds %+v", depth)
		}
	})
}

func TestATaskTypeThatIsGoneFailsItsTask(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		first := newRig(t, d)
		first.task("extra", func(context.Context, *stabilize.Execution) (stabilize.Result, error) { return stabilize.Success(), nil })
		id := first.begin(stage("a").Do("extra"), stage("b").Do("ok"))
		second := newRig(t, d) // does not know the type
		second.start()
		w := second.wait(id)
		second.wantStatus(w, stabilize.Terminal)
		if codeOf(w) != stabilize.CodeUnknownTaskType || w.Failure.Stage != "a" || !strings.Contains(w.Failure.Message, "extra") {
			t.Errorf("the failure is %+v", w.Failure)
		}
		second.close()
		first.must(first.Close())
	})
}

// lossy loses the reply of every third batch that was applied.
type lossy struct {
	persistence.Store
	n int
}

func (l *lossy) CommitBatch(ctx context.Context, commits []*persistence.Commit) []error {
	errs := l.Store.CommitBatch(ctx, commits)
	if l.n++; l.n%3 == 0 {
		for i := range errs {
			if errs[i] == nil {
				errs[i] = stabilize.ErrUnknownOutcome
			}
		}
	}
	return errs
}

func TestALostReplyAppliesNothingTwice(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		r := newRigOn(t, &lossy{Store: d()})
		r.start()
		const length = 10
		var stages []*stabilize.StageSpec
		for i := range length {
			s := stage(string(rune('a' + i))).Do("ok")
			if i > 0 {
				s.After(string(rune('a' + i - 1)))
			}
			stages = append(stages, s)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		w, err := r.Wait(ctx, r.begin(stages...))
		r.must(err)
		r.wantStatus(w, stabilize.Succeeded)
		if w.Version != length+1 {
			t.Errorf("%d commits for %d steps", w.Version, length)
		}
		r.close()
	})
}

func TestACorruptRowStopsItsWorkflowOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "corrupt.db")
		store, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path, Migrate: true})
		if err != nil {
			t.Fatal(err)
		}
		r := newRigOn(t, store, engine.WithConfig(engine.Config{CacheSize: -1}))
		r.task("gate", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.Suspend("never"), nil
		})
		r.start()
		id := r.begin(stage("a").Do("gate"))
		synctest.Wait()
		db, err := sql.Open("sqlite", path)
		r.must(err)
		if _, err := db.ExecContext(t.Context(), `UPDATE stages SET body = replace(body, 'SUSPENDED', 'ASLEEP') WHERE workflow_id = ?`, id); err != nil {
			t.Fatal(err)
		}
		r.must(db.Close())
		if _, err := r.Get(t.Context(), id); !errors.Is(err, stabilize.ErrCorrupt) || !strings.Contains(err.Error(), "stages") {
			t.Errorf("a corrupt row is read as %v", err)
		}
		r.must(r.Store().Push(t.Context(), queue.Outgoing{Message: queue.CancelWorkflow{OfWorkflow: queue.ToWorkflow(id)}, MaxAttempts: 1}))
		time.Sleep(time.Minute)
		dead, err := r.Store().ListDead(t.Context(), "", 10)
		r.must(err)
		if len(dead) == 0 || !strings.Contains(dead[0].LastError, "stages") {
			t.Errorf("the dead letters are %+v", dead)
		}
		r.wantStatus(r.finish(stage("still alive").Do("ok")), stabilize.Succeeded)
		r.close()
		r.must(store.Close())
	})
}
