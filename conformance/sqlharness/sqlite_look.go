package sqlharness

import (
	"context"
	"database/sql"
	"strings"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
)

// What looks into the file, past the store.

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
	return h.rows(ctx, "SELECT name FROM sqlite_master WHERE type = 'table'")
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
