package queue

import (
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// CreateWorkflow creates and starts a workflow, if it does not exist: a task's
// child.
type CreateWorkflow struct {
	OfWorkflow
	Header stabilize.Header   `json:"header"`
	Stages []*stabilize.Stage `json:"stages"`
}

// Kind implements Message.
func (CreateWorkflow) Kind() string { return "CreateWorkflow" }

// Creates returns the workflow that the message is to create.
func (m CreateWorkflow) Creates(time.Time) *stabilize.Workflow {
	w := stabilize.Workflow{Header: m.Header, Stages: m.Stages}
	return w.Clone() // a message is not changed by what becomes of it
}

// ChildEnded tells the task that waits for a workflow how that ended.
type ChildEnded struct {
	OfTask
	Child   string             `json:"child"`
	Version int64              `json:"version,omitempty"` // of the child, with its end
	Status  stabilize.Status   `json:"status"`
	Outputs stabilize.Values   `json:"outputs,omitempty"`
	Failure *stabilize.Failure `json:"failure,omitempty"`
}

// Kind implements Message.
func (ChildEnded) Kind() string { return "ChildEnded" }

// ReportEnd asks a workflow that has ended to tell the task that waits for it. If
// the workflow was removed meanwhile, the one who asks is told so.
type ReportEnd struct {
	OfWorkflow
	Asker   OfTask `json:"asker,omitzero"`
	Version int64  `json:"version,omitempty"` // what it waits for is no older
}

// Kind implements Message.
func (ReportEnd) Kind() string { return "ReportEnd" }
