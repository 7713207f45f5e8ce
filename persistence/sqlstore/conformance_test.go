package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/difftest"
	"github.com/stabilize-dev/go-stabilize/conformance/patterns"
	"github.com/stabilize-dev/go-stabilize/conformance/queuetest"
	"github.com/stabilize-dev/go-stabilize/conformance/storetest"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t, false) })
}

func TestQueue(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) conformance.QueueHarness { return conformance.AsQueue(newHarness(t, false)) })
}

func TestDifferential(t *testing.T) {
	differential(t, difftest.Seeds(20))
}

func TestDifferentialWithFaults(t *testing.T) {
	differential(t, difftest.Seeds(20), difftest.WithFaults())
}

// differential compares with the memory store, each sequence on a copy of one
// empty file: making the tables would be most of the time.
func differential(t *testing.T, opts ...difftest.Option) {
	empty := emptyFile(t)
	difftest.Run(t, func(t *testing.T) conformance.Harness {
		h := &harness{t: t, path: tempFile(t), clock: stabilize.NewManualClock(start), driver: newDriver(t)}
		if err := os.WriteFile(h.path, empty, 0o600); err != nil {
			t.Fatal(err)
		}
		h.open()
		return h
	}, opts...)
}

// emptyFile returns a database that has its tables and nothing in them.
func emptyFile(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "empty.db")
	s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path, Migrate: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestPatterns is brief, unless STABILIZE_TEST_FULL is set: the memory store's has
// more cells.
func TestPatterns(t *testing.T) {
	open := func(t testing.TB, path string) persistence.Store {
		s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path, Synchronous: sqlstore.Normal})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	file := emptyFile(t) // making the tables would be most of the time
	patterns.Run(t, func(t testing.TB) patterns.Backend {
		path := filepath.Join(t.TempDir(), "patterns.db")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		return patterns.BackendFunc(func() persistence.Store { return open(t, path) })
	}, patterns.WithDepth(patternsDepth()))
}

func patternsDepth() patterns.Depth {
	if os.Getenv("STABILIZE_TEST_FULL") != "" {
		return patterns.Normal
	}
	return patterns.Brief
}

const harnessPayload = 12 << 20

// harness opens two handles on one file, and a third way past both. The second
// handle is given a database of one connection, unless both are.
type harness struct {
	t             *testing.T
	path          string
	given         bool // the first handle is given a database too
	clock         *stabilize.ManualClock
	driver        *hooked // of the first handle
	first, second *sqlstore.Store
	db            *sql.DB
}

func newHarness(t *testing.T, given bool) *harness {
	h := &harness{t: t, path: tempFile(t), given: given, clock: stabilize.NewManualClock(start), driver: newDriver(t)}
	h.open()
	h.db = raw(t, h.path)
	return h
}

func (h *harness) open() {
	h.first = open(h.t, h.path, h.configure(h.driver.name, h.given))
	h.second = open(h.t, h.path, h.configure("sqlite", true))
}

func (h *harness) configure(driver string, given bool) func(*sqlstore.Config) {
	return func(c *sqlstore.Config) {
		c.Clock, c.MaxPayload, c.Driver = h.clock, harnessPayload, driver
		if given {
			db, err := sql.Open(driver, h.path)
			if err != nil {
				h.t.Fatal(err)
			}
			h.t.Cleanup(func() { _ = db.Close() })
			db.SetMaxOpenConns(1)
			c.DB, c.Path = db, ""
		}
	}
}

func (h *harness) Store() persistence.Store      { return h.first }
func (h *harness) Second() persistence.Store     { return h.second }
func (h *harness) Clock() *stabilize.ManualClock { return h.clock }
func (h *harness) MaxPayload() int64             { return harnessPayload }
func (h *harness) Queries() int                  { return int(h.driver.queries.Load()) }

func (h *harness) Reopen() persistence.Store {
	for _, s := range []*sqlstore.Store{h.first, h.second} {
		if err := s.Close(); err != nil {
			h.t.Fatalf("close: %v", err)
		}
	}
	h.open()
	return h.first
}

// InUse implements conformance.OpenCounter.
func (h *harness) InUse(context.Context) (map[string]int, error) {
	return map[string]int{"connections of the first handle": sqlstore.InUse(h.first), "connections of the second handle": sqlstore.InUse(h.second)}, nil
}

// Rows implements conformance.RowCounter.
func (h *harness) Rows(ctx context.Context) (map[string]int, error) {
	var tables []string
	err := each(ctx, h.db, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		if name != "workers" && !strings.HasPrefix(name, "migration") && !strings.HasPrefix(name, "sqlite_") {
			tables = append(tables, name)
		}
		return err
	}, "SELECT name FROM sqlite_master WHERE type = 'table'")
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
func (h *harness) Tamper(ctx context.Context, table, id string, body []byte) error {
	return h.change(ctx, map[string]string{
		conformance.TableWorkflows: "UPDATE headers SET body = ? WHERE workflow_id = ?",
		conformance.TableStages:    "UPDATE stages SET body = ? WHERE id = ?",
		conformance.TableMessages:  "UPDATE messages SET body = ? WHERE id = ?",
	}[table], body, id)
}

// SetVersion implements conformance.VersionSetter.
func (h *harness) SetVersion(ctx context.Context, id string, version int64) error {
	if err := h.change(ctx, "UPDATE workflows SET version = ? WHERE id = ?", version, id); err != nil {
		return err
	}
	return h.change(ctx, "UPDATE stages SET version = ? WHERE workflow_id = ?", version, id)
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

// FullScans implements conformance.Explainer.
func (h *harness) FullScans(ctx context.Context, q persistence.Query) ([]string, error) {
	text, args, err := h.first.ExplainQuery(q)
	if err != nil {
		return nil, err
	}
	return fullScans(ctx, h.db, text, args...)
}

// fullScans returns the steps of a statement's plan that read a table, or sort
// one, without an index.
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

func each(ctx context.Context, db *sql.DB, fn func(scan func(...any) error) error, text string, args ...any) error {
	rows, err := db.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
