package stabilize

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
	// CONDITION_UNMET, unless Unmet. Of one that uses "results" only in len, count,
	// sum, any, all, none, filter within len and map within sum, each result is
	// looked at once (see Fold). Any other is asked over all
	// results each time one is added, so all in all that costs the square of their
	// number.
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

// InnerRegions returns the cancel regions of the stages inside, and inside those.
func (r *Rules) InnerRegions() []string {
	var out []string
	for _, s := range r.Body {
		if s.Rules != nil {
			out = append(append(out, s.Rules.Regions...), s.Rules.InnerRegions()...)
		}
	}
	return out
}

// Declared returns the stage's rules, never nil. Read them only.
func (s *Stage) Declared() *Rules {
	if s.Rules == nil {
		return &Rules{}
	}
	return s.Rules
}
