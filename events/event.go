package events

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Type names what happened, such as "stage.completed". It is stable and stored.
type Type string

// The types: an entity and what became of it.
const (
	WorkflowCreated   Type = "workflow.created"
	WorkflowBuffered  Type = "workflow.buffered"
	WorkflowStarted   Type = "workflow.started"
	WorkflowPaused    Type = "workflow.paused"
	WorkflowResumed   Type = "workflow.resumed"
	WorkflowCanceling Type = "workflow.canceling" // cancelling was requested
	WorkflowCompleted Type = "workflow.completed" // To tells how

	StageStarted   Type = "stage.started"
	StageAdded     Type = "stage.added" // a synthetic stage or a new round
	StageSuspended Type = "stage.suspended"
	StagePaused    Type = "stage.paused"
	StageResumed   Type = "stage.resumed"
	StageCompleted Type = "stage.completed" // To tells how, Reason why

	TaskStarted   Type = "task.started"
	TaskRetried   Type = "task.retried" // failed transiently, to be tried again
	TaskPolled    Type = "task.polled"  // answered RUNNING, to be run again
	TaskPutOff    Type = "task.put_off" // not run yet: Reason tells what is in the way
	TaskSuspended Type = "task.suspended"
	TaskPaused    Type = "task.paused"
	TaskResumed   Type = "task.resumed"
	TaskCompleted Type = "task.completed" // To tells how
)

// SchemaVersion is that of the events which this program makes.
const SchemaVersion = 1

// Event is one thing that happened to one entity. It is a value; do not change
// what it refers to. Its JSON is stable: what a later version of this program adds are
// further fields, and those there are keep their meaning.
type Event struct {
	// Schema is the version of the form that the event has; see SchemaVersion.
	Schema int `json:"schema,omitempty"`
	// ID is unique, also among the workflows that had this id one after another; see
	// MakeID.
	ID string `json:"id,omitempty"`
	// Position in the log that the event was read from; empty before. What a commit's
	// event has there is not stored.
	Position Position `json:"position,omitempty"`

	Type       Type   `json:"type"`
	WorkflowID string `json:"workflow,omitempty"`
	// Version of the workflow after the commit that the event belongs to. Events
	// of one commit share it and are in order.
	Version   int64              `json:"version,omitempty"`
	StageID   string             `json:"stageId,omitempty"`
	StageRef  string             `json:"stage,omitempty"`
	Round     int                `json:"round,omitempty"`
	TaskID    string             `json:"taskId,omitempty"`
	TaskName  string             `json:"task,omitempty"`
	From      stabilize.Status   `json:"from,omitempty"` // absent: NOT_STARTED
	To        stabilize.Status   `json:"to,omitempty"`   // absent: NOT_STARTED
	Reason    string             `json:"reason,omitempty"`
	Failure   *stabilize.Failure `json:"failure,omitempty"`
	At        time.Time          `json:"at"`
	Causation string             `json:"causation,omitempty"` // id of the message whose handling caused it; empty: a request
	// By is the user of the request that caused it, if it named one: of what was
	// decided with the request. What followed later, by the queue, has none.
	By string `json:"by,omitempty"`

	// Unknown are the fields, as JSON, of an event of a later schema that this program
	// does not know.
	Unknown map[string]json.RawMessage `json:"-"`
}

// Correlation groups all events of one workflow.
func (e *Event) Correlation() string { return e.WorkflowID }

// Entity is what the event happened to: "workflow", "stage" or "task".
func (e *Event) Entity() string {
	entity, _, _ := strings.Cut(string(e.Type), ".")
	return entity
}

// Recorder is told of the events of each commit, in order per workflow, after
// the commit is durable and never for one that was refused. It must be safe for
// concurrent use and quick: the workflow waits for it. A crash between commit
// and Record loses the call.
type Recorder interface {
	Record(ctx context.Context, evs []Event)
}

// Nop records nothing.
type Nop struct{}

// Record implements Recorder.
func (Nop) Record(context.Context, []Event) {}

// RecorderFunc makes a Recorder of a function.
type RecorderFunc func(ctx context.Context, evs []Event)

// Record implements Recorder.
func (f RecorderFunc) Record(ctx context.Context, evs []Event) { f(ctx, evs) }
