package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// begin begins a transaction past the store, rolled back with the test if it has not
// ended, and runs statements in it.
func begin(t *testing.T, db *sql.DB, texts ...string) *sql.Tx {
	t.Helper()
	tx, err := db.BeginTx(context.WithoutCancel(t.Context()), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() })
	for _, text := range texts {
		if _, err := tx.ExecContext(t.Context(), text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	return tx
}

// end commits it.
func end(t *testing.T, tx *sql.Tx) {
	t.Helper()
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

// burial is what a claim does to a message that cannot be delivered.
func burial(id string) []string {
	return []string{
		`INSERT INTO dead_letters (id, kind, lane, workflow_id, created_at, died_at, attempts, max_attempts, reason, last_error, body)
			SELECT id, kind, lane, workflow_id, created_at, 0, attempts, max_attempts, 'exhausted', '', body FROM messages WHERE id = '` + id + `'`,
		`DELETE FROM messages WHERE id = '` + id + `'`,
	}
}

// A message dies while a commit gives its id to another: the id stays in use, and the
// commit is refused, alone.
func TestPostgresIDOfADyingMessage(t *testing.T) {
	again := func(discard ...string) *persistence.Commit {
		return &persistence.Commit{WorkflowID: "w", Expect: 1, Discard: discard, Messages: []queue.Outgoing{message("m", "w")}}
	}
	for name, of := range map[string]struct {
		batch []*persistence.Commit
		late  bool // the message is stored after the commit's verdict
	}{
		"discarded":                       {batch: []*persistence.Commit{again("m"), {WorkflowID: "other", Expect: 1}}},
		"discarded, one after the other":  {batch: []*persistence.Commit{again("m"), {WorkflowID: "other", Expect: 1}, {WorkflowID: "other", Expect: 2}}},
		"stored by another":               {batch: []*persistence.Commit{again(), {WorkflowID: "other", Expect: 1}}, late: true},
		"stored, one after the other":     {batch: []*persistence.Commit{again(), {WorkflowID: "other", Expect: 1}, {WorkflowID: "other", Expect: 2}}, late: true},
		"discarded and stored by another": {batch: []*persistence.Commit{again("m"), {WorkflowID: "other", Expect: 1}}, late: true},
	} {
		t.Run(name, func(t *testing.T) {
			schema := server.Schema(t)
			s := openPostgres(t, schema)
			commit(t, s, creation("w"), creation("other"))
			db := rawPostgres(t, schema)
			db.SetMaxOpenConns(3)
			push := func() {
				if err := s.Push(t.Context(), message("m", "w")); err != nil {
					t.Fatal(err)
				}
			}
			var held, death *sql.Tx
			if of.late {
				// The verdict waits for nothing, the writes for this.
				held = begin(t, db, "SELECT FROM workflows WHERE id = 'other' FOR UPDATE")
			} else {
				push()
				death = begin(t, db, burial("m")...)
			}
			var errs []error
			var done sync.WaitGroup
			done.Go(func() { errs = s.CommitBatch(t.Context(), of.batch) })
			if of.late {
				waitsFor(t, db, held)
				push()
				death = begin(t, db, burial("m")...)
				end(t, held)
			}
			waitsFor(t, db, death)
			end(t, death)
			done.Wait()
			if !errors.Is(errs[0], stabilize.ErrExists) || errors.Join(errs[1:]...) != nil {
				t.Errorf("the commits came to: %v", errs)
			}
			pending, err := s.Pending(t.Context(), "w")
			if err != nil || len(pending) != 0 {
				t.Errorf("pending: %+v, %v", pending, err)
			}
			if dead, err := s.ListDead(t.Context(), "", 9); err != nil || len(dead) != 1 || dead[0].ID != "m" {
				t.Errorf("dead: %+v, %v", dead, err)
			}
		})
	}
}

// An id that is live and dead, as older versions could leave it, stops no claim.
func TestPostgresIDLiveAndDead(t *testing.T) {
	schema := server.Schema(t)
	s := openPostgres(t, schema)
	if err := s.Push(t.Context(), message("m", ""), message("n", "")); err != nil {
		t.Fatal(err)
	}
	db := rawPostgres(t, schema)
	run(t, db, burial("m")[0])
	run(t, db, "UPDATE messages SET attempts = max_attempts WHERE id = 'm'")
	if got := claim(t, s, "worker", 9); len(got) != 1 || got[0].ID != "n" {
		t.Errorf("claimed %+v", got)
	}
	if dead, err := s.ListDead(t.Context(), "", 9); err != nil || len(dead) != 1 || dead[0].ID != "m" || dead[0].Attempts != queue.DefaultMaxAttempts {
		t.Errorf("dead: %+v, %v", dead, err)
	}
}

// A dead letter that is replayed while it is discarded is gone.
func TestPostgresReplayOfADiscardedLetter(t *testing.T) {
	schema := server.Schema(t)
	s := openPostgres(t, schema)
	if err := s.Push(t.Context(), message("m", "")); err != nil {
		t.Fatal(err)
	}
	db := rawPostgres(t, schema)
	for _, text := range burial("m") {
		run(t, db, text)
	}
	discard := begin(t, db, "DELETE FROM dead_letters WHERE id = 'm'")
	var err error
	var done sync.WaitGroup
	done.Go(func() { err = s.ReplayDead(t.Context(), "m") })
	waitsFor(t, db, discard)
	end(t, discard)
	done.Wait()
	if !errors.Is(err, stabilize.ErrNotFound) {
		t.Errorf("replayed: %v", err)
	}
	if d, err := s.Depth(t.Context()); err != nil || d != (queue.Depth{}) {
		t.Errorf("%+v, %v", d, err)
	}
}

// A worker appears after a batch has locked the workers that it leases to, and is
// retired before the batch ends: the message is not left leased to nobody.
func TestPostgresLeaseToANewcomer(t *testing.T) {
	schema := server.Schema(t)
	s := openPostgres(t, schema)
	commit(t, s, creation("w"))
	db := rawPostgres(t, schema)
	db.SetMaxOpenConns(3)
	held := begin(t, db, "SELECT FROM workflows WHERE id = 'w' FOR UPDATE")
	blocks := begin(t, db, `INSERT INTO messages (id, kind, lane, workflow_id, due, created_at, attempts, max_attempts, last_error, body)
		VALUES ('second', 'StartWorkflow', 0, '', 0, 0, 0, 10, '', '{}')`)
	first := message("first", "w")
	first.Lease = &queue.Lease{Worker: "newcomer", Token: "token"}
	var all sync.WaitGroup
	all.Go(func() {
		c := &persistence.Commit{WorkflowID: "w", Expect: 1, Messages: []queue.Outgoing{first, message("second", "w")}}
		if err := s.CommitBatch(t.Context(), []*persistence.Commit{c})[0]; err != nil {
			t.Error(err)
		}
	})
	waitsFor(t, db, held)
	if _, err := s.Heartbeat(t.Context(), queue.Worker{ID: "newcomer", TTL: time.Minute}); err != nil {
		t.Fatal(err)
	}
	end(t, held)
	waitsFor(t, db, blocks) // first is stored, second not yet
	retired := make(chan struct{})
	all.Go(func() {
		defer close(retired)
		if err := s.Retire(t.Context(), "newcomer"); err != nil {
			t.Error(err)
		}
	})
	untilWaiting(t, db, 1, "query LIKE $1", `DELETE FROM "`+schema+"%", retired)
	if err := blocks.Rollback(); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	if got := claim(t, s, "another", 9); len(got) != 2 {
		t.Errorf("claimed %+v", got)
	}
}

// untilWaiting returns when so many of those wait for locks, or when ended is closed.
func untilWaiting(t *testing.T, db *sql.DB, want int, which, arg string, ended <-chan struct{}) {
	t.Helper()
	for n := 0; n < want; {
		select {
		case <-ended:
			return
		default:
		}
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND "+which, arg).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
}

// Two stores of different prefixes are opened at once in a schema that neither finds.
func TestPostgresTwoPrefixesInANewSchema(t *testing.T) {
	schema := server.Schema(t)
	db := rawPostgres(t, "public")
	first := begin(t, db, "CREATE SCHEMA "+schema) // what they make waits for it, and it goes
	u := server.URL(t)
	q := u.Query()
	q.Set("application_name", schema)
	u.RawQuery = q.Encode()
	var all sync.WaitGroup
	for _, prefix := range []string{"a_", "b_"} {
		all.Go(func() {
			s, err := sqlstore.Open(t.Context(), sqlstore.Config{DSN: u.String(), Schema: schema, Prefix: prefix, Migrate: true})
			if err != nil {
				t.Errorf("prefix %s: %v", prefix, err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	untilWaiting(t, db, 2, "application_name = $1", schema, nil)
	if err := first.Rollback(); err != nil {
		t.Fatal(err)
	}
	all.Wait()
}
