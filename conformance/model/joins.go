package model

import (
	"slices"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// look lets a stage take the tokens before it, as often as its rule is met. quiet
// says that no more tokens will come.
func (p *game) look(ref string, quiet bool) bool {
	moved := false
	for !p.over && p.lookOnce(ref, quiet) {
		moved = true
	}
	return moved
}

func (p *game) lookOnce(ref string, quiet bool) bool {
	s := p.stages[ref]
	runs := p.runs[ref]
	last := runs[len(runs)-1]
	waits := last.Status == stabilize.NotStarted
	if last.due && waits {
		return false // it has its turn when the workflow is resumed
	}
	if last.jumped && !waits && !p.several(s) || !waits && !p.repeats(s) {
		return false // it had its turn
	}
	live, dead, closed := map[string][]*token{}, map[string][]*token{}, map[string]bool{}
	for _, up := range s.After {
		closed[up] = quiet || !p.mayEnd(up)
	}
	total := 0
	for _, t := range p.tokens {
		if t.to != ref || t.taken {
			continue
		}
		if t.live {
			live[t.from] = append(live[t.from], t)
			total++
		} else {
			dead[t.from] = append(dead[t.from], t)
		}
	}
	var take []*token
	hopeless := false
	switch s.Join {
	case stabilize.JoinAnd:
		for _, up := range s.After {
			if len(live[up]) > 0 {
				take = append(take, live[up][0])
			} else if closed[up] {
				hopeless = true
			}
		}
		if len(take) < len(s.After) {
			take = nil
		}
	case stabilize.JoinOr:
		for _, up := range s.After {
			if len(live[up]) > 0 {
				take = append(take, live[up][0])
			} else if !closed[up] {
				return false
			}
		}
		hopeless = len(take) == 0
	case stabilize.JoinExclusive, stabilize.JoinMulti:
		hopeless = true
		for _, up := range s.After {
			if take == nil && len(live[up]) > 0 {
				take = live[up][:1]
			}
			hopeless = hopeless && closed[up]
		}
	case stabilize.JoinMerge:
		hopeless = total == 0
		for _, up := range s.After {
			for _, t := range live[up] {
				if len(take) < s.N {
					take = append(take, t)
				}
			}
			hopeless = hopeless && closed[up]
		}
		if len(take) < s.N {
			take = nil
		}
	default:
		return p.partial(s, last, live, dead, closed)
	}
	return p.fire(ref, take, hopeless)
}

// repeats reports whether a stage may fire more than once: tokens come to it more
// than once, or its join fires for each.
func (p *game) repeats(s *Stage) bool {
	if s.Join == stabilize.JoinExclusive || s.Join == stabilize.JoinMulti || s.Join == stabilize.JoinMerge {
		return true
	}
	for _, up := range s.After {
		u := p.stages[up]
		if u.Threads > 1 || p.repeats(u) {
			return true
		}
	}
	return false
}

// several reports whether a stage before it has run more than once, so that the
// branches of an exclusive join bring more than one turn.
func (p *game) several(s *Stage) bool {
	return s.Join == stabilize.JoinExclusive && slices.ContainsFunc(s.After, func(up string) bool {
		n := 0
		for _, r := range p.runs[up] {
			if !r.history {
				n++
			}
		}
		return n > 1
	})
}

// mayEnd reports whether the stage, or one above it, has not ended.
func (p *game) mayEnd(ref string) bool {
	for _, r := range p.runs[ref] {
		if !r.history && !r.Status.IsComplete() {
			return true
		}
	}
	return p.repeats(p.stages[ref]) && slices.ContainsFunc(p.stages[ref].After, p.mayEnd)
}

// fire begins an execution with the tokens, or ends the stage as a dead path.
func (p *game) fire(ref string, take []*token, hopeless bool) bool {
	last := p.runs[ref][len(p.runs[ref])-1]
	if take == nil {
		if hopeless && last.Status == stabilize.NotStarted {
			p.end(last, stabilize.Skipped, "dead_path")
			return true
		}
		return false
	}
	if last.Status != stabilize.NotStarted {
		last = &run{Execution: Execution{Ref: ref}, round: last.round + 1}
		p.runs[ref] = append(p.runs[ref], last)
	}
	last.took = map[*token]bool{}
	for _, t := range take {
		t.taken = true
		last.took[t] = true
	}
	p.begin(last)
	return true
}

// partial is the rule of discriminator and N-of-M joins.
func (p *game) partial(s *Stage, last *run, live, dead map[string][]*token, closed map[string]bool) bool {
	need := max(s.N, 1)
	if s.Join == stabilize.JoinDiscriminator {
		need = 1
	}
	if last.Status != stabilize.NotStarted { // it waits for its reset first
		for _, up := range s.After {
			seen := false
			for t := range last.took {
				seen = seen || t.from == up
			}
			if seen {
				continue
			}
			var t *token
			switch {
			case len(live[up]) > 0:
				t = live[up][0]
			case len(dead[up]) > 0:
				t = dead[up][0]
			case closed[up]:
				continue
			default:
				return false
			}
			t.taken, last.took[t] = true, true
			return true
		}
	}
	possible := 0
	var take, seen []*token
	for _, up := range s.After {
		switch {
		case len(live[up]) > 0:
			take = append(take, live[up][0])
			possible++
		case len(dead[up]) > 0:
			seen = append(seen, dead[up][0])
		case !closed[up]:
			possible++
		}
	}
	if len(take) < need {
		return p.fire(s.Ref, nil, possible < need)
	}
	return p.fire(s.Ref, append(take, seen...), false)
}

// finish ends a workflow in which nothing moves.
func (p *game) finish() {
	for _, s := range p.g.Stages {
		if p.look(s.Ref, true) {
			if p.over || p.alive() {
				return
			}
			p.finish()
			return
		}
	}
	p.over, p.status = true, stabilize.Succeeded
	stuck := false
	for _, s := range p.g.Stages {
		for _, r := range p.runs[s.Ref] {
			if r.Status == stabilize.NotStarted {
				stuck = true
				r.Status, r.Reason = stabilize.Skipped, "upstream_halted"
			}
			if r.history || r.Status != stabilize.Stopped {
				continue
			}
			if s.Policy == stabilize.FailAfterOthers || s.Policy == stabilize.TolerateFailure && !p.absorbed(s.Ref) {
				p.status = stabilize.Terminal
			}
		}
	}
	if stuck {
		p.status = stabilize.Terminal
	}
}

// absorbed reports whether a stage further down began without the branch, however
// it ended.
func (p *game) absorbed(ref string) bool {
	for _, down := range p.below[ref] {
		for _, r := range p.runs[down] {
			if r.begun && !r.history {
				return true
			}
		}
		if p.absorbed(down) {
			return true
		}
	}
	return false
}
