package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// rig is an engine in virtual time.
type rig struct {
	*testing.T
	*engine.Engine
	data data

	mu     sync.Mutex
	log    []string // what tasks did, in order
	events []events.Event
	stop   func()
}

// data opens handles on one set of data.
type data func() persistence.Store

func inMemory(*testing.T) data {
	d := memstore.NewData()
	return func() persistence.Store { return memstore.Open(d, memstore.Config{}) }
}

func inSQLite(t *testing.T) data {
	path := filepath.Join(t.TempDir(), "rig.db")
	return func() persistence.Store {
		s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path, Migrate: true, Synchronous: sqlstore.Normal})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
}

// onStores runs a test in virtual time on each store.
func onStores(t *testing.T, test func(t *testing.T, d data)) {
	t.Helper()
	for _, store := range []struct {
		name string
		data func(*testing.T) data
	}{{"memory", inMemory}, {"sqlite", inSQLite}} {
		t.Run(store.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, store.data(t)) })
		})
	}
}

// both runs a test on each store, with the cascade and without: the results
// must be the same.
func both(t *testing.T, test func(r *rig), opts ...engine.Option) {
	t.Helper()
	for _, mode := range []struct {
		name string
		opts []engine.Option
	}{{"cascade", nil}, {"queue", []engine.Option{engine.WithoutCascade()}}} {
		t.Run(mode.name, func(t *testing.T) {
			onStores(t, func(t *testing.T, d data) {
				r := newRig(t, d, append(mode.opts, opts...)...)
				r.start()
				defer r.close()
				test(r)
			})
		})
	}
}

func newRig(t *testing.T, d data, opts ...engine.Option) *rig {
	t.Helper()
	r := newRigOn(t, d(), opts...)
	r.data = d
	return r
}

func newRigOn(t *testing.T, store persistence.Store, opts ...engine.Option) *rig {
	t.Helper()
	r := &rig{T: t, stop: func() {}}
	opts = append([]engine.Option{
		engine.WithRecorder(events.RecorderFunc(r.record)),
		engine.WithLogger(slog.New(slog.DiscardHandler)),
	}, opts...)
	e, err := engine.New(store, opts...)
	r.must(err)
	r.Engine = e
	r.task("ok", func(context.Context, *stabilize.Execution) (stabilize.Result, error) { return stabilize.Success(), nil })
	r.task("fail", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
		return stabilize.Fail("it broke"), nil
	})
	return r
}

func (r *rig) start() {
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan error, 1)
	go func() { done <- r.Engine.Run(ctx) }()
	synctest.Wait()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			r.Errorf("Run: %v", err)
		}
	}
}

func (r *rig) close() {
	r.stop()
	r.must(r.Close())
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) record(_ context.Context, evs []events.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, evs...)
}

type execute func(context.Context, *stabilize.Execution) (stabilize.Result, error)

// task registers a task type that logs its stage's ref when it runs.
func (r *rig) task(name string, fn execute, opts ...stabilize.FuncOption) {
	r.Helper()
	r.must(r.RegisterTask(name, stabilize.Func(func(ctx context.Context, _ struct{}) (stabilize.Result, error) {
		x := stabilize.ExecutionFrom(ctx)
		r.logf("%s.%s", x.Stage.Ref, x.Task.Name)
		return fn(ctx, x)
	}, opts...)))
}

func (r *rig) logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, fmt.Sprintf(format, args...))
}

func (r *rig) logged() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string{}, r.log...)
}

// pass lets virtual time pass.
func (r *rig) pass(d time.Duration) { time.Sleep(d) }

// patient is an engine that looks seldom, for tests that last days.
func patient() engine.Option {
	return engine.WithConfig(engine.Config{MaxPoll: 10 * time.Minute, LeaseTTL: 12 * time.Hour, SweepInterval: 10 * time.Minute})
}

// settle lets everything happen that is to happen now, on stores that tell
// nobody of new messages too.
func settle() {
	time.Sleep(time.Second)
	synctest.Wait()
}

// ran counts how often a task ran, by the name of the stage and task.
func (r *rig) ran(what string) int {
	n := 0
	for _, line := range r.logged() {
		if line == what {
			n++
		}
	}
	return n
}

// begin starts a workflow of the stages.
func (r *rig) begin(stages ...*stabilize.StageSpec) string {
	r.Helper()
	id, err := r.Start(r.Context(), stabilize.NewWorkflow("app", "wf").Add(stages...))
	r.must(err)
	return id
}

// finish runs a workflow of the stages to its end and checks what holds of
// every finished workflow.
func (r *rig) finish(stages ...*stabilize.StageSpec) *stabilize.Workflow {
	r.Helper()
	return r.wait(r.begin(stages...))
}

func (r *rig) wait(id string) *stabilize.Workflow {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), 12*time.Hour)
	defer cancel()
	w, err := r.Wait(ctx, id)
	if err != nil {
		w, _ = r.Get(r.Context(), id)
		r.Fatalf("waiting for %s: %v; it is %s", id, err, describe(w))
	}
	r.checkFinished(w)
	return w
}

// checkFinished: every stage and task has ended, nothing is left in the queue,
// and the end was recorded once.
func (r *rig) checkFinished(w *stabilize.Workflow) {
	r.Helper()
	for _, s := range w.Stages {
		if !s.Status.IsComplete() {
			r.Errorf("the workflow is %s, its stage %s is %s", w.Status, s.Ref, s.Status)
		}
		for _, t := range s.Tasks {
			if !t.Status.IsComplete() {
				r.Errorf("the workflow is %s, task %s of stage %s is %s", w.Status, t.Name, s.Ref, t.Status)
			}
		}
	}
	synctest.Wait()
	pending, err := r.Store().Pending(r.Context(), w.ID)
	r.must(err)
	if len(pending) > 0 {
		r.Errorf("the workflow has ended and these messages are left: %+v", pending)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	ends := 0
	for _, e := range r.events {
		if e.WorkflowID == w.ID && e.Type == events.WorkflowCompleted {
			ends++
		}
	}
	if ends != 1 {
		r.Errorf("the end was recorded %d times", ends)
	}
}

func describe(w *stabilize.Workflow) string {
	if w == nil {
		return "gone"
	}
	out := w.Status.String()
	for _, s := range w.Stages {
		out += fmt.Sprintf(" %s:%s", s.Ref, s.Status)
		for _, t := range s.Tasks {
			out += fmt.Sprintf("[%s:%s]", t.Name, t.Status)
		}
	}
	return out
}

func (r *rig) wantStatus(w *stabilize.Workflow, want stabilize.Status) {
	r.Helper()
	if w.Status != want {
		r.Errorf("the workflow is %s, want %s: %s %v", w.Status, want, describe(w), w.Failure)
	}
}

func (r *rig) wantStage(w *stabilize.Workflow, ref string, want stabilize.Status, reason string) {
	r.Helper()
	s := w.StageByRef(ref)
	if s == nil {
		r.Errorf("there is no stage %s: %s", ref, describe(w))
		return
	}
	if s.Status != want || s.Reason != reason {
		r.Errorf("stage %s is %s (%q), want %s (%q)", ref, s.Status, s.Reason, want, reason)
	}
}

func (r *rig) wantLog(want ...string) {
	r.Helper()
	if got := r.logged(); fmt.Sprint(got) != fmt.Sprint(want) {
		r.Errorf("tasks ran as %v, want %v", got, want)
	}
}

func stage(ref string, after ...string) *stabilize.StageSpec {
	return stabilize.NewStage(ref).After(after...)
}

// create stores a workflow that the builder would refuse, with its first message.
func (r *rig) create(w *stabilize.Workflow) {
	r.Helper()
	for _, err := range r.Store().CommitBatch(r.Context(), []*persistence.Commit{{
		WorkflowID: w.ID, Header: &w.Header, Stages: w.Stages,
		Messages: []queue.Outgoing{{Message: queue.StartWorkflow{OfWorkflow: queue.ToWorkflow(w.ID)}}},
	}}) {
		r.must(err)
	}
}
