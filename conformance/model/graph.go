package model

import (
	"fmt"
	"strings"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Stage is a stage with one task.
type Stage struct {
	Ref   string
	After []string
	Join  stabilize.JoinType
	N     int // of an N-of-M join or a merge

	Takes    time.Duration // how long the task runs, each time
	Flaky    int           // how often it fails transiently first
	Fails    bool          // then it fails for good
	Recovers bool          // but only the first time
	Policy   stabilize.OnFailure
	Gate     bool // before all, its task waits for the signal of its ref
	// Instances of the task run, Limit (0: all) at once, each a little longer than
	// the one before; 0: the task itself does. They do not fail.
	Instances, Limit int
	Disabled         bool

	// Split is asked of Chosen: the refs whose condition is true. Default, if not
	// empty, is taken when none is.
	Split   stabilize.SplitType
	Chosen  []string
	Default string
	Threads int

	// JumpTo is jumped to the first Jumps times.
	JumpTo string
	Jumps  int
}

// Graph is a workflow and what happens to it from outside.
type Graph struct {
	Stages []Stage
	// Withdraw ends a stage at a time after the start, if it has not ended.
	Withdraw map[string]time.Duration
	// Signal is when each gate is signalled, whether it waits already or not.
	Signal map[string]time.Duration
	// Cancel ends the workflow; 0: nobody does.
	Cancel time.Duration
	// Pause keeps it from beginning anything until Resume; 0: nobody does.
	Pause, Resume time.Duration
	// Retry restarts what did not end well, once, after all that.
	Retry bool
}

// InstanceTakes is how much longer than the one before each instance of a stage
// takes.
const InstanceTakes = 7 * time.Millisecond

// Execution is what became of one execution of a stage.
type Execution struct {
	Ref    string
	Status stabilize.Status
	Reason string
	Ran    int // times the task's code was called and its answer counted
}

func (e Execution) String() string {
	return fmt.Sprintf("%s %s %s ran %d", e.Ref, e.Status, e.Reason, e.Ran)
}

// String writes the graph in a few lines, for a table of cases.
func (g Graph) String() string {
	var b strings.Builder
	for _, s := range g.Stages {
		fmt.Fprintf(&b, "%s", s.Ref)
		if len(s.After) > 0 {
			fmt.Fprintf(&b, " after %s by %s", strings.Join(s.After, ","), s.Join)
			if s.N > 0 {
				fmt.Fprintf(&b, " %d", s.N)
			}
		}
		if s.Split != stabilize.SplitAnd {
			fmt.Fprintf(&b, " %s split chooses [%s] default %q", s.Split, strings.Join(s.Chosen, ","), s.Default)
		}
		if s.Threads > 1 {
			fmt.Fprintf(&b, " threads %d", s.Threads)
		}
		if s.Gate {
			fmt.Fprintf(&b, " gate opened after %s", g.Signal[s.Ref])
		}
		if s.Instances > 0 {
			fmt.Fprintf(&b, " %d instances, %d at once", s.Instances, s.Limit)
		}
		if s.Fails {
			b.WriteString(" fails")
		}
		if s.Recovers {
			b.WriteString(" once")
		}
		if s.Policy != stabilize.FailWorkflow {
			fmt.Fprintf(&b, " policy %s", s.Policy)
		}
		if s.Flaky > 0 {
			fmt.Fprintf(&b, " flaky %d", s.Flaky)
		}
		if s.Disabled {
			b.WriteString(" disabled")
		}
		if s.Jumps > 0 {
			fmt.Fprintf(&b, " jumps to %s %d times", s.JumpTo, s.Jumps)
		}
		fmt.Fprintf(&b, " takes %s\n", s.Takes)
	}
	if len(g.Withdraw) > 0 {
		fmt.Fprintf(&b, "withdraw %v\n", g.Withdraw)
	}
	if g.Pause > 0 {
		fmt.Fprintf(&b, "paused from %s to %s\n", g.Pause, g.Resume)
	}
	if g.Retry {
		b.WriteString("then retried\n")
	}
	if g.Cancel > 0 {
		fmt.Fprintf(&b, "cancel after %s\n", g.Cancel)
	}
	return b.String()
}
