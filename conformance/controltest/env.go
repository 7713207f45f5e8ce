package controltest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// env is what a clause works with: two handles on one fresh store, and engines on
// them.
type env struct {
	*kit.Env
	h conformance.Harness

	mu  sync.Mutex
	ran map[string]int // runs of tasks, by workflow and stage
}

type check = conformance.Check[conformance.Harness]

// clause pairs a sentence with its test.
func clause(id, sentence string, run func(*env)) check {
	return check{
		Clause: conformance.Clause{ID: id, Group: id[:2], Sentence: sentence},
		Run: func(t conformance.T, h conformance.Harness, effort conformance.Effort) {
			run(&env{Env: &kit.Env{T: t, Clock: h.Clock(), Effort: effort}, h: h, ran: map[string]int{}})
		},
	}
}

// both makes a process on each handle: one that keeps workflows in memory, and
// refreshes them when a commit conflicts, and one that reads each anew.
func (e *env) both() (a, b *process) {
	e.Helper()
	return e.process(e.h.Store(), nil), e.process(e.h.Second(), nil, forgetful)
}

// forgetful is an engine that keeps no workflow in memory.
func forgetful(c *engine.Config) { c.CacheSize = -1 }

// The tasks of the suite.
const (
	done  = "done"  // succeeds and puts out how often its stage has run
	fails = "fails" // ends TERMINAL
	flaky = "flaky" // fails once, and runs again after a minute
	polls = "polls" // asks again after a minute, once
	waits = "waits" // waits for the signal "go" and puts out what came with it
	tidy  = "tidy"  // waits as well, and has a hook to run when it is canceled
	slow  = "slow"  // asks again after twenty hours, until it is the third time
)

func (e *env) tasks() map[string]stabilize.TaskType {
	return map[string]stabilize.TaskType{
		done: code{e, func(x *stabilize.Execution, n int) (stabilize.Result, error) {
			return stabilize.Success().WithOutput("runs of "+x.Stage.Ref, n), nil
		}},
		fails: code{e, func(*stabilize.Execution, int) (stabilize.Result, error) { return stabilize.Fail("on purpose"), nil }},
		flaky: code{e, func(x *stabilize.Execution, n int) (stabilize.Result, error) {
			if x.Attempt == 1 {
				return stabilize.Result{}, &stabilize.TransientError{Cause: errors.New("on purpose"), RetryAfter: time.Minute}
			}
			return stabilize.Success().WithOutput("runs of "+x.Stage.Ref, n), nil
		}},
		polls: code{e, func(x *stabilize.Execution, n int) (stabilize.Result, error) {
			if x.Polls == 0 {
				return stabilize.StillRunning(time.Minute), nil
			}
			return stabilize.Success().WithOutput("runs of "+x.Stage.Ref, n), nil
		}},
		slow: code{e, func(x *stabilize.Execution, n int) (stabilize.Result, error) {
			if x.Polls < 2 {
				return stabilize.StillRunning(20 * time.Hour), nil
			}
			return stabilize.Success().WithOutput("runs of "+x.Stage.Ref, n), nil
		}},
		waits: code{e, waiting},
		tidy:  hooked{code{e, waiting}},
	}
}

func waiting(x *stabilize.Execution, _ int) (stabilize.Result, error) {
	if x.Signal == nil {
		return stabilize.Suspend("go"), nil
	}
	return stabilize.Success().WithOutputs(x.Signal.Data), nil
}

// code is a task type that counts its runs.
type code struct {
	e  *env
	fn func(x *stabilize.Execution, n int) (stabilize.Result, error)
}

// Execute implements stabilize.TaskType.
func (c code) Execute(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
	return c.fn(x, c.e.count(x.Workflow.ID, x.Stage.Ref))
}

// hooked is code with a hook for its cancel.
type hooked struct{ code }

// OnCancel implements stabilize.OnCanceler.
func (c hooked) OnCancel(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
	c.e.count(x.Workflow.ID, "the hook of "+x.Stage.Ref)
	return stabilize.Success(), nil
}

func (e *env) count(id, what string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ran[id+"/"+what]++
	return e.ran[id+"/"+what]
}

// runs is how often a task of the stage has run.
func (e *env) runs(id, what string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ran[id+"/"+what]
}

func stage(ref, task string, after ...string) *stabilize.StageSpec {
	return stabilize.NewStage(ref).Do(task).After(after...)
}

// start starts a workflow and returns its id.
func (e *env) start(p *process, name string, stages ...*stabilize.StageSpec) string {
	e.Helper()
	id, err := p.Start(e.Ctx(), stabilize.NewWorkflow("control", name).Add(stages...))
	e.Must(err, "starting workflow %s", name)
	return id
}

// suspended starts a workflow of one stage "a" with that task and has it work
// until the task waits for its signal.
func (e *env) suspended(p *process, name, task string) string {
	e.Helper()
	id := e.start(p, name, stage("a", task))
	e.settle(p)
	if w := e.load(id); w.Status != stabilize.Running || w.StageByRef("a").Status != stabilize.Suspended {
		e.Fatalf("a workflow whose only task waits for a signal is %s", kit.Describe(w))
	}
	return id
}

// load reads a workflow through the second handle.
func (e *env) load(id string) *stabilize.Workflow {
	e.Helper()
	w, err := e.h.Second().Load(e.Ctx(), id)
	e.Must(err, "loading %s", id)
	return w
}

// headers are the same header as each way of reading shows it.
func (e *env) headers(id string) map[string]*stabilize.Header {
	e.Helper()
	w, err := e.h.Store().Load(e.Ctx(), id)
	e.Must(err, "loading %s", id)
	h, err := e.h.Store().Summary(e.Ctx(), id)
	e.Must(err, "reading the header of %s", id)
	return map[string]*stabilize.Header{"Load": &w.Header, "Summary": h, "Load through the second handle": &e.load(id).Header}
}

// status fails unless the workflow has the status.
func (e *env) status(want stabilize.Status, id, when string, args ...any) *stabilize.Workflow {
	e.Helper()
	w := e.load(id)
	if w.Status != want {
		e.Errorf("%s the workflow is %s, want %s: %s", fmt.Sprintf(when, args...), w.Status, want, kit.Describe(w))
	}
	return w
}
