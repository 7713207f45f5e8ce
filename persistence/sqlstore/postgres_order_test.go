package sqlstore_test

import (
	"database/sql"
	"errors"
	"net/url"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore/pgtest"
	"github.com/stabilize-dev/go-stabilize/queue"
)

// What needs a server that is set up in a way of its own.
func TestPostgresLocksOfAServer(t *testing.T) {
	own := &pgtest.Server{Local: true}
	t.Cleanup(own.Stop)
	admin := openRaw(t, own.URL(t))
	t.Run("order", func(t *testing.T) { lockOrder(t, own, admin) })
	t.Run("notifications", func(t *testing.T) { notificationLock(t, own, admin) })
}

func openRaw(t *testing.T, u *url.URL) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// Rows that a list names are locked in one order, that of the columns, in a database
// that orders text in another way too: there "w" comes before "X". So batches do not
// deadlock.
func lockOrder(t *testing.T, own *pgtest.Server, admin *sql.DB) {
	run(t, admin, "CREATE DATABASE english TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")
	u := own.URL(t)
	u.Path = "/english"
	db := openRaw(t, u)
	s := open(t, "", func(c *sqlstore.Config) { c.DSN = u.String() })
	commit(t, s, creation("w"), creation("X"))
	if err := s.Push(t.Context(), message("w", ""), message("X", "")); err != nil {
		t.Fatal(err)
	}
	held := claim(t, s, "worker", 2)
	if err := s.Push(t.Context(), message("w2", ""), message("X2", "")); err != nil {
		t.Fatal(err)
	}
	for name, of := range map[string]struct {
		batch []*persistence.Commit
		holds string // the last of them
		first string // locks the first, or finds it locked
	}{
		"changes": {[]*persistence.Commit{{WorkflowID: "w", Expect: 1}, {WorkflowID: "X", Expect: 1}},
			"SELECT FROM workflows WHERE id = 'w' FOR UPDATE", "SELECT FROM workflows WHERE id = 'X' FOR UPDATE NOWAIT"},
		"creations": {[]*persistence.Commit{creation("w2"), creation("X2")},
			"INSERT INTO workflows (id, version, removed_at, application, config_id, status, sort_at) VALUES ('w2', 1, 0, '', '', '', 0)",
			"INSERT INTO workflows (id, version, removed_at, application, config_id, status, sort_at) VALUES ('X2', 1, 0, '', '', '', 0)"},
		"handled": {[]*persistence.Commit{{Handled: []queue.Receipt{held[0].Receipt(), held[1].Receipt()}}},
			"SELECT FROM messages WHERE id = 'w' FOR UPDATE", "SELECT FROM messages WHERE id = 'X' FOR UPDATE NOWAIT"},
		"discarded": {[]*persistence.Commit{{Discard: []string{"w2", "X2"}}},
			"SELECT FROM messages WHERE id = 'w2' FOR UPDATE", "SELECT FROM messages WHERE id = 'X2' FOR UPDATE NOWAIT"},
	} {
		t.Run(name, func(t *testing.T) {
			last := begin(t, db, of.holds)
			var done sync.WaitGroup
			done.Go(func() { _ = s.CommitBatch(t.Context(), of.batch) })
			waitsFor(t, db, last)
			tx := begin(t, db, "SET LOCAL lock_timeout = 10")
			_, err := tx.ExecContext(t.Context(), of.first)
			_ = tx.Rollback()
			if pe, ok := errors.AsType[*pgconn.PgError](err); !ok || pe.Code != "55P03" {
				t.Errorf("the last is waited for before the first is locked: %v", err)
			}
			if err := last.Rollback(); err != nil {
				t.Fatal(err)
			}
			done.Wait()
		})
	}
}

// The server has one lock on its notifications, which a transaction holds from the
// beginning of its COMMIT to the end. It is waited for, however long a batch may
// wait for other locks: who holds it is no caller with a transaction that lasts.
func notificationLock(t *testing.T, own *pgtest.Server, admin *sql.DB) {
	schema := own.Schema(t)
	s := openPostgresOn(t, own, schema)
	commit(t, s, creation("w"))
	run(t, admin, "CREATE TABLE scratch (n int)")
	version := int64(1)
	for _, name := range []string{"set", "conversation", "dealt"} {
		t.Run(name, func(t *testing.T) {
			if name == "dealt" {
				newSittingOn(t, own, schema)
			}
			release := holdNotifications(t, admin)
			batch := []*persistence.Commit{{WorkflowID: "w", Expect: version, Messages: []queue.Outgoing{message("", "w")}}}
			if name == "conversation" { // for the sake of two commits of one workflow
				batch = append(batch, &persistence.Commit{WorkflowID: "w", Expect: version + 1})
			}
			version += int64(len(batch))
			if name == "dealt" {
				batch = []*persistence.Commit{starting("dealt")}
			}
			answered := make(chan struct{})
			go func() {
				defer close(answered)
				check(&shop{T: t}, name, s.TryBatch(t.Context(), batch), make([]any, len(batch))...)
			}()
			waits := 0 // for longer than TryBatch waits for other locks
			for open := true; waits == 0 && open; {
				if err := admin.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_locks
					WHERE locktype = 'object' AND NOT granted AND clock_timestamp() - waitstart > '200 ms'`).Scan(&waits); err != nil {
					t.Fatal(err)
				}
				select {
				case <-answered:
					open = false
				default:
				}
			}
			if waits == 0 {
				t.Error("nothing waited")
			}
			release()
			<-answered
		})
	}
}

// holdNotifications has a transaction hold the server's lock on its notifications: it
// has notified somebody, and its COMMIT waits for a standby that never comes.
func holdNotifications(t *testing.T, admin *sql.DB) (release func()) {
	t.Helper()
	run(t, admin, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
	run(t, admin, "SELECT pg_reload_conf()")
	for waits := 0; waits == 0; { // the server heeds it in a moment
		tx := begin(t, admin, "SELECT pg_notify('anything', '')", "INSERT INTO scratch VALUES (1)")
		ended := make(chan error, 1)
		go func() { ended <- tx.Commit() }()
		for open := true; waits == 0 && open; {
			if err := admin.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'").Scan(&waits); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-ended:
				if open = false; err != nil {
					t.Fatal(err)
				}
			default:
			}
		}
		release = func() {
			run(t, admin, "ALTER SYSTEM RESET synchronous_standby_names")
			run(t, admin, "SELECT pg_reload_conf()")
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	return release
}
