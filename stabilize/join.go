package stabilize

import "slices"

// Tokens is what a stage put on its outgoing edges when it ended. They stand on
// the source, not on the edges, so that ending a stage writes one row however
// many stages follow it.
type Tokens struct {
	Kind TokenKind `json:"kind,omitempty"`
	// Threads is how many tokens each live edge got; 0 means one.
	Threads int32 `json:"threads,omitempty"`
	// Except lists the refs whose edge got the other kind than the rest, as a
	// split does for the branches it did not choose.
	Except []string `json:"except,omitempty"`
}

// On returns the token on the edge to the stage with the given ref.
func (t Tokens) On(ref string) TokenKind {
	if t.Kind == TokenNone || !slices.Contains(t.Except, ref) {
		return t.Kind
	}
	if t.Kind == TokenLive {
		return TokenDead
	}
	return TokenLive
}

// Readiness is what the tokens on a stage's incoming edges say.
type Readiness uint8

// The answers of Workflow.Readiness.
const (
	Waiting Readiness = iota // more tokens must arrive
	Ready                    // its rule is met
	Dead                     // its rule can no longer be met
)

// Readiness evaluates the stage's join over the tokens of its upstream stages.
// It never looks at statuses, so a skip travels down a branch and a join further
// down decides correctly. A requisite that names no stage never gets a token. A
// stage whose tokens are counted (see Counted) is ready once Arrive gave it some.
func (w *Workflow) Readiness(s *Stage) Readiness {
	if s.State != nil && (s.State.Bypass || len(s.State.Consumed) > 0) {
		return Ready
	}
	if s.Rules != nil && s.Rules.OnCancelOf != "" {
		if state := w.cancelState(s.Rules.OnCancelOf); state != Ready || s.IsInitial() {
			return state
		}
	}
	if s.IsInitial() {
		return Ready
	}
	if w.Counted(s.Ref) {
		switch a := w.Arrive(s.Ref, false); {
		case len(a.Fire) > 0:
			return Ready
		case a.Dead:
			return Dead
		default:
			return Waiting
		}
	}
	need := 0
	switch s.Join {
	case JoinAnd:
		need = len(s.Requisites)
	case JoinNOfM:
		need = s.Threshold
	default:
		need = 1
	}
	live, waiting := 0, 0
	for _, ref := range s.Requisites {
		kind := TokenNone
		if up := w.StageByRef(ref); up != nil {
			kind = up.Tokens.On(s.Ref)
		}
		switch kind {
		case TokenNone:
			waiting++
		case TokenLive:
			live++
		}
	}
	switch {
	case s.Join == JoinOr && waiting > 0:
		return Waiting
	case live >= need:
		return Ready
	case live+waiting < need:
		return Dead
	default:
		return Waiting
	}
}

// cancelState is Ready once the region, or the stage, was canceled on its own,
// Dead once it has ended without.
func (w *Workflow) cancelState(name string) Readiness {
	if slices.Contains(w.CanceledRegions, name) {
		return Ready
	}
	for _, s := range w.named(name) {
		if !s.Status.IsComplete() {
			return Waiting
		}
	}
	if w.willMake(name) {
		return Waiting
	}
	return Dead
}

// named returns the executions that a region, or else a stage, has.
func (w *Workflow) named(name string) []*Stage {
	if members := w.Region(name); len(members) > 0 {
		return members
	}
	return w.Executions(name)
}

// willMake reports whether a stage that has not ended may yet make stages of a
// region inside it.
func (w *Workflow) willMake(region string) bool {
	return slices.ContainsFunc(w.Stages, func(s *Stage) bool {
		return s.Rules != nil && !s.Superseded && !s.Status.IsComplete() && slices.Contains(s.Rules.InnerRegions(), region)
	})
}

// MilestoneState says whether the state that the stage's milestone names holds:
// Ready, also without one; Waiting until it does; Dead when it has passed or can
// no longer be reached (pattern 18).
func (w *Workflow) MilestoneState(s *Stage) Readiness {
	if s.Rules == nil || s.Rules.Milestone == nil {
		return Ready
	}
	m := s.Rules.Milestone
	for _, until := range w.Executions(m.Until) {
		if !until.StartedAt.IsZero() {
			return Dead
		}
	}
	state := Dead
	for _, reached := range w.Executions(m.Reached) {
		switch reached.Tokens.Kind {
		case TokenLive:
			return Ready
		case TokenNone:
			state = Waiting
		}
	}
	return state
}
