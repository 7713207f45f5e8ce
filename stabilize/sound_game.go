package stabilize

import (
	"encoding/binary"
	"slices"
)

// The token game. Stages are taken one by one, each after what it requires, and
// all that may lie on the edges between those taken and the rest is kept. Every
// join does more with more tokens, so that not all choices matter: for what can
// happen those that give most, for what must happen those that give least.

// soundBudget bounds the work of one game, to some milliseconds: a unit is a
// state looked at, a new one is several.
const soundBudget = 200_000

type soundGame uint8

const (
	// gameMost: as many tokens as there can be.
	gameMost soundGame = iota
	// gameMostOpaque is gameMost with constants taken for conditions.
	gameMostOpaque
	// gameMostSingle: as gameMost, but every stage runs once at most and puts out
	// one token, so that two tokens at a join are of branches, not of threads.
	gameMostSingle
	// gameLeastSingle: as few tokens as there can be, in the same way.
	gameLeastSingle
)

func (k soundGame) single() bool { return k >= gameMostSingle }

// onEdge is what lies on an edge: n live tokens, and dead ones too if mixed.
type onEdge struct {
	edge  int32
	n     int32
	mixed bool
}

// marking is one of the states of the game. Edges that are not listed are dead,
// or not yet decided.
type marking struct {
	live   []onEdge // by edge
	chosen []fate   // of each deferred choice
}

// fate is how far a deferred choice has come.
type fate uint8

const (
	unchosen fate = iota
	mustCome      // one that could have been chosen was not: another must be
	hasCome
)

// seen is what a game tells of one stage.
type seen struct {
	runs     int  // most executions
	edges    int  // most edges that were live together
	tokens   int  // most tokens
	fewest   int  // fewest tokens
	unequal  bool // edges with different numbers of tokens, more than one on one
	uneven   bool // tokens that the threshold of a merge does not divide
	both     [2]int
	visited  bool
	hasBoths bool // both are two edges that were live together
}

// outcome of a game; ok is false if it was too much.
type gameResult struct {
	stages []seen
	// rough: tokens came in an order that the game does not follow, so that a
	// join may fire more often than it says.
	rough bool
	ok    bool
}

type player struct {
	g       *soundGraph
	kind    soundGame
	choices map[string]int // name → index in marking.chosen
	left    []int          // of each choice: members not yet taken
	res     gameResult
	budget  int
	mixed   bool // dead tokens came to the stage in play beside live ones
}

func (g *soundGraph) play(kind soundGame) gameResult {
	p := &player{g: g, kind: kind, budget: soundBudget, choices: map[string]int{}}
	for _, s := range g.stages {
		if name := s.Declared().Choice; name != "" {
			i, ok := p.choices[name]
			if !ok {
				i = len(p.left)
				p.choices[name] = i
				p.left = append(p.left, 0)
			}
			p.left[i]++
		}
	}
	p.res = gameResult{stages: make([]seen, len(g.stages)), ok: true}
	states := []marking{{chosen: make([]fate, len(p.left))}}
	var spare []marking
	lastUnique := 1
	for _, v := range g.order {
		options := g.options(v, kind)
		touched := 0
		next := spare[:0]
		for _, m := range states {
			before, held := len(next), len(m.live)
			next = p.take(next, m, v, options)
			p.budget -= 1 + len(m.live)/16
			if len(next) != before+1 || len(next[before].live) != held || g.edgesIn[v] == 0 {
				touched++
			}
			if p.budget < 0 {
				return gameResult{}
			}
		}
		if name := g.stages[v].Declared().Choice; name != "" {
			p.left[p.choices[name]]--
		}
		states, spare = next, states
		if len(states) > 1 && (touched > 1 || len(states) > 2*lastUnique+16) {
			states = p.unique(states)
			lastUnique = len(states)
		}
	}
	return p.res
}

// take plays one stage in one state and appends the states that may follow.
func (p *player) take(next []marking, m marking, v int, options [][]int) []marking {
	s, in := p.g.stages[v], make([]onEdge, 0, 8)
	for _, t := range m.live {
		if p.g.to[t.edge] == v {
			in = append(in, t)
		}
	}
	runs := p.runs(v, in)
	rest := m
	if len(in) > 0 {
		rest.live = slices.DeleteFunc(m.live, func(t onEdge) bool { return p.g.to[t.edge] == v })
	}
	if s.Declared().Choice != "" {
		return p.choose(next, rest, v, runs, options)
	}
	return p.run(next, rest, v, runs, options)
}

// choose plays a stage of a deferred choice: it is chosen, or another is.
func (p *player) choose(next []marking, m marking, v, runs int, options [][]int) []marking {
	if p.kind == gameLeastSingle { // never chosen: not more than that is sure
		return p.run(next, m, v, 0, options)
	}
	i := p.choices[p.g.stages[v].Rules.Choice]
	last, came := p.left[i] == 1, m.chosen[i]
	with := func(f fate) marking {
		c := m
		c.live, c.chosen = slices.Clone(m.live), slices.Clone(m.chosen)
		if last {
			f = unchosen // forgotten, so that states become equal
		}
		c.chosen[i] = f
		return c
	}
	if runs > 0 && came != hasCome {
		next = p.run(next, with(hasCome), v, runs, options)
		came = mustCome
	}
	if last && came == mustCome {
		return next // one of them is chosen
	}
	return p.run(next, with(came), v, 0, options)
}

// run lets a stage run that often and puts its tokens on its edges.
func (p *player) run(next []marking, m marking, v, runs int, options [][]int) []marking {
	see := &p.res.stages[v]
	see.runs = max(see.runs, runs)
	if runs == 0 || len(options) == 0 || len(options) == 1 && len(options[0]) == 0 {
		return append(next, m)
	}
	threads := 1
	if !p.kind.single() {
		threads = max(1, p.g.stages[v].Declared().Threads)
	}
	if runs > maxTokens/threads { // nobody counts that far
		p.budget = -1
		return next
	}
	if len(options) == 1 {
		for _, e := range options[0] {
			m.live = append(m.live, onEdge{int32(e), int32(runs * threads), p.mixed})
		}
		return append(next, m)
	}
	taken := make([]int, len(options))
	var deal func(option, left int)
	deal = func(option, left int) {
		switch {
		case p.budget < 0:
			return
		case left == 0 || option == len(options)-1:
			taken[option] = left
			next = append(next, p.put(m, v, threads, runs, options, taken[:option+1]))
			return
		}
		for n := left; n >= 0; n-- {
			taken[option] = n
			deal(option+1, left-n)
		}
	}
	deal(0, runs)
	return next
}

// put adds the tokens of runs of which so many took each option.
func (p *player) put(m marking, v, threads, runs int, options [][]int, taken []int) marking {
	after := marking{live: slices.Clone(m.live), chosen: m.chosen}
	base := len(after.live)
	for i, n := range taken {
		if n == 0 {
			continue
		}
		for _, e := range options[i] {
			at := base + slices.IndexFunc(after.live[base:], func(t onEdge) bool { return t.edge >= int32(e) })
			switch {
			case at < base:
				after.live = append(after.live, onEdge{edge: int32(e), n: int32(n)})
			case after.live[at].edge == int32(e):
				after.live[at].n += int32(n)
			default:
				after.live = slices.Insert(after.live, at, onEdge{edge: int32(e), n: int32(n)})
			}
		}
	}
	for i := base; i < len(after.live); i++ {
		t := &after.live[i]
		t.mixed = p.mixed || int(t.n) < runs
		t.n *= int32(threads)
	}
	p.budget -= 4 + len(after.live)/2
	return after
}

// maxTokens bounds the tokens on one edge.
const maxTokens = 1 << 16

// runs says how often the join fires on the tokens, and notes what they tell.
func (p *player) runs(v int, in []onEdge) int {
	s, see := p.g.stages[v], &p.res.stages[v]
	sum, most, mixed := 0, 0, false
	for _, t := range in {
		sum, most, mixed = sum+int(t.n), max(most, int(t.n)), mixed || t.mixed
	}
	if !see.visited || sum < see.fewest {
		see.fewest = sum
	}
	see.visited = true
	see.tokens, see.edges = max(see.tokens, sum), max(see.edges, len(in))
	if len(in) > 1 && !see.hasBoths {
		see.hasBoths, see.both = true, [2]int{p.g.from[in[0].edge], p.g.from[in[1].edge]}
	}
	p.mixed = mixed
	fires := 0
	switch edges := len(s.Requisites); {
	case s.IsInitial():
		fires = 1
	case s.Join == JoinExclusive || s.Join == JoinMulti:
		fires = sum
	case s.Join == JoinMerge:
		if p.kind == gameMostSingle { // the threads are one
			fires = min(sum, 1)
			break
		}
		fires = sum / s.Threshold
		see.uneven = see.uneven || sum%s.Threshold != 0
	default:
		fires = roundsOf(in, needOf(s))
		for _, t := range in {
			see.unequal = see.unequal || fires > 0 && int(t.n) != most
		}
		p.res.rough = p.res.rough || mixed && edges > 1 && s.Join != JoinAnd
	}
	if p.kind.single() {
		fires = min(fires, 1)
	}
	if p.kind == gameLeastSingle && mayStayOut(s) {
		return 0
	}
	return fires
}

// roundsOf is how many times at least need of the edges have a token.
func roundsOf(in []onEdge, need int) int {
	if len(in) < need {
		return 0
	}
	counts := make([]int, len(in))
	for i, t := range in {
		counts[i] = int(t.n)
	}
	slices.Sort(counts)
	return counts[len(counts)-need]
}

func needOf(s *Stage) int {
	switch s.Join {
	case JoinAnd:
		return len(s.Requisites)
	case JoinNOfM:
		return s.Threshold
	}
	return 1
}

// mayStayOut: the stage may be dead although its join is met.
func mayStayOut(s *Stage) bool {
	r := s.Declared()
	return r.Milestone != nil || r.OnCancelOf != "" || r.Choice != "" || !s.StartExpiry.IsZero()
}

func (p *player) unique(states []marking) []marking {
	known := make(map[string]struct{}, len(states))
	var key []byte
	return slices.DeleteFunc(states, func(m marking) bool {
		key = key[:0]
		for _, f := range m.chosen {
			key = append(key, byte(f))
		}
		for _, t := range m.live {
			key = binary.AppendUvarint(key, uint64(t.edge))
			n := uint64(t.n) << 1
			if t.mixed {
				n |= 1
			}
			key = binary.AppendUvarint(key, n)
		}
		p.budget -= len(m.live)
		if _, ok := known[string(key)]; ok {
			return true
		}
		known[string(key)] = struct{}{}
		return false
	})
}
