package sqlstore_test

import (
	"context"
	"database/sql"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/controltest"
	"github.com/stabilize-dev/go-stabilize/conformance/difftest"
	"github.com/stabilize-dev/go-stabilize/conformance/eventtest"
	"github.com/stabilize-dev/go-stabilize/conformance/patterns"
	"github.com/stabilize-dev/go-stabilize/conformance/queuetest"
	"github.com/stabilize-dev/go-stabilize/conformance/sqlharness"
	"github.com/stabilize-dev/go-stabilize/conformance/storetest"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore/pgtest"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// server is the PostgreSQL of all tests of this package. TestMain stops it.
var server pgtest.Server

func TestPostgresStore(t *testing.T) { storetest.Run(t, newPostgresHarness) }

func TestPostgresEvents(t *testing.T) { eventtest.Run(t, newPostgresHarness) }

func TestPostgresQueue(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) conformance.QueueHarness { return conformance.AsQueue(newPostgresHarness(t)) })
}

func TestPostgresControl(t *testing.T) { controltest.Run(t, newPostgresHarness) }

// TestPostgresDifferential has one connection for each handle.
func TestPostgresDifferential(t *testing.T) {
	difftest.Run(t, func(t *testing.T) conformance.Harness { return newPostgresHarnessOf(t, 1) })
}

func newPostgresHarness(t *testing.T) conformance.Harness { return newPostgresHarnessOf(t, 0) }

func newPostgresHarnessOf(t *testing.T, connections int) conformance.Harness {
	return sqlharness.NewPostgres(t, sqlharness.PostgresConfig{DSN: server.DSN(t), Connections: connections, InUse: sqlstore.InUse})
}

// TestPostgresPatterns runs each scenario once, unless STABILIZE_TEST_FULL is set:
// then with crashes and shuffled messages, as TestPatterns.
func TestPostgresPatterns(t *testing.T) {
	dsn := server.DSN(t) // started out here: in there time stands still while somebody waits for the server
	schemas := newSchemaPool(t, 8)
	var depth []conformance.Option
	if os.Getenv("STABILIZE_TEST_FULL") != "" {
		depth = append(depth, patterns.WithDepth(patterns.Brief))
	}
	patterns.Run(t, func(t *testing.T) conformance.Harness { return newPatternsHarness(t, dsn, schemas) }, depth...)
}

// patternsHarness has its handles on one database, in a schema of a pool.
type patternsHarness struct {
	t             *testing.T
	db            *sql.DB
	schema        string
	clock         *stabilize.ManualClock
	first, second persistence.Store
}

func newPatternsHarness(t *testing.T, dsn string, schemas *schemaPool) *patternsHarness {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	h := &patternsHarness{t: t, db: stdlib.OpenDB(*config), schema: schemas.get(t), clock: stabilize.NewManualClock(start)}
	h.db.SetMaxIdleConns(4)
	t.Cleanup(func() {
		_, _ = h.first.Close(), h.second.Close() // closing again is no error
		schemas.put(t, h.db, h.schema)
		_ = h.db.Close()
	})
	h.first, h.second = h.Open(), h.Open()
	return h
}

func (h *patternsHarness) Store() persistence.Store      { return h.first }
func (h *patternsHarness) Second() persistence.Store     { return h.second }
func (h *patternsHarness) Clock() *stabilize.ManualClock { return h.clock }

func (h *patternsHarness) Reopen() persistence.Store {
	_, _ = h.first.Close(), h.second.Close()
	h.first, h.second = h.Open(), h.Open()
	return h.first
}

// Open implements patterns.Opener.
func (h *patternsHarness) Open() persistence.Store {
	s, err := sqlstore.Open(h.t.Context(), sqlstore.Config{DB: h.db, Schema: h.schema, NoListen: true, Clock: h.clock})
	if err != nil {
		h.t.Fatal(err)
	}
	return s
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
	for _, table := range []string{"workflows", "headers", "stages", "messages", "dead_letters", "places", "events", "workers"} {
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
	return rawPostgresOn(t, &server, schema)
}

func rawPostgresOn(t testing.TB, on *pgtest.Server, schema string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", searching(on.URL(t), schema))
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
