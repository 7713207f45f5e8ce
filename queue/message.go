package queue

// Message is one instruction to a handler. Kind is its stable, stored name;
// fields are stored as JSON. A message is a value: it is never changed after it
// was made.
type Message interface {
	Kind() string
}

// Addressed is a message that belongs to a workflow. Such messages go through
// the workflow's mailbox and are removed with the workflow.
type Addressed interface {
	Message
	Workflow() string
}

// Lane separates what decides from what works, so that a cancel never waits
// behind a thousand tasks.
type Lane uint8

// The lanes.
const (
	Control Lane = iota // decided in memory, quick
	Work                // runs a task
)

// LaneOf returns the lane of a message: Work for RunTask and for messages that
// say so with a Lane method, Control for the rest.
func LaneOf(m Message) Lane {
	if l, ok := m.(interface{ Lane() Lane }); ok {
		return l.Lane()
	}
	return Control
}

// WorkflowOf returns the workflow a message belongs to, or "".
func WorkflowOf(m Message) string {
	if a, ok := m.(Addressed); ok {
		return a.Workflow()
	}
	return ""
}

// StageOf returns the stage a message is about, or "".
func StageOf(m Message) string {
	if s, ok := m.(interface{ Stage() string }); ok {
		return s.Stage()
	}
	return ""
}

// UserOf returns the user who asked for what a message is about, or "".
func UserOf(m Message) string {
	if s, ok := m.(interface{ RequestedBy() string }); ok {
		return s.RequestedBy()
	}
	return ""
}

// RefOf returns the ref of the stage a message is about, if it names it so, or "".
func RefOf(m Message) string {
	if s, ok := m.(interface{ Ref() string }); ok {
		return s.Ref()
	}
	return ""
}

// TaskOf returns the task a message is about, or "".
func TaskOf(m Message) string {
	if t, ok := m.(interface{ Task() string }); ok {
		return t.Task()
	}
	return ""
}

// OfWorkflow addresses a workflow.
type OfWorkflow struct {
	WorkflowID string `json:"workflow"`
}

// Workflow implements Addressed.
func (o OfWorkflow) Workflow() string { return o.WorkflowID }

// OfStage addresses a stage of a workflow: one execution by its id or, without
// one, the latest round of a ref.
type OfStage struct {
	OfWorkflow
	StageID  string `json:"stage,omitempty"`
	StageRef string `json:"ref,omitempty"`
}

// Stage returns the stage's id.
func (o OfStage) Stage() string { return o.StageID }

// Ref returns the stage's ref, if it is addressed by that.
func (o OfStage) Ref() string { return o.StageRef }

// OfTask addresses a task of a stage.
type OfTask struct {
	OfStage
	TaskID string `json:"task"`
}

// Task returns the task's id.
func (o OfTask) Task() string { return o.TaskID }

// ToWorkflow addresses a workflow.
func ToWorkflow(workflowID string) OfWorkflow { return OfWorkflow{workflowID} }

// ToStage addresses a stage.
func ToStage(workflowID, stageID string) OfStage {
	return OfStage{OfWorkflow: OfWorkflow{workflowID}, StageID: stageID}
}

// ToRef addresses the latest round of a stage.
func ToRef(workflowID, ref string) OfStage {
	return OfStage{OfWorkflow: OfWorkflow{workflowID}, StageRef: ref}
}

// ToTask addresses a task.
func ToTask(workflowID, stageID, taskID string) OfTask {
	return OfTask{ToStage(workflowID, stageID), taskID}
}
