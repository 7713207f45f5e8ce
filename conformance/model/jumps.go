package model

import (
	"slices"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// leap lets the jumps happen that wait for nothing (any more): all of one instant
// before what they begin.
func (p *game) leap() {
	for !p.over {
		p.leaps++
		free := slices.DeleteFunc(p.leaping(), p.waits)
		if len(free) == 0 {
			return
		}
		for _, r := range free {
			if !p.over && r.Status == stabilize.Running && !r.history && !p.waits(r) {
				p.jump(r)
			}
		}
	}
}

// waits reports whether a jump must wait for joins to reset.
func (p *game) waits(r *run) bool {
	return p.again(r) && p.awaitsReset(p.region(p.stages[r.Ref].JumpTo))
}

// leaping returns the executions that are about to jump.
func (p *game) leaping() []*run {
	var out []*run
	for _, s := range p.g.Stages {
		for _, r := range p.runs[s.Ref] {
			if r.leaping && r.Status == stabilize.Running && !r.history {
				out = append(out, r)
			}
		}
	}
	return out
}

// region returns a stage and all that depends on it.
func (p *game) region(ref string) map[string]bool {
	region := map[string]bool{ref: true}
	for _, s := range p.g.Stages { // declared in an order that fits
		for _, up := range s.After {
			if region[up] {
				region[s.Ref] = true
			}
		}
	}
	return region
}

func (p *game) last(ref string) *run { return p.runs[ref][len(p.runs[ref])-1] }

// again reports whether a jump runs what has run before.
func (p *game) again(r *run) bool {
	target := p.stages[r.Ref].JumpTo
	return p.region(target)[r.Ref] || p.last(target).Status != stabilize.NotStarted
}

// awaitsReset reports whether a discriminator or N-of-M join of the region has
// fired and will see more tokens.
func (p *game) awaitsReset(region map[string]bool) bool {
	for ref := range region {
		s, last := p.stages[ref], p.last(ref)
		if (s.Join == stabilize.JoinDiscriminator || s.Join == stabilize.JoinNOfM) && last.begun && last.leap < p.leaps && slices.ContainsFunc(s.After, p.comes) {
			return true
		}
	}
	return false
}

// comes reports whether a stage will end without a jump.
func (p *game) comes(ref string) bool {
	s := p.stages[ref]
	for _, r := range p.runs[ref] {
		stuck := func(up string) bool { return !p.last(up).Status.IsComplete() && !p.comes(up) }
		switch {
		case r.history:
		case r.Status == stabilize.Running && !r.leaping:
			return true
		case r.Status == stabilize.NotStarted && !slices.ContainsFunc(s.After, stuck):
			return true
		case r.Status == stabilize.NotStarted && s.Join >= stabilize.JoinDiscriminator && slices.ContainsFunc(s.After, p.comes):
			return true
		case r.Status.IsComplete() && s.Join == stabilize.JoinExclusive && slices.ContainsFunc(s.After, p.comes):
			return true
		}
	}
	return false
}

// startOver makes history of what has begun or ended in a region, and opens a new
// round of it. What runs is ended, but for the one that jumps.
func (p *game) startOver(region map[string]bool, but *run) {
	for ref := range region {
		next := p.last(ref)
		for _, old := range p.runs[ref] {
			if old.history || old.Status == stabilize.NotStarted {
				continue
			}
			old.history = true
			if old.Status == stabilize.Running && old != but {
				old.Status, old.Reason, old.ended = stabilize.Canceled, "superseded", p.now
			}
		}
		if next.history {
			p.runs[ref] = append(p.runs[ref], &run{Execution: Execution{Ref: ref}, round: next.round + 1})
		}
	}
	p.tokens = slices.DeleteFunc(p.tokens, func(t *token) bool { return t.by.history })
	for _, t := range p.tokens {
		t.taken = t.taken && !region[t.to]
	}
}

// retry restarts the stages that did not end well or did not get to run, and what
// depends on them.
func (p *game) retry() {
	region, jumped := map[string]bool{}, map[string]bool{}
	for _, s := range p.g.Stages {
		r := p.last(s.Ref)
		switch {
		case r.Status == stabilize.Terminal, r.Status == stabilize.Stopped, r.Reason == "upstream_halted",
			r.Status == stabilize.Canceled && r.Reason != "withdrawn":
			jumped[s.Ref] = r.jumped
			for ref := range p.region(s.Ref) {
				region[ref] = true
			}
		}
	}
	p.over = false
	p.startOver(region, nil)
	for _, s := range p.g.Stages {
		if r := p.last(s.Ref); r.Status == stabilize.NotStarted && (jumped[s.Ref] || len(s.After) == 0) && !p.over {
			r.jumped = jumped[s.Ref]
			p.begin(r)
		}
	}
	for _, s := range p.g.Stages {
		if region[s.Ref] && !p.over {
			p.look(s.Ref, false)
		}
	}
}

// jump ends an execution and begins its target, in a new round if it has begun
// before, with all that depends on it.
func (p *game) jump(r *run) {
	target := p.stages[r.Ref].JumpTo
	region := p.region(target)
	if p.again(r) {
		p.startOver(region, r)
	}
	next := p.last(target)
	next.jumped = true
	r.Status, r.Reason, r.Ran = stabilize.Succeeded, "jumped", p.stages[r.Ref].calls()
	p.begin(next)
	if !region[r.Ref] {
		p.end(r, stabilize.Succeeded, "jumped")
	}
	for _, s := range p.g.Stages { // a dead path from outside is there for the new round, too
		if region[s.Ref] && !p.over {
			p.look(s.Ref, false)
		}
	}
}
