package persistence

import (
	"context"
	"math"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// EventRange says which rows of a log are wanted.
type EventRange struct {
	WorkflowID string // empty: of all workflows
	// From and To are places, both inclusive.
	From, To   EventPlace
	Descending bool
	Bare       bool // without their bodies
	Limit      int  // of rows
}

// EventPlace is where a row stands; see EventRow.
type EventPlace struct{ Transaction, Number int64 }

// EventRows reads rows of a log in their order, descending: the last first; fewer than
// the limit if there are no more.
type EventRows func(ctx context.Context, r EventRange) ([]EventRow, error)

// EventReader is the events.Log of a store that keeps rows, but for what needs their
// keys: reading them in order, and choosing among their events. Stores build on it.
type EventReader struct {
	Rows EventRows
}

// rowsAtOnce is how many rows are read at a time, at most.
const rowsAtOnce = 256

// CheckEvents returns ErrInvalid for a query of a log of rows that cannot be asked, and
// sets its Limit. Stores call it before any I/O.
func CheckEvents(q *events.Query) error {
	if err := q.Check(); err != nil {
		return err
	}
	_, _, err := bounds(q)
	return err
}

func bounds(q *events.Query) (from, to EventPlace, err error) {
	to = EventPlace{math.MaxInt64, math.MaxInt64}
	if from, err = placeOf(q.After, from); err == nil {
		to, err = placeOf(q.Before, to)
	}
	return from, to, err
}

func placeOf(p events.Position, none EventPlace) (EventPlace, error) {
	if p == "" {
		return none, nil
	}
	n, err := p.Numbers(3)
	if err == nil && (n[0] > math.MaxInt64 || n[1] > math.MaxInt64) {
		err = stabilize.Invalid("event position", "%q is not of this store", p)
	}
	if err != nil {
		return none, err
	}
	return EventPlace{int64(n[0]), int64(n[1])}, nil //nolint:gosec // looked at above
}

// Read is events.Log's for a query that CheckEvents has seen.
func (r EventReader) Read(ctx context.Context, q events.Query) (events.Page, error) {
	page := events.Page{Next: q.After}
	if q.Descending {
		page.Next = q.Before
	}
	err := r.each(ctx, &q, false, q.Limit/2+2, func(row *EventRow) (more bool, err error) {
		evs, err := row.Decode()
		if err != nil {
			return false, err
		}
		for i := range evs {
			e := &evs[i]
			if q.Descending {
				e = &evs[len(evs)-1-i]
			}
			if q.Before != "" && e.Position >= q.Before || e.Position <= q.After {
				continue
			}
			page.Next = e.Position
			if !q.Selects(e) {
				continue
			}
			if page.Events = append(page.Events, *e); len(page.Events) == q.Limit {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		return events.Page{}, err
	}
	return page, nil
}

// Count is events.Log's for a query that CheckEvents has seen.
func (r EventReader) Count(ctx context.Context, q events.Query) (n int64, err error) {
	bare := len(q.Types) == 0 && q.StageID == "" && q.TaskID == "" && q.AtFrom.IsZero() && q.AtBefore.IsZero()
	q.Descending = false
	err = r.each(ctx, &q, bare, rowsAtOnce, func(row *EventRow) (bool, error) {
		if bare {
			for i := range row.Count {
				if p := row.Position(i); p > q.After && (q.Before == "" || p < q.Before) {
					n++
				}
			}
			return true, nil
		}
		evs, err := row.Decode()
		for i := range evs {
			if q.Selects(&evs[i]) {
				n++
			}
		}
		return true, err
	})
	return n, err
}

// Last is events.Log's.
func (r EventReader) Last(ctx context.Context) (events.Position, error) {
	rows, err := r.Rows(ctx, EventRange{To: EventPlace{math.MaxInt64, math.MaxInt64}, Descending: true, Bare: true, Limit: 1})
	if err != nil || len(rows) == 0 {
		return "", err
	}
	return rows[0].Position(max(rows[0].Count, 1) - 1), nil
}

// each calls f for the rows of a query that have an event within its positions, until
// f has enough.
func (r EventReader) each(ctx context.Context, q *events.Query, bare bool, first int, f func(*EventRow) (more bool, err error)) error {
	from, to, err := bounds(q)
	if err != nil {
		return err
	}
	want := EventRange{WorkflowID: q.WorkflowID, From: from, To: to, Descending: q.Descending, Bare: bare, Limit: min(first, rowsAtOnce)}
	for {
		rows, err := r.Rows(ctx, want)
		if err != nil {
			return err
		}
		for i := range rows {
			row := &rows[i]
			if q.After != "" && row.Position(max(row.Count, 1)-1) <= q.After || q.Before != "" && row.Position(0) >= q.Before {
				continue // not even decoded: who has read it knows it
			}
			if more, err := f(row); err != nil || !more {
				return err
			}
		}
		if len(rows) < want.Limit {
			return nil
		}
		last := &rows[len(rows)-1]
		at := EventPlace{int64(last.Transaction), int64(last.Number)} //nolint:gosec // as they were stored
		switch {
		case !q.Descending:
			at.Number++
			want.From = at
		case at.Number > 0:
			at.Number--
			want.To = at
		default:
			want.To = EventPlace{at.Transaction - 1, math.MaxInt64}
		}
		want.Limit = rowsAtOnce
	}
}

// FindEvent returns the event of an id among those of a row. ErrNotFound, ErrCorrupt.
func (r *EventRow) FindEvent(id string) (*events.Event, error) {
	evs, err := r.Decode()
	if err != nil {
		return nil, err
	}
	for i := range evs {
		if evs[i].ID == id {
			return &evs[i], nil
		}
	}
	return nil, &stabilize.NotFoundError{Kind: "event", ID: id}
}
