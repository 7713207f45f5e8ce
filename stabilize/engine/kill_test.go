package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// killedItself is the exit code of a worker whose task ended the process.
const killedItself = 7

// killDeliveries is how often that task is handed out.
const killDeliveries = 4

// TestATaskThatKillsItsWorkerEndsParked starts a new worker process each time
// the task has killed one: after its limit of deliveries the task ends, and the
// other workflows finish meanwhile as if nothing was.
func TestATaskThatKillsItsWorkerEndsParked(t *testing.T) {
	t.Setenv("STABILIZE_LEASE_TTL", "500ms") // a dead worker's work is soon free
	db := filepath.Join(t.TempDir(), "kill.db")
	e, err := openForProcesses(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	begin := func(name string, stages ...*stabilize.StageSpec) string {
		id, err := e.Start(t.Context(), stabilize.NewWorkflow("app", name).Config("kill", "").Add(stages...))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	poison := begin("poison", stage("a").Do("kill"), stage("b", "a").Do("journal"))
	var others []string
	for i := range 20 {
		others = append(others, begin(fmt.Sprint(i), stage("a").Do("journal"), stage("b", "a").Do("journal"), stage("c", "b").Do("journal")))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ended := make(chan *stabilize.Workflow, 1)
	go func() {
		w, err := e.Wait(ctx, poison)
		if err != nil {
			t.Errorf("waiting for the task to be parked: %v", err)
		}
		ended <- w
	}()
	deaths := 0
	var w *stabilize.Workflow
	for parked := false; !parked; {
		worker := startWorker(t, db)
		died := make(chan error, 1)
		go func() { died <- worker.cmd.Wait() }()
		select {
		case <-died:
			if code := worker.cmd.ProcessState.ExitCode(); code != killedItself {
				t.Fatalf("a worker ended with %d", code)
			}
			deaths++
		case w = <-ended:
			parked = true
			for _, id := range others {
				other, err := e.Wait(ctx, id)
				if err != nil || other.Status != stabilize.Succeeded {
					t.Errorf("a workflow beside it is %s, %v", describe(other), err)
				}
			}
			_ = worker.stdin.Close()
			if err := <-died; err != nil {
				t.Errorf("the last worker ended with %v", err)
			}
		}
	}
	if w == nil {
		return
	}
	if codeOf(w) != stabilize.CodeDeadLetter || w.Failure.Stage != "a" || w.Failure.Task != "kill" {
		t.Errorf("it ended %s: %+v", describe(w), w.Failure)
	}
	journal, err := os.ReadFile(journalOf(db))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(journal), "kill kill poison a\n"); n != killDeliveries || deaths != n {
		t.Errorf("it ran %d times and killed %d workers, want %d", n, deaths, killDeliveries)
	}
	dead, err := e.Store().ListDead(t.Context(), "", 10)
	if err != nil || len(dead) != 1 || dead[0].WorkflowID != poison || dead[0].Reason != queue.DeadExhausted {
		t.Errorf("the dead letters are %+v, %v", dead, err)
	}
}
