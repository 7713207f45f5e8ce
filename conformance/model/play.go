package model

import (
	"cmp"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// RetryDelay is the delay before each further try of a task that failed
// transiently.
const RetryDelay = time.Second

// run is one execution of a stage.
type run struct {
	Execution
	round   int
	begun   bool
	due     bool // it begins when the workflow is resumed
	history bool // a jump opened a later round in its place
	jumped  bool // it was jumped to
	leaping bool // its jump waits
	leap    int  // which of the leaps was the last before it began
	ends    time.Duration
	ended   time.Duration
	parts   []time.Duration // when each instance ends
	took    map[*token]bool
}

// token stands on an edge.
type token struct {
	from, to string
	live     bool
	taken    bool
	by       *run
}

type game struct {
	g      Graph
	stages map[string]*Stage
	below  map[string][]string // in order of declaration
	runs   map[string][]*run
	jumps  map[string]int // answers of a stage that it jumps
	failed map[string]bool
	tokens []*token
	leaps  int
	now    time.Duration
	over   bool
	paused bool
	status stabilize.Status
}

// Play returns how the workflow ends, and its executions by ref, in an order of
// their own, without those that a jump made history before they had run: whether
// there are any depends on what of one instant comes first.
func (g Graph) Play() (stabilize.Status, []Execution) {
	p := &game{g: g, stages: map[string]*Stage{}, below: map[string][]string{}, runs: map[string][]*run{}, jumps: map[string]int{}, failed: map[string]bool{}}
	for i := range g.Stages {
		s := &g.Stages[i]
		p.stages[s.Ref] = s
		p.runs[s.Ref] = []*run{{Execution: Execution{Ref: s.Ref}}}
		for _, up := range s.After {
			p.below[up] = append(p.below[up], s.Ref)
		}
	}
	for i := range g.Stages {
		if len(g.Stages[i].After) == 0 {
			p.begin(p.runs[g.Stages[i].Ref][0])
		}
	}
	for !p.over {
		p.step()
	}
	if g.Retry && p.status != stabilize.Succeeded {
		p.retry()
		for !p.over {
			p.step()
		}
	}
	var out []Execution
	for _, runs := range p.runs {
		for _, r := range runs {
			for _, e := range append(p.instances(r), r.Execution) {
				if !r.history || e.Ran > 0 {
					out = append(out, e)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b Execution) int { return cmp.Compare(a.String(), b.String()) })
	return p.status, out
}

// step lets happen what happens next.
func (p *game) step() {
	if !p.alive() && !p.paused {
		p.finish()
		return
	}
	if !p.moving() && !p.paused { // what the jumps wait for never comes
		p.jump(p.leaping()[0])
		p.leap()
		return
	}
	at, do := p.next()
	p.now = at
	do()
	if !p.over && !p.paused {
		p.leap()
	}
}

// next returns what happens next.
func (p *game) next() (at time.Duration, do func()) {
	first := func(t time.Duration, f func()) {
		if do == nil || t < at {
			at, do = t, f
		}
	}
	for _, s := range p.g.Stages {
		for _, r := range p.runs[s.Ref] {
			if r.Status == stabilize.Running && !r.leaping {
				first(r.ends, func() { p.taskEnded(r) })
			}
		}
	}
	for ref, t := range p.g.Withdraw {
		if t > p.now {
			first(t, func() { p.withdraw(p.last(ref)) })
		}
	}
	for t, f := range map[time.Duration]func(){
		p.g.Cancel: func() {
			p.halt(stabilize.Canceled, stabilize.Canceled, "workflow_canceled", "workflow_canceled", stabilize.Canceled)
		},
		p.g.Pause:  func() { p.paused = true },
		p.g.Resume: p.resume,
	} {
		if t > p.now {
			first(t, f)
		}
	}
	return at, do
}

func (p *game) withdraw(r *run) {
	if !r.Status.IsComplete() {
		p.end(r, stabilize.Canceled, "withdrawn")
	}
}

// resume begins what was to begin in between.
func (p *game) resume() {
	p.paused = false
	for _, s := range p.g.Stages {
		if r := p.last(s.Ref); r.due && r.Status == stabilize.NotStarted && !p.over {
			p.begin(r)
		}
	}
}

// awake is a time, or the end of the pause that it is in.
func (p *game) awake(t time.Duration) time.Duration {
	if t > p.g.Pause && t < p.g.Resume {
		return p.g.Resume
	}
	return t
}

// moving reports whether a task is under way.
func (p *game) moving() bool {
	for _, runs := range p.runs {
		for _, r := range runs {
			if r.Status == stabilize.Running && !r.leaping {
				return true
			}
		}
	}
	return false
}

func (p *game) alive() bool {
	for _, runs := range p.runs {
		for _, r := range runs {
			if r.Status == stabilize.Running {
				return true
			}
		}
	}
	return false
}

func (p *game) begin(r *run) {
	s := p.stages[r.Ref]
	if r.due = p.paused; r.due {
		return
	}
	if s.Disabled {
		p.end(r, stabilize.Skipped, "disabled")
		return
	}
	r.begun, r.leap = true, p.leaps
	r.Status = stabilize.Running
	r.ends = p.now
	if s.Gate {
		r.ends = p.awake(max(r.ends, p.g.Signal[s.Ref]))
	}
	if s.Instances > 0 {
		p.beginInstances(r)
		return
	}
	r.ends = p.runFor(s, r.ends, 0)
}

func (p *game) taskEnded(r *run) {
	s := p.stages[r.Ref]
	if p.jumps[r.Ref] < s.Jumps {
		p.jumps[r.Ref]++
		r.leaping = true
		if p.leaps++; !p.waits(r) {
			p.jump(r) // else when step sees to it
		}
		return
	}
	if s.Instances == 0 {
		r.Ran = s.calls()
	}
	switch {
	case s.Fails && !(s.Recovers && p.failed[r.Ref]):
		p.failed[r.Ref] = true
		p.fail(r)
	default:
		p.end(r, stabilize.Succeeded, "")
	}
}

// calls is how often the task is called until it has its answer.
func (s *Stage) calls() int {
	if s.Gate {
		return s.Flaky + 2 // once to say that it waits
	}
	return s.Flaky + 1
}

func (p *game) fail(r *run) {
	switch p.stages[r.Ref].Policy {
	case stabilize.FailWorkflow:
		r.Status, r.ended = stabilize.Terminal, p.now
		p.halt(stabilize.Canceled, stabilize.Skipped, "workflow_failed", "upstream_halted", stabilize.Terminal)
	case stabilize.ContinueOnFailure:
		p.end(r, stabilize.FailedContinue, "")
	default:
		p.end(r, stabilize.Stopped, "")
	}
}

// halt ends all at once: what runs and what has not begun.
func (p *game) halt(running, waiting stabilize.Status, whyRunning, whyWaiting string, status stabilize.Status) {
	for _, runs := range p.runs {
		for _, r := range runs {
			switch r.Status {
			case stabilize.Running:
				r.Status, r.Reason, r.ended = running, whyRunning, p.now
			case stabilize.NotStarted:
				r.Status, r.Reason = waiting, whyWaiting
			}
		}
	}
	p.over, p.status = true, status
}

// end ends an execution, puts its tokens on the edges and looks at what follows.
func (p *game) end(r *run, status stabilize.Status, reason string) {
	s := p.stages[r.Ref]
	live := map[string]bool{}
	if status == stabilize.Succeeded && reason == "" || status == stabilize.FailedContinue || reason == "disabled" {
		for _, down := range p.below[r.Ref] {
			live[down] = true
		}
		if s.Split != stabilize.SplitAnd {
			chosen := s.Chosen
			if len(chosen) == 0 && s.Default != "" {
				chosen = []string{s.Default}
			}
			for _, down := range p.below[r.Ref] {
				live[down] = slices.Contains(chosen, down)
			}
			if len(chosen) == 0 { // NO_BRANCH, by the stage's policy
				switch s.Policy {
				case stabilize.FailWorkflow:
					r.Status, r.ended = stabilize.Terminal, p.now
					if reason != "" {
						r.Reason = reason
					}
					p.halt(stabilize.Canceled, stabilize.Skipped, "workflow_failed", "upstream_halted", stabilize.Terminal)
					return
				case stabilize.ContinueOnFailure:
					status = stabilize.FailedContinue
				default:
					status = stabilize.Stopped
				}
			}
		}
	}
	r.Status, r.Reason, r.ended = status, reason, p.now
	if r.history {
		return
	}
	for _, down := range p.below[r.Ref] {
		n := 1
		if live[down] && s.Threads > 1 {
			n = s.Threads
		}
		for range n {
			p.tokens = append(p.tokens, &token{from: r.Ref, to: down, live: live[down], by: r})
		}
	}
	for _, down := range p.below[r.Ref] {
		if p.over {
			return
		}
		p.look(down, false)
	}
}
