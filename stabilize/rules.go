package stabilize

import (
	"fmt"
	"slices"
	"time"
)

// Rules are the declared rules of a stage that go beyond its join: conditions,
// splits, instances, loops, exclusion. They never change after the stage was
// made. Expressions are those of Expr.
type Rules struct {
	// If is asked when the stage's turn comes; false skips it as disabled, an
	// error fails it.
	If string `json:"if,omitempty"`

	// Split says which outgoing edges get a live token when the stage ends well;
	// Branches are the conditions, in the order in which they are asked.
	Split    SplitType `json:"split,omitempty"`
	Branches []Branch  `json:"branches,omitempty"`
	// Threads is how many tokens each live outgoing edge gets (pattern 42); 0
	// means one.
	Threads int `json:"threads,omitempty"`

	// Cancelling withdraws, when a discriminator or N-of-M join fires, what is
	// left of the branches that lead only to it (patterns 29, 32).
	Cancelling bool `json:"cancelling,omitempty"`
	// Reduce folds what several branches, or the instances of the stage, put out
	// under one name into one value; see Reducer.
	Reduce []Reduction `json:"reduce,omitempty"`

	// Choice names a deferred choice (pattern 16): of the stages that share the
	// name the first that gets anywhere is chosen and the others are withdrawn.
	Choice string `json:"choice,omitempty"`
	// Milestone lets the stage start only while a state holds (pattern 18).
	Milestone *Milestone `json:"milestone,omitempty"`
	// Exclusion keeps the stage from running beside others (patterns 17, 39, 40).
	Exclusion *Exclusion `json:"exclusion,omitempty"`
	// Regions are the cancel regions that the stage is in (pattern 25), sorted.
	Regions []string `json:"regions,omitempty"`
	// OnCancelOf names a region or a stage whose cancelling starts this stage; if
	// that ends without, this stage is dead.
	OnCancelOf string `json:"onCancelOf,omitempty"`

	// Multi runs the stage's body several times at once, Loop one time after the
	// other. The body is the stage's Tasks and Body. At most one of them is set.
	Multi *Multi `json:"multi,omitempty"`
	Loop  *Loop  `json:"loop,omitempty"`
	// Body are stages that run inside the stage, before its tasks. Refs and
	// requisites name stages of the same body.
	Body []*Stage `json:"body,omitempty"`

	// Ends makes the good end of the stage the end of the workflow, with success;
	// all else is withdrawn (pattern 43).
	Ends bool `json:"ends,omitempty"`
	// Verify checks the outputs before the stage's last task may succeed.
	Verify *Verification `json:"verify,omitempty"`
	// SucceedOnTimeout ends the stage SUCCEEDED when its Timeout is over (Orca's
	// markSuccessfulOnTimeout).
	SucceedOnTimeout bool `json:"succeedOnTimeout,omitempty"`
}

// Branch is the condition of an outgoing edge of an OR or exclusive split.
type Branch struct {
	To   string `json:"to"` // ref of the stage downstream
	When string `json:"when,omitempty"`
	// Default: chosen when no condition is true. When is empty.
	Default bool `json:"default,omitempty"`
}

// Milestone is a state of the workflow: Reached has ended with a live token and
// Until has not begun. While it does not hold yet the stage waits; once it has
// passed, or can no longer be reached, the stage is dead.
type Milestone struct {
	Reached string `json:"reached"`
	Until   string `json:"until,omitempty"` // empty: it never passes
}

// Exclusion is a mutex (each stage on its own: also interleaved routing) or a
// critical section (stages that are connected with each other share it, from
// the start of the first to the end of the last).
type Exclusion struct {
	Key     string `json:"key"`
	Section bool   `json:"section,omitempty"`
	// Global: shared by all workflows on the store, first in first out.
	Global bool `json:"global,omitempty"`
}

// Multi runs a body several times at once (patterns 12-15, 26, 27, 34-36). Each
// run is an instance: a synthetic stage with the ref of its parent and its
// index in brackets.
type Multi struct {
	// Count is how many; or CountOf, an expression that gives a number when the
	// stage starts; or Over, one that gives a list, of which each instance finds
	// its item in its context as "item". Every instance finds "index", from 0.
	Count   int    `json:"count,omitempty"`
	CountOf string `json:"countOf,omitempty"`
	Over    string `json:"over,omitempty"`
	// Limit is how many run at once; 0: all.
	Limit int `json:"limit,omitempty"`
	// Open lets instances be added until it is closed; until then it does not
	// complete for want of instances.
	Open bool `json:"open,omitempty"`
	// Need is how many must end well for the stage to complete; 0: all must end.
	Need int `json:"need,omitempty"`
	// Until is asked after each instance that ended well, with "results", "done"
	// and "total"; true completes the stage. If it never is, the stage fails with
	// CONDITION_UNMET, unless Unmet.
	Until string `json:"until,omitempty"`
	Unmet bool   `json:"unmet,omitempty"`
	// Withdraw withdraws the instances under way when the stage completes;
	// otherwise they run on and the workflow waits for them.
	Withdraw bool `json:"withdraw,omitempty"`
	// Detached completes the stage as soon as its instances have been started.
	Detached bool `json:"detached,omitempty"`
}

// Loop repeats a body (pattern 21). Each run is an iteration: a synthetic stage
// with the ref of its parent and its index in brackets. Every iteration finds
// "index", from 0, in its context, and what the one before put out.
type Loop struct {
	// While is asked before each iteration, Until after each; exactly one is set.
	While string `json:"while,omitempty"`
	Until string `json:"until,omitempty"`
	// Max is how many iterations there may be; one more fails the stage with
	// LOOP_LIMIT. 0: DefaultMaxIterations.
	Max int `json:"max,omitempty"`
}

// DefaultMaxIterations bounds a Loop that names no Max.
const DefaultMaxIterations = 1000

// Reduction names the Reducer of an output.
type Reduction struct {
	Key  string `json:"key"`
	With string `json:"with"`
}

// Verification checks the outputs of a stage.
type Verification struct {
	// Required are outputs that must be there and not null, sorted.
	Required []string `json:"required,omitempty"`
	// Types are the types of outputs that are there.
	Types []TypeRule `json:"types,omitempty"`
	// With names a registered Verifier, asked when the rest holds.
	With string `json:"with,omitempty"`
	// Retry tries the task again, as its RetryPolicy says, when the outputs are
	// refused; otherwise that is final.
	Retry bool `json:"retry,omitempty"`
}

// TypeRule is the JSON type of an output: "string", "integer", "number",
// "boolean", "array", "object" or "null".
type TypeRule struct {
	Key  string `json:"key"`
	Type string `json:"type"`
}

// StageState is what a stage execution knows of itself beyond its status; most
// have none.
type StageState struct {
	// Origin says why a round after the first was opened.
	Origin *Origin `json:"origin,omitempty"`
	// Consumed are the tokens that the execution was started with, where its
	// upstream stages ended more than once; none: the first of each edge.
	Consumed []Token `json:"consumed,omitempty"`
	// Bypass: it was jumped to, so its join is not asked.
	Bypass bool `json:"bypass,omitempty"`
	// Index is its number among the instances or iterations of its parent, or
	// among the threads of a split if it is Threaded.
	Index    int  `json:"index,omitempty"`
	Threaded bool `json:"threaded,omitempty"`
	// Jump is a jump out of the stage that waits for joins to reset.
	Jump *Jump `json:"jump,omitempty"`
	// Multi counts the instances of a Multi, or the iterations of a Loop.
	Multi *MultiState `json:"multi,omitempty"`
	// Chosen: the deferred choice fell on it.
	Chosen bool `json:"chosen,omitempty"`
	// Initial is the context as declared, if a task has changed it since.
	Initial *Values `json:"initial,omitempty"`
	// Timer is the id of the message that ends the stage when its time is over.
	Timer string `json:"timer,omitempty"`
	// PausedAt is set while the stage alone is paused, Paused how long it was
	// before.
	PausedAt time.Time     `json:"pausedAt,omitzero"`
	Paused   time.Duration `json:"paused,omitempty"`
}

// Token is one token on an edge, by the execution that put it there.
type Token struct {
	Ref    string `json:"ref"`
	Round  int    `json:"round,omitempty"`
	Thread int    `json:"thread,omitempty"`
}

// OriginKind says why a round was opened.
type OriginKind string

// The kinds of origin.
const (
	OriginJump    OriginKind = "jump"
	OriginRestart OriginKind = "restart"
	OriginToken   OriginKind = "token" // a further arrival
)

// Origin says why a round was opened, and by whom.
type Origin struct {
	Kind    OriginKind `json:"kind"`
	From    string     `json:"from,omitempty"` // ref jumped from
	By      string     `json:"by,omitempty"`   // user who restarted
	At      time.Time  `json:"at,omitzero"`
	Failure *Failure   `json:"failure,omitempty"` // of the round before
}

// Jump is where to go from a stage.
type Jump struct {
	Target  string `json:"target"`
	Context Values `json:"context,omitempty"`
}

// MultiState counts the instances of a stage.
type MultiState struct {
	Total   int  `json:"total,omitempty"`   // made
	Started int  `json:"started,omitempty"` // of them
	Running int  `json:"running,omitempty"`
	Good    int  `json:"good,omitempty"`   // ended well
	Closed  bool `json:"closed,omitempty"` // no more can be added
	Met     bool `json:"met,omitempty"`    // complete: no more are started
	// Keys of added instances, so that adding one again adds none.
	Keys []string `json:"keys,omitempty"`
}

// Clone returns a deep copy.
func (r *Rules) Clone() *Rules {
	if r == nil {
		return nil
	}
	c := *r
	c.Branches, c.Reduce, c.Regions = cloneSlice(r.Branches), cloneSlice(r.Reduce), cloneSlice(r.Regions)
	c.Milestone, c.Exclusion = clonePtr(r.Milestone), clonePtr(r.Exclusion)
	c.Multi, c.Loop = clonePtr(r.Multi), clonePtr(r.Loop)
	if c.Verify = clonePtr(r.Verify); c.Verify != nil {
		c.Verify.Required, c.Verify.Types = cloneSlice(r.Verify.Required), cloneSlice(r.Verify.Types)
	}
	c.Body = nil
	for _, s := range r.Body {
		c.Body = append(c.Body, s.Clone())
	}
	return &c
}

// Clone returns a deep copy.
func (s *StageState) Clone() *StageState {
	if s == nil {
		return nil
	}
	c := *s
	if c.Origin = clonePtr(s.Origin); c.Origin != nil {
		c.Origin.Failure = clonePtr(s.Origin.Failure)
	}
	c.Consumed = cloneSlice(s.Consumed)
	if c.Jump = clonePtr(s.Jump); c.Jump != nil {
		c.Jump.Context = s.Jump.Context.Clone()
	}
	if c.Multi = clonePtr(s.Multi); c.Multi != nil {
		c.Multi.Keys = cloneSlice(s.Multi.Keys)
	}
	if c.Initial = clonePtr(s.Initial); c.Initial != nil {
		*c.Initial = s.Initial.Clone()
	}
	return &c
}

// Declared returns the stage's rules, never nil. Read them only.
func (s *Stage) Declared() *Rules {
	if s.Rules == nil {
		return &Rules{}
	}
	return s.Rules
}

// Known returns the stage's state, never nil. Read it only.
func (s *Stage) Known() *StageState {
	if s.State == nil {
		return &StageState{}
	}
	return s.State
}

// Note returns the stage's state for changing. The stage must be a draft's.
func (s *Stage) Note() *StageState {
	if s.State == nil {
		s.State = &StageState{}
	}
	return s.State
}

// checkRules checks the declared rules when a stage is made. What is stored is
// checked for its text only: rules do not change.
func (s *Stage) checkRules() error {
	r := s.Rules
	if r == nil {
		return nil
	}
	bad := func(name, format string, args ...any) error { return Invalid(s.field(name), format, args...) }
	switch {
	case !r.Split.Valid():
		return bad("split", "%d is not one", uint8(r.Split))
	case r.Split == SplitAnd && len(r.Branches) > 0:
		return bad("branches", "conditions go with an OR or exclusive split")
	case r.Split != SplitAnd && len(r.Branches) == 0:
		return bad("branches", "the split has none")
	case r.Threads < 0:
		return bad("threads", "%d is negative", r.Threads)
	case r.Cancelling && s.Join != JoinDiscriminator && s.Join != JoinNOfM:
		return bad("join", "only a discriminator or N-of-M join cancels the rest")
	case r.Multi != nil && r.Loop != nil:
		return bad("loop", "the stage has instances already")
	case r.SucceedOnTimeout && s.Timeout == 0:
		return bad("timeout", "is missing, but the stage is to succeed when it is over")
	case r.Milestone != nil && r.Milestone.Reached == "":
		return bad("milestone", "names no stage to be reached")
	case r.Exclusion != nil && r.Exclusion.Key == "":
		return bad("exclusion key", "is empty")
	case slices.Contains(r.Regions, ""):
		return bad("region", "is empty")
	case r.Loop != nil && ((r.Loop.While == "") == (r.Loop.Until == "") || r.Loop.Max < 0):
		return bad("loop", "needs either a while or an until condition, and a maximum that is not negative")
	}
	if err := s.checkBranches(); err != nil {
		return err
	}
	for _, red := range r.Reduce {
		if red.Key == "" || red.With == "" {
			return bad("reduction", "names no output or no reducer")
		}
	}
	if v := r.Verify; v != nil {
		for _, t := range v.Types {
			if !slices.Contains(jsonTypes(), t.Type) {
				return bad("verification", "%q is no type", t.Type)
			}
		}
	}
	return r.Multi.check(s)
}

// areText reports whether all text in the rules is valid UTF-8.
func (r *Rules) areText() bool {
	if r == nil {
		return true
	}
	ok := areText(r.If, r.Choice, r.OnCancelOf) && areText(r.Regions...)
	for _, b := range r.Branches {
		ok = ok && areText(b.To, b.When)
	}
	for _, d := range r.Reduce {
		ok = ok && areText(d.Key, d.With)
	}
	if m := r.Milestone; m != nil {
		ok = ok && areText(m.Reached, m.Until)
	}
	if e := r.Exclusion; e != nil {
		ok = ok && areText(e.Key)
	}
	if m := r.Multi; m != nil {
		ok = ok && areText(m.CountOf, m.Over, m.Until)
	}
	if l := r.Loop; l != nil {
		ok = ok && areText(l.While, l.Until)
	}
	if v := r.Verify; v != nil {
		ok = ok && areText(v.With) && areText(v.Required...)
		for _, t := range v.Types {
			ok = ok && areText(t.Key, t.Type)
		}
	}
	return ok
}

// check returns ErrInvalid unless the state can be stored.
func (s *StageState) check(field string) error {
	if s == nil {
		return nil
	}
	ok := areText(s.Timer)
	if o := s.Origin; o != nil {
		ok = ok && areText(string(o.Kind), o.From, o.By) && o.Failure.isText()
	}
	for _, t := range s.Consumed {
		ok = ok && areText(t.Ref)
	}
	if s.Multi != nil {
		ok = ok && areText(s.Multi.Keys...)
	}
	if !ok || s.Jump != nil && !areText(s.Jump.Target) {
		return Invalid(field, "is not valid UTF-8")
	}
	if s.Initial != nil {
		if err := s.Initial.Check(field); err != nil {
			return err
		}
	}
	if s.Jump != nil {
		return s.Jump.Context.Check(field)
	}
	return nil
}

func jsonTypes() []string {
	return []string{"string", "integer", "number", "boolean", "array", "object", "null"}
}

func (s *Stage) checkBranches() error {
	seen, defaults := map[string]bool{}, 0
	for _, b := range s.Rules.Branches {
		switch {
		case b.To == "":
			return Invalid(s.field("branches"), "one leads nowhere")
		case seen[b.To]:
			return Invalid(s.field("branches"), "%q is listed twice", b.To)
		case b.Default == (b.When != ""):
			return Invalid(s.field("branches"), "%q needs a condition, or to be the default", b.To)
		case b.Default:
			if defaults++; defaults > 1 && s.Rules.Split == SplitExclusive {
				return Invalid(s.field("branches"), "%q is a second default of an exclusive split", b.To)
			}
		}
		seen[b.To] = true
	}
	return nil
}

func (m *Multi) check(s *Stage) error {
	if m == nil {
		return nil
	}
	ways := 0
	for _, used := range []bool{m.Count != 0, m.CountOf != "", m.Over != ""} {
		if used {
			ways++
		}
	}
	bad := func(format string, args ...any) error { return Invalid(s.field("instances"), format, args...) }
	switch {
	case m.Count < 0 || m.Limit < 0 || m.Need < 0:
		return bad("a count, limit or need is negative")
	case ways > 1:
		return bad("are counted in more than one way")
	case ways == 0 && !m.Open:
		return bad("are not counted, and none can be added")
	case m.Need > 0 && m.CountOf == "" && m.Over == "" && !m.Open && m.Need > m.Count:
		return bad("%d of %d can never end well", m.Need, m.Count)
	case m.Detached && (m.Need > 0 || m.Until != "" || m.Open):
		return bad("are not waited for, so they cannot complete the stage")
	}
	return nil
}

// validateBody checks the stages inside the stage for what cannot be stored.
func (s *Stage) validateBody() error {
	for i, c := range s.Rules.Body {
		if c == nil {
			return Invalid(s.field(fmt.Sprintf("body[%d]", i)), "is nil")
		}
		field := s.field("body")
		ok := areText(c.ID, c.Ref, c.Type, c.Name, c.ParentID, c.Reason) && areText(c.Requisites...) && c.Rules.areText() &&
			areText(c.Tokens.Except...) && c.Failure.isText()
		if !ok {
			return Invalid(field, "stage %d is not valid UTF-8", i)
		}
		for _, err := range []error{c.Context.Check(field), c.Outputs.Check(field), c.State.check(field)} {
			if err != nil {
				return err
			}
		}
		if err := c.validateTasks(); err != nil {
			return fmt.Errorf("body of stage %q: %w", s.Ref, err)
		}
		if c.Rules != nil {
			if err := c.validateBody(); err != nil {
				return err
			}
		}
	}
	return nil
}
