package queue

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Registry knows the message types of a program, by kind, to read them back
// from storage. Fill it before use; reading it is safe for concurrent use.
type Registry struct {
	decode map[string]func([]byte) (Message, error)
}

// NewRegistry returns a registry with every message type of this package.
func NewRegistry() *Registry {
	r := &Registry{decode: map[string]func([]byte) (Message, error){}}
	must := errors.Join(
		Register[StartWorkflow](r),
		Register[CompleteWorkflow](r),
		Register[CancelWorkflow](r),
		Register[PauseWorkflow](r),
		Register[ResumeWorkflow](r),
		Register[RescheduleWorkflow](r),
		Register[StartWaitingWorkflows](r),
		Register[StartStage](r),
		Register[CompleteStage](r),
		Register[SkipStage](r),
		Register[CancelStage](r),
		Register[AbortStage](r),
		Register[PauseStage](r),
		Register[ResumeStage](r),
		Register[RestartStage](r),
		Register[ContinueParentStage](r),
		Register[JumpToStage](r),
		Register[SignalStage](r),
		Register[CancelRegion](r),
		Register[AddMultiInstance](r),
		Register[CloseMultiInstance](r),
		Register[TimeoutStage](r),
		Register[RetryWorkflow](r),
		Register[TimeoutWorkflow](r),
		Register[CreateWorkflow](r),
		Register[ChildEnded](r),
		Register[ReportEnd](r),
		Register[AcquireLock](r),
		Register[ReleaseLock](r),
		Register[LockGranted](r),
		Register[StartTask](r),
		Register[RunTask](r),
		Register[CompleteTask](r),
		Register[PauseTask](r),
		Register[ResumeTask](r),
		Register[InvalidWorkflowID](r),
		Register[InvalidStageID](r),
		Register[InvalidTaskID](r),
		Register[InvalidTaskType](r),
		Register[DeadLettered](r),
	)
	if must != nil {
		panic(must) // two of our own messages of one kind
	}
	return r
}

// Register adds a message type of the caller's own. M is a struct, not a
// pointer. A kind in use is ErrExists, an unusable one ErrInvalid.
func Register[M Message](r *Registry) error {
	var zero M
	kind := zero.Kind()
	if err := stabilize.CheckID("message kind", kind); err != nil {
		return err
	}
	if _, taken := r.decode[kind]; taken {
		return &stabilize.ExistsError{Kind: "message kind", ID: kind}
	}
	r.decode[kind] = func(body []byte) (Message, error) {
		var m M
		if err := json.Unmarshal(body, &m); err != nil {
			return nil, err
		}
		return m, nil
	}
	return nil
}

// Kinds returns the registered kinds, sorted.
func (r *Registry) Kinds() []string { return slices.Sorted(maps.Keys(r.decode)) }

// Decode reads a stored message. An unknown kind or a body that cannot be
// decoded is ErrCorrupt, and no message.
func (r *Registry) Decode(id, kind string, body []byte) (Message, error) {
	decode, ok := r.decode[kind]
	if !ok {
		return nil, &stabilize.CorruptError{Table: "messages", ID: id, Cause: errors.New("unknown message kind " + kind)}
	}
	m, err := decode(body)
	if err != nil {
		return nil, &stabilize.CorruptError{Table: "messages", ID: id, Cause: err}
	}
	return m, nil
}

// Encode writes a message's body. A message that cannot be written, or that
// breaks the rules of stabilize.Values, is ErrInvalid.
func Encode(m Message) ([]byte, error) { return stabilize.EncodeJSON("message "+m.Kind(), m) }
