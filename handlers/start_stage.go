package handlers

import (
	"fmt"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/resilience"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// StartStage promises: a stage whose join is met begins once: it is planned,
// its before-stages run, then its tasks. One that may not run (disabled,
// expired, join dead) is skipped; an error while planning fails it (in the
// reference it ends SUCCEEDED). A stage whose join still waits is left alone:
// the end of what it waits for offers it again.
func StartStage() Handler { return Handle(startStage) }

func startStage(x *Decision, m queue.StartStage) error {
	return x.WithStage(m, func(s *stabilize.Stage) error {
		w := x.Workflow()
		if s.Status != stabilize.NotStarted || w.Status != stabilize.Running || w.Halting() {
			return nil
		}
		if parent := w.Stage(s.ParentID); parent != nil && (parent.Status != stabilize.Running || parent.Ending != stabilize.NotStarted) {
			return nil
		}
		skip := queue.SkipStage{OfStage: m.OfStage}
		switch w.Readiness(s) {
		case stabilize.Waiting:
			return nil
		case stabilize.Dead:
			skip.Reason = stabilize.ReasonDeadPath
		default:
			if s.Disabled {
				skip.Reason = stabilize.ReasonDisabled
			} else if !s.StartExpiry.IsZero() && x.Now().After(s.StartExpiry) {
				skip.Reason = stabilize.ReasonStartExpired
			}
		}
		if skip.Reason != "" {
			x.Push(skip)
			return nil
		}
		return x.beginStage(s.ID)
	})
}

func (x *Decision) beginStage(id string) error {
	s, err := x.SetStageStatus(id, stabilize.Running)
	if err != nil {
		return err
	}
	before, failure := x.planStage(s)
	if failure != nil {
		return x.haltStage(s, failureStatus(s.OnFailure), "", failure)
	}
	x.continueWithTasks(s, before)
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
		return nil, x.checkPlanned(s)
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
	for _, t := range s.Tasks {
		t.Position = len(tasks)
		tasks = append(tasks, t)
	}
	s.Tasks = tasks
	if failure := x.checkPlanned(s); failure != nil {
		return nil, failure
	}
	b, ok := typ.(stabilize.BeforeStager)
	if !ok {
		return nil, nil
	}
	return x.planFamily(s, stabilize.OwnerBefore, "<", b.BeforeStages)
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
		prefix := parent.Ref + mark
		c.Ref, c.ParentID, c.Owner, c.Position = prefix+c.Ref, parent.ID, owner, i
		for j := range c.Requisites {
			c.Requisites[j] = prefix + c.Requisites[j]
		}
		c.Round = parent.Round
		refs[c.Ref] = true
		family = append(family, c)
	}
	// The family must be a sound graph of its own.
	check := &stabilize.Workflow{Header: x.Workflow().Header, Stages: family}
	if err := check.Validate(); err != nil {
		return nil, planningFailure("synthetic stages", err)
	}
	for _, c := range family {
		if x.Workflow().StageByRef(c.Ref) != nil {
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
	for _, c := range family {
		x.draft.AddStage(c)
		x.Record(events.Event{Type: events.StageAdded, To: c.Status}, c, nil)
	}
	return family, nil
}

// failureStatus is what a failure makes of a stage under its policy.
func failureStatus(policy stabilize.OnFailure) stabilize.Status {
	switch policy {
	case stabilize.ContinueOnFailure:
		return stabilize.FailedContinue
	case stabilize.StopBranch, stabilize.FailAfterOthers:
		return stabilize.Stopped
	default:
		return stabilize.Terminal
	}
}
