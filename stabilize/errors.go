package stabilize

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The error classes of the module. Every error that any package here returns
// matches exactly one of them (or is a context error) with errors.Is; the typed
// errors below carry the facts and are reached with errors.As.
var (
	// ErrInvalid: the input is wrong; nothing was done.
	ErrInvalid = errors.New("invalid")
	// ErrNotFound: no such entity.
	ErrNotFound = errors.New("not found")
	// ErrExists: an entity with that id exists already.
	ErrExists = errors.New("already exists")
	// ErrConflict: the version moved since the snapshot was read; decide again.
	ErrConflict = errors.New("version conflict")
	// ErrLeaseLost: the delivery or lease is no longer held by the caller.
	ErrLeaseLost = errors.New("lease lost")
	// ErrNoPlace: no place is free under a concurrency limit.
	ErrNoPlace = errors.New("no place under the concurrency limit")
	// ErrPlaceFree: the workflow wanted to wait although a place is free for it.
	ErrPlaceFree = errors.New("a place is free")
	// ErrTooLarge: a payload is over the store's declared maximum.
	ErrTooLarge = errors.New("too large")
	// ErrCorrupt: stored data cannot be understood.
	ErrCorrupt = errors.New("corrupt data")
	// ErrClosed: the handle was closed.
	ErrClosed = errors.New("closed")
	// ErrTransient: it failed now and may well work on another try.
	ErrTransient = errors.New("transient failure")
	// ErrUnknownOutcome: the reply was lost; the change may or may not be durable.
	ErrUnknownOutcome = errors.New("unknown outcome")
	// ErrUnsupported: this backend does not have the power asked for.
	ErrUnsupported = errors.New("unsupported")
	// ErrSchemaTooNew: the database was written by a newer version of the code.
	ErrSchemaTooNew = errors.New("database schema is newer than this program")
	// ErrSchemaMissing: the database was not migrated.
	ErrSchemaMissing = errors.New("database schema is missing")
	// ErrInvalidTransition: a status cannot follow another, or an operation is
	// not allowed in the present status.
	ErrInvalidTransition = errors.New("invalid status transition")
	// ErrInstancesClosed: no instance can be added to the stage any more.
	ErrInstancesClosed = errors.New("instances are closed")
	// ErrFinished: the workflow has ended and takes no more requests.
	ErrFinished = errors.New("workflow has finished")
	// ErrPermanent: the task failed and no further try can help.
	ErrPermanent = errors.New("permanent failure")
	// ErrTimeout: the time allowed is over. As the cause of a task's context it
	// tells the task so.
	ErrTimeout = errors.New("timed out")
	// ErrCanceled: the cause of a task's context when its workflow was canceled.
	ErrCanceled = errors.New("canceled")
	// ErrVerification: a task's result was checked and refused.
	ErrVerification = errors.New("verification failed")
	// ErrInternal: a promise inside the module was broken; please report it.
	ErrInternal = errors.New("internal error")
)

// InvalidError names the field that is wrong and what is wrong with it.
type InvalidError struct {
	Field   string // path of the field, such as `stage "deploy".requisites`
	Problem string
}

func (e *InvalidError) Error() string { return "invalid " + e.Field + ": " + e.Problem }
func (e *InvalidError) Unwrap() error { return ErrInvalid }

// Invalid makes an InvalidError.
func Invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

// NotFoundError says what was looked for.
type NotFoundError struct {
	Kind string // "workflow", "stage", "task", "dead letter", "task type", "stage type", "reducer", "verifier"
	ID   string
}

func (e *NotFoundError) Error() string { return fmt.Sprintf("%s %q not found", e.Kind, e.ID) }
func (e *NotFoundError) Unwrap() error { return ErrNotFound }

// ExistsError says what exists already.
type ExistsError struct {
	Kind string
	ID   string
}

func (e *ExistsError) Error() string { return fmt.Sprintf("%s %q already exists", e.Kind, e.ID) }
func (e *ExistsError) Unwrap() error { return ErrExists }

// ConflictError carries the version decided on and the version found.
type ConflictError struct {
	WorkflowID string
	Expected   int64
	Actual     int64
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("workflow %q is at version %d, not %d", e.WorkflowID, e.Actual, e.Expected)
}
func (e *ConflictError) Unwrap() error { return ErrConflict }

// LeaseLostError names the message (or worker) whose lease is no longer ours.
type LeaseLostError struct {
	Kind string // "message" or "worker"
	ID   string
}

func (e *LeaseLostError) Error() string { return fmt.Sprintf("lease of %s %q lost", e.Kind, e.ID) }
func (e *LeaseLostError) Unwrap() error { return ErrLeaseLost }

// AdmissionError tells the state of a concurrency limit when a commit's
// admission was refused. It matches ErrNoPlace, or ErrPlaceFree when Free.
type AdmissionError struct {
	Key        string
	WorkflowID string
	Limit      int
	Holding    int
	Free       bool
}

func (e *AdmissionError) Error() string {
	if e.Free {
		return fmt.Sprintf("workflow %q need not wait under %q: %d of %d places taken", e.WorkflowID, e.Key, e.Holding, e.Limit)
	}
	return fmt.Sprintf("workflow %q has no place under %q: %d of %d places taken", e.WorkflowID, e.Key, e.Holding, e.Limit)
}

// Unwrap returns the class.
func (e *AdmissionError) Unwrap() error {
	if e.Free {
		return ErrPlaceFree
	}
	return ErrNoPlace
}

// TooLargeError carries both numbers, in bytes, never the payload.
type TooLargeError struct {
	What string
	Size int64
	Max  int64
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%s is %d bytes, the maximum is %d", e.What, e.Size, e.Max)
}
func (e *TooLargeError) Unwrap() error { return ErrTooLarge }

// CorruptError names the row that cannot be understood.
type CorruptError struct {
	Table string
	ID    string
	Cause error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("corrupt row %q in %s: %v", e.ID, e.Table, e.Cause)
}

// Is makes the class ErrCorrupt, and only that: the cause is for reading.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// TransitionError is a status change that is not allowed.
type TransitionError struct {
	Kind string // "workflow", "stage" or "task"
	ID   string
	From Status
	To   Status
}

func (e *TransitionError) Error() string {
	return fmt.Sprintf("%s %q cannot go from %s to %s", e.Kind, e.ID, e.From, e.To)
}
func (e *TransitionError) Unwrap() error { return ErrInvalidTransition }

// TransientError is a failure worth another try. A task returns one to be
// tried again after a delay, with its context changed if Context is set.
type TransientError struct {
	Cause      error
	RetryAfter time.Duration // zero: the task's own backoff decides
	Context    Values        // merged into the stage's context before the next try
}

// Transient marks err as worth another try.
func Transient(err error) *TransientError { return &TransientError{Cause: err} }

func (e *TransientError) Error() string { return classText(ErrTransient, e.Cause) }

// Is makes the class ErrTransient, and only that: the cause is for reading.
func (e *TransientError) Is(target error) bool { return target == ErrTransient }

// As lets errors.As reach the cause.
func (e *TransientError) As(target any) bool { return e.Cause != nil && errors.As(e.Cause, target) }

// PermanentError is a failure that no further try can mend.
type PermanentError struct {
	Cause error
	Code  string // machine-readable, upper case; empty for "TASK_FAILED"
}

// Permanent marks err as final.
func Permanent(err error) *PermanentError { return &PermanentError{Cause: err} }

func (e *PermanentError) Error() string { return classText(ErrPermanent, e.Cause) }

// Is makes the class ErrPermanent, and only that: the cause is for reading.
func (e *PermanentError) Is(target error) bool { return target == ErrPermanent }

// As lets errors.As reach the cause.
func (e *PermanentError) As(target any) bool { return e.Cause != nil && errors.As(e.Cause, target) }

// TimeoutError says what took longer than allowed.
type TimeoutError struct {
	What  string
	After time.Duration
}

func (e *TimeoutError) Error() string { return fmt.Sprintf("%s timed out after %s", e.What, e.After) }
func (e *TimeoutError) Unwrap() error { return ErrTimeout }

// VerificationError says why a task's result was refused. Retry asks for
// another try; without it the refusal is final.
type VerificationError struct {
	Problem string
	Retry   bool
}

func (e *VerificationError) Error() string { return "verification failed: " + e.Problem }
func (e *VerificationError) Unwrap() error { return ErrVerification }

// NotAllowed says why something cannot be done in the present state; its class is
// ErrInvalidTransition.
func NotAllowed(what, why string) error { return &notAllowedError{what + ": " + why} }

type notAllowedError struct{ text string }

func (e *notAllowedError) Error() string { return e.text }
func (e *notAllowedError) Unwrap() error { return ErrInvalidTransition }

// ExpressionError is an expression that cannot be compiled, or that has no
// result of the kind asked for with the values it was given.
type ExpressionError struct {
	Expression string
	Cause      error
}

func (e *ExpressionError) Error() string {
	text := e.Expression
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "…"
	}
	return fmt.Sprintf("expression %q: %v", text, e.Cause)
}

// Is makes the class ErrInvalid, and only that: the cause is for reading.
func (e *ExpressionError) Is(target error) bool { return target == ErrInvalid }

// As lets errors.As reach the cause.
func (e *ExpressionError) As(target any) bool { return e.Cause != nil && errors.As(e.Cause, target) }

func classText(class, cause error) string {
	if cause == nil {
		return class.Error()
	}
	return class.Error() + ": " + cause.Error()
}
