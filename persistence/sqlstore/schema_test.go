package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// callAll calls every method that does something, with sound arguments.
func callAll(ctx context.Context, s *sqlstore.Store) map[string]error {
	calls := map[string]error{
		"CommitBatch": s.CommitBatch(ctx, []*persistence.Commit{creation("x")})[0],
		"TryBatch":    s.TryBatch(ctx, []*persistence.Commit{creation("x")})[0],
		"Delete":      s.Delete(ctx, "x"),
		"Push":        s.Push(ctx, message("m", "")),
		"Ack":         s.Ack(ctx, queue.Receipt{ID: "m", Token: "t"}),
		"Release":     s.Release(ctx, queue.Receipt{ID: "m", Token: "t"}, start, nil),
		"Return":      s.Return(ctx, queue.Receipt{ID: "m", Token: "t"}),
		"Retire":      s.Retire(ctx, "w"),
		"ReplayDead":  s.ReplayDead(ctx, "m"),
		"DiscardDead": s.DiscardDead(ctx, "m"),
	}
	_, calls["EventLog"] = s.EventLog().Last(ctx)
	_, calls["Prune"] = s.Prune(ctx, &stabilize.Header{ID: "x", Version: 1, Status: stabilize.Succeeded})
	_, calls["Load"] = s.Load(ctx, "x")
	_, calls["Summary"] = s.Summary(ctx, "x")
	_, calls["Refresh"] = s.Refresh(ctx, "x", 1)
	_, calls["Query"] = s.Query(ctx, persistence.Query{})
	_, calls["Admissions"] = s.Admissions(ctx, "k")
	_, calls["WaitingKeys"] = s.WaitingKeys(ctx)
	_, calls["Unfinished"] = s.Unfinished(ctx, "x")
	_, calls["Claim"] = s.Claim(ctx, queue.Worker{ID: "w", TTL: 1}, queue.Room{Control: 1})
	_, calls["Heartbeat"] = s.Heartbeat(ctx, queue.Worker{ID: "w", TTL: 1})
	_, calls["Pending"] = s.Pending(ctx, "x")
	_, calls["Depth"] = s.Depth(ctx)
	_, calls["ListDead"] = s.ListDead(ctx, "", 1)
	return calls
}

func TestCallAllIsComplete(t *testing.T) {
	s := open(t, tempFile(t))
	calls := callAll(t.Context(), s)
	typ := reflect.TypeOf(s)
	for method := range typ.Methods() {
		name := method.Name
		if _, ok := calls[name]; !ok && name != "Close" && name != "Wake" && name != "MaxPayload" && name != "Clock" && name != "Batches" && name != "Within" {
			t.Errorf("callAll does not call %s", name)
		}
	}
}

func wantAll(t *testing.T, s *sqlstore.Store, want error) {
	t.Helper()
	for name, err := range callAll(t.Context(), s) {
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

func TestSchemaMissing(t *testing.T) {
	path := tempFile(t)
	db := raw(t, path)
	run(t, db, "CREATE TABLE other (id TEXT)")
	s := open(t, path, func(c *sqlstore.Config) { c.Migrate = false })
	wantAll(t, s, stabilize.ErrSchemaMissing)
	var mode string
	if err := db.QueryRowContext(t.Context(), "PRAGMA journal_mode").Scan(&mode); err != nil || mode != "delete" {
		t.Errorf("opening without migrating changed the file: journal mode %s, %v", mode, err)
	}

	// Another program migrates: the open handle works from then on.
	open(t, path)
	commit(t, s, creation("w"))

	// And if the tables vanish it says so.
	for table := range tables(t, db) {
		if table != "other" {
			run(t, db, "DROP TABLE "+table)
		}
	}
	wantAll(t, s, stabilize.ErrSchemaMissing)
}

func TestSchemaTooNew(t *testing.T) {
	path := tempFile(t)
	if err := open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	run(t, raw(t, path), "INSERT INTO migrations (name, group_id) VALUES ('9999', 9)")
	for _, migrate := range []bool{true, false} {
		_, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path, Migrate: migrate})
		if !errors.Is(err, stabilize.ErrSchemaTooNew) {
			t.Errorf("migrate %t: %v", migrate, err)
		}
	}
}

// Several migrators of one file: all succeed, each migration is applied once,
// and a further run changes nothing.
func TestMigrateTogether(t *testing.T) {
	for range 5 {
		path := tempFile(t)
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path, Migrate: true})
				if err != nil {
					t.Error(err)
					return
				}
				_ = s.Close()
			})
		}
		all.Wait()
		db := raw(t, path)
		var applied, distinct int
		err := db.QueryRowContext(t.Context(), "SELECT count(*), count(DISTINCT name) FROM migrations").Scan(&applied, &distinct)
		if err != nil || applied != distinct || applied == 0 {
			t.Fatalf("%d migrations recorded, %d different, %v", applied, distinct, err)
		}
		before := tables(t, db)
		open(t, path)
		if after := tables(t, db); !reflect.DeepEqual(before, after) {
			t.Errorf("a second run changed the schema: %v, %v", before, after)
		}
	}
}

// A migration that fails leaves nothing, and the next run finishes.
func TestMigrateFails(t *testing.T) {
	path := tempFile(t)
	db := raw(t, path)
	run(t, db, "CREATE TABLE places (mine TEXT)") // in the way of the last table
	before := tables(t, db)
	_, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path, Migrate: true})
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Fatalf("migrated over another's table, or did not name the file: %v", err)
	}
	if after := tables(t, db); !reflect.DeepEqual(before, after) {
		t.Errorf("left half of the schema: %v", after)
	}
	run(t, db, "DROP TABLE places")
	commit(t, open(t, path), creation("w"))
}

// tables returns the schema by name.
func tables(t *testing.T, db *sql.DB) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := each(t.Context(), db, func(scan func(...any) error) error {
		var name, text string
		err := scan(&name, &text)
		found[name] = text
		return err
	}, "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
	if err != nil {
		t.Fatal(err)
	}
	return found
}
