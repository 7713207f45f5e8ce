package handlers

import (
	"fmt"
	"slices"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/resilience"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// StartStage promises: a stage whose join is met begins once: it is planned,
// its before-stages run, then its tasks, or its instances or iterations. One
// that may not run (disabled, expired, join dead, milestone passed, another
// chosen) is skipped or withdrawn; an error while planning or in its condition
// fails it (in the reference it ends SUCCEEDED, or runs). A stage whose join,
// milestone or mutex still waits is left alone: the end of what it waits for
// offers it again (the reference's start_stage/ asks again every 15 s).
func StartStage() Handler { return Handle(startStage) }

func startStage(x *Decision, m queue.StartStage) error {
	return x.WithStage(m, func(s *stabilize.Stage) error {
		w := x.Workflow()
		if s.Status != stabilize.NotStarted || s.Superseded || w.Status != stabilize.Running || w.Halting() {
			return nil
		}
		if !x.parentTakes(s) {
			return x.passOn(s)
		}
		if w.Counted(s.Ref) && (s.State == nil || len(s.State.Consumed) == 0 && !s.State.Bypass) && !s.IsInitial() {
			_, err := x.arriveCounted(s.Ref, false)
			return err
		}
		skip := queue.SkipStage{OfStage: queue.ToStage(w.ID, s.ID)}
		switch w.Readiness(s) {
		case stabilize.Waiting:
			x.ifQuiet()
			return x.passOn(s)
		case stabilize.Dead:
			skip.Reason = stabilize.ReasonDeadPath
		default:
			if s.Declared().Cancelling { // its join fires, whether it runs or not
				if err := x.withdrawAll(w.OnlyToward(s)); err != nil {
					return err
				}
				s = w.Stage(s.ID)
			}
			if s.Disabled {
				skip.Reason = stabilize.ReasonDisabled
			} else if !s.StartExpiry.IsZero() && x.Now().After(s.StartExpiry) {
				skip.Reason = stabilize.ReasonStartExpired
			}
		}
		if skip.Reason == "" && s.Rules != nil {
			wait, reason, err := x.mayStart(s)
			if wait || err != nil {
				return err
			}
			skip.Reason = reason
		}
		if skip.Reason != "" {
			x.Push(skip)
			return nil
		}
		return x.beginStage(s.ID)
	})
}

// ifQuiet has a workflow looked at in which a stage waits and nothing is under
// way that could end the wait.
func (x *Decision) ifQuiet() {
	if w := x.Workflow(); w.Active() == 0 || w.OnlyJumping() {
		x.completeWorkflow()
	}
}

// takesChild reports whether a parent is in a state to start one of its
// synthetic stages.
func takesChild(parent, s *stabilize.Stage) bool {
	if parent.Ending != stabilize.NotStarted {
		return false
	}
	if s.Owner == stabilize.OwnerInstance && parent.Status.IsComplete() {
		m := parent.Declared().Multi
		return m != nil && !m.Withdraw // it did not wait for the rest, which runs on
	}
	return parent.Status == stabilize.Running
}

// mayStart asks the rules of a stage whose join is met: whether it must wait, or
// why it is skipped. It may also end it here.
func (x *Decision) mayStart(s *stabilize.Stage) (wait bool, skip string, err error) {
	w := x.Workflow()
	switch w.MilestoneState(s) {
	case stabilize.Waiting:
		x.ifQuiet()
		return true, "", x.passOn(s)
	case stabilize.Dead:
		return false, stabilize.ReasonMilestone, nil
	}
	if s.Rules.Choice != "" && !s.Known().Chosen && chosen(w, s) != nil {
		return true, "", x.haltStage(s, stabilize.Canceled, stabilize.ReasonWithdrawn, nil)
	}
	if s.Rules.If != "" {
		yes, err := x.env.Expressions.Bool(s.Rules.If, w.TaskContext(s))
		if err != nil {
			return true, "", x.failUnstarted(s, &stabilize.Failure{Code: stabilize.CodeExpression, Message: "asking whether it is enabled: " + errorText(err)})
		}
		if !yes {
			return false, stabilize.ReasonDisabled, nil
		}
	}
	if !x.enterExclusion(s) {
		if w.OnlyJumping() { // its holder, too
			x.completeWorkflow()
		}
		return true, "", nil
	}
	return false, "", nil
}

// failUnstarted fails a stage in place of beginning it.
func (x *Decision) failUnstarted(s *stabilize.Stage, failure *stabilize.Failure) error {
	s, err := x.SetStageStatus(s.ID, stabilize.Running)
	if err != nil {
		return err
	}
	return x.haltStage(s, failureStatus(s.OnFailure), "", failure)
}

func (x *Decision) beginStage(id string) error {
	s, err := x.SetStageStatus(id, stabilize.Running)
	if err != nil {
		return err
	}
	x.armStage(s)
	for _, watching := range x.Workflow().Watching(s.Ref) { // a milestone may have passed
		x.offer(watching)
	}
	if s.Rules != nil {
		if failure := x.beginRules(s); failure != nil {
			return x.haltStage(s, failureStatus(s.OnFailure), "", failure)
		}
		if s.IsBodied() {
			return x.beginBody(s)
		}
	}
	before, failure := x.planStage(s)
	if failure != nil {
		return x.haltStage(s, failureStatus(s.OnFailure), "", failure)
	}
	x.continueWithTasks(s, before)
	return nil
}

// beginRules does what the rules ask for when a stage begins: reduce what the
// branches put out.
func (x *Decision) beginRules(s *stabilize.Stage) *stabilize.Failure {
	w := x.Workflow()
	if len(s.Rules.Reduce) > 0 && !s.IsBodied() {
		var sources []stabilize.Values
		for _, up := range w.Sources(s) {
			sources = append(sources, w.FamilyOutputs(up))
		}
		reduced, err := x.env.Registry.Reduce(s.Rules.Reduce, sources)
		if err != nil {
			return &stabilize.Failure{Code: stabilize.CodeReduction, Message: errorText(err)}
		}
		s.WriteContext(reduced)
		s.Outputs = s.Outputs.Merge(reduced)
	}
	return nil
}

// continueWithTasks starts the before-stages if any were planned, else the
// first task, else there is nothing to do.
func (x *Decision) continueWithTasks(s *stabilize.Stage, before []*stabilize.Stage) {
	w := x.Workflow()
	switch {
	case len(before) > 0:
		x.startFamily(before)
	case len(s.Tasks) > 0:
		x.Push(queue.StartTask{OfTask: queue.ToTask(w.ID, s.ID, s.Tasks[0].ID)})
	default:
		x.Push(queue.CompleteStage{OfStage: queue.ToStage(w.ID, s.ID)})
	}
}

// startFamily starts those of the planned synthetic stages that wait for no other.
func (x *Decision) startFamily(planned []*stabilize.Stage) {
	for _, c := range planned {
		if c.IsInitial() {
			x.Push(queue.StartStage{OfStage: queue.ToStage(x.Workflow().ID, c.ID)})
		}
	}
}

// planStage adds the tasks and before-stages that the stage's type asks for.
func (x *Decision) planStage(s *stabilize.Stage) ([]*stabilize.Stage, *stabilize.Failure) {
	typ, err := x.env.Registry.Stage(s.Type)
	if err != nil {
		return nil, &stabilize.Failure{Code: stabilize.CodeUnknownStageType, Message: err.Error()}
	}
	s.BeforePlanned = true
	if typ == nil {
		if failure := x.checkPlanned(s); failure != nil {
			return nil, failure
		}
		return x.planBody(s, nil)
	}
	var specs []stabilize.TaskSpec
	err = resilience.Guard(func() (err error) {
		specs, err = typ.Tasks(x.plan(s))
		return err
	})
	if err != nil {
		return nil, planningFailure("tasks", err)
	}
	// What the type plans comes first, what the stage was built with after it.
	tasks := stabilize.NewTasks(x.env.IDs, specs)
	for _, t := range tasks {
		t.Planned = true
	}
	for _, t := range s.Tasks {
		t.Position = len(tasks)
		tasks = append(tasks, t)
	}
	s.Tasks = tasks
	if failure := x.checkPlanned(s); failure != nil {
		return nil, failure
	}
	var before []*stabilize.Stage
	if b, ok := typ.(stabilize.BeforeStager); ok {
		var failure *stabilize.Failure
		if before, failure = x.planFamily(s, stabilize.OwnerBefore, "<", b.BeforeStages); failure != nil {
			return nil, failure
		}
	}
	return x.planBody(s, before)
}

func (x *Decision) plan(s *stabilize.Stage) *stabilize.Plan {
	w := x.Workflow()
	return &stabilize.Plan{Workflow: w.Header, Stage: s, Context: w.TaskContext(s)}
}

func (x *Decision) checkPlanned(s *stabilize.Stage) *stabilize.Failure {
	for _, t := range s.Tasks {
		if _, _, err := x.env.Registry.Task(t.Type); err != nil {
			return &stabilize.Failure{Code: stabilize.CodeUnknownTaskType, Message: err.Error(), Task: t.Name}
		}
	}
	return nil
}

func planningFailure(what string, err error) *stabilize.Failure {
	return &stabilize.Failure{Code: stabilize.CodePlanning, Message: fmt.Sprintf("planning its %s: %s", what, errorText(err))}
}

// planFamily adds synthetic stages. Their refs are the parent's, a mark, and
// the ref each spec gives; requisites name specs of the same list.
func (x *Decision) planFamily(parent *stabilize.Stage, owner stabilize.Owner, mark string,
	plan func(*stabilize.Plan) ([]*stabilize.StageSpec, error),
) ([]*stabilize.Stage, *stabilize.Failure) {
	var specs []*stabilize.StageSpec
	err := resilience.Guard(func() (err error) {
		specs, err = plan(x.plan(parent))
		return err
	})
	if err != nil {
		return nil, planningFailure("synthetic stages", err)
	}
	family := make([]*stabilize.Stage, 0, len(specs))
	refs := map[string]bool{}
	for i, spec := range specs {
		if spec == nil {
			return nil, planningFailure("synthetic stages", stabilize.Invalid("stages", "stage %d is nil", i))
		}
		c, err := spec.Build(x.env.IDs)
		if err != nil {
			return nil, planningFailure("synthetic stages", err)
		}
		adopt(parent, c, owner, mark)
		c.Position = i
		refs[c.Ref] = true
		family = append(family, c)
	}
	// The family must be a sound graph of its own.
	check := &stabilize.Workflow{Header: x.Workflow().Header, Stages: family}
	if err := check.Validate(); err != nil {
		return nil, planningFailure("synthetic stages", err)
	}
	for _, c := range family {
		if taken := x.Workflow().StageByRef(c.Ref); taken != nil && !x.insideEarlier(taken, parent) {
			return nil, planningFailure("synthetic stages", &stabilize.ExistsError{Kind: "stage", ID: c.Ref})
		}
		for _, ref := range c.Requisites {
			if !refs[ref] {
				return nil, planningFailure("synthetic stages", stabilize.Invalid("stage "+c.Ref+" requisites", "no stage of the family has the ref %q", ref))
			}
		}
		if err := x.env.Registry.CheckStage(c); err != nil {
			return nil, planningFailure("synthetic stages", err)
		}
	}
	x.addStages(family)
	return family, nil
}

// insideEarlier reports whether a stage is inside an earlier round of another.
func (x *Decision) insideEarlier(s, of *stabilize.Stage) bool {
	parent := x.Workflow().Stage(s.ParentID)
	return parent != nil && parent.ID != of.ID && parent.Ref == of.Ref
}

func (x *Decision) addStages(stages []*stabilize.Stage) {
	for _, c := range stages {
		x.draft.AddStage(c)
		x.Record(events.Event{Type: events.StageAdded, To: c.Status}, c, nil)
	}
}

// adopt makes a stage a synthetic one: its refs, and those its rules name, get
// its parent's before them.
func adopt(parent, c *stabilize.Stage, owner stabilize.Owner, mark string) {
	prefix := parent.Ref + mark
	inside := func(ref *string) {
		if *ref != "" {
			*ref = prefix + *ref
		}
	}
	c.ParentID, c.Owner, c.Round = parent.ID, owner, parent.Round
	inside(&c.Ref)
	for i := range c.Requisites {
		inside(&c.Requisites[i])
	}
	r := c.Rules
	if r == nil {
		return
	}
	for i := range r.Branches {
		inside(&r.Branches[i].To)
	}
	if r.Milestone != nil {
		inside(&r.Milestone.Reached)
		inside(&r.Milestone.Until)
	}
	inside(&r.Choice)
}

// planBody adds the stages inside a stage, after those that its type runs before
// it.
func (x *Decision) planBody(s *stabilize.Stage, before []*stabilize.Stage) ([]*stabilize.Stage, *stabilize.Failure) {
	if s.Rules == nil || len(s.Rules.Body) == 0 {
		return before, nil
	}
	var first []string
	for _, c := range before {
		first = append(first, c.Ref)
	}
	slices.Sort(first)
	body := make([]*stabilize.Stage, len(s.Rules.Body))
	for i, inside := range s.Rules.Body {
		c := inside.Clone()
		c.ID = x.NewID()
		for _, t := range c.Tasks {
			t.ID = x.NewID()
		}
		adopt(s, c, stabilize.OwnerBefore, "/")
		if r := c.Rules; r != nil && slices.ContainsFunc(s.Rules.Body, func(b *stabilize.Stage) bool { return b.Ref == r.OnCancelOf }) {
			r.OnCancelOf = s.Ref + "/" + r.OnCancelOf
		}
		if c.IsInitial() {
			c.Requisites = slices.Clone(first)
		}
		if err := x.env.Registry.CheckStage(c); err != nil {
			return nil, planningFailure("body", err)
		}
		body[i] = c
	}
	x.addStages(body)
	return append(before, body...), nil
}

// failureStatus is what a failure makes of a stage under its policy.
func failureStatus(policy stabilize.OnFailure) stabilize.Status {
	switch policy {
	case stabilize.ContinueOnFailure:
		return stabilize.FailedContinue
	case stabilize.StopBranch, stabilize.FailAfterOthers, stabilize.TolerateFailure:
		return stabilize.Stopped
	default:
		return stabilize.Terminal
	}
}
