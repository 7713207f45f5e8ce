package handlers

import (
	"log/slog"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Decision is what a handler may look at and change: the snapshot, through a
// Draft, and what goes with it into one commit. It is valid during Decide.
type Decision struct {
	draft *stabilize.Draft // nil for a message that belongs to no workflow
	env   *Env
	now   time.Time

	// The message being decided.
	current  queue.Message
	delivery *queue.Delivery // nil for a follow-up decided in memory, or a request
	answer   *answer         // of a task run; nil for a message as it came
	request  *Request        // nil for a message, and for what follows from a request
	by       string          // user who asked for it, or for what it follows from

	local     []queue.Message   // follow-ups to decide in memory, first in first out
	out       []queue.Outgoing  // messages to store
	runs      []*queue.Delivery // claimed RunTask messages to run now
	discarded []string          // messages to remove
	cause     error             // what runs that are discarded are told; nil: ErrCanceled
	events    []events.Event    // in order
	admission *persistence.Admission
	refused   error                   // why the last try of this decision was not admitted
	places    *persistence.Admissions // for a message about a concurrency limit
	cut       map[followUp]bool       // follow-ups that go through the queue

	pushed     int  // messages for this workflow so far
	completing bool // a CompleteWorkflow waits among the follow-ups
}

// followUp identifies a message of a workflow for cutting the cascade.
type followUp struct{ kind, stage, task string }

func keyOf(m queue.Message) followUp {
	return followUp{m.Kind(), queue.StageOf(m), queue.TaskOf(m)}
}

// Workflow returns the snapshot with what was decided so far. Read it only.
func (x *Decision) Workflow() *stabilize.Workflow { return x.draft.Workflow() }

// Draft returns the means to change the snapshot. Statuses are changed with the
// methods below, which record the event as well.
func (x *Decision) Draft() *stabilize.Draft { return x.draft }

// Now is the instant of the decision.
func (x *Decision) Now() time.Time { return x.now }

// Logger returns a logger that knows the message being decided.
func (x *Decision) Logger() *slog.Logger {
	log := x.env.Logger.With("message", x.current.Kind())
	if x.draft != nil {
		log = log.With("workflow", x.Workflow().ID)
	}
	return log
}

// NewID returns a fresh id.
func (x *Decision) NewID() string { return x.env.IDs.New() }

// Tasks returns the registered task and stage types.
func (x *Decision) Tasks() *stabilize.Registry { return x.env.Registry }

// MessageID is the id of the delivery being decided, "" for a follow-up decided
// in memory and for a request.
func (x *Decision) MessageID() string {
	if x.delivery == nil {
		return ""
	}
	return x.delivery.ID
}

// Requested reports whether somebody asked for this decision and waits for its
// answer: then an error is his, and takes back nothing else.
func (x *Decision) Requested() bool { return x.request != nil }

// Answer is what the one who asked is told once the decision is durable.
func (x *Decision) Answer(v any) {
	if x.request != nil {
		x.request.Answer = v
	}
}

// Push sends a message, due now. One for the same workflow is decided in memory
// on the same snapshot, after those pushed before it, and committed together
// with this decision (the cascade); others, and all when the cascade is off, go
// to the store with the commit.
func (x *Decision) Push(m queue.Message) {
	own := x.draft != nil && queue.WorkflowOf(m) == x.Workflow().ID
	if own {
		x.pushed++
	}
	if x.env.Cascade && own && queue.LaneOf(m) == queue.Control && !x.cut[keyOf(m)] {
		x.local = append(x.local, m)
		return
	}
	x.out = append(x.out, queue.Outgoing{Message: m})
}

// PushAt sends a message due at a time.
func (x *Decision) PushAt(m queue.Message, at time.Time) {
	x.out = append(x.out, queue.Outgoing{Message: m, At: at})
}

// Discard removes a message from the queue; if it is a task run under way, the
// run is told so through its context.
func (x *Decision) Discard(messageID string) {
	if messageID == "" {
		return
	}
	// One that this decision itself was about to send is not in the queue yet.
	unsent := slices.DeleteFunc(x.out, func(o queue.Outgoing) bool { return o.ID == messageID })
	if len(unsent) < len(x.out) {
		x.out = unsent
		return
	}
	x.discarded = append(x.discarded, messageID)
}

// Admit asks for something under the workflow's concurrency limit. If the store
// refuses, the message is decided again with Refused telling why.
func (x *Decision) Admit(op persistence.AdmissionOp) {
	w := x.Workflow()
	x.admission = &persistence.Admission{Op: op, Key: w.ConcurrencyKey(), Limit: w.MaxConcurrent}
}

// Refused is why the store did not admit the last try of this decision, or nil.
func (x *Decision) Refused() error { return x.refused }

// Record adds an event of the workflow, or of a stage, or of a task.
func (x *Decision) Record(e events.Event, s *stabilize.Stage, t *stabilize.Task) {
	if x.env.unrecorded {
		return
	}
	e.WorkflowID, e.At, e.Causation, e.By = x.Workflow().ID, x.now, x.MessageID(), x.by
	if s != nil {
		e.StageID, e.StageRef, e.Round = s.ID, s.Ref, s.Round
	}
	if t != nil {
		e.TaskID, e.TaskName = t.ID, t.Name
	}
	x.events = append(x.events, e)
}

// SetWorkflowStatus moves the workflow; ErrInvalidTransition if it cannot.
func (x *Decision) SetWorkflowStatus(to stabilize.Status) error {
	from := x.Workflow().Status
	if err := x.draft.SetWorkflowStatus(to, x.now); err != nil || from == to {
		return err
	}
	w := x.Workflow()
	x.Record(events.Event{Type: workflowEvents().of(from, to), From: from, To: to, Reason: w.Reason, Failure: w.Failure}, nil, nil)
	return nil
}

// SetStageStatus moves a stage; ErrInvalidTransition if it cannot. It returns
// the stage for changing.
func (x *Decision) SetStageStatus(id string, to stabilize.Status) (*stabilize.Stage, error) {
	from := stabilize.NotStarted
	if s := x.Workflow().Stage(id); s != nil {
		from = s.Status
	}
	if err := x.draft.SetStageStatus(id, to, x.now); err != nil {
		return nil, err
	}
	s := x.draft.Stage(id)
	if typ := stageEvents().of(from, to); from != to && typ != "" {
		x.Record(events.Event{Type: typ, From: from, To: to, Reason: s.Reason, Failure: s.Failure}, s, nil)
	}
	return s, nil
}

// SetTaskStatus moves a task; ErrInvalidTransition if it cannot. It returns the
// task for changing.
func (x *Decision) SetTaskStatus(stageID, taskID string, to stabilize.Status) (*stabilize.Task, error) {
	from := stabilize.NotStarted
	if s := x.Workflow().Stage(stageID); s != nil && s.Task(taskID) != nil {
		from = s.Task(taskID).Status
	}
	if err := x.draft.SetTaskStatus(stageID, taskID, to, x.now); err != nil {
		return nil, err
	}
	t := x.draft.Task(stageID, taskID)
	if typ := taskEvents().of(from, to); from != to && typ != "" {
		x.Record(events.Event{Type: typ, From: from, To: to, Reason: t.Reason, Failure: t.Failure}, x.Workflow().Stage(stageID), t)
	}
	return t, nil
}

// execution is what code of the task may know.
func (x *Decision) execution(s *stabilize.Stage, t *stabilize.Task, deliveries int) *stabilize.Execution {
	e := executionOf(x.env, x.Workflow(), s, t, deliveries)
	return &e
}

func executionOf(env *Env, w *stabilize.Workflow, s *stabilize.Stage, t *stabilize.Task, deliveries int) stabilize.Execution {
	return stabilize.Execution{
		Workflow: w.HeaderCopy(), Stage: s, Task: t, Context: w.TaskContext(s),
		Attempt: t.Failures + max(deliveries, 1), Polls: t.Polls,
		Signal: t.Waits().Received, WaitOver: t.Signal != "" && t.Waits().Received == nil,
		Logger: env.Logger,
	}
}
