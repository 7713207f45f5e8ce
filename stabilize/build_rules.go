package stabilize

import "time"

func (b *StageSpec) rules() *Rules {
	if b.stage.Rules == nil {
		b.stage.Rules = &Rules{}
	}
	return b.stage.Rules
}

// When lets the stage run only if the expression is true when its turn comes;
// otherwise it is skipped as disabled. See Expr.
func (b *StageSpec) When(expression string) *StageSpec { b.rules().If = expression; return b }

// ChooseAll makes the stage an OR split: when it ends well, every edge whose
// branch's condition is true gets a live token (pattern 6).
func (b *StageSpec) ChooseAll(branches ...Branch) *StageSpec { return b.split(SplitOr, branches) }

// ChooseOne makes the stage an exclusive split: the first branch whose condition
// is true is taken (pattern 4).
func (b *StageSpec) ChooseOne(branches ...Branch) *StageSpec {
	return b.split(SplitExclusive, branches)
}

func (b *StageSpec) split(split SplitType, branches []Branch) *StageSpec {
	r := b.rules()
	r.Split, r.Branches = split, append(r.Branches, branches...)
	return b
}

// To makes a branch that is taken when the expression is true; see Expr.
func To(ref, when string) Branch { return Branch{To: ref, When: when} }

// Otherwise makes the branch that is taken when no other is.
func Otherwise(ref string) Branch { return Branch{To: ref, Default: true} }

// Threads lets the stage put n tokens on each of its edges (pattern 42).
func (b *StageSpec) Threads(n int) *StageSpec { b.rules().Threads = n; return b }

// First makes the join a discriminator: it fires on the first branch (pattern 9).
func (b *StageSpec) First() *StageSpec { return b.Joining(JoinDiscriminator, 0) }

// AnyOf makes the join fire on the n-th branch (pattern 30).
func (b *StageSpec) AnyOf(n int) *StageSpec { return b.Joining(JoinNOfM, n) }

// CancelRest withdraws what is left of the other branches when a discriminator
// or N-of-M join fires (patterns 29, 32).
func (b *StageSpec) CancelRest() *StageSpec { b.rules().Cancelling = true; return b }

// Reduce folds what the branches, or the instances, put out under the key with
// a reducer: a built-in one or one registered.
func (b *StageSpec) Reduce(key, reducer string) *StageSpec {
	b.rules().Reduce = append(b.rules().Reduce, Reduction{key, reducer})
	return b
}

// Choice puts the stage into a deferred choice (pattern 16).
func (b *StageSpec) Choice(name string) *StageSpec { b.rules().Choice = name; return b }

// Milestone lets the stage start only between the good end of one stage and the
// start of another, which may be empty (pattern 18).
func (b *StageSpec) Milestone(reached, until string) *StageSpec {
	b.rules().Milestone = &Milestone{reached, until}
	return b
}

// Mutex keeps the stage from running beside another with the same key in the
// workflow (patterns 17, 40).
func (b *StageSpec) Mutex(key string) *StageSpec {
	b.rules().Exclusion = &Exclusion{Key: key}
	return b
}

// Section puts the stage into a critical section: stages that are connected
// with each other share it, and others with the same key wait (pattern 39).
func (b *StageSpec) Section(key string) *StageSpec {
	b.rules().Exclusion = &Exclusion{Key: key, Section: true}
	return b
}

// AcrossWorkflows makes the stage's mutex or section one for all workflows on
// the store.
func (b *StageSpec) AcrossWorkflows() *StageSpec {
	r := b.rules()
	if r.Exclusion == nil {
		b.err = Invalid("exclusion", "the stage has no mutex and no section to share")
		return b
	}
	r.Exclusion.Global = true
	return b
}

// InRegion puts the stage into cancel regions (pattern 25).
func (b *StageSpec) InRegion(regions ...string) *StageSpec {
	b.rules().Regions = append(b.rules().Regions, regions...)
	return b
}

// OnCancelOf starts the stage when a region or a stage is canceled on its own.
func (b *StageSpec) OnCancelOf(regionOrRef string) *StageSpec {
	b.rules().OnCancelOf = regionOrRef
	return b
}

// Instances runs the stage's body several times at once.
func (b *StageSpec) Instances(m Multi) *StageSpec { b.rules().Multi = &m; return b }

// While repeats the stage's body as long as the expression is true, at most max
// times (0: DefaultMaxIterations).
func (b *StageSpec) While(expression string, max int) *StageSpec {
	b.rules().Loop = &Loop{While: expression, Max: max}
	return b
}

// RepeatUntil repeats the stage's body until the expression is true, at most max
// times (0: DefaultMaxIterations).
func (b *StageSpec) RepeatUntil(expression string, max int) *StageSpec {
	b.rules().Loop = &Loop{Until: expression, Max: max}
	return b
}

// Body puts stages inside the stage; they run before its tasks. Their refs need
// be unique within the body only.
func (b *StageSpec) Body(stages ...*StageSpec) *StageSpec {
	b.body = append(b.body, stages...)
	return b
}

// EndsWorkflow makes the good end of the stage the end of the workflow, with
// success (pattern 43).
func (b *StageSpec) EndsWorkflow() *StageSpec { b.rules().Ends = true; return b }

// Verify checks the outputs before the stage's last task may succeed.
func (b *StageSpec) Verify(v Verification) *StageSpec { b.rules().Verify = &v; return b }

// SucceedOnTimeout ends the stage SUCCEEDED when its Timeout is over.
func (b *StageSpec) SucceedOnTimeout() *StageSpec { b.rules().SucceedOnTimeout = true; return b }

// MaxJumps bounds the jumps of the workflow; 0 means DefaultMaxJumps, less none.
func (b *WorkflowSpec) MaxJumps(n int) *WorkflowSpec { b.header.MaxJumps = n; return b }

// Timeout ends the workflow TERMINAL when it has run that long, time paused not
// counted.
func (b *WorkflowSpec) Timeout(d time.Duration) *WorkflowSpec { b.header.Timeout = d; return b }

// StrictTokens ends the workflow TERMINAL with LEFTOVER_TOKEN if tokens are left
// that no join has consumed; otherwise they are only listed.
func (b *WorkflowSpec) StrictTokens() *WorkflowSpec { b.header.StrictTokens = true; return b }
