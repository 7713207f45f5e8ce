package stabilize

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// WorkflowSpec is a workflow to be started, put together by its methods. It is
// a description: Build makes an execution of it, as often as it is called.
// Mistakes are collected and returned by Build.
type WorkflowSpec struct {
	header Header
	stages []*StageSpec
	err    error
}

// NewWorkflow begins a spec. Application groups workflows for queries and
// scopes concurrency limits; it may be empty.
func NewWorkflow(application, name string) *WorkflowSpec {
	return &WorkflowSpec{header: Header{Application: application, Name: name}}
}

// Add appends stages. Their order here is their Position.
func (b *WorkflowSpec) Add(stages ...*StageSpec) *WorkflowSpec {
	b.stages = append(b.stages, stages...)
	return b
}

// Context sets a value that every stage sees.
func (b *WorkflowSpec) Context(key string, x any) *WorkflowSpec {
	b.header.Context = b.header.Context.Clone()
	b.err = errors.Join(b.err, b.header.Context.Set(key, x))
	return b
}

// TriggeredBy says what started the run.
func (b *WorkflowSpec) TriggeredBy(t Trigger) *WorkflowSpec { b.header.Trigger = t; return b }

// Origin says where the request came from.
func (b *WorkflowSpec) Origin(origin string) *WorkflowSpec { b.header.Origin = origin; return b }

// Config names the pipeline configuration and its version that the run is of.
func (b *WorkflowSpec) Config(id, version string) *WorkflowSpec {
	b.header.ConfigID, b.header.ConfigVersion = id, version
	return b
}

// LimitConcurrent lets at most limit runs of the configuration be under way at
// once, within the application; the others wait, first in, first out. A limit
// of 0 or less is none.
func (b *WorkflowSpec) LimitConcurrent(configID string, limit int) *WorkflowSpec {
	b.header.ConfigID = configID
	b.header.LimitConcurrent, b.header.MaxConcurrent, b.header.KeepWaiting = true, limit, true
	return b
}

// PurgeWaiting makes the end of this run cancel those that wait behind the next
// one (the reference's keep_waiting_pipelines=False).
func (b *WorkflowSpec) PurgeWaiting() *WorkflowSpec { b.header.KeepWaiting = false; return b }

// StartBefore cancels the run if it has not begun by then.
func (b *WorkflowSpec) StartBefore(t time.Time) *WorkflowSpec {
	b.header.StartExpiry = Instant(t)
	return b
}

// Build makes an execution with fresh ids. The error is ErrInvalid, names the
// stage, and covers what Validate covers and requisites that name no stage.
func (b *WorkflowSpec) Build(ids *IDs, now time.Time) (*Workflow, error) {
	if b.err != nil {
		return nil, b.err
	}
	w := &Workflow{Header: b.header.clone(), Stages: make([]*Stage, 0, len(b.stages))}
	w.ID, w.CreatedAt = ids.New(), Instant(now)
	var err error
	if w.Stages, err = buildStages(ids, "stages", b.stages); err != nil {
		return nil, err
	}
	if err := w.Validate(); err != nil {
		return nil, err
	}
	return w, nil
}

// buildStages makes stages that know only each other.
func buildStages(ids *IDs, field string, specs []*StageSpec) ([]*Stage, error) {
	stages := make([]*Stage, 0, len(specs))
	refs := make(map[string]bool, len(specs))
	for i, spec := range specs {
		if spec == nil {
			return nil, Invalid(field, "stage %d is nil", i)
		}
		s, err := spec.Build(ids)
		if err != nil {
			return nil, err
		}
		s.Position = i
		refs[s.Ref] = true
		stages = append(stages, s)
	}
	for _, s := range stages {
		for _, ref := range s.Requisites {
			if !refs[ref] {
				return nil, Invalid(s.field("requisites"), "no stage has the ref %q", ref)
			}
		}
		if err := s.checkRefs(refs); err != nil {
			return nil, err
		}
	}
	return stages, nil
}

// checkRefs finds rules that name stages which do not exist.
func (s *Stage) checkRefs(refs map[string]bool) error {
	if s.Rules == nil {
		return nil
	}
	for _, b := range s.Rules.Branches {
		if !refs[b.To] {
			return Invalid(s.field("branches"), "no stage has the ref %q", b.To)
		}
	}
	if m := s.Rules.Milestone; m != nil {
		if !refs[m.Reached] {
			return Invalid(s.field("milestone"), "no stage has the ref %q", m.Reached)
		}
		if m.Until != "" && !refs[m.Until] {
			return Invalid(s.field("milestone"), "no stage has the ref %q", m.Until)
		}
	}
	return nil
}

// StageSpec describes a stage, of a workflow or a synthetic one of a StageType.
type StageSpec struct {
	stage Stage
	body  []*StageSpec
	err   error
}

// TaskSpec names a task and the registered type it runs. An empty Name is the type's.
type TaskSpec struct {
	Name string
	Type string
}

// NewStage begins a stage with the ref that other stages know it by.
func NewStage(ref string) *StageSpec { return &StageSpec{stage: Stage{Ref: ref}} }

// Do appends tasks of the registered types, run one after the other.
func (b *StageSpec) Do(taskTypes ...string) *StageSpec {
	for _, t := range taskTypes {
		b.Task(TaskSpec{Type: t})
	}
	return b
}

// Task appends one task with a name of its own.
func (b *StageSpec) Task(t TaskSpec) *StageSpec {
	b.stage.Tasks = append(b.stage.Tasks, newTask(t, len(b.stage.Tasks)))
	return b
}

// After makes the stage wait for others, by ref.
func (b *StageSpec) After(refs ...string) *StageSpec {
	b.stage.Requisites = append(b.stage.Requisites, refs...)
	return b
}

// With sets a value of the stage's context.
func (b *StageSpec) With(key string, x any) *StageSpec {
	b.err = errors.Join(b.err, b.stage.Context.Set(key, x))
	return b
}

// Named sets the name a person reads.
func (b *StageSpec) Named(name string) *StageSpec { b.stage.Name = name; return b }

// OfType makes the stage one of a registered StageType.
func (b *StageSpec) OfType(stageType string) *StageSpec { b.stage.Type = stageType; return b }

// Joining sets the join rule; threshold counts for JoinNOfM only.
func (b *StageSpec) Joining(rule JoinType, threshold int) *StageSpec {
	b.stage.Join, b.stage.Threshold = rule, threshold
	return b
}

// OnFailure sets what a failure of the stage means for the workflow.
func (b *StageSpec) OnFailure(policy OnFailure) *StageSpec { b.stage.OnFailure = policy; return b }

// Disabled makes the stage be skipped when its turn comes.
func (b *StageSpec) Disabled() *StageSpec { b.stage.Disabled = true; return b }

// AllowSiblings lets the siblings of a synthetic stage go on if it ends
// FAILED_CONTINUE.
func (b *StageSpec) AllowSiblings() *StageSpec { b.stage.AllowSiblings = true; return b }

// StartBefore skips the stage if it has not begun by then.
func (b *StageSpec) StartBefore(t time.Time) *StageSpec {
	b.stage.StartExpiry = Instant(t)
	return b
}

// Timeout ends the stage TERMINAL when it has run that long from its start, time
// paused not counted: its tasks are told so through their contexts.
func (b *StageSpec) Timeout(d time.Duration) *StageSpec { b.stage.Timeout = d; return b }

// Build makes a stage with fresh ids. Requisites are sorted and duplicates
// dropped: they are a set.
func (b *StageSpec) Build(ids *IDs) (*Stage, error) {
	if b.err != nil {
		return nil, Invalid(b.stage.field("context"), "%v", b.err)
	}
	s := b.stage.Clone()
	s.ID = ids.New()
	if r := s.Rules; r != nil {
		slices.Sort(r.Regions)
		if r.Verify != nil {
			slices.Sort(r.Verify.Required)
		}
	}
	if len(b.body) > 0 {
		if s.Rules == nil {
			s.Rules = &Rules{}
		}
		body, err := buildStages(ids, s.field("body"), b.body)
		if err == nil {
			err = (&Workflow{Header: Header{ID: "body"}, Stages: body}).Validate()
		}
		if err != nil {
			return nil, fmt.Errorf("body of stage %q: %w", s.Ref, err)
		}
		s.Rules.Body = body
	}
	if err := s.checkRules(); err != nil {
		return nil, err
	}
	slices.Sort(s.Requisites)
	s.Requisites = slices.Compact(s.Requisites)
	for _, t := range s.Tasks {
		t.ID = ids.New()
	}
	return s, nil
}

// NewTasks makes tasks with fresh ids.
func NewTasks(ids *IDs, specs []TaskSpec) []*Task {
	tasks := make([]*Task, len(specs))
	for i, spec := range specs {
		tasks[i] = newTask(spec, i)
		tasks[i].ID = ids.New()
	}
	return tasks
}

func newTask(spec TaskSpec, position int) *Task {
	if spec.Name == "" {
		spec.Name = spec.Type
	}
	return &Task{Name: spec.Name, Type: spec.Type, Position: position}
}
