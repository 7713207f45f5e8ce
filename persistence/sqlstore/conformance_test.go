package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/storetest"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t) })
}

// harness opens two handles on one file, and a third way past both.
type harness struct {
	t             *testing.T
	path          string
	clock         *stabilize.ManualClock
	first, second *sqlstore.Store
	db            *sql.DB
}

func newHarness(t *testing.T) *harness {
	h := &harness{t: t, path: tempFile(t), clock: stabilize.NewManualClock(start)}
	h.open()
	h.db = raw(t, h.path)
	return h
}

func (h *harness) open() {
	h.first = open(h.t, h.path, onClock(h.clock))
	h.second = open(h.t, h.path, onClock(h.clock))
}

func (h *harness) Store() persistence.Store      { return h.first }
func (h *harness) Second() persistence.Store     { return h.second }
func (h *harness) Clock() *stabilize.ManualClock { return h.clock }

func (h *harness) Reopen() persistence.Store {
	for _, s := range []*sqlstore.Store{h.first, h.second} {
		if err := s.Close(); err != nil {
			h.t.Fatalf("close: %v", err)
		}
	}
	h.open()
	return h.first
}

// Rows implements conformance.RowCounter.
func (h *harness) Rows(ctx context.Context) (map[string]int, error) {
	found, err := h.db.QueryContext(ctx, `SELECT name FROM sqlite_master WHERE type = 'table'`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = found.Close() }()
	var tables []string
	for found.Next() {
		var name string
		if err := found.Scan(&name); err != nil {
			return nil, err
		}
		if name != "workers" && !strings.Contains(name, "migration") && !strings.HasPrefix(name, "sqlite_") {
			tables = append(tables, name)
		}
	}
	if err := found.Err(); err != nil {
		return nil, err
	}
	rows := map[string]int{}
	for _, name := range tables {
		var n int
		if err := h.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM "`+name+`"`).Scan(&n); err != nil {
			return nil, err
		}
		rows[name] = n
	}
	return rows, nil
}

// Tamper implements conformance.Tamperer.
func (h *harness) Tamper(ctx context.Context, table, id string, body []byte) error {
	text := map[string]string{
		conformance.TableWorkflows: `UPDATE headers SET body = ? WHERE workflow_id = ?`,
		conformance.TableStages:    `UPDATE stages SET body = ? WHERE id = ?`,
		conformance.TableMessages:  `UPDATE messages SET body = ? WHERE id = ?`,
	}[table]
	return h.change(ctx, text, body, id)
}

// SetVersion implements conformance.VersionSetter.
func (h *harness) SetVersion(ctx context.Context, id string, version int64) error {
	if err := h.change(ctx, `UPDATE workflows SET version = ? WHERE id = ?`, version, id); err != nil {
		return err
	}
	return h.change(ctx, `UPDATE stages SET version = ? WHERE workflow_id = ?`, version, id)
}

func (h *harness) change(ctx context.Context, text string, args ...any) error {
	res, err := h.db.ExecContext(ctx, text, args...)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return fmt.Errorf("%s: changed %d rows: %w", text, n, err)
	}
	return nil
}
