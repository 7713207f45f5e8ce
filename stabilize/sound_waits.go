package stabilize

import (
	"fmt"
	"slices"
)

// checkRequisites finds joins that need a stage which does not exist.
func (g *soundGraph) checkRequisites() {
	for v, s := range g.stages {
		if g.edgesIn[v] == len(s.Requisites) {
			continue
		}
		i := slices.IndexFunc(s.Requisites, func(ref string) bool { _, ok := g.at[ref]; return !ok })
		severity := Warning
		if s.Join == JoinAnd || s.Join == JoinOr || g.edgesIn[v] < needOf(s) {
			severity = Refused
		}
		g.add(v, FindingUnreachable, severity, []string{s.Requisites[i], s.Ref}, fmt.Sprintf(
			"it waits for %q, which is no stage; correct the requisite", s.Requisites[i]))
	}
}

// checkSplits finds branches without use and splits that may have none to take.
func (g *soundGraph) checkSplits() {
	for v, s := range g.stages {
		r := s.Declared()
		if r.Split == SplitAnd {
			continue
		}
		sure, certain := "", false // a branch after which none is asked; one that is always there
		for _, b := range r.Branches {
			path := []string{s.Ref, b.To}
			if to, ok := g.at[b.To]; !ok || !slices.Contains(g.stages[to].Requisites, s.Ref) {
				g.add(v, FindingDeadBranch, Refused, path, fmt.Sprintf(
					"its branch to %q leads nowhere: let %q require the stage, or take the branch out", b.To, b.To))
			}
			value, known := constant(b.When)
			switch {
			case sure != "" && (r.Split == SplitExclusive || b.Default):
				g.add(v, FindingDeadBranch, Warning, path, fmt.Sprintf(
					"its branch to %q is never taken: that to %q is always true; put it first, or take it out", b.To, sure))
			case known && !value:
				g.add(v, FindingDeadBranch, Warning, path, fmt.Sprintf(
					"its branch to %q is never taken: its condition is false; correct it, or take the branch out", b.To))
			}
			if certain = certain || b.Default || known && value; known && value && sure == "" {
				sure = b.To
			}
		}
		if !certain {
			g.add(v, FindingNoDefault, Warning, nil, fmt.Sprintf(
				"it fails with %s if no condition is true; add a default branch with Otherwise", CodeNoBranch))
		}
	}
}

// checkWaits finds milestones, cancel handlers, loops and choices that make no
// sense.
func (g *soundGraph) checkWaits(names *soundNames) {
	milestones, choices := false, map[string]int{}
	for _, s := range g.stages {
		r := s.Declared()
		milestones = milestones || r.Milestone != nil
		if r.Choice != "" {
			choices[r.Choice]++
		}
	}
	if milestones {
		g.checkMilestones()
	}
	for v, s := range g.stages {
		r := s.Declared()
		if r.Choice != "" && choices[r.Choice] == 1 {
			g.add(v, FindingEmptyChoice, Warning, nil, fmt.Sprintf(
				"it is the only stage of the deferred choice %q; name another, or take the choice out", r.Choice))
		}
		if r.OnCancelOf != "" && !names.named[r.OnCancelOf] {
			severity := Refused
			if names.opaque {
				severity = Warning
			}
			g.add(v, FindingUnreachable, severity, []string{r.OnCancelOf, s.Ref}, fmt.Sprintf(
				"can never run: it starts when %q is canceled, and no stage has that ref or is in that region", r.OnCancelOf))
		}
		if l := r.Loop; l != nil {
			again, whileKnown := constant(l.While)
			done, untilKnown := constant(l.Until)
			if whileKnown && again || untilKnown && !done {
				g.add(v, FindingNoExit, Warning, nil, fmt.Sprintf(
					"its condition never ends the loop, so that it fails with %s; use a condition that changes, or Instances for a fixed number", CodeLoopLimit))
			}
		}
	}
}

// checkMilestones finds milestones that wait for their own stage, or that have
// always passed.
func (g *soundGraph) checkMilestones() {
	byJoin, all := g.startable(-1, false), g.startable(-1, true)
	without := map[int][]bool{}
	for v, s := range g.stages {
		m := s.Declared().Milestone
		if m == nil || !byJoin[v] {
			continue
		}
		reached, ok := g.at[m.Reached]
		if !ok {
			g.add(v, FindingUnreachable, Refused, []string{m.Reached, s.Ref}, fmt.Sprintf(
				"can never run: its milestone waits for %q, which is no stage", m.Reached))
			continue
		}
		if byJoin[reached] && !all[reached] {
			path := g.path(v, reached)
			if path == nil {
				path = []string{s.Ref, m.Reached}
			}
			g.add(v, FindingDeadlock, Refused, path, fmt.Sprintf(
				"can never run: its milestone waits for %q, which waits for it; name a stage that does not depend on it", m.Reached))
			continue
		}
		until, ok := g.at[m.Until]
		if !ok || until == v || !all[v] {
			continue
		}
		if without[until] == nil {
			without[until] = g.startable(until, true)
		}
		if can := without[until]; can[v] && can[reached] {
			continue
		}
		severity, u := Refused, g.stages[until]
		if u.Disabled || u.Declared().If != "" || !u.StartExpiry.IsZero() {
			severity = Warning // if it is skipped it has not begun
		}
		path := g.path(until, v)
		if path == nil {
			path = []string{m.Until, s.Ref}
		}
		g.add(v, FindingMilestonePassed, severity, path, fmt.Sprintf(
			"can never run: its milestone has passed once %q has begun, and that is always before; name a later stage", m.Until))
	}
}

// startable marks the stages that could ever start if every split took all its
// branches and one stage were not there.
func (g *soundGraph) startable(without int, milestones bool) []bool {
	can := make([]bool, len(g.stages))
	for changed := true; changed; {
		changed = false
		for _, v := range g.order {
			s := g.stages[v]
			if can[v] || v == without {
				continue
			}
			live := 0
			for _, up := range g.ups(v) {
				if can[up] {
					live++
				}
			}
			if !s.IsInitial() && live < needOf(s) {
				continue
			}
			if m := s.Declared().Milestone; milestones && m != nil {
				if reached, ok := g.at[m.Reached]; !ok || !can[reached] {
					continue
				}
			}
			can[v], changed = true, true
		}
	}
	return can
}

// checkSections finds critical sections that may wait for themselves: connected
// stages hold one while another of them waits for a stage outside that needs it.
func (g *soundGraph) checkSections() {
	members := map[string][]int{}
	for _, v := range g.order {
		if e := g.stages[v].Declared().Exclusion; e != nil && e.Section {
			members[e.Key] = append(members[e.Key], v)
		}
	}
	for key, in := range members {
		if len(in) < 3 || len(in) > maxSection {
			continue
		}
		group := g.connected(in)
		for _, v := range in {
			g.checkSection(v, key, in, group)
		}
	}
}

// maxSection bounds the sections looked at.
const maxSection = 32

// checkSection looks at one stage of a section.
func (g *soundGraph) checkSection(v int, key string, members []int, group map[int]int) {
	before := g.upstream(v)
	for _, first := range members {
		if first == v || group[first] != group[v] {
			continue
		}
		earlier := g.upstream(first)
		for _, other := range members {
			if group[other] == group[v] || !before[other] || earlier[other] {
				continue
			}
			g.add(v, FindingDeadlock, Warning, g.path(other, v), fmt.Sprintf(
				"it waits for %q, which may wait for the section %q that %q holds until this stage has ended; put what lies between them into the section", g.stages[other].Ref, key, g.stages[first].Ref))
			return
		}
	}
}

// connected gives members that require one another the same number.
func (g *soundGraph) connected(members []int) map[int]int {
	group := make(map[int]int, len(members))
	for i, v := range members {
		group[v] = i
	}
	for _, v := range members {
		for _, up := range g.ups(v) {
			old, in := group[up]
			if !in || old == group[v] {
				continue
			}
			for _, w := range members {
				if group[w] == old {
					group[w] = group[v]
				}
			}
		}
	}
	return group
}
