package sqlharness

import (
	"context"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
)

// What looks into the schema, past the store.

// Queries implements conformance.QueryCounter.
func (h *Postgres) Queries() int {
	h.trips.mu.Lock()
	defer h.trips.mu.Unlock()
	return h.trips.n
}

// InUse implements conformance.OpenCounter.
func (h *Postgres) InUse(context.Context) (map[string]int, error) {
	if h.cfg.InUse == nil {
		return map[string]int{}, nil
	}
	return map[string]int{
		"connections of the first handle": h.cfg.InUse(h.first), "connections of the second handle": h.cfg.InUse(h.second),
	}, nil
}

// Rows implements conformance.RowCounter.
func (h *Postgres) Rows(ctx context.Context) (map[string]int, error) {
	return h.rows(ctx, "SELECT tablename FROM pg_tables WHERE schemaname = $1", h.schema)
}

// FullScans implements conformance.Explainer, of the statement that the first
// handle sends for the query: a plan that is told to avoid reading tables from end
// to end does so only for want of an index.
func (h *Postgres) FullScans(ctx context.Context, q persistence.Query) (scans []string, err error) {
	if _, err := h.first.Query(ctx, q); err != nil {
		return nil, err
	}
	h.trips.mu.Lock()
	text, args := h.trips.text, h.trips.args
	h.trips.mu.Unlock()
	tx, err := h.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }()
	for _, setting := range []string{"enable_seqscan = off", "enable_hashjoin = off", "enable_mergejoin = off"} {
		if _, err := tx.ExecContext(ctx, "SET LOCAL "+setting); err != nil {
			return nil, err
		}
	}
	rows, err := tx.QueryContext(ctx, "EXPLAIN "+text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var step string
		if err := rows.Scan(&step); err != nil {
			return nil, err
		}
		if strings.Contains(step, "Seq Scan") {
			scans = append(scans, step)
		}
	}
	return scans, rows.Err()
}

// Unmigrated implements conformance.Migrator: a schema that nobody has made.
func (h *Postgres) Unmigrated(context.Context) (conformance.Database, error) {
	return &postgresDatabase{h, h.newSchema()}, nil
}

type postgresDatabase struct {
	h      *Postgres
	schema string
}

// Open implements conformance.Database.
func (d *postgresDatabase) Open(_ context.Context, migrate bool) (persistence.Store, error) {
	return d.h.extra(d.h.handle(func(c *sqlstore.Config) { c.Schema, c.Migrate, c.Connections = d.schema, migrate, 2 }))
}

// Schema implements conformance.Database.
func (d *postgresDatabase) Schema(ctx context.Context) (string, error) {
	var lines []string
	line := func(scan func(...any) error) error {
		var s string
		err := scan(&s)
		lines = append(lines, s)
		return err
	}
	if err := each(ctx, d.h.db, line, `SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || coalesce(' ' || column_default, '')
		FROM information_schema.columns WHERE table_schema = $1 ORDER BY 1`, d.schema); err != nil {
		return "", err
	}
	if err := each(ctx, d.h.db, line, "SELECT indexdef FROM pg_indexes WHERE schemaname = $1 ORDER BY 1", d.schema); err != nil {
		return "", err
	}
	if strings.Contains(strings.Join(lines, "\n"), "migrations.name") {
		if err := each(ctx, d.h.db, line, "SELECT 'applied: ' || name FROM "+d.schema+".migrations ORDER BY id"); err != nil {
			return "", err
		}
	}
	// It is compared with that of others.
	return strings.ReplaceAll(strings.Join(lines, "\n"), d.schema, "schema"), nil
}

// Newer implements conformance.Database.
func (d *postgresDatabase) Newer(ctx context.Context) error {
	return d.h.change(ctx, "INSERT INTO "+d.schema+".migrations (name, group_id) VALUES ('9999', 9)")
}

// Obstruct implements conformance.Database: a table of the migration is there.
func (d *postgresDatabase) Obstruct(ctx context.Context) (func(context.Context) error, error) {
	exec := func(ctx context.Context, text string) error {
		_, err := d.h.db.ExecContext(ctx, text)
		return err
	}
	return func(ctx context.Context) error { return exec(ctx, "DROP TABLE "+d.schema+".events") },
		exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+d.schema+"; CREATE TABLE "+d.schema+".events (mine TEXT)")
}

// trips counts round trips, and remembers the last statement that was sent alone.
type trips struct {
	mu   sync.Mutex
	n    int
	text string
	args []any
}

// TraceQueryStart implements pgx.QueryTracer.
func (c *trips) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	c.text, c.args = data.SQL, data.Args
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (c *trips) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TraceBatchStart implements pgx.BatchTracer.
func (c *trips) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return ctx
}

// TraceBatchQuery implements pgx.BatchTracer.
func (c *trips) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd implements pgx.BatchTracer.
func (c *trips) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// Schema is where the handles have their tables.
func (h *Postgres) Schema() string { return h.schema }
