package engine_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/stores"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// The test binary is its own worker process: with this variable set it runs an
// engine on that database file until its standard input ends, with ledgerVariable
// one on PostgreSQL.
const workerVariable = "ENGINE_TEST_WORKER_DB"

// patience is how long what is left may take on a machine that has much else to do.
const patience = 15 * time.Minute

func TestMain(m *testing.M) {
	var err error
	switch db, server := os.Getenv(workerVariable), os.Getenv(ledgerVariable); {
	case db != "":
		err = workerMain(func(ctx context.Context) (*engine.Engine, error) { return openForProcesses(ctx, db) })
	case server != "":
		err = workerMain(func(ctx context.Context) (*engine.Engine, error) { return openLedgerWorker(ctx, server) })
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func workerMain(open func(context.Context) (*engine.Engine, error)) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	e, err := open(ctx)
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	fmt.Println("ready")
	if err := e.Run(ctx); err != nil {
		return err
	}
	return e.Close()
}

// openForProcesses opens an engine whose task "journal" notes its begin and end
// in a file that all processes share; its task "kill" ends the process.
func openForProcesses(ctx context.Context, db string) (*engine.Engine, error) {
	cfg, err := engine.ConfigFromEnv(os.LookupEnv)
	if err != nil {
		return nil, err
	}
	e, err := engine.Open(ctx, stores.DSN("sqlite://"+db), engine.WithConfig(cfg), engine.WithConcurrency(10),
		engine.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))))
	if err != nil {
		return nil, err
	}
	journal := func(x *stabilize.Execution, what string) error {
		f, err := os.OpenFile(journalOf(db), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = fmt.Fprintf(f, "%s %s %s %s\n", what, x.Workflow.ConfigID, x.Workflow.Name, x.Stage.Ref)
		return err
	}
	err = e.RegisterTask("kill", stabilize.Func(func(ctx context.Context, _ struct{}) (struct{}, error) {
		if err := journal(stabilize.ExecutionFrom(ctx), "kill"); err != nil {
			return struct{}{}, err
		}
		os.Exit(killedItself)
		return struct{}{}, nil
	}, stabilize.WithRetry(stabilize.RetryPolicy{MaxDeliveries: killDeliveries})))
	if err != nil {
		return nil, err
	}
	return e, e.RegisterTask("journal", stabilize.Func(func(ctx context.Context, _ struct{}) (struct{}, error) {
		x := stabilize.ExecutionFrom(ctx)
		if err := journal(x, "begin"); err != nil {
			return struct{}{}, err
		}
		time.Sleep(time.Millisecond) // work that others can overlap with
		return struct{}{}, journal(x, "end")
	}))
}

func journalOf(db string) string { return filepath.Join(filepath.Dir(db), "journal") }

type worker struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// startWorker starts a worker process on a file and returns when it is ready.
func startWorker(t *testing.T, db string) *worker {
	t.Helper()
	return startProcess(t, workerVariable+"="+db)
}

// startProcess starts the test binary with additions to its environment and returns
// when it is ready. What is left of it is killed with the test.
func startProcess(t *testing.T, env ...string) *worker {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w := &worker{cmd: cmd, stdin: stdin}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "ready\n" {
		w.kill()
		t.Fatalf("the worker said %q, %v", line, err)
	}
	t.Cleanup(w.kill) // after it has ended this does nothing
	return w
}

func (w *worker) stop(t *testing.T) {
	t.Helper()
	_ = w.stdin.Close()
	if err := w.cmd.Wait(); err != nil {
		t.Errorf("a worker ended with %v", err)
	}
}

func (w *worker) kill() {
	_ = w.cmd.Process.Kill()
	_ = w.cmd.Wait()
}

// TestLimitsHoldAcrossProcesses runs limited workflows on two processes over
// one file, several rounds: never more than the limit at once, first in first
// out, and all finish.
func TestLimitsHoldAcrossProcesses(t *testing.T) {
	t.Setenv("STABILIZE_LEASE_TTL", "1h") // nobody is taken for dead who is only slow
	for _, c := range []struct {
		name                   string
		keys, perKey, limit    int
		rounds, roundsIfHasted int
	}{
		{"20 workflows under a limit of 2", 1, 20, 2, 20, 2},
		{"180 workflows under 60 limits of 1", 60, 3, 1, 20, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			rounds := c.rounds
			if testing.Short() {
				rounds = c.roundsIfHasted
			}
			db := filepath.Join(t.TempDir(), "limits.db")
			e, err := openForProcesses(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			workers := []*worker{startWorker(t, db), startWorker(t, db)}
			for round := range rounds {
				var ids []string
				for i := range c.perKey {
					for key := range c.keys {
						id, err := e.Start(t.Context(), stabilize.NewWorkflow("app", fmt.Sprint(i)).
							LimitConcurrent(fmt.Sprintf("r%d-k%d", round, key), c.limit).
							Add(stabilize.NewStage("a").Do("journal"), stabilize.NewStage("b").After("a").Do("journal")))
						if err != nil {
							t.Fatal(err)
						}
						ids = append(ids, id)
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				for _, id := range ids {
					w, err := e.Wait(ctx, id)
					if err != nil {
						w, _ = e.Get(t.Context(), id)
						t.Fatalf("round %d: %v; the workflow is %s", round, err, describe(w))
					}
					if w.Status != stabilize.Succeeded {
						t.Errorf("round %d: a workflow ended %s: %v", round, w.Status, w.Failure)
					}
				}
				cancel()
			}
			for _, w := range workers {
				w.stop(t)
			}
			checkJournal(t, db, c.limit, rounds*c.keys*c.perKey)
		})
	}
}

// checkJournal reads what the tasks noted. Between its first begin and its last
// end a workflow was certainly running.
func checkJournal(t *testing.T, db string, limit, workflows int) {
	t.Helper()
	f, err := os.Open(journalOf(db))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	running := map[string]map[string]bool{}
	order := map[string][]int{}
	ended := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var what, key, name, ref string
		if _, err := fmt.Sscan(lines.Text(), &what, &key, &name, &ref); err != nil {
			t.Fatalf("the journal says %q: %v", lines.Text(), err)
		}
		if running[key] == nil {
			running[key] = map[string]bool{}
		}
		switch {
		case what == "begin" && ref == "a":
			running[key][name] = true
			if len(running[key]) > limit {
				t.Errorf("%d ran at once under %s with a limit of %d", len(running[key]), key, limit)
			}
			var n int
			fmt.Sscan(name, &n)
			order[key] = append(order[key], n)
		case what == "end" && ref == "b":
			delete(running[key], name)
			ended++
		}
	}
	if ended != workflows {
		t.Errorf("%d workflows ran to their end, want %d", ended, workflows)
	}
	for key, names := range order {
		for i, n := range names {
			// Those that hold places together may begin in any order among themselves.
			if n > i+limit-1 || n < i-limit+1 {
				t.Errorf("%s: begun in the order %v under a limit of %d", key, names, limit)
				break
			}
		}
	}
}

// TestKilledWorkersLoseNothing kills worker processes while they work and
// starts new ones: every workflow ends, and every result was committed once.
func TestKilledWorkersLoseNothing(t *testing.T) {
	kills := 12
	if testing.Short() {
		kills = 3
	}
	db := filepath.Join(t.TempDir(), "killed.db")
	e, err := openForProcesses(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	const chains, length = 40, 10
	var ids []string
	for i := range chains {
		spec := stabilize.NewWorkflow("app", fmt.Sprint(i)).Config("chain", "")
		for j := range length {
			s := stabilize.NewStage(fmt.Sprint("s", j)).Do("journal")
			if j > 0 {
				s.After(fmt.Sprint("s", j-1))
			}
			spec.Add(s)
		}
		id, err := e.Start(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	steady := startWorker(t, db)
	for range kills {
		victim := startWorker(t, db)
		waitForProgress(t, e, db)
		victim.kill()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, id := range ids {
		w, err := e.Wait(ctx, id)
		if err != nil {
			w, _ = e.Get(t.Context(), id)
			t.Fatalf("%v; the workflow is %s", err, describe(w))
		}
		if w.Status != stabilize.Succeeded {
			t.Errorf("a workflow ended %s: %v", w.Status, w.Failure)
		}
		// The version counts the commits: one to create, one per step; a killed
		// worker's step was not committed, its successor's was. A run that went
		// down with two workers is put off once, in a commit of its own.
		if extra := w.Version - (length + 1); extra < 0 || extra > int64(kills/2) {
			t.Errorf("%d commits for %d steps", w.Version, length)
		}
	}
	steady.stop(t)
	depth, err := e.Store().Depth(t.Context())
	if err != nil || depth.Live() != 0 || depth.Dead != 0 {
		t.Errorf("all workflows have ended, and the queue holds %+v, %v", depth, err)
	}
}

// waitForProgress returns when tasks have begun since the call, or nothing is
// left to do.
func waitForProgress(t *testing.T, e *engine.Engine, db string) {
	t.Helper()
	size := func() int64 {
		info, err := os.Stat(journalOf(db))
		if err != nil {
			return 0
		}
		return info.Size()
	}
	for before := size(); size() < before+200; {
		page, err := e.List(t.Context(), persistence.Query{Statuses: []stabilize.Status{stabilize.Running, stabilize.NotStarted}, Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Workflows) == 0 {
			return
		}
	}
}

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("this is no database. ", 200)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ dsn, says string }{
		{"", "scheme"},
		{"orders.db", "scheme"},
		{"sqlit:///orders.db", `"sqlit"`},
		{"sqlite:orders.db", "//"},
		{"sqlite://", "path"},
		{"sqlite://x.db?sync=full", `"sync"`},
		{"sqlite://x.db?synchronous=off", "full or normal"},
		{"memory:x", "nothing after"},
		{"sqlite://" + filepath.Join(dir, "no", "such", "dir", "x.db"), filepath.Join(dir, "no")},
		{"sqlite://" + dir, dir},
		{"sqlite://" + garbage, garbage},
	} {
		e, err := engine.Open(t.Context(), stores.DSN(c.dsn))
		if err == nil {
			e.Close()
			t.Errorf("%q was opened", c.dsn)
			continue
		}
		if !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: the error %q does not name %s", c.dsn, err, c.says)
		}
	}
}
