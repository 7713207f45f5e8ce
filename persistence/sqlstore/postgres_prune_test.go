package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// ended stores workflows that ended an hour ago, some that are not finished, and
// some that ended just now.
func ended(t testing.TB, s *sqlstore.Store, n int) {
	t.Helper()
	for i := range n {
		for _, c := range []struct {
			kind string
			end  time.Time
		}{{"old", time.Now().Add(-time.Hour)}, {"new", time.Now()}, {"live", time.Time{}}} {
			w := workflow(fmt.Sprintf("%s%d", c.kind, i))
			w.CreatedAt, w.StartedAt = time.Now().Add(-2*time.Hour), time.Now().Add(-2*time.Hour)
			if w.EndedAt = c.end; !c.end.IsZero() {
				w.Status = stabilize.Succeeded
			}
			commit(t, s, &persistence.Commit{WorkflowID: w.ID, Header: &w.Header, Stages: w.Stages})
		}
	}
}

func listed(t testing.TB, s *sqlstore.Store) map[string]int {
	t.Helper()
	page, err := s.Query(t.Context(), persistence.Query{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for _, h := range page.Workflows {
		out[strings.TrimRight(h.ID, "0123456789")]++
	}
	return out
}

// Two engines on PostgreSQL that prune at once share the work.
func TestPostgresPrunedByTwo(t *testing.T) {
	schema := server.Schema(t)
	first, second := openPostgres(t, schema), openPostgres(t, schema)
	const n = 30
	ended(t, first, n)
	var removed [2]int
	var both sync.WaitGroup
	for i, s := range []*sqlstore.Store{first, second} {
		e, err := engine.New(s, engine.WithClock(stabilize.SystemClock{}))
		if err != nil {
			t.Fatal(err)
		}
		both.Go(func() {
			var err error
			if removed[i], err = e.Prune(t.Context(), engine.PruneRule{OlderThan: 30 * time.Minute, Batch: 4}); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if removed[0]+removed[1] != n {
		t.Errorf("two engines pruned %d and %d of %d workflows", removed[0], removed[1], n)
	}
	if got, want := listed(t, first), map[string]int{"new": n, "live": n}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("left are %v, want %v", got, want)
	}
}

// A pruning waits for no transaction that has a workflow, and leaves that alone.
func TestPostgresPruningSkipsWhatIsLocked(t *testing.T) {
	schema := server.Schema(t)
	s := openPostgres(t, schema)
	ended(t, s, 3)
	page, err := s.Query(t.Context(), persistence.Query{Statuses: []stabilize.Status{stabilize.Succeeded}})
	if err != nil {
		t.Fatal(err)
	}
	tx, err := rawPostgres(t, schema).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(t.Context(), "SELECT 1 FROM workflows WHERE id = 'old1' FOR NO KEY UPDATE"); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Prune(t.Context(), page.Workflows...); err != nil || n != 5 {
		t.Errorf("while one of 6 is locked %d are pruned, %v", n, err)
	}
	if got := listed(t, s); got["old"] != 1 || got["live"] != 3 {
		t.Errorf("left are %v", got)
	}
}

// Deleting finds the rows of a workflow by an index in every table.
func TestDeletionsUseAnIndex(t *testing.T) {
	path := tempFile(t)
	open(t, path)
	schema := server.Schema(t)
	openPostgres(t, schema)
	inPostgres := rawPostgres(t, schema)
	inPostgres.SetMaxOpenConns(1)
	run(t, inPostgres, "SET enable_seqscan = off")
	for table, column := range map[string]string{
		"workflows": "id", "headers": "workflow_id", "stages": "workflow_id", "messages": "id",
		"dead_letters": "workflow_id", "places": "workflow_id", "events": "workflow_id",
	} {
		text := fmt.Sprintf("DELETE FROM %s WHERE %s IN ('a', 'b')", table, column)
		for _, on := range []struct {
			db      *sql.DB
			explain string
			scan    string
		}{{raw(t, path), "EXPLAIN QUERY PLAN ", "SCAN"}, {inPostgres, "EXPLAIN ", "Seq Scan"}} {
			plan := explained(t, on.db, on.explain+text)
			if plan == "" || strings.Contains(plan, on.scan) {
				t.Errorf("%s: %s", text, plan)
			}
		}
	}
}

// explained returns the last column of each row.
func explained(t testing.TB, db *sql.DB, text string) string {
	t.Helper()
	rows, err := db.QueryContext(context.WithoutCancel(t.Context()), text)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var plan []string
	for rows.Next() {
		row := make([]any, len(columns))
		for i := range row {
			row[i] = new(string)
		}
		if err := rows.Scan(row...); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, *row[len(row)-1].(*string))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(plan, "; ")
}

// A workflow that another process creates while it is deleted is whole or not there at
// all: the deletion's first statement did not see it, those after did.
func TestPostgresDeletedWhileItIsCreated(t *testing.T) {
	schema := server.Schema(t)
	s := openPostgres(t, schema)
	commit(t, s, creation("like this"))
	db := rawPostgres(t, schema)
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	for _, text := range []string{
		`INSERT INTO workflows (id, version, removed_at, application, config_id, status, sort_at, created_at)
			SELECT 'w', version, removed_at, application, config_id, status, sort_at, created_at FROM workflows`,
		`INSERT INTO headers (workflow_id, body) SELECT 'w', body FROM headers`,
		`LOCK TABLE headers IN SHARE ROW EXCLUSIVE MODE`, // the deletion stops in its midst
	} {
		if _, err := tx.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	var deleted error
	var done sync.WaitGroup
	done.Go(func() { deleted = s.Delete(t.Context(), "w") })
	waitsFor(t, db, tx)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	done.Wait()
	if deleted != nil {
		t.Fatal(deleted)
	}
	if h, err := s.Summary(t.Context(), "w"); !errors.Is(err, stabilize.ErrNotFound) {
		t.Errorf("left of it: %+v, %v", h, err)
	}
}
