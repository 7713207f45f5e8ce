//go:build unix

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore/pgtest"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// fleet is worker processes on one PostgreSQL server, an engine that starts
// workflows and runs none, and what is noted of both.
type fleet struct {
	*engine.Engine
	*ledger
	t       *testing.T
	store   *sqlstore.Store // of the engine
	told    ledgerWorker
	workers []*worker
	numbers []int // of the workers, in the ledger
	last    int

	mu    sync.Mutex
	ended []*stabilize.Workflow
}

func newFleet(t *testing.T, server *pgtest.Server, told ledgerWorker, workers int) *fleet {
	t.Helper()
	told.DSN, told.Schema = server.DSN(t), server.Schema(t)
	l, err := openLedger(told.DSN, told.Schema)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.db.Close() })
	text := told.environment(t)
	e, err := openLedgerWorker(t.Context(), text[len(ledgerVariable)+1:]) // it never runs
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(e.Close(), e.Store().Close()); err != nil {
			t.Error(err)
		}
	})
	if _, err := l.db.ExecContext(t.Context(), l.text(ledgerTables)); err != nil {
		t.Fatal(err)
	}
	f := &fleet{Engine: e, ledger: l, t: t, store: e.Store().(*introduced).Store, told: told, workers: make([]*worker, workers), numbers: make([]int, workers)}
	for i := range workers {
		f.employ(i)
	}
	return f
}

// employ starts a worker process in place i.
func (f *fleet) employ(i int) {
	f.t.Helper()
	f.last++
	told := f.told
	told.Worker = f.last
	f.workers[i], f.numbers[i] = startProcess(f.t, told.environment(f.t)), f.last
}

// begin starts a workflow under a key, so that it begins once however often the
// server goes away meanwhile.
func (f *fleet) begin(ctx context.Context, name string, length int) (id string, err error) {
	for {
		id, err = f.Start(ctx, chainOf(name, length), engine.WithKey("once"))
		if !errors.Is(err, stabilize.ErrTransient) && !errors.Is(err, stabilize.ErrUnknownOutcome) {
			return id, err
		}
		select {
		case <-ctx.Done():
			return "", errors.Join(err, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// end waits for the end of a workflow.
func (f *fleet) end(ctx context.Context, id string) error {
	w, err := f.Wait(ctx, id)
	if err != nil {
		if got, _ := f.Get(context.WithoutCancel(ctx), id); got != nil {
			err = fmt.Errorf("%w; workflow %s is %s", err, got.Name, describe(got))
		}
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = append(f.ended, w)
	return nil
}

// each has so many goroutines do something with the numbers from 0, as long as more
// says that there is one. What it returns waits for them.
func (f *fleet) each(goroutines int, more func(n int) bool, do func(n int) error) (wait func()) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for n := int(next.Add(1)) - 1; more(n) && !f.t.Failed(); n = int(next.Add(1)) - 1 {
				if err := do(n); err != nil {
					f.t.Error(err)
				}
			}
		})
	}
	return all.Wait
}

// tally is what the ledger says.
type tally struct{ workflows, tasks, runs, again int }

// audit ends the workers and compares what the workflows say with what the tasks
// noted: every workflow has succeeded, every task has one result, that of one of its
// runs; whatever came after it saw that result and no other, however often it ran; and
// a task ran again only for a reason.
func (f *fleet) audit(length int) tally {
	f.t.Helper()
	for i, w := range f.workers {
		if err := f.question(f.t.Context(), f.store, f.numbers[i]); err != nil {
			f.t.Error(err)
		}
		w.stop(f.t)
	}
	depth, err := f.Store().Depth(f.t.Context())
	if err != nil || depth.Live() != 0 || depth.Dead != 0 {
		f.t.Errorf("all workflows have ended, and the queue holds %+v, %v", depth, err)
	}
	runs, err := f.runs(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	happened, err := f.incidents(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	for worker := range happened[robbed] {
		f.t.Errorf("worker %d was taken for dead, and it was not silent", worker)
	}
	sum := tally{workflows: len(f.ended), tasks: len(runs)}
	for _, w := range f.ended {
		f.auditChain(w, length, runs)
	}
	if sum.tasks != sum.workflows*length {
		f.t.Errorf("%d workflows of %d tasks ended, and %d tasks ran", sum.workflows, length, sum.tasks)
	}
	for task, rs := range runs {
		sum.runs += len(rs)
		sum.again += len(rs) - 1
		for i := 1; i < len(rs); i++ {
			if happened.excuse(rs[i-1], rs[i]) == "" {
				f.t.Errorf("task %s of workflow %s ran again, and nothing had happened to worker %d: %+v", task, rs[i].workflow, rs[i-1].worker, rs)
			}
		}
	}
	f.t.Logf("%d workflows, %d tasks, run %d times: %d again, %.2f%%; workers killed %d, lapsed %d, server restarts %d", sum.workflows,
		sum.tasks, sum.runs, sum.again, 100*float64(sum.again)/float64(max(sum.tasks, 1)), len(happened[killing]), len(happened[lapsed]), len(happened[restarted][0]))
	return sum
}

func (f *fleet) auditChain(w *stabilize.Workflow, length int, runs map[string][]ledgerRun) {
	f.t.Helper()
	if w.Status != stabilize.Succeeded || len(w.Stages) != length {
		f.t.Errorf("workflow %s ended %s: %v", w.Name, describe(w), w.Failure)
		return
	}
	before, deliveries := "", 0
	for i, s := range w.Stages {
		rs := runs[s.Tasks[0].ID]
		n, err1 := stabilize.Get[int](s.Outputs, "n")
		result, err2 := stabilize.Get[string](s.Outputs, "run")
		if err := errors.Join(err1, err2); err != nil || n != i+1 {
			f.t.Errorf("workflow %s, stage %s: the outputs are %v, %v", w.Name, s.Ref, s.Outputs, err)
		}
		found := false
		for _, r := range rs {
			found = found || r.run == result
			deliveries = max(deliveries, r.attempt)
			if r.after != before || r.workflow != w.ID || r.stage != s.Ref {
				f.t.Errorf("workflow %s, stage %s: the result before it is %q, and it ran on another: %+v", w.Name, s.Ref, before, r)
			}
		}
		if !found {
			f.t.Errorf("workflow %s, stage %s: its result %q is of no run among %+v", w.Name, s.Ref, result, rs)
		}
		before = result
	}
	// The version counts the commits: one to create, one for each step. A run that was
	// handed out for the third time is put off, in a commit of its own.
	if extra := w.Version - int64(length) - 1; extra != 0 && (extra < 0 || deliveries < 3) {
		f.t.Errorf("workflow %s: %d commits for %d steps, none of which was handed out more than %d times", w.Name, w.Version, length, deliveries)
	}
}

// Every two seconds one of three workers is killed, for a minute and under load, and
// in the middle the server crashes: nothing is lost, every result is committed once,
// all workflows end, and a task runs again only because of it.
func TestPostgresKilledWorkersLoseNothing(t *testing.T) {
	t.Parallel()
	const length, between = 10, 2 * time.Second
	kills := 30
	switch {
	case testing.Short():
		kills = 4
	case os.Getenv("STABILIZE_TEST_FULL") != "":
		kills = 300
	}
	server := &pgtest.Server{Local: true} // it crashes
	t.Cleanup(server.Stop)
	f := newFleet(t, server, ledgerWorker{LeaseTTL: 2 * time.Second, Takes: 10 * time.Millisecond}, 3)
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(kills)*between+patience)
	defer cancel()
	over := make(chan struct{})
	more := func(int) bool {
		select {
		case <-over:
			return false
		default:
			return true
		}
	}
	wait := f.each(24, more, func(n int) error {
		id, err := f.begin(ctx, fmt.Sprint("w", n), length)
		if err != nil {
			return err
		}
		return f.end(ctx, id)
	})
	ticks := time.NewTicker(between)
	defer ticks.Stop()
	restarts := 0
	for k := range kills {
		<-ticks.C
		if k%30 == min(kills, 30)/2 {
			f.restart(ctx, server)
			restarts++
		}
		place := k % len(f.workers)
		// Noted before: what runs again because of it is noted after.
		if err := errors.Join(f.happened(ctx, killing, f.numbers[place]), f.question(ctx, f.store, f.numbers[place])); err != nil {
			t.Fatal(err)
		}
		f.workers[place].kill()
		f.employ(place)
		if t.Failed() {
			break
		}
	}
	close(over)
	wait()
	sum := f.audit(length)
	if sum.again == 0 {
		t.Errorf("%d workers were killed and %d servers, and no task was under way", kills, restarts)
	}
}

// restart crashes the server and starts it again.
func (f *fleet) restart(ctx context.Context, server *pgtest.Server) {
	f.t.Helper()
	if err := f.happened(ctx, restarting, 0); err != nil {
		f.t.Fatal(err)
	}
	if err := errors.Join(server.Kill(), server.Start()); err != nil {
		f.t.Fatal(err)
	}
	if err := f.happened(ctx, restarted, 0); err != nil {
		f.t.Fatal(err)
	}
}

// Without a crash two processes run every task of many workflows exactly once.
func TestPostgresRunsEveryTaskOnce(t *testing.T) {
	t.Parallel()
	const length = 2
	workflows := 10_000
	if testing.Short() {
		workflows = 500
	}
	server := &pgtest.Server{}
	t.Cleanup(server.Stop)
	// Nobody is taken for dead who is only slow.
	f := newFleet(t, server, ledgerWorker{LeaseTTL: 10 * time.Minute}, 2)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ids := make([]string, workflows)
	more := func(n int) bool { return n < workflows }
	f.each(64, more, func(n int) (err error) {
		ids[n], err = f.begin(ctx, fmt.Sprint("w", n), length)
		return err
	})()
	f.each(4, more, func(n int) error { return f.end(ctx, ids[n]) })()
	sum := f.audit(length)
	if sum.workflows != workflows || sum.runs != workflows*length {
		t.Errorf("%d workflows ended, and their tasks ran %d times, want each of %d once", sum.workflows, sum.runs, workflows*length)
	}
}
