package queue

import "github.com/stabilize-dev/go-stabilize/stabilize"

// StartTask starts a task, or skips it when it is disabled.
type StartTask struct {
	OfTask
}

// Kind implements Message.
func (StartTask) Kind() string { return "StartTask" }

// RunTask runs a task's code: the only message with side effects.
type RunTask struct {
	OfTask
	Phase stabilize.RunPhase `json:"phase,omitempty"`
}

// Kind implements Message.
func (RunTask) Kind() string { return "RunTask" }

// Lane puts task runs into the work lane.
func (RunTask) Lane() Lane { return Work }

// CompleteTask ends a task and starts what follows it in its stage.
type CompleteTask struct {
	OfTask
	Status  stabilize.Status   `json:"status"`
	Failure *stabilize.Failure `json:"failure,omitempty"`
}

// Kind implements Message.
func (CompleteTask) Kind() string { return "CompleteTask" }

// PauseTask parks a task of a paused workflow.
type PauseTask struct {
	OfTask
}

// Kind implements Message.
func (PauseTask) Kind() string { return "PauseTask" }

// ResumeTask lets a parked task go on (Orca).
type ResumeTask struct {
	OfTask
}

// Kind implements Message.
func (ResumeTask) Kind() string { return "ResumeTask" }
