package stabilize

import "slices"

// options are the sets of edges, of which one gets live tokens when the stage
// has run. Of sets within each other only those that matter to the game are
// listed. None: the stage cannot end well.
func (g *soundGraph) options(v int, kind soundGame) [][]int {
	s := g.stages[v]
	all := g.out[v]
	r := s.Rules
	switch {
	case kind == gameLeastSingle && (s.OnFailure == StopBranch || s.OnFailure == FailAfterOthers || s.OnFailure == TolerateFailure):
		return nil // it may fail, and nothing follows
	case r == nil || r.Split == SplitAnd && !r.Ends:
		return [][]int{all}
	}
	// What is skipped or fails and goes on may put a token on every edge; only
	// where that speaks for the workflow is it taken into account.
	whole := !kind.single() && (s.Disabled || r.If != "" || s.OnFailure == ContinueOnFailure)
	switch {
	case whole:
		return [][]int{all}
	case r.Ends:
		return nil
	case r.Split == SplitExclusive:
		return g.exclusiveOptions(v, kind)
	}
	return g.orOptions(v, kind)
}

// branches sorts the edges of a split: those without a condition, those whose
// condition may be true or must be, and those for when none is.
type branches struct {
	always, maybe, sure, otherwise []int
}

func (g *soundGraph) branches(v int, kind soundGame) branches {
	var b branches
	listed := map[int]bool{}
	for _, branch := range g.stages[v].Rules.Branches {
		i := slices.IndexFunc(g.out[v], func(e int) bool { return g.stages[g.to[e]].Ref == branch.To })
		edge := -1 // chosen, and leads nowhere
		if i >= 0 {
			edge = g.out[v][i]
			listed[edge] = true
		}
		value, known := constant(branch.When)
		known = known && kind != gameMostOpaque
		switch {
		case branch.Default:
			b.otherwise = append(b.otherwise, edge)
		case !known:
			b.maybe = append(b.maybe, edge)
		case value:
			b.maybe, b.sure = append(b.maybe, edge), append(b.sure, edge)
		}
	}
	for _, e := range g.out[v] {
		if !listed[e] {
			b.always = append(b.always, e)
		}
	}
	return b
}

// exclusiveOptions: one for each branch that can be chosen.
func (g *soundGraph) exclusiveOptions(v int, kind soundGame) [][]int {
	b := g.branches(v, kind)
	var out [][]int
	for _, e := range b.maybe {
		out = append(out, b.with(e))
		if slices.Contains(b.sure, e) {
			return out // those after it are never asked
		}
	}
	for _, e := range b.otherwise {
		out = append(out, b.with(e))
	}
	return out
}

func (g *soundGraph) orOptions(v int, kind soundGame) [][]int {
	b := g.branches(v, kind)
	var out [][]int
	switch {
	case kind != gameLeastSingle && len(b.maybe) > 0:
		out = append(out, b.with(b.maybe...))
	case kind == gameLeastSingle && len(b.sure) > 0:
		return [][]int{b.with(b.sure...)}
	case kind == gameLeastSingle:
		for _, e := range b.maybe {
			out = append(out, b.with(e))
		}
	}
	if len(b.sure) == 0 && len(b.otherwise) > 0 {
		out = append(out, b.with(b.otherwise...))
	}
	return out
}

// with are the edges always taken and the given ones, in order; branches that
// lead nowhere have none.
func (b *branches) with(edges ...int) []int {
	out := slices.DeleteFunc(slices.Concat(b.always, edges), func(e int) bool { return e < 0 })
	slices.Sort(out)
	return out
}
