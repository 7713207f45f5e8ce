package events

import (
	"context"
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

// Event is one thing that happened to one entity. It is a value; do not change
// what it refers to.
type Event struct {
	Type       Type
	WorkflowID string
	// Version of the workflow after the commit that the event belongs to. Events
	// of one commit share it and are in order.
	Version   int64
	StageID   string
	StageRef  string
	Round     int
	TaskID    string
	TaskName  string
	From      stabilize.Status
	To        stabilize.Status
	Reason    string
	Failure   *stabilize.Failure
	At        time.Time
	Causation string // id of the message whose handling caused it; empty: a request
	// By is the user of the request that caused it, if it named one: of what was
	// decided with the request. What followed later, by the queue, has none.
	By string
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
