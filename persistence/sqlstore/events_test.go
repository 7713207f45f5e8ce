package sqlstore_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// told is a creation with an event.
func told(id string) *persistence.Commit {
	c := creation(id)
	c.Events = []events.Event{{Type: events.WorkflowCreated, At: start}}
	events.Stamp(c.Events, id, c.Header.CreatedAt, 1)
	return c
}

func readFeed(t testing.TB, s *sqlstore.Store, after events.Position) (workflows []string, next events.Position) {
	t.Helper()
	page, err := s.EventLog().Read(t.Context(), events.Query{After: after})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range page.Events {
		workflows = append(workflows, e.WorkflowID)
	}
	return workflows, page.Next
}

// appears reads until that many are there: other tests' transactions may hold them back.
func appears(t testing.TB, s *sqlstore.Store, n int) []string {
	t.Helper()
	for begun := time.Now(); ; {
		if got, _ := readFeed(t, s, ""); len(got) >= n || time.Since(begun) > time.Minute {
			return got
		}
	}
}

// What was committed while an older transaction was open is not seen before it ends,
// and then behind what that one wrote; what one wrote that was rolled back holds nobody.
func TestPostgresFeedWaitsForOlderTransactions(t *testing.T) {
	schema := server.Schema(t)
	s := openPostgres(t, schema)
	db := bun.NewDB(rawPostgres(t, schema), pgdialect.New())
	for _, name := range []string{"committed", "rolled back"} {
		before, position := readFeed(t, s, "")
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback() }()
		if err := s.Within(tx).CommitBatch(t.Context(), []*persistence.Commit{told("older " + name)})[0]; err != nil {
			t.Fatal(err)
		}
		commit(t, s, told("newer "+name))
		if got, _ := readFeed(t, s, position); len(got) > 0 {
			t.Errorf("%q are seen while an older transaction is open", got)
		}
		if n, err := s.EventLog().Count(t.Context(), events.Query{}); err != nil || n != int64(len(before)) {
			t.Errorf("%d events are counted, %v, want %d", n, err, len(before))
		}
		want := append(before, "newer "+name)
		if name == "committed" {
			err = tx.Commit()
			want = append(before, "older "+name, "newer "+name)
		} else {
			err = tx.Rollback()
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := appears(t, s, len(want)); !slices.Equal(got, want) {
			t.Errorf("when the older transaction is %s the log is %q, want %q", name, got, want)
		}
	}
}

// A copy of the data on a server that has not had as many transactions is readable when
// it was opened with Migrate, and a reader's position of the other server is refused.
func TestPostgresFeedOfAnotherServer(t *testing.T) {
	schema := server.Schema(t)
	s := openPostgres(t, schema)
	commit(t, s, told("a"))
	commit(t, s, told("b"))
	appears(t, s, 2)
	run(t, rawPostgres(t, schema), "UPDATE events SET tx = tx + 1000000000000")
	if got, _ := readFeed(t, s, ""); len(got) > 0 {
		t.Errorf("%q are read of transactions that were never begun", got)
	}
	page, err := s.EventLog().Read(t.Context(), events.Query{After: events.MakePosition(1_000_000_000_000, 1, 0)})
	if !errors.Is(err, stabilize.ErrInvalid) {
		t.Errorf("reading behind a position of another server gave %+v, %v", page, err)
	}
	s = openPostgres(t, schema)
	if got := appears(t, s, 2); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("after opening anew the log is %q", got)
	}
	commit(t, s, told("c"))
	if got := appears(t, s, 3); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("after a further commit the log is %q", got)
	}
}

// A database of before the log is brought up to date, with all that is in it.
func TestOlderDatabaseGetsALog(t *testing.T) {
	path, schema := tempFile(t), server.Schema(t)
	for name, of := range map[string]struct {
		open func(change ...func(*sqlstore.Config)) *sqlstore.Store
		run  func(text string)
	}{
		"sqlite": {
			func(change ...func(*sqlstore.Config)) *sqlstore.Store { return open(t, path, change...) },
			func(text string) { run(t, raw(t, path), text) },
		},
		"postgres": {
			func(change ...func(*sqlstore.Config)) *sqlstore.Store { return openPostgres(t, schema, change...) },
			func(text string) { run(t, rawPostgres(t, schema), text) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := of.open()
			commit(t, s, creation("old"))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			of.run("DROP TABLE events")
			of.run("DELETE FROM migrations WHERE name LIKE '0002%'")
			s = of.open(func(c *sqlstore.Config) { c.Migrate = false })
			if _, err := s.Load(t.Context(), "old"); !errors.Is(err, stabilize.ErrSchemaMissing) {
				t.Errorf("a database of before the log, not migrated: %v", err)
			}
			s = of.open()
			if _, err := s.Load(t.Context(), "old"); err != nil {
				t.Error(err)
			}
			commit(t, s, told("new"))
			if got := appears(t, s, 1); !slices.Equal(got, []string{"new"}) {
				t.Errorf("the log is %q", got)
			}
		})
	}
}
