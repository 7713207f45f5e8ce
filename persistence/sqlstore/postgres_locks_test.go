package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// A worker that is retired, or that comes back after it lapsed, while another
// transaction leases a message to it: the message is not left leased to nobody.
func TestPostgresLeaseMeetsItsEnd(t *testing.T) {
	for name, end := range map[string]func(context.Context, *sqlstore.Store) error{
		"retired": func(ctx context.Context, s *sqlstore.Store) error { return s.Retire(ctx, "worker") },
		"back after it lapsed": func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.Heartbeat(ctx, queue.Worker{ID: "worker", TTL: time.Minute})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			schema := server.Schema(t)
			clock := stabilize.NewManualClock(start)
			s := openPostgres(t, schema, onClock(clock))
			claim(t, s, "worker", 1)
			db := rawPostgres(t, schema)
			// What a commit does, up to its end.
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback() }()
			for _, text := range []string{
				"SELECT 1 FROM workers FOR KEY SHARE",
				`INSERT INTO messages (id, kind, lane, workflow_id, due, created_at, worker, lease, attempts, max_attempts, last_error, body)
					SELECT 'm', 'StartWorkflow', 0, 'w', 0, 0, fence, 'token', 1, 10, '', '{"workflow":"w"}' FROM workers`,
			} {
				if _, err := tx.ExecContext(t.Context(), text); err != nil {
					t.Fatal(err)
				}
			}
			if name != "retired" {
				clock.Advance(2 * time.Minute)
			}
			var ended sync.WaitGroup
			ended.Go(func() {
				if err := end(t.Context(), s); err != nil {
					t.Error(err)
				}
			})
			waitsFor(t, db, tx)
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			ended.Wait()
			if name == "retired" {
				if got := claim(t, s, "another", 9); len(got) != 1 || got[0].ID != "m" {
					t.Errorf("claimed %v", got)
				}
				return
			}
			held, err := s.Heartbeat(t.Context(), queue.Worker{ID: "worker", TTL: time.Minute})
			if err != nil || len(held.Held) != 1 || held.Held[0].ID != "m" {
				t.Errorf("it holds %+v, %v", held, err)
			}
		})
	}
}

// waitsFor returns when another transaction waits for that one.
func waitsFor(t *testing.T, db *sql.DB, tx *sql.Tx) {
	t.Helper()
	var pid int
	if err := tx.QueryRowContext(t.Context(), "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		t.Fatal(err)
	}
	for n := 0; n == 0; {
		if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE wait_event_type = 'Lock' AND $1::int = ANY (pg_blocking_pids(pid))`, pid).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
}

// What another transaction changes between a batch's verdict, if it has one, and its
// writes is found: the batch is judged anew, and only the commit that lost is refused.
func TestPostgresOvertaken(t *testing.T) {
	for name, of := range map[string]struct {
		change string // what it writes, and of which table
		table  string
		want   error
	}{
		"a version":         {"UPDATE workflows SET version = version + 1 WHERE id = 'w'", "workflows", stabilize.ErrConflict},
		"a workflow's end":  {"DELETE FROM workflows WHERE id = 'w'", "workflows", stabilize.ErrNotFound},
		"a lease":           {"UPDATE messages SET lease = 'another' WHERE id = 'm'", "messages", stabilize.ErrLeaseLost},
		"a message's end":   {"DELETE FROM messages WHERE id = 'm'", "messages", stabilize.ErrLeaseLost},
		"nothing after all": {"UPDATE messages SET due = due WHERE id = 'm'", "messages", nil},
	} {
		for _, trusting := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", trusting ", trusting), func(t *testing.T) {
				schema := server.Schema(t)
				s := openPostgres(t, schema)
				first := creation("w")
				first.Messages = []queue.Outgoing{message("m", "w")}
				commit(t, s, first, creation("other"))
				held := claim(t, s, "worker", 1)
				db := rawPostgres(t, schema)
				tx, err := db.BeginTx(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = tx.Rollback() }()
				if _, err := tx.ExecContext(t.Context(), of.change); err != nil {
					t.Fatal(err)
				}
				sqlstore.Trust(s, trusting)
				var errs []error
				var done sync.WaitGroup
				done.Go(func() {
					errs = s.CommitBatch(t.Context(), []*persistence.Commit{
						{WorkflowID: "w", Expect: 1, Handled: []queue.Receipt{held[0].Receipt()}}, {WorkflowID: "other", Expect: 1},
					})
				})
				waitsFor(t, db, tx)
				if err := tx.Commit(); err != nil {
					t.Fatal(err)
				}
				done.Wait()
				if !errors.Is(errs[0], of.want) || errs[1] != nil {
					t.Errorf("the commits came to: %v", errs)
				}
				if h, err := s.Summary(t.Context(), "other"); err != nil || h.Version != 2 {
					t.Errorf("the other workflow: %+v, %v", h, err)
				}
				left, err := s.Pending(t.Context(), "w")
				if err != nil || (len(left) == 1) != (name == "a lease" || of.table == "workflows") {
					t.Errorf("messages left: %+v, %v", left, err)
				}
			})
		}
	}
}

// A pool of pgx and a database of bun are used as they are and stay open.
func TestPostgresGivenPoolAndBun(t *testing.T) {
	schema := server.Schema(t)
	pool, err := pgxpool.New(t.Context(), server.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	db, err := sql.Open("pgx", server.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := openPostgres(t, schema, func(c *sqlstore.Config) { c.DSN, c.Pool = "", pool })
	create := creation("w")
	create.Messages = append(create.Messages, message("m", "w"))
	commit(t, s, create)
	other := openPostgres(t, schema, func(c *sqlstore.Config) { c.DSN, c.Bun = "", bun.NewDB(db, pgdialect.New()) })
	if got := claim(t, other, "worker", 1); len(got) != 1 {
		t.Errorf("claimed %v", got)
	}
	<-other.Wake() // it listens
	for _, s := range []*sqlstore.Store{s, other} {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := pool.Ping(t.Context()); err != nil {
		t.Errorf("the pool that was given: %v", err)
	}
	if err := db.PingContext(t.Context()); err != nil {
		t.Errorf("the database that was given: %v", err)
	}
}
