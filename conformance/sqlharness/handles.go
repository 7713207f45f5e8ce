package sqlharness

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// payload is the largest that the handles take.
const payload = 12 << 20

// handles are two on the same data, and a third way past both: what the harnesses
// of sqlstore have in common.
type handles struct {
	clock         *stabilize.ManualClock
	first, second *sqlstore.Store
	db            *sql.DB
	mark          string // what stands before the number of a parameter

	mu      sync.Mutex
	further []*sqlstore.Store // opened by a clause
	given   []*sql.DB
}

func newClock() *stabilize.ManualClock {
	return stabilize.NewManualClock(time.Date(2025, 5, 6, 7, 8, 9, 0, time.UTC))
}

// Store implements conformance.Harness.
func (h *handles) Store() persistence.Store { return h.first }

// Second implements conformance.Harness.
func (h *handles) Second() persistence.Store { return h.second }

// Clock implements conformance.Harness.
func (h *handles) Clock() *stabilize.ManualClock { return h.clock }

// MaxPayload implements conformance.Limiter.
func (h *handles) MaxPayload() int64 { return payload }

func (h *handles) reopen(open func() error) persistence.Store {
	if err := errors.Join(h.first.Close(), h.second.Close(), open()); err != nil {
		panic(fmt.Sprintf("reopening: %v", err))
	}
	return h.first
}

// extra keeps a further handle, which the harness closes at its end.
func (h *handles) extra(s *sqlstore.Store, err error) (persistence.Store, error) {
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.further = append(h.further, s)
	return s, nil
}

// mustExtra is extra for who cannot be told.
func (h *handles) mustExtra(s *sqlstore.Store, err error) persistence.Store {
	kept, err := h.extra(s, err)
	if err != nil {
		panic(fmt.Sprintf("opening a further handle: %v", err))
	}
	return kept
}

// keep has a database closed at the harness's end.
func (h *handles) keep(db *sql.DB) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.given = append(h.given, db)
}

// closeAll closes the handles and their databases, but the third way.
func (h *handles) closeAll() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	for _, s := range append(h.further, h.first, h.second) {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	for _, db := range h.given {
		errs = append(errs, db.Close())
	}
	return errors.Join(errs...)
}

// rows counts the rows of the tables that a statement lists.
func (h *handles) rows(ctx context.Context, list string, args ...any) (map[string]int, error) {
	var names []string
	err := each(ctx, h.db, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		if name != "workers" && !strings.HasPrefix(name, "migration") && !strings.HasPrefix(name, "sqlite_") {
			names = append(names, name)
		}
		return err
	}, list, args...)
	if err != nil {
		return nil, err
	}
	rows := map[string]int{}
	for _, name := range names {
		var n int
		if err := h.db.QueryRowContext(ctx, `SELECT count(*) FROM "`+name+`"`).Scan(&n); err != nil {
			return nil, err
		}
		rows[name] = n
	}
	return rows, nil
}

// Tamper implements conformance.Tamperer.
func (h *handles) Tamper(ctx context.Context, table, id string, body []byte) error {
	return h.change(ctx, map[string]string{
		conformance.TableWorkflows: "UPDATE headers SET body = $1 WHERE workflow_id = $2",
		conformance.TableStages:    "UPDATE stages SET body = $1 WHERE id = $2",
		conformance.TableMessages:  "UPDATE messages SET body = $1 WHERE id = $2",
	}[table], body, id)
}

// TamperEvents implements conformance.EventTamperer.
func (h *handles) TamperEvents(ctx context.Context, eventID string, body []byte) error {
	of, err := events.ParseID(eventID)
	if err != nil {
		return err
	}
	return h.change(ctx, "UPDATE events SET body = $1 WHERE workflow_id = $2 AND version = $3", body, of.WorkflowID, of.Version)
}

// SetVersion implements conformance.VersionSetter.
func (h *handles) SetVersion(ctx context.Context, id string, version int64) error {
	if err := h.change(ctx, "UPDATE workflows SET version = $1 WHERE id = $2", version, id); err != nil {
		return err
	}
	return h.change(ctx, "UPDATE stages SET version = $1 WHERE workflow_id = $2", version, id)
}

// change runs a statement that must change something.
func (h *handles) change(ctx context.Context, text string, args ...any) error {
	res, err := h.db.ExecContext(ctx, strings.ReplaceAll(text, "$", h.mark), args...)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return fmt.Errorf("%s: changed %d rows: %w", text, n, err)
	}
	return nil
}

// each reads the rows of a statement.
func each(ctx context.Context, db *sql.DB, row func(scan func(...any) error) error, text string, args ...any) error {
	found, err := db.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		if err := row(found.Scan); err != nil {
			return err
		}
	}
	return found.Err()
}
