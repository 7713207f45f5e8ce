package stabilize

import (
	"slices"
	"strings"
)

// soundGraph is the graph of declared stages. Slots are indexes of stages.
type soundGraph struct {
	stages []*Stage
	at     map[string]int // ref → slot
	order  []int          // slots, each after what it requires
	// Edges are numbered in the order of their sources, so that the edges of a
	// stage have higher numbers than those of the stages before it.
	from, to []int
	out      [][]int // slot → edges
	edgesIn  []int   // slot → how many
	found    []placed
}

type placed struct {
	slot int
	Finding
}

// newSoundGraph fails if stages wait for each other.
func newSoundGraph(stages []*Stage) (*soundGraph, bool) {
	g := &soundGraph{
		stages: stages, at: make(map[string]int, len(stages)),
		out: make([][]int, len(stages)), edgesIn: make([]int, len(stages)),
	}
	for v, s := range stages {
		g.at[s.Ref] = v
	}
	next := make([][]int, len(stages))
	for v, s := range stages {
		for _, ref := range s.Requisites {
			if up, ok := g.at[ref]; ok {
				next[up] = append(next[up], v)
				g.edgesIn[v]++
			}
		}
	}
	open := slices.Clone(g.edgesIn)
	var stack []int
	for v := range slices.Backward(stages) {
		if open[v] == 0 {
			stack = append(stack, v)
		}
	}
	// Last in, first out: a branch is walked to its end before the next, so that
	// few edges are open at a time.
	for len(stack) > 0 {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		g.order = append(g.order, v)
		for _, down := range next[v] {
			g.out[v] = append(g.out[v], len(g.from))
			g.from, g.to = append(g.from, v), append(g.to, down)
		}
		for _, down := range slices.Backward(next[v]) { // the first declared is taken first
			if open[down]--; open[down] == 0 {
				stack = append(stack, down)
			}
		}
	}
	return g, len(g.order) == len(stages)
}

func (g *soundGraph) add(v int, code FindingCode, severity Severity, path []string, message string) {
	ref := g.stages[v].Ref
	if len(path) == 0 {
		path = []string{ref}
	}
	g.found = append(g.found, placed{v, Finding{Code: code, Severity: severity, Stage: ref, Path: path, Message: message}})
}

// upstream marks v and all it waits for.
func (g *soundGraph) upstream(v int) []bool {
	seen := make([]bool, len(g.stages))
	seen[v] = true
	for todo := []int{v}; len(todo) > 0; {
		s := g.stages[todo[len(todo)-1]]
		todo = todo[:len(todo)-1]
		for _, ref := range s.Requisites {
			if up, ok := g.at[ref]; ok && !seen[up] {
				seen[up] = true
				todo = append(todo, up)
			}
		}
	}
	return seen
}

// fork is the last stage before both p and q (or one of them) that fits, or -1.
// Of two that both fit the one nearer to them is found, because the order puts
// it later.
func (g *soundGraph) fork(p, q []bool, fits func(v int) bool) int {
	for _, v := range slices.Backward(g.order) {
		if p[v] && q[v] && fits(v) {
			return v
		}
	}
	return -1
}

// excludes reports whether v is a split that chooses between what is before p
// and what is before q, given with their slots and that of their join.
func (g *soundGraph) excludes(v int, p, q []bool, slotP, slotQ, join int) bool {
	split := g.stages[v].Declared().Split
	if split == SplitAnd {
		return false
	}
	leads := func(before []bool, slot, to int) bool {
		if slot == v { // the edge goes straight to the join
			return to == join
		}
		return before[to]
	}
	var toP, toQ [3]bool // over which kinds of edges
	for _, e := range g.out[v] {
		kind := g.branchKind(v, g.to[e])
		inP, inQ := leads(p, slotP, g.to[e]), leads(q, slotQ, g.to[e])
		if inP && inQ || (inP || inQ) && kind == edgeAlways {
			return false
		}
		toP[kind], toQ[kind] = toP[kind] || inP, toQ[kind] || inQ
	}
	if split == SplitOr && (toP[edgeWhen] && toQ[edgeWhen] || toP[edgeDefault] && toQ[edgeDefault]) {
		return false // of an OR split only the defaults exclude others
	}
	return toP != [3]bool{} && toQ != [3]bool{}
}

// The kinds of edges of a split.
const (
	edgeAlways = iota
	edgeWhen
	edgeDefault
)

func (g *soundGraph) branchKind(v, to int) int {
	for _, b := range g.stages[v].Declared().Branches {
		switch {
		case b.To != g.stages[to].Ref:
		case b.Default:
			return edgeDefault
		default:
			return edgeWhen
		}
	}
	return edgeAlways
}

// path are the refs of a shortest way between two slots, or nil.
func (g *soundGraph) path(from, to int) []string {
	cameFrom := map[int]int{from: -1}
	for todo := []int{from}; len(todo) > 0; todo = todo[1:] {
		v := todo[0]
		if v == to {
			var refs []string
			for ; v >= 0; v = cameFrom[v] {
				refs = append(refs, g.stages[v].Ref)
			}
			slices.Reverse(refs)
			return refs
		}
		for _, e := range g.out[v] {
			if _, seen := cameFrom[g.to[e]]; !seen {
				cameFrom[g.to[e]] = v
				todo = append(todo, g.to[e])
			}
		}
	}
	return nil
}

// pathTo is the way from a slot through one of a join's requisites to the join.
func (g *soundGraph) pathTo(from, through, join int) []string {
	return append(g.path(from, through), g.stages[join].Ref)
}

// ups are the slots of the stages that v requires.
func (g *soundGraph) ups(v int) []int {
	out := make([]int, 0, len(g.stages[v].Requisites))
	for _, ref := range g.stages[v].Requisites {
		if up, ok := g.at[ref]; ok {
			out = append(out, up)
		}
	}
	return out
}

// constant reads a condition that needs no evaluating.
func constant(expression string) (value, known bool) {
	switch strings.TrimSpace(expression) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

// soundNames are what a stage may name across bodies.
type soundNames struct {
	named  map[string]bool // regions and refs
	opaque bool            // a stage type may plan stages with names of their own
}

func (n *soundNames) collect(stages []*Stage) {
	if n.named == nil {
		n.named = map[string]bool{}
	}
	for _, s := range stages {
		n.named[s.Ref] = true
		n.opaque = n.opaque || s.Type != ""
		if s.Rules != nil {
			for _, region := range s.Rules.Regions {
				n.named[region] = true
			}
			n.collect(s.Rules.Body)
		}
	}
}
