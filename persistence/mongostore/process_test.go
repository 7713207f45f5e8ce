//go:build unix

package mongostore_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence/mongostore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// jobVariable makes the test binary a worker process: a job in JSON.
const jobVariable = "MONGOSTORE_TEST_JOB"

// inline is so little that most bodies are documents of their own.
const inline = 64

// job is what a worker process is told.
type job struct {
	URI, Database string
	Journal       string // a file that all share
	Worker        int    // who it is there
	LeaseTTL      time.Duration
	Takes         time.Duration // each task run, at least
	Begins        []chain
}

// chain is a workflow of so many stages that carry, one after the other. Of those
// under a key one goes on at a time.
type chain struct {
	Name   string
	Length int
	Key    string
}

func (c chain) spec() *stabilize.WorkflowSpec {
	spec := stabilize.NewWorkflow("chains", c.Name).Context("n", 0).Context("run", "")
	if c.Key != "" {
		spec.LimitConcurrent(c.Key, 1)
	}
	for i := range c.Length {
		s := stabilize.NewStage(fmt.Sprint("s", i)).Do("carry")
		if i > 0 {
			s.After(fmt.Sprint("s", i-1))
		}
		spec.Add(s)
	}
	return spec
}

// begin starts a chain once, however often it is called.
func (c chain) begin(ctx context.Context, e *engine.Engine) (id string, err error) {
	return e.Start(ctx, c.spec(), engine.WithKey("once"))
}

// work is a worker process: it says that it is ready, begins when its standard input
// says something, and works until that ends.
func work(text string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	s, err := mongostore.Open(ctx, mongostore.Config{URI: j.URI, Database: j.Database, Inline: inline})
	if err != nil {
		return err
	}
	defer s.Close()
	e, err := newCarrier(&introduced{Store: s, journal: journal(j.Journal), worker: j.Worker}, j)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	for _, c := range j.Begins {
		if _, err := c.begin(ctx, e); err != nil {
			return err
		}
	}
	if err := e.Run(ctx); err != nil {
		return err
	}
	return e.Close()
}

// process is a worker process.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
}

// start starts a worker process that waits for go. What is left of it is killed with
// the test.
func (j job) start(t *testing.T) *process {
	t.Helper()
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), jobVariable+"="+string(text))
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
	p := &process{cmd, stdin}
	t.Cleanup(p.kill) // after it has ended this does nothing
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("a worker said %q, %v", line, err)
	}
	return p
}

func (p *process) begin(t *testing.T) {
	t.Helper()
	if _, err := p.stdin.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
}

// kill ends it by SIGKILL, and it has ended when kill returns.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func (p *process) stop(t *testing.T) {
	t.Helper()
	_ = p.stdin.Close()
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("a worker ended with %v", err)
	}
}

// carried is what goes from stage to stage: how many there were, and which run of the
// last one it is from.
type carried struct {
	N   int    `json:"n"`
	Run string `json:"run"`
}

// newCarrier makes an engine whose task "carry" notes each of its runs before it does
// anything else.
func newCarrier(s *introduced, j job) (*engine.Engine, error) {
	e, err := engine.New(s, engine.WithConfig(engine.Config{LeaseTTL: j.LeaseTTL, Concurrency: 20}),
		engine.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError + 1}))))
	if err != nil {
		return nil, err
	}
	return e, e.RegisterTask("carry", stabilize.Func(func(ctx context.Context, in carried) (carried, error) {
		x := stabilize.ExecutionFrom(ctx)
		out := carried{N: in.N + 1, Run: rand.Text()}
		err := s.journal.note(entry{What: ran, Worker: j.Worker, Task: x.IdempotencyKey(), Run: out.Run, After: in.Run})
		if err != nil || j.Takes == 0 {
			return out, err
		}
		select {
		case <-ctx.Done():
			return out, context.Cause(ctx)
		case <-time.After(j.Takes):
			return out, nil
		}
	}))
}

// introduced is a store whose worker notes under which lease it works.
type introduced struct {
	*mongostore.Store // with all its powers

	journal journal
	worker  int
	fence   int64 // 0: not known yet
}

// Heartbeat implements queue.Queue. An engine calls it before it claims anything, and
// from one goroutine at a time.
func (s *introduced) Heartbeat(ctx context.Context, w queue.Worker) (queue.Leases, error) {
	leases, err := s.Store.Heartbeat(ctx, w)
	if err == nil && leases.Fence != s.fence {
		if s.fence > 0 {
			err = s.journal.note(entry{What: lapsed, Worker: s.worker})
		}
		err = errors.Join(err, s.journal.note(entry{What: known, Worker: s.worker, Lease: w, Fence: leases.Fence}))
		s.fence = leases.Fence
	}
	return leases, err
}

// journal is a file of lines that several processes append to.
type journal string

// What a journal says.
const (
	ran     = "ran"     // a task was run
	known   = "known"   // a worker works under a lease
	lapsed  = "lapsed"  // its lease had lapsed
	killing = "killing" // it is about to be killed
)

type entry struct {
	What             string
	Worker           int
	Task, Run, After string       `json:",omitempty"`
	Lease            queue.Worker `json:",omitzero"`
	Fence            int64        `json:",omitempty"`
}

func (j journal) note(e entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(string(j), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// read returns what was noted, in order. A line that a killed process was writing is
// whole or not there.
func (j journal) read(t *testing.T) (all []entry) {
	t.Helper()
	text, err := os.ReadFile(string(j))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("the journal says %q: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

// checkChain says what is wrong with a chain that has ended: every stage's result is
// that of one of its runs, each of which saw the result before it and no other.
func checkChain(w *stabilize.Workflow, length int, noted []entry) error {
	if w.Status != stabilize.Succeeded || len(w.Stages) != length {
		return fmt.Errorf("workflow %s ended %s with %d stages: %v", w.Name, w.Status, len(w.Stages), w.Failure)
	}
	before := ""
	for i, s := range w.Stages {
		n, err1 := stabilize.Get[int](s.Outputs, "n")
		result, err2 := stabilize.Get[string](s.Outputs, "run")
		if err := errors.Join(err1, err2); err != nil || n != i+1 {
			return fmt.Errorf("workflow %s, stage %s: the outputs are %v, %w", w.Name, s.Ref, s.Outputs, err)
		}
		found := false
		for _, e := range noted {
			if e.What != ran || e.Task != s.Tasks[0].ID {
				continue
			}
			found = found || e.Run == result
			if e.After != before {
				return fmt.Errorf("workflow %s, stage %s: the result before it is %q, and it ran on another: %+v", w.Name, s.Ref, before, e)
			}
		}
		if !found {
			return fmt.Errorf("workflow %s, stage %s: its result %q is of no run", w.Name, s.Ref, result)
		}
		before = result
	}
	return nil
}
