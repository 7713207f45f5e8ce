package stabilize

import "slices"

// Tokens is what a stage put on its outgoing edges when it ended. They stand on
// the source, not on the edges, so that ending a stage writes one row however
// many stages follow it.
type Tokens struct {
	Kind TokenKind `json:"kind,omitempty"`
	// Except lists the refs whose edge got the other kind than the rest, as a
	// split does for the branches it did not choose.
	Except []string `json:"except,omitempty"`
	// Threads is how many tokens each live edge got; 0 means one.
	Threads int `json:"threads,omitempty"`
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

// Readiness evaluates the stage's join over the tokens of its upstream stages
// (latest rounds). It never looks at statuses, so a skip travels down a branch
// and a join further down decides correctly. A requisite that names no stage
// never gets a token.
func (w *Workflow) Readiness(s *Stage) Readiness {
	if s.IsInitial() {
		return Ready
	}
	need := 0
	switch s.Join {
	case JoinAnd:
		need = len(s.Requisites)
	case JoinDiscriminator, JoinOr:
		need = 1
	case JoinNOfM:
		need = s.Threshold
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
