package sqlharness

import (
	"context"
	"database/sql"
	"strings"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
)

// What looks into the file, past the store.

// MaxPayload implements conformance.Limiter.
func (h *SQLite) MaxPayload() int64 { return payload }

// Queries implements conformance.QueryCounter.
func (h *SQLite) Queries() int { return h.drivers[0].Queries() }

// InUse implements conformance.OpenCounter.
func (h *SQLite) InUse(context.Context) (map[string]int, error) {
	out := map[string]int{}
	for i, d := range h.drivers {
		of := [2]string{"of the first handle", "of the second handle"}[i]
		out["transactions "+of], out["cursors "+of] = d.InUse()
		if h.cfg.InUse != nil {
			out["connections "+of] = h.cfg.InUse([2]*sqlstore.Store{h.first, h.second}[i])
		}
	}
	return out, nil
}

// Rows implements conformance.RowCounter.
func (h *SQLite) Rows(ctx context.Context) (map[string]int, error) {
	var names []string
	err := each(ctx, h.db, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		if name != "workers" && !strings.HasPrefix(name, "migration") && !strings.HasPrefix(name, "sqlite_") {
			names = append(names, name)
		}
		return err
	}, "SELECT name FROM sqlite_master WHERE type = 'table'")
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
func (h *SQLite) Tamper(ctx context.Context, table, id string, body []byte) error {
	return change(ctx, h.db, map[string]string{
		conformance.TableWorkflows: "UPDATE headers SET body = ? WHERE workflow_id = ?",
		conformance.TableStages:    "UPDATE stages SET body = ? WHERE id = ?",
		conformance.TableMessages:  "UPDATE messages SET body = ? WHERE id = ?",
	}[table], body, id)
}

// SetVersion implements conformance.VersionSetter.
func (h *SQLite) SetVersion(ctx context.Context, id string, version int64) error {
	if err := change(ctx, h.db, "UPDATE workflows SET version = ? WHERE id = ?", version, id); err != nil {
		return err
	}
	return change(ctx, h.db, "UPDATE stages SET version = ? WHERE workflow_id = ?", version, id)
}

// FullScans implements conformance.Explainer: of the statement that the first
// handle sends for the query.
func (h *SQLite) FullScans(ctx context.Context, q persistence.Query) ([]string, error) {
	if _, err := h.first.Query(ctx, q); err != nil {
		return nil, err
	}
	asked := h.drivers[0].LastQuery()
	return fullScans(ctx, h.db, asked.Text, asked.Args...)
}

// fullScans returns the steps of a statement's plan in SQLite that read one of
// sqlstore's tables, or sort one, without an index.
func fullScans(ctx context.Context, db *sql.DB, text string, args ...any) (scans []string, err error) {
	err = each(ctx, db, func(scan func(...any) error) error {
		var id, parent, unused int
		var detail string
		err := scan(&id, &parent, &unused, &detail)
		if table, ok := strings.CutPrefix(detail, "SCAN "); ok && !strings.Contains(table, " INDEX ") && isTable(ctx, db, table) {
			scans = append(scans, detail)
		}
		return err
	}, "EXPLAIN QUERY PLAN "+text, args...)
	return scans, err
}

// isTable tells a table, also by the aliases in use, from a subquery.
func isTable(ctx context.Context, db *sql.DB, name string) bool {
	name, _, _ = strings.Cut(name, " ")
	if alias, ok := map[string]string{"w": "workflows", "h": "headers", "s": "stages", "m": "messages", "k": "workers"}[name]; ok {
		name = alias
	}
	var n int
	err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?", name).Scan(&n)
	return err != nil || n > 0
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
