package queue

// StartWorkflow begins a workflow, or buffers it when its concurrency limit has no place.
type StartWorkflow struct {
	OfWorkflow
}

// Kind implements Message.
func (StartWorkflow) Kind() string { return "StartWorkflow" }

// CompleteWorkflow ends a workflow when nothing in it is live.
type CompleteWorkflow struct {
	OfWorkflow
}

// Kind implements Message.
func (CompleteWorkflow) Kind() string { return "CompleteWorkflow" }

// CancelWorkflow cancels a workflow and all that is under way in it. The first request wins.
type CancelWorkflow struct {
	OfWorkflow
	User   string `json:"user,omitempty"`
	Reason string `json:"reason,omitempty"`
	// OnlyWaiting leaves a workflow alone that has begun meanwhile.
	OnlyWaiting bool `json:"onlyWaiting,omitempty"`
}

// Kind implements Message.
func (CancelWorkflow) Kind() string { return "CancelWorkflow" }

// RequestedBy is the user who asked for it.
func (m CancelWorkflow) RequestedBy() string { return m.User }

// PauseWorkflow keeps a workflow from starting anything new.
type PauseWorkflow struct {
	OfWorkflow
	User string `json:"user,omitempty"`
}

// Kind implements Message.
func (PauseWorkflow) Kind() string { return "PauseWorkflow" }

// RequestedBy is the user who asked for it.
func (m PauseWorkflow) RequestedBy() string { return m.User }

// ResumeWorkflow lets a paused workflow go on where it was (Orca's ResumeExecution).
type ResumeWorkflow struct {
	OfWorkflow
	User string `json:"user,omitempty"`
}

// Kind implements Message.
func (ResumeWorkflow) Kind() string { return "ResumeWorkflow" }

// RequestedBy is the user who asked for it.
func (m ResumeWorkflow) RequestedBy() string { return m.User }

// RescheduleWorkflow wakes what waits in a back-off (Orca's RescheduleExecution).
type RescheduleWorkflow struct {
	OfWorkflow
}

// Kind implements Message.
func (RescheduleWorkflow) Kind() string { return "RescheduleWorkflow" }

// RetryWorkflow restarts all stages of a workflow that ended other than well.
type RetryWorkflow struct {
	OfWorkflow
	User string `json:"user,omitempty"`
}

// Kind implements Message.
func (RetryWorkflow) Kind() string { return "RetryWorkflow" }

// RequestedBy is the user who asked for it.
func (m RetryWorkflow) RequestedBy() string { return m.User }

// TimeoutWorkflow ends a workflow whose time may be over.
type TimeoutWorkflow struct {
	OfWorkflow
}

// Kind implements Message.
func (TimeoutWorkflow) Kind() string { return "TimeoutWorkflow" }

// StartWaitingWorkflows starts workflows that wait under a concurrency limit, and with Purge cancels the rest.
type StartWaitingWorkflows struct {
	Key   string `json:"key"`
	Limit int    `json:"limit"`
	Purge bool   `json:"purge,omitempty"`
}

// Kind implements Message.
func (StartWaitingWorkflows) Kind() string { return "StartWaitingWorkflows" }

// AdmissionKey names the concurrency limit whose waiting list the decision
// looks at.
func (m StartWaitingWorkflows) AdmissionKey() string { return m.Key }
