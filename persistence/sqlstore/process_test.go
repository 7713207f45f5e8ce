package sqlstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Set in the processes that the tests start: the file, or the server and schema.
const (
	childFile   = "SQLSTORE_TEST_FILE"
	childDSN    = "SQLSTORE_TEST_DSN"
	childSchema = "SQLSTORE_TEST_SCHEMA"
)

// TestMain makes the test binary a worker process when it is started as one.
func TestMain(m *testing.M) {
	cfg := sqlstore.Config{Path: os.Getenv(childFile), DSN: os.Getenv(childDSN), Schema: os.Getenv(childSchema)}
	if cfg.Path != "" || cfg.DSN != "" {
		if err := work(context.Background(), cfg, os.Getenv("SQLSTORE_TEST_WORKER")); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	server.Stop()
	os.Exit(code)
}

// work adds up: every message raises the counter of its workflow by one, until
// no message is left. It tells each commit before it goes on. A server that is away
// comes back.
func work(ctx context.Context, cfg sqlstore.Config, id string) error {
	s, err := sqlstore.Open(ctx, cfg)
	for away(err) {
		time.Sleep(20 * time.Millisecond)
		s, err = sqlstore.Open(ctx, cfg)
	}
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Println("up")
	self := queue.Worker{ID: id, TTL: 2 * time.Second}
	for {
		got, err := s.Claim(ctx, self, queue.Room{Control: 4})
		if away(err) {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		if err != nil {
			return err
		}
		if len(got) == 0 {
			d, err := s.Depth(ctx)
			if away(err) {
				continue
			}
			if err != nil {
				return err
			}
			if d.Live() == 0 {
				return nil
			}
			time.Sleep(5 * time.Millisecond) // real processes have real clocks: wait for a lease to lapse
		}
		for i := range got {
			committed, err := count(ctx, s, &got[i])
			if err != nil {
				return err
			}
			if committed {
				fmt.Println("done", got[i].ID)
			}
		}
	}
}

// away reports that trying again may help, whatever became of what was tried: the
// lease of the message knows.
func away(err error) bool {
	return errors.Is(err, stabilize.ErrTransient) || errors.Is(err, stabilize.ErrUnknownOutcome)
}

// count reports whether this call is known to have raised the counter.
func count(ctx context.Context, s *sqlstore.Store, d *queue.Delivery) (committed bool, err error) {
	for {
		w, err := s.Load(ctx, queue.WorkflowOf(d.Message))
		if away(err) {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		if err != nil {
			return false, err
		}
		n, err := stabilize.Get[int](w.Stages[0].Context, "n")
		if err != nil {
			return false, err
		}
		st := w.Stages[0].Clone()
		if err := st.Context.Set("n", n+1); err != nil {
			return false, err
		}
		err = s.CommitBatch(ctx, []*persistence.Commit{{
			WorkflowID: w.ID, Expect: w.Version, Stages: []*stabilize.Stage{st}, Handled: []queue.Receipt{d.Receipt()},
		}})[0]
		switch {
		case errors.Is(err, stabilize.ErrConflict), away(err):
			continue
		case errors.Is(err, stabilize.ErrLeaseLost):
			return false, nil // another does it
		}
		return err == nil, err
	}
}

// Several processes on one file, one of them killed under load: every message
// is counted exactly once, what a process was told is durable is, and the file
// is whole.
func TestProcesses(t *testing.T) {
	path := tempFile(t)
	s := open(t, path, onClock(stabilize.SystemClock{}))
	countTogether(t, s, []string{childFile + "=" + path}, 300, nil)
	var whole string
	if err := raw(t, path).QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&whole); err != nil || whole != "ok" {
		t.Errorf("the file: %s, %v", whole, err)
	}
}

// countTogether lets three processes count messages and kills one of them on the
// way; then it does trouble, if that is not nil, while the others go on: they cannot end
// before, some messages are held back until then.
func countTogether(t *testing.T, s *sqlstore.Store, env []string, messages int, trouble func()) {
	const counters = 3
	ctx := t.Context()
	for i := range counters {
		c := creation(fmt.Sprint("w", i))
		if err := c.Stages[0].Context.Set("n", 0); err != nil {
			t.Fatal(err)
		}
		commit(t, s, c)
	}
	out := make([]queue.Outgoing, messages)
	for i := range out {
		out[i] = message(fmt.Sprint("m", i), fmt.Sprint("w", i%counters))
	}
	if err := s.Push(ctx, out...); err != nil {
		t.Fatal(err)
	}

	back, err := s.Claim(ctx, queue.Worker{ID: "the test", TTL: time.Hour}, queue.Room{Control: 20})
	if err != nil || len(back) != 20 {
		t.Fatalf("claimed %+v, %v", back, err)
	}

	victim, lines := child(t, env, "victim")
	told := map[string]bool{}
	hear := func() bool {
		more := lines.Scan()
		if id, ok := strings.CutPrefix(lines.Text(), "done "); ok && more {
			told[id] = true
		}
		return more
	}
	for len(told) < 10 && hear() { // before there are others, who could leave it nothing
	}
	var others []*exec.Cmd
	var outputs, up sync.WaitGroup
	for i := range 2 {
		c, output := child(t, env, fmt.Sprint("worker", i))
		others = append(others, c)
		up.Add(1)
		outputs.Go(func() { // its pipe must not fill up
			for first := true; ; first = false {
				more := output.Scan()
				if first {
					up.Done()
				}
				if !more {
					return
				}
				if text := output.Text(); strings.HasPrefix(text, "failed") {
					t.Error(text)
				}
			}
		})
	}
	up.Wait()
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for hear() {
	}
	_ = victim.Wait()
	pending, err := s.Pending(ctx, "w0")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range pending {
		if told[m.ID] {
			t.Errorf("message %s is back after its commit was told to be durable", m.ID)
		}
	}
	if trouble != nil {
		trouble()
	}
	for i := range back {
		if err := s.Return(ctx, back[i].Receipt()); err != nil {
			t.Fatal(err)
		}
	}
	outputs.Wait()
	for _, c := range others {
		if err := c.Wait(); err != nil {
			t.Errorf("a worker: %v", err)
		}
	}

	sum := 0
	for i := range counters {
		w, err := s.Load(ctx, fmt.Sprint("w", i))
		if err != nil {
			t.Fatal(err)
		}
		n, err := stabilize.Get[int](w.Stages[0].Context, "n")
		if err != nil {
			t.Fatal(err)
		}
		if w.Version != int64(n)+1 {
			t.Errorf("%s: version %d after %d steps", w.ID, w.Version, n)
		}
		sum += n
	}
	if sum != messages {
		t.Errorf("%d messages were counted %d times", messages, sum)
	}
}

func child(t *testing.T, env []string, worker string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self)
	c.Env = append(append(os.Environ(), env...), "SQLSTORE_TEST_WORKER="+worker+"-"+strconv.Itoa(os.Getpid()))
	c.Stderr = os.Stderr
	pipe, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewScanner(pipe)
}
