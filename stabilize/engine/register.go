package engine

import "github.com/stabilize-dev/go-stabilize/stabilize"

// What workflows name has to be known before they are started, in every process
// that runs them; the methods here may be called at any time, from many
// goroutines. RegisterWorkflow makes a task type of a workflow.

// RegisterTask makes a task type known by name. Errors: ErrExists, ErrInvalid.
func (e *Engine) RegisterTask(name string, t stabilize.TaskType) error {
	return e.registry.AddTask(name, t)
}

// RegisterStage makes a stage type known by name. Errors: ErrExists, ErrInvalid.
func (e *Engine) RegisterStage(name string, t stabilize.StageType) error {
	return e.registry.AddStage(name, t)
}

// RegisterReducer makes a reducer of outputs known by name; those built in are
// known already. Errors: ErrExists, ErrInvalid.
func (e *Engine) RegisterReducer(name string, f stabilize.Reducer) error {
	return e.registry.AddReducer(name, f)
}

// RegisterVerifier makes a verifier of outputs known by name. Errors: ErrExists,
// ErrInvalid.
func (e *Engine) RegisterVerifier(name string, f stabilize.Verifier) error {
	return e.registry.AddVerifier(name, f)
}

// AliasTask gives a registered task type a second name, so that workflows which
// use an old one still run. Errors: ErrNotFound, ErrExists, ErrInvalid.
func (e *Engine) AliasTask(alias, name string) error { return e.registry.AliasTask(alias, name) }

// AliasStage gives a registered stage type a second name; see AliasTask.
func (e *Engine) AliasStage(alias, name string) error { return e.registry.AliasStage(alias, name) }
