package persistence

import (
	"context"
	"fmt"
	"time"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// WorkflowStore keeps workflows. A workflow is one aggregate with one version;
// the only way to change it is a Commit decided on that version.
//
// All methods are safe for concurrent use, by several processes on the same
// data. Errors are of one class each of package stabilize, looked for in this order:
// ErrClosed after Close, the context's error when it ended, ErrInvalid before any
// I/O; then ErrTransient when trying again may help, ErrUnknownOutcome when a
// commit's reply was lost, ErrInternal for what else the database says.
// The store keeps no alias to what it is given and hands out none to what it keeps.
type WorkflowStore interface {
	// CommitBatch applies each commit on its own, in order: errs[i] says what
	// became of commits[i], nil that all of it is durable. Besides the errors
	// above: ErrConflict, ErrNotFound, ErrExists (creating), ErrLeaseLost (a
	// handled message), ErrNoPlace and ErrPlaceFree (the admission), ErrExists (a
	// message id), ErrTooLarge. After any of them nothing of that commit is
	// visible, and the other commits are untouched. Two commits of one batch for
	// the same workflow apply in turn if the second expects the first's version.
	// An empty batch returns nil and does nothing. See Commit.Encode and CheckVersion.
	CommitBatch(ctx context.Context, commits []*Commit) (errs []error)

	// Load returns the whole workflow as of one instant, indexed. ErrNotFound;
	// ErrCorrupt, naming table and id, if a row cannot be understood.
	Load(ctx context.Context, id string) (*stabilize.Workflow, error)

	// Summary returns the header alone. ErrNotFound, ErrCorrupt.
	Summary(ctx context.Context, id string) (*stabilize.Header, error)

	// Query returns headers, newest start first. ErrInvalid for a page token that
	// did not come from the same query, and for bad bounds; see Query.Check.
	Query(ctx context.Context, q Query) (Page, error)

	// Delete removes workflows with their stages, messages, dead letters, places and
	// events, all in one step. Unknown ids are no error; messages and dead letters addressed
	// to a workflow that does not exist are removed too.
	Delete(ctx context.Context, ids ...string) error

	// Prune removes finished workflows as Delete does, all in one step, and returns
	// how many. After an error the number means
	// nothing. Each is named by its header as it was read, and stays if anything
	// has happened since: it has another Version or CreatedAt, is gone, or is being
	// changed by a commit at this moment. It stays too while there is a message or a
	// dead letter addressed to it. One that is not finished is ErrInvalid; see
	// CheckPrune.
	Prune(ctx context.Context, finished ...*stabilize.Header) (removed int, err error)

	// Admissions returns who holds a place and who waits under a key, those left
	// out that no longer count (see Admission).
	Admissions(ctx context.Context, key string) (Admissions, error)

	// Close releases what the store opened. Later calls of other methods return
	// ErrClosed; closing twice is no error.
	Close() error
}

// Store is a workflow store and the queue on the same data.
//
// One whose database has a schema brings it up to date when it is opened, if
// asked and never else: several may do so at once, and a migration that failed is
// finished by the next that is asked. A database that is newer than the program
// is not opened: ErrSchemaTooNew. On one that is older, or empty, every method
// returns ErrSchemaMissing. A store that can share a database with others of its
// kind is told apart by a prefix or schema; a name that cannot be one is
// ErrInvalid when it is opened. A database handle that the caller gave is not
// closed.
//
// When the database restarts, handles go on without being opened anew.
type Store interface {
	WorkflowStore
	queue.Queue
}

// Refresher is an optional power of a WorkflowStore: reading only what changed.
type Refresher interface {
	// Refresh returns what changed after version since, as of one instant; a since
	// that is greater than the version is of an earlier workflow of that id, and all
	// is returned, Whole. Errors: ErrNotFound; ErrInvalid if since is negative.
	Refresh(ctx context.Context, id string, since int64) (*Delta, error)
}

// Delta is what changed after a version.
type Delta struct {
	Header stabilize.Header
	// Stages changed or added, by Position; none when nothing changed.
	Stages []*stabilize.Stage
	// Whole: Stages is all of them, because one was removed in between.
	Whole bool
}

// Limits is an optional power of a WorkflowStore: saying what it takes.
type Limits interface {
	// MaxPayload is the largest stored header, stage or message in bytes; a
	// larger one is ErrTooLarge.
	MaxPayload() int64
}

// Pipelined is an optional power of a WorkflowStore: applying batches side by side,
// so that one is on its way while another is written.
type Pipelined interface {
	// Batches is how many are worth sending at a time now, from 1. It is asked again and
	// again, under a lock, and must not wait.
	Batches() int
}

// Trier is an optional power of a WorkflowStore: not letting one commit of a batch
// keep the others waiting. A Group uses it.
type Trier interface {
	// TryBatch is CommitBatch, except that a commit which a transaction of somebody
	// else's blocks, for longer than the others can wait, is refused with a
	// BlockedError: a caller may hold a workflow as long as its own transaction lasts.
	TryBatch(ctx context.Context, commits []*Commit) (errs []error)
}

// BlockedError is the refusal of a commit whose workflow, or what else it depends on,
// another transaction has locked. It matches ErrTransient.
type BlockedError struct{ WorkflowID string }

func (e *BlockedError) Error() string {
	return fmt.Sprintf("workflow %q is locked by another transaction", e.WorkflowID)
}
func (e *BlockedError) Unwrap() error { return stabilize.ErrTransient }

// Clocked is an optional power of a WorkflowStore: saying what time it goes by. An
// engine that is given no clock takes it, so that both agree.
type Clocked interface {
	Clock() stabilize.Clock
}

// WaitingKeys is an optional power of a WorkflowStore: listing the admission
// keys under which someone waits, for a sweeper that mends lost wake-ups after
// a holder vanished without a commit of its own.
type WaitingKeys interface {
	// WaitingKeys returns them sorted; those whose waiters do not count are left out.
	WaitingKeys(ctx context.Context) ([]WaitingKey, error)
}

// WaitingKey is a key with waiters, and the limit the oldest of them asked for
// last.
type WaitingKey struct {
	Key   string
	Limit int
}

// Watcher is an optional power of a WorkflowStore: looking at many workflows at once,
// for a process where many are waited for.
type Watcher interface {
	// Unfinished returns those of ids whose workflow exists and has not ended, each once,
	// in any order; of no ids none. ErrUnsupported if the handle wraps a store without
	// this power.
	Unfinished(ctx context.Context, ids ...string) ([]string, error)
}

// Commit is everything that one decision changes. A store applies all of it or
// none of it. It does not change any of what it is given; that includes
// Header.Version and Stage.Version: after success the workflow is at version
// Expect+1, and so is each stage in Stages.
type Commit struct {
	// WorkflowID names the aggregate. Empty: the commit changes no workflow and
	// carries messages and acknowledgements only; then Expect, Header, Stages,
	// Removed and Admission are unset.
	WorkflowID string
	// Expect is the version decided on. 0 creates: Header is required, and the
	// workflow is at version 1 afterwards. Every commit that names a workflow
	// raises its version by exactly 1, also one without changes of state.
	Expect int64
	// Header when it changed. ID and CreatedAt cannot change: ErrInvalid.
	Header *stabilize.Header
	// Stages changed or added, each with its tasks. ID, Ref, Round and Position
	// of a stage cannot change: ErrInvalid.
	Stages []*stabilize.Stage
	// Removed stages, by id. One that does not exist is ErrInvalid.
	Removed []string
	// Handled messages are acknowledged here, fenced by their tokens.
	Handled []queue.Receipt
	// Discard removes messages whoever holds them; unknown ids and those of dead
	// letters are ignored.
	Discard []string
	// Messages to be delivered, in this order.
	Messages []queue.Outgoing
	// Admission takes, awaits or gives back a place under a concurrency limit.
	Admission *Admission
	// Events of the workflow at its new version, in order, made by events.Stamp. A
	// store that keeps events stores them with the rest; see EventKeeper.
	Events []events.Event
}

// AdmissionOp is what an Admission asks for.
type AdmissionOp uint8

// The operations.
const (
	// TakePlace succeeds if the workflow holds a place already, if Limit is 0 or
	// less, or if fewer waiters stand before it than places are free; one that
	// does not wait yet stands behind all that do. Otherwise ErrNoPlace.
	TakePlace AdmissionOp = iota + 1
	// WaitForPlace enters the waiting list, at the end, or keeps the workflow's
	// turn in it, under the limit it asks for now. If TakePlace would succeed it is ErrPlaceFree, so that nobody
	// waits beside a free place.
	WaitForPlace
	// LeavePlace gives back the place or the turn under that key; having neither is
	// no error.
	LeavePlace
)

// Admission is a workflow's request under a concurrency limit. A place counts
// while its holder is RUNNING, PAUSED, SUSPENDED or in REDIRECT; a turn counts
// while the waiter is NOT_STARTED or BUFFERED. What does not count, because its
// owner ended, was deleted or never started, is reclaimed by the next TakePlace or
// WaitForPlace that is not refused; until then it counts again if the status does.
// Statuses are those before the commit.
type Admission struct {
	Op    AdmissionOp
	Key   string
	Limit int
}

// HoldsPlace reports whether a holder in that status keeps its place.
func HoldsPlace(s stabilize.Status) bool { return s.IsActive() }

// KeepsTurn reports whether a waiter in that status keeps its turn.
func KeepsTurn(s stabilize.Status) bool {
	return s == stabilize.NotStarted || s == stabilize.Buffered
}

// MayTake is the one rule of TakePlace, for every store: holding is whether the
// workflow has a place, ahead how many waiters stand before it, held how many
// places count.
func MayTake(holding bool, ahead, held, limit int) bool {
	return holding || limit <= 0 || ahead < limit-held
}

// Admissions is who holds and who waits under a key.
type Admissions struct {
	Holding []string // workflow ids, in the order they took their places
	Waiting []string // workflow ids, first in first out
}

// Query selects headers. Unset fields select everything.
type Query struct {
	Application string
	ConfigID    string
	Statuses    []stabilize.Status
	// StartedFrom is inclusive, StartedBefore exclusive; with either set, a
	// workflow that has not started is left out.
	StartedFrom   time.Time
	StartedBefore time.Time
	// Limit is the size of a page; 0 means 100, negative is ErrInvalid.
	Limit int
	// Token of the page before; empty: the first page.
	Token string
}

// Page is one page of a query: workflows that have not started first, then by
// start time, newest first, ties by id, descending.
type Page struct {
	Workflows []*stabilize.Header
	Next      string // token of the next page; empty: this is the last
}
