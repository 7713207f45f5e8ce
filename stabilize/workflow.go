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
	MaxConcurrent   int    `json:"maxConcurrent,omitempty"` // 0 or less: no limit
	LimitConcurrent bool   `json:"limitConcurrent,omitempty"`
	KeepWaiting     bool   `json:"keepWaiting,omitempty"` // false: a run that ends purges those waiting behind the next
	// StrictTokens ends a workflow with Leftover tokens TERMINAL.
	StrictTokens bool `json:"strictTokens,omitempty"`
	// Done: a stage that Ends the workflow has succeeded.
	Done bool `json:"done,omitempty"`

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

	// Signals are those sent to the workflow that nobody has consumed yet, in
	// order, and those with a key that were, so that they are not taken twice.
	Signals []Signal `json:"signals,omitempty"`
	// Canceled are the regions and stages canceled on their own.
	CanceledRegions []string `json:"canceledRegions,omitempty"`
	// Locks are the global exclusion keys that the workflow holds or waits for.
	Locks []Lock `json:"locks,omitempty"`
	// Leftover are the tokens that no join had consumed when the workflow ended.
	Leftover []Token `json:"leftover,omitempty"`

	Jumps    int           `json:"jumps,omitempty"`    // so far
	MaxJumps int           `json:"maxJumps,omitempty"` // 0: DefaultMaxJumps; negative: none
	Timeout  time.Duration `json:"timeout,omitempty"`  // from start to end, time paused not counted; 0: none
	Timer    string        `json:"timer,omitempty"`    // id of the message that ends it then

	// Parent is the task that started this workflow, if one did.
	Parent *ParentTask `json:"parent,omitempty"`
}

// DefaultMaxJumps bounds the jumps of a workflow that names no MaxJumps; it is
// the reference's (jump_to_stage/handler.py).
const DefaultMaxJumps = 10

// ParentTask is the task that started a workflow.
type ParentTask struct {
	WorkflowID string `json:"workflow"`
	StageID    string `json:"stage"`
	TaskID     string `json:"task"`
	// Waits: the task ends as the workflow does.
	Waits bool `json:"waits,omitempty"`
	// Depth is how many workflows stand above this one.
	Depth int `json:"depth,omitempty"`
}

// Signal is a message from outside to whoever waits for its name.
type Signal struct {
	Name string    `json:"name"`
	Key  string    `json:"key,omitempty"`   // the sender's idempotency key
	Ref  string    `json:"stage,omitempty"` // only for waits of that stage
	Data Values    `json:"data,omitempty"`
	At   time.Time `json:"at,omitzero"`
	// Consumed: kept for its key only.
	Consumed bool `json:"consumed,omitempty"`
}

// Lock is a global exclusion key as one workflow sees it.
type Lock struct {
	Key    string `json:"key"`
	Ticket string `json:"ticket,omitempty"` // of this wait and hold; each has one of its own
	Held   bool   `json:"held,omitempty"`   // false: it waits its turn
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
// all, the present pause not included. In a workflow that was restarted the time
// up to that counts as paused if it has a Timeout.
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
	CodeExpression       = "EXPRESSION"
	CodeNoBranch         = "NO_BRANCH"
	CodeUnreachable      = "UNREACHABLE"
	CodeIncompleteMerge  = "INCOMPLETE_MERGE"
	CodeLeftoverToken    = "LEFTOVER_TOKEN"
	CodeBadCount         = "BAD_COUNT"
	CodeConditionUnmet   = "CONDITION_UNMET"
	CodeLoopLimit        = "LOOP_LIMIT"
	CodeJumpLimit        = "JUMP_LIMIT"
	CodeJumpTarget       = "JUMP_TARGET"
	CodeDepth            = "DEPTH"
	CodeChildFailed      = "CHILD_FAILED"
	CodeReduction        = "REDUCTION"
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
	ReasonStageCanceled  = "stage_canceled"    // somebody canceled the stage, and with it the workflow
	ReasonFailed         = "workflow_failed"   // another stage failed for good
	ReasonNothingToDo    = "nothing_to_do"     // a stage without tasks and synthetic stages
	ReasonMilestone      = "milestone_passed"  // its milestone has passed or cannot be reached
	ReasonManualSkip     = "manual_skip"       // somebody skipped it
	ReasonJumped         = "jumped"            // it ended with a jump to another stage
	ReasonSuperseded     = "superseded"        // a later round was opened in its place
	ReasonTimeout        = "timeout"           // its time was over, which counts as success
	ReasonInstances      = "run_as_instances"  // a task that the stage's instances or iterations run
	ReasonRejoined       = "rejoined"          // the stage was restarted at a later task
	ReasonBulkhead       = "bulkhead"          // a run was put off: enough of its type are under way
	ReasonBreaker        = "breaker"           // its type fails too often
	ReasonRateLimit      = "rate_limit"        // its type was run often enough
	ReasonQuarantine     = "quarantine"        // it went down with two workers
	ReasonParentEnded    = "parent_ended"      // the workflow that started this one was canceled
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

// FinishedAt is when a finished workflow ended: of one that never began, when
// cancelling was requested, or else when it was created. Zero if it is not finished.
func (h *Header) FinishedAt() time.Time {
	switch {
	case !h.Status.IsComplete():
		return time.Time{}
	case !h.EndedAt.IsZero():
		return h.EndedAt
	case h.Cancel != nil && h.Cancel.At.After(h.CreatedAt):
		return h.Cancel.At
	}
	return h.CreatedAt
}

// IsCanceled reports whether cancelling was requested.
func (h *Header) IsCanceled() bool { return h.Cancel != nil }

func (h *Header) clone() Header {
	c := *h
	c.Failure, c.Cancel, c.Pause = clonePtr(h.Failure), clonePtr(h.Cancel), clonePtr(h.Pause)
	c.Parent = clonePtr(h.Parent)
	c.CanceledRegions, c.Locks, c.Leftover = cloneSlice(h.CanceledRegions), cloneSlice(h.Locks), cloneSlice(h.Leftover)
	if c.Signals = cloneSlice(h.Signals); c.Signals != nil {
		for i := range c.Signals {
			c.Signals[i].Data = c.Signals[i].Data.Clone()
		}
	}
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

// HeaderCopy returns the header as it is now, for those who read it while the
// workflow goes on. It is shared by all who ask until a draft changes the header,
// so its Version, which every commit changes, is 0.
func (w *Workflow) HeaderCopy() *Header {
	w.Index()
	w.idx.mu.Lock()
	defer w.idx.mu.Unlock()
	if w.idx.header == nil {
		h := w.Header.clone()
		h.Version = 0
		w.idx.header = &h
	}
	return w.idx.header
}

func clonePtr[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}
