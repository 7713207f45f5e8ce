package stabilize

import "fmt"

// JoinType is the rule by which the tokens on a stage's incoming edges let it
// start. The zero value is JoinAnd.
type JoinType uint8

// The join rules.
const (
	// JoinAnd needs a live token on every edge (pattern 3).
	JoinAnd JoinType = iota
	// JoinOr needs a token on every edge and one of them live (patterns 7, 37).
	JoinOr
	// JoinDiscriminator fires on the first live token and then waits for a token
	// on every other edge before it may fire again (patterns 9, 28, 29).
	JoinDiscriminator
	// JoinNOfM is JoinDiscriminator for the Threshold-th live token (patterns 30
	// to 32).
	JoinNOfM
	// JoinExclusive fires on each live token; its branches exclude each other, so
	// that is once (pattern 5).
	JoinExclusive
	// JoinMulti fires on each live token: the stage has one execution for each
	// branch that arrives (pattern 8).
	JoinMulti
	// JoinMerge fires once for every Threshold live tokens, of whatever edges
	// (thread merge, pattern 41).
	JoinMerge
)

// SplitType says which outgoing edges of a stage that ended well get a live
// token. The zero value is SplitAnd.
type SplitType uint8

// The splits.
const (
	// SplitAnd: all of them (pattern 2).
	SplitAnd SplitType = iota
	// SplitOr: those whose condition is true (pattern 6).
	SplitOr
	// SplitExclusive: the first whose condition is true (pattern 4).
	SplitExclusive
)

// OnFailure says what a stage's failure means for the workflow.
type OnFailure uint8

// The failure policies, after the reference's failPipeline,
// continuePipelineOnFailure and completeOtherBranchesThenFail.
const (
	// FailWorkflow: the stage ends TERMINAL and the workflow with it.
	FailWorkflow OnFailure = iota
	// ContinueOnFailure: the stage ends FAILED_CONTINUE; what follows runs.
	ContinueOnFailure
	// StopBranch: the stage ends STOPPED; its branch goes no further, the others
	// do, and the workflow may still succeed.
	StopBranch
	// FailAfterOthers is StopBranch, and the workflow ends TERMINAL at last.
	FailAfterOthers
	// TolerateFailure is StopBranch as long as a join further down can do without
	// the branch; if none could, the workflow ends TERMINAL.
	TolerateFailure
)

// Owner says when a synthetic stage runs in its parent's life.
type Owner uint8

// The owners.
const (
	NoOwner       Owner = iota // not synthetic
	OwnerBefore                // before the parent's tasks
	OwnerAfter                 // after them
	OwnerFailure               // after the parent failed; changes nothing about that
	OwnerInstance              // an instance or iteration of the parent's body
)

// RunPhase is what a RunTask message is to run of its task.
type RunPhase uint8

// The phases.
const (
	RunExecute RunPhase = iota
	RunCancel           // the on-cancel hook
	RunTimeout          // the on-timeout hook
	RunCleanup          // the cleanup hook
)

// TokenKind is what a stage put on its outgoing edges when it ended.
type TokenKind uint8

// The kinds of token.
const (
	TokenNone TokenKind = iota // it has not ended
	TokenLive
	TokenDead
)

var (
	joinNames    = []string{"AND", "OR", "DISCRIMINATOR", "N_OF_M", "EXCLUSIVE", "MULTI", "MERGE"}
	splitNames   = []string{"AND", "OR", "EXCLUSIVE"}
	failureNames = []string{"FAIL_WORKFLOW", "CONTINUE", "STOP_BRANCH", "FAIL_AFTER_OTHERS", "TOLERATE"}
	ownerNames   = []string{"", "STAGE_BEFORE", "STAGE_AFTER", "STAGE_ON_FAILURE", "STAGE_INSTANCE"}
	phaseNames   = []string{"EXECUTE", "CANCEL", "TIMEOUT", "CLEANUP"}
	tokenNames   = []string{"NONE", "LIVE", "DEAD"}
)

// String, MarshalText and UnmarshalText make the enums readable in stored JSON.
// An unknown name is ErrInvalid.

func (j JoinType) String() string                { return enumName(joinNames, j) }
func (j JoinType) Valid() bool                   { return int(j) < len(joinNames) }
func (j JoinType) MarshalText() ([]byte, error)  { return enumText("join type", joinNames, j) }
func (j *JoinType) UnmarshalText(b []byte) error { return enumParse("join type", joinNames, b, j) }

func (s SplitType) String() string                { return enumName(splitNames, s) }
func (s SplitType) Valid() bool                   { return int(s) < len(splitNames) }
func (s SplitType) MarshalText() ([]byte, error)  { return enumText("split", splitNames, s) }
func (s *SplitType) UnmarshalText(b []byte) error { return enumParse("split", splitNames, b, s) }

func (o OnFailure) String() string               { return enumName(failureNames, o) }
func (o OnFailure) Valid() bool                  { return int(o) < len(failureNames) }
func (o OnFailure) MarshalText() ([]byte, error) { return enumText("failure policy", failureNames, o) }
func (o *OnFailure) UnmarshalText(b []byte) error {
	return enumParse("failure policy", failureNames, b, o)
}

func (o Owner) String() string                { return enumName(ownerNames, o) }
func (o Owner) Valid() bool                   { return int(o) < len(ownerNames) }
func (o Owner) MarshalText() ([]byte, error)  { return enumText("stage owner", ownerNames, o) }
func (o *Owner) UnmarshalText(b []byte) error { return enumParse("stage owner", ownerNames, b, o) }

func (p RunPhase) String() string                { return enumName(phaseNames, p) }
func (p RunPhase) Valid() bool                   { return int(p) < len(phaseNames) }
func (p RunPhase) MarshalText() ([]byte, error)  { return enumText("run phase", phaseNames, p) }
func (p *RunPhase) UnmarshalText(b []byte) error { return enumParse("run phase", phaseNames, b, p) }

func (k TokenKind) String() string                { return enumName(tokenNames, k) }
func (k TokenKind) Valid() bool                   { return int(k) < len(tokenNames) }
func (k TokenKind) MarshalText() ([]byte, error)  { return enumText("token kind", tokenNames, k) }
func (k *TokenKind) UnmarshalText(b []byte) error { return enumParse("token kind", tokenNames, b, k) }

func enumName[E ~uint8](names []string, e E) string {
	if int(e) >= len(names) {
		return fmt.Sprintf("%T(%d)", e, uint8(e))
	}
	return names[e]
}

func enumText[E ~uint8](what string, names []string, e E) ([]byte, error) {
	if int(e) >= len(names) {
		return nil, Invalid(what, "%d is not one", uint8(e))
	}
	return []byte(names[e]), nil
}

func enumParse[E ~uint8](what string, names []string, b []byte, e *E) error {
	for i, n := range names {
		if n == string(b) {
			*e = E(i)
			return nil
		}
	}
	return Invalid(what, "unknown name %q", b)
}
