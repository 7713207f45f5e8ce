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
	// RestartPreparer is asked when a stage is restarted: what it returns is laid
	// over the declared context of the new round, and an error refuses the restart
	// (Orca's prepareStageForRestart). The Plan's stage is the new round.
	RestartPreparer interface {
		PrepareRestart(p *Plan) (Values, error)
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

// Registry holds the task types, stage types, reducers and verifiers a program
// knows, by name. Fill it before use; reading it is safe for concurrent use.
type Registry struct {
	tasks     map[string]registered
	stages    map[string]StageType
	reducers  map[string]Reducer
	verifiers map[string]Verifier
}

type registered struct {
	TaskType
	Powers
}

// NewRegistry makes an empty registry.
func NewRegistry() *Registry {
	return &Registry{
		tasks: map[string]registered{}, stages: map[string]StageType{},
		reducers: map[string]Reducer{}, verifiers: map[string]Verifier{},
	}
}

// AddTask registers a task type. A name in use is ErrExists; a nil type, a name
// that CheckID refuses and powers that Powers.Check refuses are ErrInvalid.
func (r *Registry) AddTask(name string, t TaskType) error {
	if t == nil {
		return add("task type", r.tasks, name, registered{}, true)
	}
	powers := PowersOf(t)
	if err := powers.Check(fmt.Sprintf("task type %q", name)); err != nil {
		return err
	}
	return add("task type", r.tasks, name, registered{t, powers}, false)
}

// AddStage registers a stage type; see AddTask.
func (r *Registry) AddStage(name string, t StageType) error {
	return add("stage type", r.stages, name, t, t == nil)
}

// AddReducer registers a reducer; see AddTask. The names of built-in ones are in
// use.
func (r *Registry) AddReducer(name string, f Reducer) error {
	if _, taken := builtinReducers[name]; taken {
		return &ExistsError{Kind: "reducer", ID: name}
	}
	return add("reducer", r.reducers, name, f, f == nil)
}

// AddVerifier registers a verifier; see AddTask.
func (r *Registry) AddVerifier(name string, f Verifier) error {
	return add("verifier", r.verifiers, name, f, f == nil)
}

// AliasTask gives a registered task type another name. An unknown name is
// ErrNotFound, an alias in use ErrExists.
func (r *Registry) AliasTask(alias, name string) error {
	return addAlias("task type", r.tasks, alias, name)
}

// AliasStage gives a registered stage type another name; see AliasTask.
func (r *Registry) AliasStage(alias, name string) error {
	return addAlias("stage type", r.stages, alias, name)
}

func add[T any](kind string, known map[string]T, name string, x T, isNil bool) error {
	if err := CheckID(kind, name); err != nil {
		return err
	}
	if isNil {
		return Invalid(kind, "%q is nil", name)
	}
	if _, taken := known[name]; taken {
		return &ExistsError{Kind: kind, ID: name}
	}
	known[name] = x
	return nil
}

func addAlias[T any](kind string, known map[string]T, alias, name string) error {
	x, ok := known[name]
	if !ok {
		return &NotFoundError{Kind: kind, ID: name}
	}
	return add(kind, known, alias, x, false)
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

// Reducer returns a built-in or registered reducer. An unknown name is
// ErrNotFound.
func (r *Registry) Reducer(name string) (Reducer, error) {
	if f, ok := builtinReducers[name]; ok {
		return f, nil
	}
	f, ok := r.reducers[name]
	if !ok {
		return nil, &NotFoundError{Kind: "reducer", ID: name}
	}
	return f, nil
}

// Verifier returns a verifier. An unknown name is ErrNotFound.
func (r *Registry) Verifier(name string) (Verifier, error) {
	f, ok := r.verifiers[name]
	if !ok {
		return nil, &NotFoundError{Kind: "verifier", ID: name}
	}
	return f, nil
}
