package main

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
)

// sqlite is a harness of the SQLite store, with a way past it into the file.
type sqlite struct {
	*handles
	db *sql.DB
}

// look opens the way past the store. The driver is the store's own.
func (h *sqlite) look(t *testing.T, path string) {
	db, err := sql.Open("sqlite", "file:"+escaped(path)+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	h.db = db
}

// Lacks implements conformance.Lacking: a store opened by DSN has the largest
// payload SQLite can hold, and what it sends to the database is its own affair.
// The store's own tests have these powers.
func (h *sqlite) Lacks() []conformance.Power {
	return append(conformance.DatabasePowers(), conformance.CanLimit, conformance.CanCountQueries, conformance.CanExplain)
}

// Rows implements conformance.RowCounter.
func (h *sqlite) Rows(ctx context.Context) (map[string]int, error) {
	names, err := h.tables(ctx)
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

// tables are those that hold something of workflows and messages.
func (h *sqlite) tables(ctx context.Context) (names []string, err error) {
	found, err := h.db.QueryContext(ctx, "SELECT name FROM sqlite_master WHERE type = 'table'")
	if err != nil {
		return nil, err
	}
	defer found.Close()
	for found.Next() {
		var name string
		if err := found.Scan(&name); err != nil {
			return nil, err
		}
		if name != "workers" && !strings.HasPrefix(name, "migration") && !strings.HasPrefix(name, "sqlite_") {
			names = append(names, name)
		}
	}
	return names, found.Err()
}

// Tamper implements conformance.Tamperer.
func (h *sqlite) Tamper(ctx context.Context, table, id string, body []byte) error {
	return h.change(ctx, map[string]string{
		conformance.TableWorkflows: "UPDATE headers SET body = ? WHERE workflow_id = ?",
		conformance.TableStages:    "UPDATE stages SET body = ? WHERE id = ?",
		conformance.TableMessages:  "UPDATE messages SET body = ? WHERE id = ?",
	}[table], body, id)
}

// SetVersion implements conformance.VersionSetter.
func (h *sqlite) SetVersion(ctx context.Context, id string, version int64) error {
	if err := h.change(ctx, "UPDATE workflows SET version = ? WHERE id = ?", version, id); err != nil {
		return err
	}
	return h.change(ctx, "UPDATE stages SET version = ? WHERE workflow_id = ?", version, id)
}

func (h *sqlite) change(ctx context.Context, text string, args ...any) error {
	res, err := h.db.ExecContext(ctx, text, args...)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return fmt.Errorf("%s: changed %d rows: %w", text, n, err)
	}
	return nil
}
