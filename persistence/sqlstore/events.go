package sqlstore

import (
	"context"
	"math"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// EventLog implements persistence.EventKeeper.
func (s *Store) EventLog() events.Log { return eventLog{s, persistence.EventReader{Rows: s.eventRows}} }

// eventLog is the table events.
type eventLog struct {
	s      *Store
	reader persistence.EventReader
}

func (l eventLog) check(ctx context.Context, q *events.Query) error {
	if err := l.s.begin(ctx); err != nil {
		return err
	}
	return persistence.CheckEvents(q)
}

// Read implements events.Log.
func (l eventLog) Read(ctx context.Context, q events.Query) (events.Page, error) {
	if err := l.check(ctx, &q); err != nil {
		return events.Page{}, err
	}
	return l.reader.Read(ctx, q)
}

// Count implements events.Log.
func (l eventLog) Count(ctx context.Context, q events.Query) (int64, error) {
	if err := l.check(ctx, &q); err != nil {
		return 0, err
	}
	return l.reader.Count(ctx, q)
}

// Last implements events.Log.
func (l eventLog) Last(ctx context.Context) (events.Position, error) {
	if err := l.s.begin(ctx); err != nil {
		return "", err
	}
	return l.reader.Last(ctx)
}

// Get implements events.Log.
func (l eventLog) Get(ctx context.Context, id string) (*events.Event, error) {
	if err := l.s.begin(ctx); err != nil {
		return nil, err
	}
	of, err := events.ParseID(id)
	if err != nil {
		return nil, &stabilize.NotFoundError{Kind: "event", ID: id}
	}
	rows, err := l.s.readEvents(ctx, "SELECT "+l.s.eventColumns("body")+
		" FROM {}events WHERE workflow_id = ? AND version = ? AND first <= ? ORDER BY first DESC LIMIT 1", l.s.column(of.WorkflowID), of.Version, min(of.Index, math.MaxInt32))
	switch {
	case err != nil:
		return nil, err
	case len(rows) == 0:
		return nil, &stabilize.NotFoundError{Kind: "event", ID: id}
	}
	return rows[0].FindEvent(id)
}

func (s *Store) eventColumns(body string) string {
	tx := "0"
	if s.pg != nil {
		tx = "tx"
	}
	return tx + ", seq, workflow_id, version, first, events, " + body
}

// eventRows implements persistence.EventRows. In PostgreSQL a reader sees what is older
// than every transaction that still runs: what he has not read is newer than all that he
// has. The rows of a workflow have one order, by number and by version; that by version
// has an index.
func (s *Store) eventRows(ctx context.Context, r persistence.EventRange) ([]persistence.EventRow, error) {
	text, args := s.eventsText(r)
	rows, err := s.readEvents(ctx, text, args...)
	if err == nil && len(rows) == 0 && s.pg != nil && r.From.Transaction > 0 {
		err = s.checkTransaction(ctx, r.From.Transaction)
	}
	return rows, err
}

func (s *Store) eventsText(r persistence.EventRange) (text string, args []any) {
	body, order, direction := "body", "seq", ""
	if r.Bare {
		body = "NULL"
	}
	if r.Descending {
		direction = " DESC"
	}
	tx, seq, where := "tx", "seq", ""
	if r.WorkflowID != "" {
		tx, seq, where = "tx + 0", "seq + 0", "workflow_id = ? AND " // not by the feed's index
		order = "version" + direction + ", first"
		args = append(args, s.column(r.WorkflowID))
	}
	if s.pg != nil {
		if r.WorkflowID == "" {
			order = "tx" + direction + ", seq"
		}
		where += tx + " < txid_snapshot_xmin(txid_current_snapshot()) AND (" + tx + ", " + seq + ") >= (?, ?) AND (" + tx + ", " + seq + ") <= (?, ?)"
		args = append(args, r.From.Transaction, r.From.Number, r.To.Transaction, r.To.Number)
	} else {
		where += seq + " >= ? AND " + seq + " <= ?"
		args = append(args, numberAlone(r.From), numberAlone(r.To))
	}
	return "SELECT " + s.eventColumns(body) + " FROM {}events WHERE " + where +
		" ORDER BY " + order + direction + " LIMIT ?", append(args, r.Limit)
}

// numberAlone is a place where there are no transactions.
func numberAlone(p persistence.EventPlace) int64 {
	if p.Transaction > 0 {
		return math.MaxInt64
	}
	return p.Number
}

// readEvents runs a statement over rows of eventColumns.
func (s *Store) readEvents(ctx context.Context, text string, args ...any) (out []persistence.EventRow, err error) {
	text = s.cfg.text(text)
	err = s.read(ctx, "read events", func(ctx context.Context, st *prepared) error {
		out = out[:0]
		rows, err := st.sql.QueryContext(ctx, text, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var r persistence.EventRow
			if err := rows.Scan(&r.Transaction, &r.Number, &r.WorkflowID, &r.Version, &r.First, &r.Count, &r.Body); err != nil {
				return err
			}
			out = append(out, r)
		}
		return rows.Err()
	})
	return out, err
}

// checkTransaction refuses a position of a database that this one was copied from, if
// it never had so many transactions: nothing would be read behind it for a long time.
func (s *Store) checkTransaction(ctx context.Context, tx int64) error {
	var next int64
	err := s.read(ctx, "read events", func(ctx context.Context, st *prepared) error {
		return st.sql.QueryRowContext(ctx, "SELECT txid_snapshot_xmax(txid_current_snapshot())").Scan(&next)
	})
	if err == nil && tx > next {
		return stabilize.Invalid("event position", "is of transaction %d, and this server has begun no more than %d: it is of another server, from which the data was copied", tx, next)
	}
	return err
}

// settleEvents makes events of a database that this one was copied from readable: their
// transactions may be such as this server has not begun yet.
func (s *Store) settleEvents(ctx context.Context) error {
	return s.again(ctx, func() error {
		_, err := s.w.DB.ExecContext(ctx, s.cfg.text("UPDATE {}events SET tx = 0 WHERE tx > txid_snapshot_xmax(txid_current_snapshot())"))
		return err
	})
}
