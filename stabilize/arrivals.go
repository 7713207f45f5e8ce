package stabilize

import "slices"

// Where an upstream stage ends more than once, or the join itself fires more
// than once, tokens are counted one by one: each is consumed by one execution.

// Counted reports whether the tokens of the stage with that ref are counted one
// by one. Otherwise Readiness of its one execution says all.
func (w *Workflow) Counted(ref string) bool {
	w.Index()
	slot, ok := w.idx.latest[ref]
	if !ok {
		return false
	}
	s := w.Stages[slot]
	if s.Join >= JoinExclusive && len(s.Requisites) > 0 {
		return true
	}
	if len(w.idx.rounds) == 0 && w.idx.rules.threaded == 0 && w.idx.merging == 0 {
		return false
	}
	if len(w.executions(ref)) > 1 {
		return true
	}
	return w.manyArrive(s)
}

// manyArrive reports whether an edge before the stage may get more than one token.
func (w *Workflow) manyArrive(s *Stage) bool {
	return slices.ContainsFunc(s.Requisites, w.severalTokens)
}

func (w *Workflow) severalTokens(ref string) bool {
	return len(w.executions(ref)) > 1 || w.repeating(ref)
}

// HasPartialJoin reports whether the stage's join fires before all its tokens are there.
func (s *Stage) HasPartialJoin() bool { return s.Join == JoinDiscriminator || s.Join == JoinNOfM }

// merges reports whether the stage's join fires for each arrival.
func (s *Stage) merges() bool {
	return (s.Join == JoinMulti || s.Join == JoinMerge) && len(s.Requisites) > 0
}

// repeating reports whether the stage may put more than one token on an edge
// without a jump: it splits into threads, merges, or stands below one that does.
// Else the first dead token would end what a later live one could still start.
func (w *Workflow) repeating(ref string) bool {
	x := w.idx
	if x.rules.threaded == 0 && x.merging == 0 {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.repeat == nil {
		x.repeat = map[string]bool{}
		for _, s := range w.Stages {
			if s.merges() || s.Rules != nil && s.Rules.Threads > 1 {
				x.spread(w.Stages, s.Ref)
			}
		}
	}
	return x.repeat[ref]
}

// spread enters a stage and all below it into repeat.
func (x *index) spread(stages []*Stage, ref string) {
	for todo := []string{ref}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if x.repeat[at] {
			continue
		}
		x.repeat[at] = true
		for _, slot := range x.downstream[at] {
			todo = append(todo, stages[slot].Ref)
		}
	}
}

// edge is what stands on one incoming edge and was not consumed.
type edge struct {
	ref        string
	live, dead []Token
	open       bool // more may come
}

func (e *edge) any() (Token, bool) {
	switch {
	case len(e.live) > 0:
		return e.live[0], true
	case len(e.dead) > 0:
		return e.dead[0], true
	}
	return Token{}, false
}

// Arrival is what the tokens before a join call for.
type Arrival struct {
	// Fire are the tokens to start an execution with; none: it does not fire.
	Fire []Token
	// Absorb are tokens that the last execution takes in after it fired.
	Absorb []Token
	// Dead: it has not fired and never will.
	Dead bool
	// Left are live tokens that stand before the join without letting it fire.
	Left []Token
}

// Arrive looks at the tokens before a stage whose tokens are counted. quiet
// says that nothing else in the workflow moves, so that no more tokens come.
func (w *Workflow) Arrive(ref string, quiet bool) Arrival {
	w.Index()
	slot, ok := w.idx.latest[ref]
	if !ok {
		return Arrival{}
	}
	s := w.Stages[slot]
	edges, last := w.edges(s, quiet)
	a := Arrival{}
	for _, e := range edges {
		a.Left = append(a.Left, e.live...)
	}
	open := func() bool {
		for i := range edges {
			if edges[i].open {
				return true
			}
		}
		return false
	}
	switch s.Join {
	case JoinAnd:
		for i := range edges {
			if len(edges[i].live) == 0 {
				a.Fire = nil
				a.Dead = a.Dead || !edges[i].open
				continue
			}
			a.Fire = append(a.Fire, edges[i].live[0])
		}
		if len(a.Fire) < len(edges) {
			a.Fire = nil
		}
	case JoinOr:
		for i := range edges {
			switch {
			case len(edges[i].live) > 0:
				a.Fire = append(a.Fire, edges[i].live[0])
			case edges[i].open:
				return Arrival{Left: a.Left}
			}
		}
		a.Dead = len(a.Fire) == 0
	case JoinExclusive, JoinMulti:
		for i := range edges {
			if len(edges[i].live) > 0 {
				a.Fire = edges[i].live[:1:1]
				break
			}
		}
		a.Dead = len(a.Fire) == 0 && !open()
	case JoinMerge:
		if len(a.Left) >= s.Threshold {
			a.Fire = a.Left[:s.Threshold:s.Threshold]
		}
		a.Dead = len(a.Left) == 0 && !open()
	case JoinDiscriminator, JoinNOfM:
		a = arrivePartial(s, edges, last, a)
	}
	a.Dead = a.Dead && last == nil
	return a
}

// arrivePartial is the rule of the discriminator and N-of-M joins: what fires
// the join next waits until the firing before has seen a token on every edge.
func arrivePartial(s *Stage, edges []edge, last *Stage, a Arrival) Arrival {
	need := 1
	if s.Join == JoinNOfM {
		need = s.Threshold
	}
	if last != nil {
		reset := true
		for i := range edges {
			e := &edges[i]
			if last.consumedOf(e.ref) {
				continue
			}
			if t, ok := e.any(); ok {
				a.Absorb = append(a.Absorb, t)
			} else if e.open {
				reset = false
			}
		}
		if len(a.Absorb) > 0 || !reset {
			return a
		}
	}
	possible := 0
	for i := range edges {
		if len(edges[i].live) > 0 {
			a.Fire = append(a.Fire, edges[i].live[0])
			possible++
		} else if edges[i].open && len(edges[i].dead) == 0 {
			possible++
		}
	}
	if len(a.Fire) < need {
		a.Fire = nil
	} else { // dead tokens of this turn are seen with it
		for i := range edges {
			if len(edges[i].live) == 0 && len(edges[i].dead) > 0 {
				a.Fire = append(a.Fire, edges[i].dead[0])
			}
		}
	}
	a.Dead = possible < need
	return a
}

func (s *Stage) consumedOf(ref string) bool {
	if s.State == nil || len(s.State.Consumed) == 0 && !s.State.Bypass {
		return true // it was the only one, of every edge
	}
	for _, t := range s.State.Consumed {
		if t.Ref == ref {
			return true
		}
	}
	return false
}

// edges returns what stands before a stage, and its last execution that fired.
func (w *Workflow) edges(s *Stage, quiet bool) ([]edge, *Stage) {
	consumed := map[Token]bool{}
	var last *Stage
	for _, slot := range w.executions(s.Ref) {
		t := w.Stages[slot]
		explicit := t.State != nil && len(t.State.Consumed) > 0
		bypassed := t.State != nil && t.State.Bypass
		if t.Status == NotStarted && !explicit && !bypassed {
			continue
		}
		if bypassed && s.Join == JoinExclusive && !w.manyArrive(s) {
			bypassed = false // its branches exclude each other: the jump came in the place of all
		}
		if bypassed && !s.HasPartialJoin() {
			continue
		}
		last = t // a partial join that a jump fired takes in what comes, as after any firing
		if explicit {
			for _, token := range t.State.Consumed {
				consumed[token] = true
			}
		}
		if explicit || bypassed {
			continue
		}
		for _, ref := range s.Requisites {
			if up, ok := w.first(ref); ok {
				consumed[Token{Ref: ref, Round: w.Stages[up].Round}] = true
			}
		}
	}
	edges := make([]edge, len(s.Requisites))
	for i, ref := range s.Requisites {
		e := &edges[i]
		e.ref = ref
		for _, slot := range w.executions(ref) {
			up := w.Stages[slot]
			kind := up.Tokens.On(s.Ref)
			for thread := range max(1, int(up.Tokens.Threads)) {
				token := Token{Ref: ref, Round: up.Round, Thread: thread}
				switch {
				case consumed[token]:
				case kind == TokenLive:
					e.live = append(e.live, token)
				case kind == TokenDead && thread == 0:
					e.dead = append(e.dead, token)
				}
			}
		}
		e.open = !quiet && w.mayYetEnd(ref, map[string]bool{})
	}
	return edges, last
}

// mayYetEnd reports whether the stage or one above it has not ended, so that it
// may put another token on its edges.
func (w *Workflow) mayYetEnd(ref string, seen map[string]bool) bool {
	if seen[ref] {
		return false
	}
	seen[ref] = true
	slots := w.executions(ref)
	for _, slot := range slots {
		if !w.Stages[slot].Status.IsComplete() {
			return true
		}
	}
	if len(slots) == 0 {
		return false
	}
	for _, up := range w.Stages[slots[0]].Requisites {
		if w.mayYetEnd(up, seen) {
			return true
		}
	}
	return false
}
