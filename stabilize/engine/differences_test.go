package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// Each test here is named after a weakness of the reference that is none of
// ours, by its number in the list of intended differences, and fails on the
// reference's behaviour.

func TestDifference01_ConcurrencyLimitsAreExact(t *testing.T) {
	both(t, func(r *rig) {
		const limit, total = 2, 9
		running, most := 0, 0
		var order []string
		r.task("work", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			r.mu.Lock()
			running++
			most = max(most, running)
			order = append(order, x.Workflow.Name)
			r.mu.Unlock()
			time.Sleep(time.Minute)
			r.mu.Lock()
			running--
			r.mu.Unlock()
			return stabilize.Success(), nil
		})
		var ids, names []string
		for i := range total {
			name := fmt.Sprint("w", i)
			names = append(names, name)
			id, err := r.Start(r.Context(), stabilize.NewWorkflow("app", name).LimitConcurrent("cfg", limit).Add(stage("a").Do("work")))
			r.must(err)
			ids = append(ids, id)
		}
		for _, id := range ids {
			r.wantStatus(r.wait(id), stabilize.Succeeded)
		}
		if most != limit {
			t.Errorf("%d ran at once under a limit of %d", most, limit)
		}
		for i := range total { // two start together: their order among themselves is free
			if slices.Index(order, names[i])/limit != i/limit {
				t.Errorf("started in the order %v, submitted in the order %v", order, names)
				break
			}
		}
		places, err := r.Store().Admissions(r.Context(), "3:app:cfg")
		r.must(err)
		if len(places.Holding)+len(places.Waiting) > 0 {
			t.Errorf("all have ended, and these are left: %+v", places)
		}
	})
}

func TestDifference01_PurgeCancelsThoseBehindTheNext(t *testing.T) {
	both(t, func(r *rig) {
		r.task("work", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			time.Sleep(time.Minute)
			return stabilize.Success(), nil
		})
		var ids []string
		for i := range 4 {
			id, err := r.Start(r.Context(), stabilize.NewWorkflow("app", fmt.Sprint("w", i)).
				LimitConcurrent("cfg", 1).PurgeWaiting().Add(stage("a").Do("work")))
			r.must(err)
			ids = append(ids, id)
		}
		want := []stabilize.Status{stabilize.Succeeded, stabilize.Succeeded, stabilize.Canceled, stabilize.Canceled}
		for i, id := range ids {
			w := r.wait(id)
			r.wantStatus(w, want[i])
			if want[i] == stabilize.Canceled && w.Cancel != nil && w.Cancel.Reason != "Queue purged by keepWaitingPipelines=False policy" {
				t.Errorf("purged with the reason %q", w.Cancel.Reason)
			}
		}
	})
}

func TestDifference01_APlaceOfAVanishedOwnerIsReclaimed(t *testing.T) {
	both(t, func(r *rig) {
		r.task("work", func(ctx context.Context, _ *stabilize.Execution) (stabilize.Result, error) {
			select {
			case <-ctx.Done():
				return stabilize.Result{}, ctx.Err()
			case <-time.After(time.Minute):
				return stabilize.Success(), nil
			}
		})
		limited := func(name string) string {
			id, err := r.Start(r.Context(), stabilize.NewWorkflow("app", name).LimitConcurrent("cfg", 1).Add(stage("a").Do("work")))
			r.must(err)
			return id
		}
		first, second := limited("first"), limited("second")
		r.must(r.Store().Delete(r.Context(), first))
		r.wantStatus(r.wait(second), stabilize.Succeeded)
	})
}

func TestDifference02_NoWaitHasAHiddenDeadline(t *testing.T) {
	both(t, func(r *rig) {
		r.task("slow", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			time.Sleep(5 * time.Hour) // five times the reference's patience
			return stabilize.Success(), nil
		})
		id := r.begin(stage("a").Do("ok"), stage("b", "a").Do("ok"), stage("c", "a").Do("slow"), stage("d", "b", "c").Do("ok"))
		time.Sleep(4 * time.Hour)
		w, err := r.Get(r.Context(), id)
		r.must(err)
		r.wantStatus(w, stabilize.Running)
		pending, err := r.Store().Pending(r.Context(), id)
		r.must(err)
		if len(pending) != 1 || pending[0].Kind != "RunTask" || pending[0].Attempts != 1 {
			t.Errorf("while one task runs these messages go round: %+v", pending)
		}
		w = r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "d", stabilize.Succeeded, "")
	}, engine.WithConfig(engine.Config{MaxPoll: time.Minute, LeaseTTL: time.Hour}))
}

// flaky refuses every n-th commit before it reaches the store.
type flaky struct {
	persistence.Store
	n       int
	seen    int
	commits []*persistence.Commit // those that were applied
}

func (f *flaky) CommitBatch(ctx context.Context, commits []*persistence.Commit) []error {
	f.seen++
	if f.n > 0 && f.seen%f.n == 0 {
		errs := make([]error, len(commits))
		for i := range errs {
			errs[i] = stabilize.Transient(errors.New("injected"))
		}
		return errs
	}
	errs := f.Store.CommitBatch(ctx, commits)
	for i, err := range errs {
		if err == nil {
			f.commits = append(f.commits, commits[i])
		}
	}
	return errs
}

func TestDifference03_WhatBelongsTogetherIsOneCommit(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		store := &flaky{Store: d(), n: 3}
		r := newRigOn(t, store)
		r.must(r.RegisterStage("family", familyType{before: []string{"ok"}, tasks: []string{"ok"}, after: []string{"ok"}}))
		r.start()
		defer r.close()
		w := r.finish(stage("a").OfType("family"))
		r.wantStatus(w, stabilize.Succeeded)
		r.wantLog("a<s0.ok", "a.ok", "a>s0.ok")
		// One commit starts it, one follows each task. What was refused left no
		// event, and every event's version is that of a commit.
		if len(store.commits) != 4 {
			t.Errorf("%d commits for three tasks, want 4", len(store.commits))
		}
		for i, c := range store.commits {
			if c.Expect != int64(i) {
				t.Errorf("commit %d was decided on version %d", i, c.Expect)
			}
		}
		seen := map[string]bool{}
		for _, e := range r.events {
			key := fmt.Sprint(e.Type, e.StageID, e.TaskID)
			if seen[key] {
				t.Errorf("%s of %s%s was recorded twice", e.Type, e.StageRef, e.TaskName)
			}
			seen[key] = true
			if e.Version < 1 || e.Version > 4 {
				t.Errorf("%s has version %d", e.Type, e.Version)
			}
		}
		added := slices.IndexFunc(r.events, func(e events.Event) bool { return e.Type == events.StageAdded })
		begun := slices.IndexFunc(r.events, func(e events.Event) bool { return e.Type == events.StageStarted && e.StageRef == "a<s0" })
		if added < 0 || begun < 0 || r.events[added].Version != r.events[begun].Version {
			t.Errorf("a planned stage was stored in one commit and started in another")
		}
	})
}

// familyType plans synthetic stages of one task each.
type familyType struct {
	before, tasks, after, onFailure []string
	err                             error
}

func (f familyType) Tasks(*stabilize.Plan) ([]stabilize.TaskSpec, error) {
	var specs []stabilize.TaskSpec
	for _, t := range f.tasks {
		specs = append(specs, stabilize.TaskSpec{Type: t})
	}
	return specs, f.err
}

func (f familyType) stages(tasks []string) ([]*stabilize.StageSpec, error) {
	var specs []*stabilize.StageSpec
	for i, t := range tasks {
		s := stabilize.NewStage(fmt.Sprint("s", i)).Do(t)
		if i > 0 {
			s.After(fmt.Sprint("s", i-1))
		}
		specs = append(specs, s)
	}
	return specs, nil
}

func (f familyType) BeforeStages(*stabilize.Plan) ([]*stabilize.StageSpec, error) {
	return f.stages(f.before)
}
func (f familyType) AfterStages(*stabilize.Plan) ([]*stabilize.StageSpec, error) {
	return f.stages(f.after)
}
func (f familyType) OnFailureStages(*stabilize.Plan) ([]*stabilize.StageSpec, error) {
	return f.stages(f.onFailure)
}

func TestDifference06_CancellationReachesEverything(t *testing.T) {
	both(t, func(r *rig) {
		cause, asked := make(chan error, 1), make(chan struct{})
		r.task("block", func(ctx context.Context, _ *stabilize.Execution) (stabilize.Result, error) {
			<-ctx.Done()
			cause <- context.Cause(ctx)
			return stabilize.Result{}, ctx.Err()
		})
		r.task("gate", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.Suspend("go"), nil
		})
		r.task("retry", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.Result{}, &stabilize.TransientError{Cause: errors.New("later"), RetryAfter: time.Hour}
		})
		r.task("hooked", func(ctx context.Context, _ *stabilize.Execution) (stabilize.Result, error) {
			<-ctx.Done()
			return stabilize.Result{}, ctx.Err()
		}, stabilize.OnCancel(func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			<-asked // it has not ended when it is canceled again
			r.logf("hook")
			return stabilize.Success().WithOutput("undone", true), nil
		}), stabilize.WithCleanup(func(context.Context, *stabilize.Execution) error {
			r.logf("cleanup")
			return nil
		}))
		r.must(r.RegisterStage("family", familyType{before: []string{"block"}, tasks: []string{"ok"}}))
		id := r.begin(stage("parent").OfType("family"), stage("gate").Do("gate"), stage("retry").Do("retry"),
			stage("hooked").Do("hooked"), stage("later", "parent").Do("ok"))
		time.Sleep(time.Second)
		r.must(r.Cancel(r.Context(), id, "ann", "enough"))
		r.must(r.Cancel(r.Context(), id, "bob", "me too"))
		close(asked)
		w := r.wait(id)
		r.wantStatus(w, stabilize.Canceled)
		for _, ref := range []string{"parent", "parent<s0", "gate", "retry", "hooked", "later"} {
			r.wantStage(w, ref, stabilize.Canceled, stabilize.ReasonCanceled)
		}
		if w.Cancel.By != "ann" || w.Cancel.Reason != "enough" {
			t.Errorf("the first request was %q %q", w.Cancel.By, w.Cancel.Reason)
		}
		if err := <-cause; !errors.Is(err, stabilize.ErrCanceled) {
			t.Errorf("the running task was told %v", err)
		}
		if !w.StageByRef("hooked").Outputs.Has("undone") {
			t.Errorf("the outputs of the on-cancel hook are gone")
		}
		log := r.logged()
		if !slices.Contains(log, "hook") || slices.Index(log, "cleanup") < slices.Index(log, "hook") {
			t.Errorf("hooks ran as %v, want the on-cancel hook, then cleanup", log)
		}
		if slices.Contains(log, "parent.ok") || slices.Contains(log, "later.ok") {
			t.Errorf("a task started after the cancel: %v", log)
		}
		if err := r.Cancel(r.Context(), id, "eve", ""); !errors.Is(err, stabilize.ErrFinished) {
			t.Errorf("cancelling a finished workflow: %v", err)
		}
	})
}

func TestDifference07_NothingStaysNotStarted(t *testing.T) {
	both(t, func(r *rig) {
		w := r.finish(stage("a").Do("fail"), stage("b", "a").Do("ok"), stage("c", "b").Do("ok"))
		r.wantStatus(w, stabilize.Terminal)
		r.wantStage(w, "a", stabilize.Terminal, "")
		r.wantStage(w, "b", stabilize.Skipped, stabilize.ReasonUpstreamHalted)
		r.wantStage(w, "c", stabilize.Skipped, stabilize.ReasonUpstreamHalted)
		if w.Failure == nil || w.Failure.Stage != "a" || w.Failure.Task != "fail" || w.Failure.Code != stabilize.CodeTaskFailed {
			t.Errorf("the failure is %+v", w.Failure)
		}
	})
}

func TestDifference10_ATimedOutTaskIsToldAndItsLateResultIgnored(t *testing.T) {
	both(t, func(r *rig) {
		told, let := make(chan error, 1), make(chan struct{})
		r.task("deaf", func(ctx context.Context, _ *stabilize.Execution) (stabilize.Result, error) {
			<-ctx.Done()
			told <- context.Cause(ctx)
			<-let // goes on all the same
			return stabilize.Success().WithOutput("late", true), nil
		}, stabilize.WithTimeout(time.Minute))
		began := time.Now()
		w := r.finish(stage("a").Do("deaf"))
		r.wantStatus(w, stabilize.Terminal)
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("it ended after %s, its timeout is one minute", took)
		}
		if err := <-told; !errors.Is(err, stabilize.ErrTimeout) {
			t.Errorf("the task was told %v", err)
		}
		if w.Failure == nil || w.Failure.Code != stabilize.CodeTimeout {
			t.Errorf("the failure is %+v", w.Failure)
		}
		// Its place is free: the only one there is.
		r.wantStatus(r.finish(stage("b").Do("ok")), stabilize.Succeeded)
		close(let)
		synctest.Wait()
		w, err := r.Get(r.Context(), w.ID)
		r.must(err)
		if w.StageByRef("a").Outputs.Has("late") {
			t.Error("the late result was applied")
		}
	}, engine.WithConcurrency(1))
}

func TestDifference12_AFailedTaskStopsTheRestOfItsStage(t *testing.T) {
	both(t, func(r *rig) {
		r.task("shrug", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.FailAndContinue("never mind"), nil
		})
		w := r.finish(stage("a").Do("fail", "ok"))
		r.wantStatus(w, stabilize.Terminal)
		r.wantLog("a.fail")
		if got := w.StageByRef("a").Tasks[1]; got.Status != stabilize.Skipped || got.Reason != stabilize.ReasonStageEnded {
			t.Errorf("the task after the failed one is %s (%s)", got.Status, got.Reason)
		}
		w = r.finish(stage("b").Do("shrug", "ok"), stage("c", "b").Do("ok"))
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "b", stabilize.FailedContinue, "")
		r.wantLog("a.fail", "b.shrug", "b.ok", "c.ok")
	})
}

func TestDifference13_APlanningErrorFailsTheStage(t *testing.T) {
	both(t, func(r *rig) {
		r.must(r.RegisterStage("broken", familyType{tasks: []string{"ok"}, err: errors.New("cannot plan")}))
		r.must(r.RegisterStage("panics", panicking{}))
		r.must(r.RegisterStage("odd", familyType{tasks: []string{"no such task"}}))
		for typ, code := range map[string]string{
			"broken": stabilize.CodePlanning, "panics": stabilize.CodePlanning, "odd": stabilize.CodeUnknownTaskType,
		} {
			w := r.finish(stage("a").OfType(typ), stage("b", "a").Do("ok"))
			r.wantStatus(w, stabilize.Terminal)
			r.wantStage(w, "a", stabilize.Terminal, "")
			r.wantStage(w, "b", stabilize.Skipped, stabilize.ReasonUpstreamHalted)
			if w.Failure == nil || w.Failure.Code != code || w.Failure.Stage != "a" {
				t.Errorf("%s: the failure is %+v", typ, w.Failure)
			}
		}
		_, err := r.Start(r.Context(), stabilize.NewWorkflow("app", "wf").Add(stage("a").OfType("unheard of")))
		if !errors.Is(err, stabilize.ErrInvalid) {
			t.Errorf("a stage of an unknown type was accepted: %v", err)
		}
		_, err = r.Start(r.Context(), stabilize.NewWorkflow("app", "wf").Add(stage("a").Do("unheard of")))
		if !errors.Is(err, stabilize.ErrInvalid) {
			t.Errorf("a task of an unknown type was accepted: %v", err)
		}
	})
}

type panicking struct{}

func (panicking) Tasks(*stabilize.Plan) ([]stabilize.TaskSpec, error) { panic("no plan") }

// mortal is a store handle that can die: afterwards nothing gets through, as
// when its process was killed.
type mortal struct {
	persistence.Store
	dead chan struct{}
}

func (m *mortal) gone() bool {
	select {
	case <-m.dead:
		return true
	default:
		return false
	}
}

var errDead = stabilize.ErrClosed

func (m *mortal) CommitBatch(ctx context.Context, commits []*persistence.Commit) []error {
	if !m.gone() {
		return m.Store.CommitBatch(ctx, commits)
	}
	errs := make([]error, len(commits))
	for i := range errs {
		errs[i] = errDead
	}
	return errs
}

func (m *mortal) Heartbeat(ctx context.Context, w queue.Worker) (queue.Leases, error) {
	if m.gone() {
		return queue.Leases{}, errDead
	}
	return m.Store.Heartbeat(ctx, w)
}

func (m *mortal) Claim(ctx context.Context, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
	if m.gone() {
		return nil, errDead
	}
	return m.Store.Claim(ctx, w, room)
}

func (m *mortal) Return(ctx context.Context, r queue.Receipt) error {
	if m.gone() {
		return errDead
	}
	return m.Store.Return(ctx, r)
}

func (m *mortal) Retire(ctx context.Context, worker string) error {
	if m.gone() {
		return nil
	}
	return m.Store.Retire(ctx, worker)
}

// takeover runs a workflow on a worker that dies in its first task and returns
// how long after its death (and then a wait) another one had it finished.
func takeover(t *testing.T, d data, pause time.Duration) time.Duration {
	store := &mortal{Store: d(), dead: make(chan struct{})}
	first := newRigOn(t, store)
	hang := make(chan struct{})
	first.task("work", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
		<-hang
		return stabilize.Success(), nil
	})
	first.start()
	id := first.begin(stage("a").Do("work"), stage("b", "a").Do("work"))
	synctest.Wait()
	close(store.dead)
	killed, cancel := context.WithCancel(t.Context())
	cancel()
	first.Stop(killed) // hard; its store lets nothing through any more
	first.stop()
	time.Sleep(pause)
	second := newRig(t, d)
	attempt := 0
	second.task("work", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		attempt = max(attempt, x.Attempt)
		return stabilize.Success(), nil
	})
	began := time.Now()
	second.start()
	w := second.wait(id)
	took := time.Since(began)
	second.wantStatus(w, stabilize.Succeeded)
	second.wantLog("a.work", "b.work")
	if attempt != 2 {
		t.Errorf("the second run of the task was told it is attempt %d", attempt)
	}
	close(hang)
	second.close()
	return took
}

func TestDifference17_RecoveryNeedsNoSwitchAndHasNoAgeLimit(t *testing.T) {
	onStores(t, func(t *testing.T, d data) { takeover(t, d, 25*time.Hour) })
}

func TestDifference18_ATransientFailureIsRetriedUpToItsLimit(t *testing.T) {
	both(t, func(r *rig) {
		var at []time.Time
		r.task("flaky", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			at = append(at, time.Now())
			if x.Attempt != len(at) {
				t.Errorf("try %d was told it is attempt %d", len(at), x.Attempt)
			}
			return stabilize.Result{}, stabilize.Transient(errors.New("busy"))
		}, stabilize.WithRetry(stabilize.RetryPolicy{MaxFailures: 6, Backoff: stabilize.Backoff{Initial: time.Second, Max: 10 * time.Second, Factor: 2}}))
		w := r.finish(stage("a").Do("flaky"))
		r.wantStatus(w, stabilize.Terminal)
		if w.Failure == nil || w.Failure.Code != stabilize.CodeRetriesExhausted {
			t.Errorf("the failure is %+v", w.Failure)
		}
		want := []int{1, 2, 4, 8, 10} // seconds, growing to the maximum
		if len(at) != len(want)+1 {
			t.Fatalf("%d tries, want %d", len(at), len(want)+1)
		}
		for i, seconds := range want {
			d := time.Duration(seconds) * time.Second
			if gap := at[i+1].Sub(at[i]); gap < d || gap > d+time.Second {
				t.Errorf("try %d came %s after the one before, want %s", i+2, gap, d)
			}
		}
	})
}

func TestDifference20_ADeadWorkersWorkIsTakenOverInSeconds(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		if took := takeover(t, d, 0); took > 5*time.Second {
			t.Errorf("taken over after %s", took)
		}
	})
}

func TestDifference20_ASlowWorkerKeepsItsWork(t *testing.T) {
	both(t, func(r *rig) {
		other := newRig(r.T, r.data, engine.WithRecorder(events.RecorderFunc(r.record)))
		slow := func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			time.Sleep(10 * time.Minute) // two hundred leases
			return stabilize.Success(), nil
		}
		r.task("slow", slow)
		other.task("slow", slow)
		other.start()
		defer other.close()
		r.wantStatus(r.wait(r.begin(stage("a").Do("slow"))), stabilize.Succeeded)
		if n := len(r.logged()) + len(other.logged()); n != 1 {
			t.Errorf("the task ran %d times", n)
		}
	})
}

func TestDifference21_TimeZonesAndFractionsMeanNothingToTheQueue(t *testing.T) {
	local := time.Local
	defer func() { time.Local = local }()
	for _, zone := range []*time.Location{time.FixedZone("east", 9*3600), time.FixedZone("west", -5*3600), time.UTC} {
		time.Local = zone
		onStores(t, func(t *testing.T, d data) {
			store := d()
			for _, delay := range []time.Duration{time.Hour, 900 * time.Millisecond, time.Microsecond} {
				due := time.Now().Add(delay)
				if err := store.Push(t.Context(), queue.Outgoing{Message: queue.StartWaitingWorkflows{}, At: due}); err != nil {
					t.Fatal(err)
				}
				claim := func() int {
					got, err := store.Claim(t.Context(), queue.Worker{ID: "w", TTL: 24 * time.Hour}, queue.Room{Control: 9})
					if err != nil {
						t.Fatal(err)
					}
					return len(got)
				}
				time.Sleep(delay - time.Microsecond)
				if claim() != 0 {
					t.Errorf("%s: a message delayed by %s came too early", zone, delay)
				}
				time.Sleep(time.Microsecond)
				if claim() != 1 {
					t.Errorf("%s: a message delayed by %s did not come when due", zone, delay)
				}
			}
		})
	}
}
