package patterns

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// wants are what a scenario expects of stages at the end of a workflow.
type wants []want

// want is what it expects of the executions of one stage that count, that is,
// that no later round has superseded.
type want struct {
	ref       string
	status    stabilize.Status
	reason    string
	code      string // of the failure; empty: not looked at
	times     int    // executions that ended so; 0: all of them
	committed int    // committed task executions, in all rounds
}

func each(refs []string, w want) wants {
	out := make(wants, len(refs))
	for i, ref := range refs {
		out[i] = w
		out[i].ref = ref
	}
	return out
}

// ran: each succeeded, by one committed task execution.
func ran(refs ...string) wants { return times(1, refs...) }

// times: each has n executions that count, and each of them succeeded by one
// committed task execution.
func times(n int, refs ...string) wants {
	return each(refs, want{status: stabilize.Succeeded, times: n, committed: n})
}

// commits: each succeeded, and n task executions were committed, whether those of
// earlier rounds count or not.
func commits(n int, refs ...string) wants {
	return each(refs, want{status: stabilize.Succeeded, committed: n})
}

// dead: no live token reached them.
func dead(refs ...string) wants {
	return each(refs, want{status: stabilize.Skipped, reason: stabilize.ReasonDeadPath})
}

// withdrawn: another branch was chosen; what they did was not committed.
func withdrawn(refs ...string) wants {
	return each(refs, want{status: stabilize.Canceled, reason: stabilize.ReasonWithdrawn})
}

// unreached: the workflow ended before their turn.
func unreached(refs ...string) wants {
	return each(refs, want{status: stabilize.Skipped, reason: stabilize.ReasonUpstreamHalted})
}

// failed: each ended TERMINAL with that code, by one committed task execution.
func failed(code string, refs ...string) wants {
	return ended(1, stabilize.Terminal, "", refs...).code(code)
}

// ended: all of their executions that count ended so, with n committed task
// executions.
func ended(n int, status stabilize.Status, reason string, refs ...string) wants {
	return each(refs, want{status: status, reason: reason, committed: n})
}

// code adds the code of the failure.
func (ws wants) code(code string) wants {
	for i := range ws {
		ws[i].code = code
	}
	return ws
}

// commits says how many task executions were committed, in all rounds.
func (ws wants) commits(n int) wants {
	for i := range ws {
		ws[i].committed = n
	}
	return ws
}

// only says of how many executions the rest is said. The wants of one stage add up.
func (ws wants) only(times int) wants {
	for i := range ws {
		ws[i].times = times
	}
	return ws
}

// ends waits until the workflow has ended and checks how: its status, and every
// declared stage. Nothing but what is wanted may be there. It returns the workflow.
func (r *run) ends(id string, status stabilize.Status, want ...wants) *stabilize.Workflow {
	r.Helper()
	w := r.until(id, "the workflow has ended", func(w *stabilize.Workflow) bool { return w.Status.IsComplete() })
	r.compare(w, status, want)
	return w
}

// succeeds is ends with SUCCEEDED.
func (r *run) succeeds(id string, want ...wants) *stabilize.Workflow {
	r.Helper()
	return r.ends(id, stabilize.Succeeded, want...)
}

// fails is ends with TERMINAL and that code.
func (r *run) fails(id, code string, want ...wants) *stabilize.Workflow {
	r.Helper()
	w := r.ends(id, stabilize.Terminal, want...)
	if w.Failure == nil || w.Failure.Code != code {
		r.Errorf("the workflow failed with %v, want %s", w.Failure, code)
	}
	return w
}

func (r *run) compare(w *stabilize.Workflow, status stabilize.Status, want []wants) {
	r.Helper()
	r.finished[w.ID]++
	if w.Status != status {
		r.Errorf("the workflow is %s, want %s: %v: %s", w.Status, status, w.Failure, kit.Describe(w))
	}
	byRef := map[string]wants{}
	for _, x := range slices.Concat(want...) {
		byRef[x.ref] = append(byRef[x.ref], x)
	}
	for ref, xs := range byRef {
		if problem := xs.problem(w, ref); problem != "" {
			r.Errorf("stage %s %s: %s", ref, problem, kit.Describe(w))
		}
	}
	for _, s := range w.Stages {
		if !s.IsSynthetic() && byRef[s.Ref] == nil {
			r.Errorf("the scenario does not say how stage %s ends: %s", s.Ref, kit.Describe(w))
		}
	}
}

// problem says what is not as wanted of one stage.
func (ws wants) problem(w *stabilize.Workflow, ref string) string {
	executions := w.Executions(ref)
	if len(executions) == 0 {
		return "is not there"
	}
	commits, said := 0, 0
	for _, x := range ws {
		commits += x.committed
		n := 0
		for _, s := range executions {
			if s.Status == x.status && s.Reason == x.reason && (x.code == "" || s.Failure != nil && s.Failure.Code == x.code) {
				n++
			}
		}
		times := x.times
		if times == 0 {
			times = len(executions)
		}
		if said += times; n != times {
			return fmt.Sprintf("has %d of %d executions that ended %s %q %s, want %d", n, len(executions), x.status, x.reason, x.code, times)
		}
	}
	if said != len(executions) {
		return fmt.Sprintf("has %d executions, want %d", len(executions), said)
	}
	if n := committed(w, ref); n != commits {
		return fmt.Sprintf("has %d committed task executions, want %d", n, commits)
	}
	return ""
}

// committed counts the task executions of a stage whose result was committed, in
// all rounds, superseded or not. Those of instances and iterations count for
// the stage they are of: each task of the aggregate ended at most once.
func committed(w *stabilize.Workflow, ref string) int {
	n := 0
	for _, s := range w.Stages {
		if declared(s.Ref) != ref {
			continue
		}
		for _, t := range s.Tasks {
			switch t.Status {
			case stabilize.Succeeded, stabilize.FailedContinue, stabilize.Terminal, stabilize.Stopped:
				if !t.StartedAt.IsZero() {
					n++
				}
			}
		}
	}
	return n
}

// declared is a ref without the indexes of instances and iterations.
func declared(ref string) string {
	for {
		open := strings.IndexByte(ref, '[')
		if open < 0 {
			return ref
		}
		end := strings.IndexByte(ref[open:], ']')
		if end < 0 {
			return ref
		}
		ref = ref[:open] + ref[open+end+1:]
	}
}

// count checks how many task executions of each stage are committed by now.
func (r *run) count(id string, n int, refs ...string) {
	r.Helper()
	w := r.load(id)
	for _, ref := range refs {
		if got := committed(w, ref); got != n {
			r.Errorf("stage %s has %d committed task executions by now, want %d: %s", ref, got, n, kit.Describe(w))
		}
	}
}

// still checks, after everything has come to rest, that the workflow runs and
// that these stages have not run.
func (r *run) still(id string, refs ...string) {
	r.Helper()
	r.rest()
	r.count(id, 0, refs...)
	if w := r.load(id); w.Status.IsComplete() {
		r.Errorf("the workflow has ended already: %v: %s", w.Failure, kit.Describe(w))
	}
}

// order checks that each stage's first run began after the first run of the
// stage before it had ended.
func (r *run) order(refs ...string) {
	r.Helper()
	log := r.entries()
	for i := 1; i < len(refs); i++ {
		done := slices.IndexFunc(log, func(e entry) bool { return e.ref == refs[i-1] && e.end && !e.cut })
		start := slices.IndexFunc(log, func(e entry) bool { return e.ref == refs[i] && !e.end })
		if done < 0 || start < 0 || start < done {
			r.Errorf("%s began before %s had ended: %v", refs[i], refs[i-1], log)
		}
	}
}
