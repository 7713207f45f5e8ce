package stabilize

import (
	"fmt"
	"slices"
)

// checkTokens plays the games that the graph has reason for.
func (g *soundGraph) checkTokens() {
	var limits, threads, merges, exclusive, constants, ends bool
	for v, s := range g.stages {
		r := s.Declared()
		limits = limits || r.Split == SplitExclusive || r.Choice != "" || r.Ends || s.Join == JoinMerge
		threads = threads || r.Threads > 1 || s.Join == JoinMulti || s.Join == JoinMerge
		merges = merges || s.Join == JoinMerge
		exclusive = exclusive || s.Join == JoinExclusive && g.edgesIn[v] > 1
		ends = ends || r.Ends
		for _, b := range r.Branches {
			_, known := constant(b.When)
			constants = constants || known
			limits = limits || b.Default // it excludes the others, whatever the split
		}
	}
	if limits || constants || threads {
		if res := g.play(gameMost); res.ok {
			g.checkFiring(res, constants, threads)
			// With threads taken for one there are no more tokens than with all of
			// them, except after a merge.
			exclusive = exclusive && (merges || g.meets(res))
		}
	}
	if exclusive {
		g.checkExclusive(ends)
	}
}

// meets reports whether two tokens reach an exclusive join in a game.
func (g *soundGraph) meets(res gameResult) bool {
	for v, s := range g.stages {
		if s.Join == JoinExclusive && res.stages[v].tokens > 1 {
			return true
		}
	}
	return false
}

// checkFiring finds joins that can never fire, and tokens left over.
func (g *soundGraph) checkFiring(res gameResult, constants, threads bool) {
	var opaque *gameResult
	for v, s := range g.stages {
		see := res.stages[v]
		if see.runs > 0 {
			switch {
			case see.unequal && threads:
				g.add(v, FindingLeftoverTokens, Warning, nil, fmt.Sprintf(
					"its %s join may get more tokens on one edge than on another, which are then left over; merge threads before they meet other branches", s.Join))
			case see.uneven:
				g.add(v, FindingIncompleteMerge, Warning, nil, fmt.Sprintf(
					"it may get a number of tokens that %d does not divide, and then waits for more; merge as many threads as are made", s.Threshold))
			}
			continue
		}
		if !g.isFirstDead(v, res) {
			continue
		}
		severity := Refused
		if constants && opaque == nil {
			played := g.play(gameMostOpaque)
			opaque = &played
		}
		if res.rough || constants && (!opaque.ok || opaque.rough || opaque.stages[v].runs > 0) {
			severity = Warning // a stage for jumps may stand on a branch that is switched off
		}
		g.addNeverFires(v, severity, see)
	}
}

// isFirstDead: what the stage waits for can run, so that it is itself to blame.
func (g *soundGraph) isFirstDead(v int, res gameResult) bool {
	ups := g.ups(v)
	if len(ups) < len(g.stages[v].Requisites) || len(ups) == 0 {
		return false
	}
	return !slices.ContainsFunc(ups, func(up int) bool { return res.stages[up].runs == 0 })
}

func (g *soundGraph) addNeverFires(v int, severity Severity, see seen) {
	s, ups := g.stages[v], g.ups(v)
	if s.Join == JoinMerge && see.tokens > 0 {
		g.add(v, FindingNeverFires, severity, g.pathTo(ups[0], ups[0], v), fmt.Sprintf(
			"can never run: at most %d tokens reach it and it merges %d; lower the threshold, or make more threads", see.tokens, s.Threshold))
		return
	}
	for _, up := range ups {
		if g.stages[up].Declared().Ends {
			g.add(v, FindingNeverFires, severity, g.pathTo(up, up, v), fmt.Sprintf(
				"can never run: the good end of %q is the end of the workflow; let nothing require it", g.stages[up].Ref))
			return
		}
	}
	if len(ups) == 1 || see.edges == 0 {
		g.add(v, FindingNeverFires, severity, g.pathTo(ups[0], ups[0], v),
			"can never run: no choice of branches gives it a token; take it out, or correct the conditions")
		return
	}
	from, p, q, by := g.rivals(v)
	why := fmt.Sprintf("at most %d of its %d branches can be live together", see.edges, len(ups))
	if by != "" {
		why = fmt.Sprintf("%q and %q exclude each other (%s)", g.stages[p].Ref, g.stages[q].Ref, by)
	}
	g.add(v, FindingNeverFires, severity, g.pathTo(from, p, v), fmt.Sprintf(
		"can never run: %s, but its %s join needs %d; use an exclusive join", why, s.Join, needOf(s)))
}

// rivals are two requisites of a join that exclude each other, where the way to
// the first of them begins, and by what they do.
func (g *soundGraph) rivals(v int) (from, p, q int, by string) {
	ups := g.ups(v)
	few := ups[:min(len(ups), 32)]
	before := make([][]bool, len(few))
	for i, up := range few {
		before[i] = g.upstream(up)
	}
	for i, p := range few {
		for j, q := range few[:i] {
			split := g.fork(before[j], before[i], func(at int) bool { return g.excludes(at, before[j], before[i], q, p, v) })
			if split >= 0 {
				return split, q, p, fmt.Sprintf("%s split %q", g.stages[split].Rules.Split, g.stages[split].Ref)
			}
		}
	}
	for i, p := range few {
		for j, q := range few[:i] {
			if at, name := g.sharedChoice(before[j], before[i]); at >= 0 {
				return at, q, p, fmt.Sprintf("deferred choice %q", name)
			}
		}
	}
	return ups[0], ups[0], ups[1], ""
}

// sharedChoice finds a stage before p whose deferred choice another stage,
// before q, is in too.
func (g *soundGraph) sharedChoice(p, q []bool) (slot int, name string) {
	for _, v := range slices.Backward(g.order) {
		name := g.stages[v].Declared().Choice
		if name == "" || !p[v] || q[v] {
			continue
		}
		for w, s := range g.stages {
			if q[w] && !p[w] && s.Declared().Choice == name {
				return v, name
			}
		}
	}
	return -1, ""
}

// checkExclusive finds exclusive joins that more than one branch arrives at.
func (g *soundGraph) checkExclusive(ends bool) {
	most := g.play(gameMostSingle)
	var least *gameResult
	for v, s := range g.stages {
		if s.Join != JoinExclusive || g.edgesIn[v] < 2 {
			continue
		}
		if !most.ok {
			g.suspectExclusive(v)
			continue
		}
		see := most.stages[v]
		if see.tokens < 2 {
			continue
		}
		if least == nil {
			played := g.play(gameLeastSingle)
			least = &played
		}
		severity, word := Warning, "may run"
		// Where the workflow may end at any moment nothing is sure to come twice.
		if least.ok && !ends && !most.rough && least.stages[v].fewest > 1 {
			severity, word = Refused, "runs"
		}
		g.addUnsafe(v, severity, word, min(see.both[0], see.both[1]), max(see.both[0], see.both[1]))
	}
}

func (g *soundGraph) addUnsafe(v int, severity Severity, word string, p, q int) {
	from := g.fork(g.upstream(p), g.upstream(q), func(int) bool { return true })
	path := []string{g.stages[p].Ref, g.stages[v].Ref}
	if from >= 0 {
		path = g.pathTo(from, p, v)
	}
	g.add(v, FindingUnsafeMerge, severity, path, fmt.Sprintf(
		"%s more than once: %q and %q do not exclude each other; use an AND or OR join to run once, a multi-merge to run for each",
		word, g.stages[p].Ref, g.stages[q].Ref))
}

// suspectExclusive judges by the splits alone: two branches that part at a stage
// which takes all of them.
func (g *soundGraph) suspectExclusive(v int) {
	ups := g.ups(v)
	for i := 1; i < min(len(ups), 32); i++ {
		p, q := g.upstream(ups[i-1]), g.upstream(ups[i])
		part := g.fork(p, q, func(int) bool { return true })
		if part >= 0 && g.stages[part].Declared().Split == SplitAnd {
			g.addUnsafe(v, Warning, "may run", ups[i-1], ups[i])
			return
		}
	}
}
