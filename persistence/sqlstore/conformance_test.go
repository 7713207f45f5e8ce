package sqlstore_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/controltest"
	"github.com/stabilize-dev/go-stabilize/conformance/difftest"
	"github.com/stabilize-dev/go-stabilize/conformance/eventtest"
	"github.com/stabilize-dev/go-stabilize/conformance/patterns"
	"github.com/stabilize-dev/go-stabilize/conformance/queuetest"
	"github.com/stabilize-dev/go-stabilize/conformance/sqlharness"
	"github.com/stabilize-dev/go-stabilize/conformance/storetest"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t, false) })
}

func TestEvents(t *testing.T) {
	eventtest.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t, false) })
}

func TestQueue(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) conformance.QueueHarness { return conformance.AsQueue(newHarness(t, false)) })
}

func TestControl(t *testing.T) {
	controltest.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t, false) })
}

func TestDifferential(t *testing.T) { difftest.Run(t, copies(t)) }

// copies has each harness on a copy of one empty file: making the tables would be
// most of the time.
func copies(t *testing.T) func(t *testing.T) conformance.Harness {
	empty := emptyFile(t)
	return func(t *testing.T) conformance.Harness {
		folder := t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, sqlharness.SQLiteFile), empty, 0o600); err != nil {
			t.Fatal(err)
		}
		return sqlharness.NewSQLite(t, sqlharness.SQLiteConfig{Folder: folder, Synchronous: sqlstore.Normal, GivenSecond: true, InUse: sqlstore.InUse})
	}
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
	patterns.Run(t, copies(t), patterns.WithDepth(patternsDepth()))
}

func patternsDepth() patterns.Depth {
	if os.Getenv("STABILIZE_TEST_FULL") != "" {
		return patterns.Normal
	}
	return patterns.Brief
}

// newHarness makes a harness whose second handle is given a database of one
// connection, or both are.
func newHarness(t testing.TB, both bool) *sqlharness.SQLite {
	return sqlharness.NewSQLite(t, sqlharness.SQLiteConfig{Folder: t.TempDir(), GivenFirst: both, GivenSecond: true, InUse: sqlstore.InUse})
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
