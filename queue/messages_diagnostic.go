package queue

// InvalidWorkflowID marks a message for a workflow that does not exist.
type InvalidWorkflowID struct {
	OfWorkflow
	Handling string `json:"handling"`
}

// Kind implements Message.
func (InvalidWorkflowID) Kind() string { return "InvalidWorkflowId" }

// InvalidStageID marks a message for a stage that does not exist; its workflow ends TERMINAL.
type InvalidStageID struct {
	OfStage
	Handling string `json:"handling"`
}

// Kind implements Message.
func (InvalidStageID) Kind() string { return "InvalidStageId" }

// InvalidTaskID marks a message for a task that does not exist; its stage is aborted.
type InvalidTaskID struct {
	OfTask
	Handling string `json:"handling"`
}

// Kind implements Message.
func (InvalidTaskID) Kind() string { return "InvalidTaskId" }

// InvalidTaskType marks a task whose type is not registered; the task ends TERMINAL.
type InvalidTaskType struct {
	OfTask
	TaskType string `json:"taskType"`
}

// Kind implements Message.
func (InvalidTaskType) Kind() string { return "InvalidTaskType" }

// DeadLettered tells a workflow that one of its messages is a dead letter: the task or stage it was for ends TERMINAL, or else the workflow does.
type DeadLettered struct {
	OfWorkflow
	DeadLetterID string `json:"deadLetter"`
	DeadKind     string `json:"kind"`
	StageID      string `json:"stage,omitempty"`
	StageRef     string `json:"ref,omitempty"` // if the stage was named by its ref
	TaskID       string `json:"task,omitempty"`
	Attempts     int    `json:"attempts"`
	Error        string `json:"error,omitempty"`
}

// Kind implements Message.
func (DeadLettered) Kind() string { return "DeadLettered" }
