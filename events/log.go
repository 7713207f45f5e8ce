package events

import (
	"context"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Log is the events that a store keeps: those of its commits, stored with them or not
// at all, as one feed in an order that never changes. Once a reader has seen a position,
// no event appears at or before it. Events of one workflow have the order of their
// versions, those of one commit that in which it had them. Numbers that were drawn for a
// commit which was refused are gaps that nobody waits for.
//
// Deleting or pruning a workflow removes its events. An event may appear a while after
// its commit: in PostgreSQL, when every transaction that was writing at the moment has ended.
//
// All methods are safe for concurrent use. Their errors are as those of the store:
// ErrClosed, the context's, ErrInvalid before any I/O, ErrTransient, ErrInternal.
type Log interface {
	// Read returns a page of the events that a query selects. ErrCorrupt, naming
	// "events" and the position behind which reading can go on, if one cannot be
	// understood; see Query.Check.
	Read(ctx context.Context, q Query) (Page, error)
	// Count returns how many a query selects, its Limit apart.
	Count(ctx context.Context, q Query) (int64, error)
	// Get returns the event of an id. ErrNotFound, also for what is no id; ErrCorrupt.
	Get(ctx context.Context, id string) (*Event, error)
	// Last returns the position of the last event that a reader sees now, "" if there
	// is none. Who reads after it sees what appears from now on. ErrCorrupt.
	Last(ctx context.Context) (Position, error)
}

// Query selects events. Unset fields select everything. A workflow's events are found
// by an index; by what else it says, events are looked at one after the other.
type Query struct {
	WorkflowID string
	// Types: those of one of these types.
	Types []Type
	// StageID: what happened to this stage and to its tasks.
	StageID string
	// TaskID: what happened to this task. Tasks of different workflows may have one id.
	TaskID string
	// AtFrom is inclusive, AtBefore exclusive.
	AtFrom   time.Time
	AtBefore time.Time
	// After and Before are positions, both exclusive. A reader goes on after Page.Next.
	After  Position
	Before Position
	// Descending: the last first. A reader goes on before Page.Next.
	Descending bool
	// Limit is the size of a page; 0 means DefaultLimit, negative is ErrInvalid.
	Limit int
}

// DefaultLimit is the size of a page where the query does not say.
const DefaultLimit = 100

// Page is one page of a query. One that is shorter than the limit has reached the end.
type Page struct {
	Events []Event
	// Next is where reading goes on: After of the next page, or Before if descending.
	// All up to it was looked at, also what the query does not select.
	Next Position
}

// Check returns ErrInvalid for what cannot be asked, and sets Limit. Stores call it
// before any I/O; they check the positions themselves.
func (q *Query) Check() error {
	for _, text := range []string{q.WorkflowID, q.StageID, q.TaskID} {
		if err := stabilize.CheckText("event query", text); err != nil {
			return err
		}
	}
	for _, t := range q.Types {
		if t == "" {
			return stabilize.Invalid("event query types", "one is empty")
		}
	}
	switch {
	case q.Limit < 0:
		return stabilize.Invalid("event query limit", "%d is negative", q.Limit)
	case q.Limit == 0:
		q.Limit = DefaultLimit
	}
	if !q.AtFrom.IsZero() && !q.AtBefore.IsZero() && q.AtFrom.After(q.AtBefore) {
		return stabilize.Invalid("event query at from", "%s is after at before, %s", q.AtFrom, q.AtBefore)
	}
	return nil
}

// Selects reports whether a query selects an event, its limit apart.
func (q *Query) Selects(e *Event) bool {
	switch {
	case q.WorkflowID != "" && e.WorkflowID != q.WorkflowID,
		len(q.Types) > 0 && !slices.Contains(q.Types, e.Type),
		q.StageID != "" && e.StageID != q.StageID,
		q.TaskID != "" && e.TaskID != q.TaskID,
		!q.AtFrom.IsZero() && e.At.Before(q.AtFrom),
		!q.AtBefore.IsZero() && !e.At.Before(q.AtBefore),
		q.After != "" && e.Position <= q.After,
		q.Before != "" && e.Position >= q.Before:
		return false
	}
	return true
}
