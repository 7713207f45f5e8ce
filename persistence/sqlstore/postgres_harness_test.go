package sqlstore_test

import (
	"context"
	"database/sql"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/difftest"
	"github.com/stabilize-dev/go-stabilize/conformance/patterns"
	"github.com/stabilize-dev/go-stabilize/conformance/queuetest"
	"github.com/stabilize-dev/go-stabilize/conformance/storetest"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore/pgtest"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// server is the PostgreSQL of all tests of this package. TestMain stops it.
var server pgtest.Server

func TestPostgresStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) conformance.Harness { return newPostgresHarness(t) })
}

func TestPostgresQueue(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) conformance.QueueHarness { return conformance.AsQueue(newPostgresHarness(t)) })
}

func TestPostgresDifferential(t *testing.T) {
	difftest.Run(t, func(t *testing.T) conformance.Harness { return newPostgresHarness(t) }, difftest.Seeds(20))
}

func TestPostgresDifferentialWithFaults(t *testing.T) {
	difftest.Run(t, func(t *testing.T) conformance.Harness { return newPostgresHarness(t) }, difftest.Seeds(20), difftest.WithFaults())
}

// TestPostgresPatterns is as brief as TestPatterns.
func TestPostgresPatterns(t *testing.T) {
	dsn := server.DSN(t) // started out here: in there time stands still while somebody waits for the server
	schemas := newSchemaPool(t, 8)
	patterns.Run(t, func(t testing.TB) patterns.Backend {
		config, err := pgx.ParseConfig(dsn)
		if err != nil {
			t.Fatal(err)
		}
		db := stdlib.OpenDB(*config)
		db.SetMaxIdleConns(4)
		schema := schemas.get(t)
		t.Cleanup(func() {
			schemas.put(t, db, schema)
			_ = db.Close()
		})
		return patterns.BackendFunc(func() persistence.Store {
			s, err := sqlstore.Open(t.Context(), sqlstore.Config{DB: db, Schema: schema, NoListen: true, Clock: stabilize.SystemClock{}})
			if err != nil {
				t.Fatal(err)
			}
			return s
		})
	}, patterns.WithDepth(patternsDepth()))
}

// schemaPool has schemas with empty tables: making and dropping them would be most
// of the time.
type schemaPool struct {
	mu   sync.Mutex
	free []string
}

func newSchemaPool(t *testing.T, size int) *schemaPool {
	p := &schemaPool{}
	for range size {
		schema := server.Schema(t)
		if err := openPostgres(t, schema).Close(); err != nil {
			t.Fatal(err)
		}
		p.free = append(p.free, schema)
	}
	return p
}

func (p *schemaPool) get(t testing.TB) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.free)
	if n == 0 {
		t.Fatal("more backends at once than schemas were made")
	}
	schema := p.free[n-1]
	p.free = p.free[:n-1]
	return schema
}

func (p *schemaPool) put(t testing.TB, db *sql.DB, schema string) {
	var text strings.Builder
	for _, table := range []string{"workflows", "headers", "stages", "messages", "dead_letters", "places", "workers"} {
		text.WriteString("DELETE FROM " + schema + "." + table + ";")
	}
	if _, err := db.ExecContext(context.WithoutCancel(t.Context()), text.String(), pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Error(err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, schema)
}

// openPostgres opens a store on a schema, with a clock of its own, and closes it at
// the end.
func openPostgres(t testing.TB, schema string, change ...func(*sqlstore.Config)) *sqlstore.Store {
	t.Helper()
	return openPostgresOn(t, &server, schema, change...)
}

func openPostgresOn(t testing.TB, on *pgtest.Server, schema string, change ...func(*sqlstore.Config)) *sqlstore.Store {
	t.Helper()
	return open(t, "", append([]func(*sqlstore.Config){func(c *sqlstore.Config) {
		c.DSN, c.Schema = on.DSN(t), schema
	}}, change...)...)
}

// rawPostgres opens the schema past the store.
func rawPostgres(t testing.TB, schema string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", searching(server.URL(t), schema))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(2)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// searching is a data source name whose search path is the schema.
func searching(u *url.URL, schema string) string {
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}

// postgresHarness opens two handles on one schema, and a third way past both. The
// first is given a database whose round trips are counted, the second opens one of
// one connection.
type postgresHarness struct {
	harness

	schema string
	trips  tripCounter
}

func newPostgresHarness(t *testing.T) *postgresHarness {
	h := &postgresHarness{schema: server.Schema(t)}
	h.t, h.clock = t, stabilize.NewManualClock(start)
	h.open()
	h.db = rawPostgres(t, h.schema)
	return h
}

func (h *postgresHarness) open() {
	counted, err := pgx.ParseConfig(server.DSN(h.t))
	if err != nil {
		h.t.Fatal(err)
	}
	counted.Tracer = &h.trips
	h.first = openPostgres(h.t, h.schema, func(c *sqlstore.Config) {
		c.Clock, c.MaxPayload = h.clock, harnessPayload
		c.DSN, c.DB = "", stdlib.OpenDB(*counted)
		c.DB.SetMaxOpenConns(8)
		c.DB.SetMaxIdleConns(8)
		h.t.Cleanup(func() { _ = c.DB.Close() })
	})
	h.second = openPostgres(h.t, h.schema, func(c *sqlstore.Config) {
		c.Clock, c.MaxPayload, c.Connections, c.Migrate = h.clock, harnessPayload, 1, false
	})
}

func (h *postgresHarness) Queries() int { return int(h.trips.n.Load()) }

func (h *postgresHarness) Reopen() persistence.Store {
	for _, s := range []*sqlstore.Store{h.first, h.second} {
		if err := s.Close(); err != nil {
			h.t.Fatalf("close: %v", err)
		}
	}
	h.open()
	return h.first
}

// Rows implements conformance.RowCounter.
func (h *postgresHarness) Rows(ctx context.Context) (map[string]int, error) {
	var tables []string
	err := each(ctx, h.db, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		if name != "workers" && !strings.HasPrefix(name, "migration") {
			tables = append(tables, name)
		}
		return err
	}, "SELECT tablename FROM pg_tables WHERE schemaname = $1", h.schema)
	rows := map[string]int{}
	for _, name := range tables {
		var n int
		if err := h.db.QueryRowContext(ctx, `SELECT count(*) FROM "`+name+`"`).Scan(&n); err != nil {
			return nil, err
		}
		rows[name] = n
	}
	return rows, err
}

// Tamper implements conformance.Tamperer.
func (h *postgresHarness) Tamper(ctx context.Context, table, id string, body []byte) error {
	return h.change(ctx, map[string]string{
		conformance.TableWorkflows: "UPDATE headers SET body = $1 WHERE workflow_id = $2",
		conformance.TableStages:    "UPDATE stages SET body = $1 WHERE id = $2",
		conformance.TableMessages:  "UPDATE messages SET body = $1 WHERE id = $2",
	}[table], body, id)
}

// SetVersion implements conformance.VersionSetter.
func (h *postgresHarness) SetVersion(ctx context.Context, id string, version int64) error {
	if err := h.change(ctx, "UPDATE workflows SET version = $1 WHERE id = $2", version, id); err != nil {
		return err
	}
	return h.change(ctx, "UPDATE stages SET version = $1 WHERE workflow_id = $2", version, id)
}

// FullScans implements conformance.Explainer: a plan that is told to avoid reading
// tables from end to end does so only for want of an index.
func (h *postgresHarness) FullScans(ctx context.Context, q persistence.Query) (scans []string, err error) {
	text, args, err := h.first.ExplainQuery(q)
	if err != nil {
		return nil, err
	}
	return postgresScans(ctx, h.db, text, args...)
}

// postgresScans returns the steps of a statement's plan that read a table without
// an index, or sort it.
func postgresScans(ctx context.Context, db *sql.DB, text string, args ...any) (scans []string, err error) {
	tx, err := db.BeginTx(ctx, nil)
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

// tripCounter counts round trips.
type tripCounter struct{ n atomic.Int64 }

func (c *tripCounter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.n.Add(1)
	return ctx
}
func (c *tripCounter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (c *tripCounter) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	c.n.Add(1)
	return ctx
}
func (c *tripCounter) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (c *tripCounter) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}
