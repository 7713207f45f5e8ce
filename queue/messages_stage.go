package queue

import "github.com/stabilize-dev/go-stabilize/stabilize"

// StartStage starts a stage whose join is met.
type StartStage struct {
	OfStage
}

// Kind implements Message.
func (StartStage) Kind() string { return "StartStage" }

// CompleteStage ends a stage whose tasks and synthetic stages have ended.
type CompleteStage struct {
	OfStage
}

// Kind implements Message.
func (CompleteStage) Kind() string { return "CompleteStage" }

// SkipStage ends a stage that does not run; with Manual, on somebody's wish, also
// one that has begun.
type SkipStage struct {
	OfStage
	Reason string `json:"reason,omitempty"`
	Manual bool   `json:"manual,omitempty"`
}

// Kind implements Message.
func (SkipStage) Kind() string { return "SkipStage" }

// CancelStage ends a stage from outside, with what is under way in it. With the
// reason withdrawn the workflow goes on without it.
type CancelStage struct {
	OfStage
	Reason string `json:"reason,omitempty"`
}

// Kind implements Message.
func (CancelStage) Kind() string { return "CancelStage" }

// AbortStage ends a stage TERMINAL, with what is under way in it (Orca).
type AbortStage struct {
	OfStage
	Code  string `json:"code,omitempty"`
	Error string `json:"error,omitempty"`
}

// Kind implements Message.
func (AbortStage) Kind() string { return "AbortStage" }

// PauseStage pauses a stage and its parent (Orca).
type PauseStage struct {
	OfStage
}

// Kind implements Message.
func (PauseStage) Kind() string { return "PauseStage" }

// ResumeStage lets a paused stage go on.
type ResumeStage struct {
	OfStage
}

// Kind implements Message.
func (ResumeStage) Kind() string { return "ResumeStage" }

// RestartStage opens a new round of a stage and of what depends on it.
type RestartStage struct {
	OfStage
	User string `json:"user,omitempty"`
	// Child is a workflow that the stage started and that was restarted itself:
	// the new round waits for it instead of starting another.
	Child string `json:"child,omitempty"`
	// ChildVersion is the child's version since its restart.
	ChildVersion int64 `json:"childVersion,omitempty"`
}

// Kind implements Message.
func (RestartStage) Kind() string { return "RestartStage" }

// RequestedBy is the user who asked for it.
func (m RestartStage) RequestedBy() string { return m.User }

// ContinueParentStage tells a parent stage that one of its synthetic stages has ended.
type ContinueParentStage struct {
	OfStage
	Owner stabilize.Owner `json:"owner"`
}

// Kind implements Message.
func (ContinueParentStage) Kind() string { return "ContinueParentStage" }

// JumpToStage ends a stage and opens a new round of another.
type JumpToStage struct {
	OfStage
	Target  string           `json:"target"`
	Context stabilize.Values `json:"context,omitempty"`
}

// Kind implements Message.
func (JumpToStage) Kind() string { return "JumpToStage" }

// SignalStage ends a wait of that name, of one stage or, without a stage, of
// whichever waits first. A persistent one is kept until somebody does.
type SignalStage struct {
	OfStage
	Name       string           `json:"name"`
	Data       stabilize.Values `json:"data,omitempty"`
	Persistent bool             `json:"persistent,omitempty"`
	Key        string           `json:"key,omitempty"` // one signal for each key and name
}

// Kind implements Message.
func (SignalStage) Kind() string { return "SignalStage" }

// CancelRegion withdraws the stages of a region.
type CancelRegion struct {
	OfWorkflow
	Region string `json:"region"`
	Reason string `json:"reason,omitempty"`
}

// Kind implements Message.
func (CancelRegion) Kind() string { return "CancelRegion" }

// AddMultiInstance adds an instance to a multi-instance stage.
type AddMultiInstance struct {
	OfStage
	Key     string           `json:"key,omitempty"`
	Context stabilize.Values `json:"context,omitempty"`
}

// Kind implements Message.
func (AddMultiInstance) Kind() string { return "AddMultiInstance" }

// CloseMultiInstance lets no more instances be added to a multi-instance stage;
// with Complete it ends the stage with what has ended well so far.
type CloseMultiInstance struct {
	OfStage
	Complete bool `json:"complete,omitempty"`
}

// Kind implements Message.
func (CloseMultiInstance) Kind() string { return "CloseMultiInstance" }

// TimeoutStage ends a stage whose time may be over.
type TimeoutStage struct {
	OfStage
}

// Kind implements Message.
func (TimeoutStage) Kind() string { return "TimeoutStage" }
