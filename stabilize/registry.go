package stabilize

import "fmt"

// StageType plans the stages of one type. Planning is part of deciding: it must
// be pure and quick, and may be repeated. An error fails the stage with the
// code PLANNING.
type StageType interface {
	// Tasks returns the tasks of the stage, in order.
	Tasks(p *Plan) ([]TaskSpec, error)
}

// Optional powers of a StageType: synthetic stages around the tasks. Refs and
// After name stages of the same list; the stored ref is the parent's, then "<"
// before, ">" after or "!" on failure, then the spec's.
type (
	// BeforeStager plans stages that run before the tasks.
	BeforeStager interface {
		BeforeStages(p *Plan) ([]*StageSpec, error)
	}
	// AfterStager plans stages that run after the tasks succeeded.
	AfterStager interface {
		AfterStages(p *Plan) ([]*StageSpec, error)
	}
	// OnFailureStager plans stages that run after the stage failed; it keeps its
	// failure whatever they do.
	OnFailureStager interface {
		OnFailureStages(p *Plan) ([]*StageSpec, error)
	}
)

// Plan is what planning may look at. Read it only.
type Plan struct {
	Workflow Header
	Stage    *Stage
	Context  Values // see Workflow.TaskContext
}

// Registry holds the task types and stage types a program knows, by name. Fill
// it before use; reading it is safe for concurrent use.
type Registry struct {
	tasks  map[string]registered
	stages map[string]StageType
}

type registered struct {
	TaskType
	Powers
}

// NewRegistry makes an empty registry.
func NewRegistry() *Registry {
	return &Registry{tasks: map[string]registered{}, stages: map[string]StageType{}}
}

// AddTask registers a task type. A name in use is ErrExists; a nil type, a name
// that CheckID refuses and powers that Powers.Check refuses are ErrInvalid.
func (r *Registry) AddTask(name string, t TaskType) error {
	if err := CheckID("task type", name); err != nil {
		return err
	}
	if t == nil {
		return Invalid("task type", "%q is nil", name)
	}
	if _, taken := r.tasks[name]; taken {
		return &ExistsError{Kind: "task type", ID: name}
	}
	powers := PowersOf(t)
	if err := powers.Check(fmt.Sprintf("task type %q", name)); err != nil {
		return err
	}
	r.tasks[name] = registered{t, powers}
	return nil
}

// AddStage registers a stage type; see AddTask.
func (r *Registry) AddStage(name string, t StageType) error {
	if err := CheckID("stage type", name); err != nil {
		return err
	}
	if t == nil {
		return Invalid("stage type", "%q is nil", name)
	}
	if _, taken := r.stages[name]; taken {
		return &ExistsError{Kind: "stage type", ID: name}
	}
	r.stages[name] = t
	return nil
}

// Task returns a task type and its powers. An unknown name is ErrNotFound.
func (r *Registry) Task(name string) (TaskType, Powers, error) {
	t, ok := r.tasks[name]
	if !ok {
		return nil, Powers{}, &NotFoundError{Kind: "task type", ID: name}
	}
	return t.TaskType, t.Powers, nil
}

// Stage returns a stage type. An unknown name is ErrNotFound. The empty name is
// the plain stage, which plans nothing: its tasks are those it was built with.
func (r *Registry) Stage(name string) (StageType, error) {
	if name == "" {
		return nil, nil
	}
	t, ok := r.stages[name]
	if !ok {
		return nil, &NotFoundError{Kind: "stage type", ID: name}
	}
	return t, nil
}

// Check returns ErrInvalid, naming stage and type, if the workflow uses a task
// or stage type that is not registered.
func (r *Registry) Check(w *Workflow) error {
	for _, s := range w.Stages {
		if err := r.CheckStage(s); err != nil {
			return err
		}
	}
	return nil
}

// CheckStage is Check for one stage.
func (r *Registry) CheckStage(s *Stage) error {
	if _, err := r.Stage(s.Type); err != nil {
		return Invalid(s.field("type"), "%q is not registered", s.Type)
	}
	for _, t := range s.Tasks {
		if _, ok := r.tasks[t.Type]; !ok {
			return Invalid(s.field("task "+t.Name), "task type %q is not registered", t.Type)
		}
	}
	return nil
}
