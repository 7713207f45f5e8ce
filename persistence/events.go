package persistence

import (
	"fmt"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// EventKeeper is an optional power of a WorkflowStore: keeping the events of its
// commits, all of a commit's or none, as a log that can be read. A store without it
// ignores Commit.Events; an engine asks first.
type EventKeeper interface {
	// EventLog returns the log; nil: none is kept. It is closed with the store.
	EventLog() events.Log
}

// EventLogOf returns the log of a store, nil if it keeps none.
func EventLogOf(store WorkflowStore) events.Log {
	if k, ok := store.(EventKeeper); ok {
		return k.EventLog()
	}
	return nil
}

// EncodedEvents is the stored form of some events of one commit, following each other.
// A store keeps them as one row, beside workflow and version.
type EncodedEvents struct {
	First int // index of the first among the commit's
	Count int
	Body  []byte // without what stands beside it
}

// A commit with more events than this, or with more bytes of them, has them in several
// rows: rows must stay readable however many stages are cancelled at once.
const (
	rowEvents = 256
	rowBytes  = 64 << 10
)

// validateEvents checks the events of a commit; workflow and version are valid.
func (c *Commit) validateEvents() error {
	if len(c.Events) == 0 {
		return nil
	}
	if c.WorkflowID == "" {
		return stabilize.Invalid("commit events", "are there, but the commit names no workflow")
	}
	first, err := events.ParseID(c.Events[0].ID)
	if err != nil {
		return fmt.Errorf("commit events[0]: %w", err)
	}
	if c.Header != nil && events.MakeID(c.WorkflowID, c.Header.CreatedAt, c.Expect+1, 0) != c.Events[0].ID {
		return stabilize.Invalid("commit events[0]", "id %q is not that of the first event of version %d of %q, created at %s; see events.Stamp",
			c.Events[0].ID, c.Expect+1, c.WorkflowID, c.Header.CreatedAt)
	}
	for i := range c.Events {
		e := &c.Events[i]
		if err := e.Check(); err != nil {
			return fmt.Errorf("commit events[%d]: %w", i, err)
		}
		want := events.IDParts{WorkflowID: c.WorkflowID, Birth: first.Birth, Version: c.Expect + 1, Index: i}
		switch {
		case e.WorkflowID != c.WorkflowID:
			return stabilize.Invalid(fmt.Sprintf("commit events[%d]", i), "is of workflow %q, the commit of %q", e.WorkflowID, c.WorkflowID)
		case e.Version != c.Expect+1:
			return stabilize.Invalid(fmt.Sprintf("commit events[%d]", i), "is of version %d, the commit makes %d", e.Version, c.Expect+1)
		case e.ID != want.String():
			return stabilize.Invalid(fmt.Sprintf("commit events[%d]", i), "has the id %q and not %q; see events.Stamp", e.ID, want)
		}
	}
	return nil
}

// encodeEvents writes the stored form of a valid commit's events.
func (c *Commit) encodeEvents(maxPayload int64) ([]EncodedEvents, error) {
	if len(c.Events) == 0 {
		return nil, nil
	}
	birth, err := events.ParseID(c.Events[0].ID)
	if err != nil {
		return nil, err
	}
	stored := make([]events.Event, len(c.Events))
	for i := range c.Events {
		e := &stored[i]
		*e = c.Events[i]
		e.ID, e.Position, e.WorkflowID, e.Version = "", "", "", 0
		e.At = stabilize.Instant(e.At)
	}
	var rows []EncodedEvents
	for from := 0; from < len(stored); {
		n := min(rowEvents, len(stored)-from)
		stored[from].ID = birth.Birth // said once in each row
		body, err := events.EncodeList(stored[from : from+n])
		for ; err == nil && len(body) > rowBytes && n > 1; body, err = events.EncodeList(stored[from : from+n]) {
			n = (n + 1) / 2
		}
		if err != nil {
			return nil, err
		}
		if err := stabilize.CheckSize("events of workflow "+c.WorkflowID, body, maxPayload); err != nil {
			return nil, err
		}
		rows = append(rows, EncodedEvents{First: from, Count: n, Body: body})
		from += n
	}
	return rows, nil
}

// EventRow is a row of a store's log as it was read.
type EventRow struct {
	EncodedEvents

	WorkflowID string
	Version    int64
	// Transaction and Number are its place: rows have the order of these. A store
	// that needs but one leaves Transaction 0.
	Transaction, Number uint64
}

// Position returns that of the row's event of an index, from 0.
func (r *EventRow) Position(i int) events.Position {
	return events.MakePosition(r.Transaction, r.Number, uint64(i)) //nolint:gosec // an index
}

// Decode returns the row's events. What cannot be understood is ErrCorrupt, naming
// "events" and the position of the row's last event: reading can go on behind it.
func (r *EventRow) Decode() ([]events.Event, error) {
	evs, err := r.decode()
	if err != nil {
		return nil, &stabilize.CorruptError{Table: "events", ID: string(r.Position(max(r.Count, 1) - 1)), Cause: err}
	}
	return evs, nil
}

func (r *EventRow) decode() ([]events.Event, error) {
	evs, err := events.DecodeList(r.Body)
	if err != nil {
		return nil, err
	}
	if len(evs) != r.Count || len(evs) == 0 {
		return nil, fmt.Errorf("the row says that it has %d events, its body has %d", r.Count, len(evs))
	}
	id := events.IDParts{WorkflowID: r.WorkflowID, Birth: evs[0].ID, Version: r.Version}
	for i := range evs {
		id.Index = r.First + i
		e := &evs[i]
		e.ID, e.Position, e.WorkflowID, e.Version = id.String(), r.Position(i), r.WorkflowID, r.Version
		if err := e.Check(); err != nil {
			return nil, err
		}
		if _, err := events.ParseID(e.ID); err != nil {
			return nil, err
		}
	}
	return evs, nil
}
