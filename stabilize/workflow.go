package stabilize

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"
)

// Workflow is one run: a header and its stages, one aggregate with one version.
// A loaded workflow is a snapshot: read it freely, change it only through a
// Draft. It is safe for concurrent reading after Index was called once (every
// store calls it before it hands a workflow out).
type Workflow struct {
	Header
	// Stages in the order of their Position, synthetic stages and later rounds
	// after the stages that were declared.
	Stages []*Stage

	idx *index
}

// Header is everything of a workflow but its stages.
type Header struct {
	ID          string `json:"id"`
	Version     int64  `json:"-"` // 1 when created, one more with every commit; kept by the store
	Application string `json:"application,omitempty"`
	Name        string `json:"name,omitempty"`
	Key         string `json:"key,omitempty"` // the caller's idempotency key, if the start had one
	Origin      string `json:"origin,omitempty"`

	// ConfigID groups the runs of one pipeline configuration; the limit below
	// counts within Application and ConfigID.
	ConfigID        string `json:"configId,omitempty"`
	ConfigVersion   string `json:"configVersion,omitempty"`
	LimitConcurrent bool   `json:"limitConcurrent,omitempty"`
	MaxConcurrent   int    `json:"maxConcurrent,omitempty"` // 0 or less: no limit
	KeepWaiting     bool   `json:"keepWaiting,omitempty"`   // false: a run that ends purges those waiting behind the next

	Status  Status   `json:"status"`
	Reason  string   `json:"reason,omitempty"` // why it ended as it did, when the status alone does not say
	Failure *Failure `json:"failure,omitempty"`

	Trigger Trigger `json:"trigger,omitzero"`
	Context Values  `json:"context,omitempty"` // seen by every stage, below ancestors' outputs and the stage's own context

	CreatedAt   time.Time `json:"createdAt,omitzero"`
	StartedAt   time.Time `json:"startedAt,omitzero"`
	EndedAt     time.Time `json:"endedAt,omitzero"` // only if it had started
	StartExpiry time.Time `json:"startExpiry,omitzero"`

	Cancel *Cancellation `json:"cancel,omitempty"` // set once: the first request wins
	Pause  *Pause        `json:"pause,omitempty"`
}

// Trigger says what started the run.
type Trigger struct {
	Type       string            `json:"type,omitempty"`
	User       string            `json:"user,omitempty"`
	Parameters Values            `json:"parameters,omitempty"`
	Payload    Values            `json:"payload,omitempty"`
	Artifacts  []json.RawMessage `json:"artifacts,omitempty"`
}

// Cancellation is a request to cancel. An empty Reason means none was given.
type Cancellation struct {
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at,omitzero"`
}

// Pause records who paused a workflow and for how long it has been paused in
// all, the present pause not included.
type Pause struct {
	By        string        `json:"by,omitempty"`
	At        time.Time     `json:"at,omitzero"`
	ResumedAt time.Time     `json:"resumedAt,omitzero"`
	Total     time.Duration `json:"total,omitempty"`
}

// Failure is the first error that ended a workflow, stage or task. Code is for
// machines (upper case, see the Code constants), Message for people.
type Failure struct {
	Code    string `json:"code"`
	Message string `json:"message,omitempty"`
	Stage   string `json:"stage,omitempty"` // ref of the stage it came from
	Task    string `json:"task,omitempty"`  // name of the task it came from
}

// Error implements error, so that a Failure can be returned as one.
func (f *Failure) Error() string {
	where := ""
	if f.Stage != "" {
		where = ` in stage "` + f.Stage + `"`
	}
	if f.Task != "" {
		where += ` task "` + f.Task + `"`
	}
	return f.Code + where + ": " + f.Message
}

// Codes of a Failure.
const (
	CodeTaskFailed       = "TASK_FAILED"
	CodeTimeout          = "TIMEOUT"
	CodePanic            = "PANIC"
	CodeRetriesExhausted = "RETRIES_EXHAUSTED"
	CodeInvalidResult    = "INVALID_RESULT"
	CodeVerification     = "VERIFICATION"
	CodePlanning         = "PLANNING"
	CodeUnknownTaskType  = "UNKNOWN_TASK_TYPE"
	CodeUnknownStageType = "UNKNOWN_STAGE_TYPE"
	CodeDeadLetter       = "DEAD_LETTER"
	CodeDeadlock         = "DEADLOCK"
	CodeNoInitialStage   = "NO_INITIAL_STAGE"
	CodeInvalidReference = "INVALID_REFERENCE"
	CodeAborted          = "ABORTED"
)

// Reasons of a status that the status alone does not explain.
const (
	ReasonDeadPath       = "dead_path"         // no live token can reach the stage any more
	ReasonWithdrawn      = "withdrawn"         // another branch was chosen; no failure
	ReasonDisabled       = "disabled"          // switched off, or a skippable task said no
	ReasonStartExpired   = "start_expired"     // its start-time expiry had passed
	ReasonUpstreamHalted = "upstream_halted"   // the workflow ended before its turn
	ReasonStageEnded     = "stage_ended"       // an earlier task ended the stage
	ReasonCanceled       = "workflow_canceled" // the workflow was asked to cancel
	ReasonFailed         = "workflow_failed"   // another stage failed for good
	ReasonNothingToDo    = "nothing_to_do"     // a stage without tasks and synthetic stages
)

// ConcurrencyKey is the key of the workflow's concurrency limit, empty when it
// has none. Equal configuration ids of two applications do not collide.
func (h *Header) ConcurrencyKey() string {
	if !h.LimitConcurrent || h.ConfigID == "" {
		return ""
	}
	key := strconv.Itoa(len(h.Application)) + ":" + h.Application + ":" + h.ConfigID
	if CheckID("key", key) != nil { // too long, or with a line break
		sum := sha256.Sum256([]byte(key))
		key = "sha256:" + hex.EncodeToString(sum[:])
	}
	return key
}

// IsCanceled reports whether cancelling was requested.
func (h *Header) IsCanceled() bool { return h.Cancel != nil }

func (h *Header) clone() Header {
	c := *h
	c.Failure, c.Cancel, c.Pause = clonePtr(h.Failure), clonePtr(h.Cancel), clonePtr(h.Pause)
	c.Context = h.Context.Clone()
	c.Trigger.Parameters = h.Trigger.Parameters.Clone()
	c.Trigger.Payload = h.Trigger.Payload.Clone()
	if len(h.Trigger.Artifacts) > 0 {
		c.Trigger.Artifacts = append([]json.RawMessage(nil), h.Trigger.Artifacts...)
	} else {
		c.Trigger.Artifacts = nil
	}
	return c
}

// Clone returns a copy that shares nothing mutable with h.
func (h *Header) Clone() *Header {
	c := h.clone()
	return &c
}

// Clone returns a copy that shares nothing mutable with w.
func (w *Workflow) Clone() *Workflow {
	c := &Workflow{Header: w.Header.clone(), Stages: make([]*Stage, len(w.Stages))}
	for i, s := range w.Stages {
		c.Stages[i] = s.Clone()
	}
	return c
}

func clonePtr[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}
