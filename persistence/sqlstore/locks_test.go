package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"modernc.org/sqlite"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// lock takes the write lock as another process would; call the result to let go.
func lock(t *testing.T, path string) (release func()) {
	t.Helper()
	conn, err := raw(t, path).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	return func() {
		if _, err := conn.ExecContext(context.WithoutCancel(t.Context()), "ROLLBACK"); err != nil {
			t.Error(err)
		}
		_ = conn.Close()
	}
}

// While another holds the write lock, writing is ErrTransient after the timeout
// and reading goes on; then all is as before.
func TestLocked(t *testing.T) {
	path := tempFile(t)
	s := open(t, path, func(c *sqlstore.Config) { c.BusyTimeout = 10 * time.Millisecond })
	commit(t, s, creation("w"))
	release := lock(t, path)
	next := &persistence.Commit{WorkflowID: "w", Expect: 1}
	err := s.CommitBatch(t.Context(), []*persistence.Commit{next})[0]
	var cause *sqlite.Error
	if !errors.Is(err, stabilize.ErrTransient) || !errors.As(err, &cause) || cause.Code()&0xff != 5 {
		t.Errorf("locked: %v", err)
	}
	if _, err := s.Load(t.Context(), "w"); err != nil {
		t.Errorf("reading while another writes: %v", err)
	}
	release()
	commit(t, s, next)
}

// A driver with errors of another make says what they mean.
func TestErrorCode(t *testing.T) {
	path := tempFile(t)
	s := open(t, path, func(c *sqlstore.Config) {
		c.ErrorCode = func(error) (int, bool) { return 11, true }
	})
	defer lock(t, path)()
	if err := s.Push(t.Context(), message("m", "")); !errors.Is(err, stabilize.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

// A call that waits for the lock ends with its context, or with the store.
func TestLockedWaitEnds(t *testing.T) {
	path := tempFile(t)
	s := open(t, path, func(c *sqlstore.Config) { c.BusyTimeout = time.Hour })
	defer lock(t, path)()

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Push(ctx, message("m", "")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("past its deadline: %v", err)
	}

	var calls sync.WaitGroup
	for range 3 { // one waits for the lock, the others behind it
		calls.Go(func() {
			// Before or after Close began: either way the store is closed.
			if err := s.Push(t.Context(), message("m", "")); !errors.Is(err, stabilize.ErrClosed) {
				t.Errorf("push: %v", err)
			}
		})
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	calls.Wait()
	wantAll(t, s, stabilize.ErrClosed)
	if err := s.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
	select {
	case <-s.Wake():
	default:
		t.Error("whoever waits for work was not woken by Close")
	}
}

// A COMMIT whose reply was lost is ErrUnknownOutcome. Trying again does not
// apply it twice, and the error says what had happened.
func TestUnknownOutcome(t *testing.T) {
	lost := errors.New("the reply was lost")
	for name, applied := range map[string]bool{"applied": true, "not applied": false} {
		t.Run(name, func(t *testing.T) {
			d := newDriver(t)
			s := open(t, tempFile(t), d.use)
			commit(t, s, creation("w"), creation("other"))
			fail := func(tx driver.Tx) error {
				end := tx.Rollback
				if applied {
					end = tx.Commit
				}
				return errors.Join(lost, end())
			}
			d.commit.Store(&fail)
			next := &persistence.Commit{WorkflowID: "w", Expect: 1, Messages: []queue.Outgoing{message("m", "w")}}
			err := s.CommitBatch(t.Context(), []*persistence.Commit{next})[0]
			if !errors.Is(err, stabilize.ErrUnknownOutcome) || errors.Is(err, stabilize.ErrTransient) || errors.Is(err, lost) {
				t.Fatalf("got %v", err)
			}
			d.commit.Store(nil)
			err = s.CommitBatch(t.Context(), []*persistence.Commit{next})[0]
			var conflict *stabilize.ConflictError
			switch {
			case applied && (!errors.As(err, &conflict) || conflict.Actual != 2):
				t.Errorf("again: %v", err)
			case !applied && err != nil:
				t.Errorf("again: %v", err)
			}
			if got := claim(t, s, "worker", 9); len(got) != 1 {
				t.Errorf("claimed %d messages", len(got))
			}
		})
	}
}

// A COMMIT that is refused because of a lock was not applied: it is tried again.
func TestBusyCommit(t *testing.T) {
	d := newDriver(t)
	path := tempFile(t)
	s := open(t, path, d.use)
	release := lock(t, path)
	_, busy := raw(t, path).ExecContext(t.Context(), "BEGIN IMMEDIATE")
	release()
	if busy == nil {
		t.Fatal("two write locks")
	}
	refusals := 0
	refuse := func(tx driver.Tx) error {
		if refusals++; refusals <= 2 {
			return errors.Join(tx.Rollback(), busy)
		}
		return tx.Commit()
	}
	d.commit.Store(&refuse)
	commit(t, s, creation("w"))
	if refusals != 3 {
		t.Errorf("asked %d times", refusals)
	}
}

// On a new connection a lock may already be in the way of the statement that takes
// it: it is tried again too, and not until the patience is at its end.
func TestBusyOnNewConnection(t *testing.T) {
	d := newDriver(t)
	path := tempFile(t)
	db, err := sql.Open(d.name, path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxIdleConns(-1) // every call has a new connection
	s := open(t, "", func(c *sqlstore.Config) { c.Path, c.DB, c.BusyTimeout = "", db, 200*time.Millisecond })
	release := lock(t, path)
	_, busy := raw(t, path).ExecContext(t.Context(), "BEGIN IMMEDIATE")
	release()
	if busy == nil {
		t.Fatal("two write locks")
	}
	refused := false
	refuse := func(query string) error {
		if first := !refused && strings.HasPrefix(query, "DELETE FROM workers WHERE fence IS NULL"); first {
			refused = true
			return busy
		}
		return nil
	}
	d.prepare.Store(&refuse)
	commit(t, s, creation("w"))
	if !refused {
		t.Error("nothing was refused")
	}
}

// A message type that panics while it is read harms neither the handle nor the
// message.
func TestPanicInMessage(t *testing.T) {
	messages := queue.NewRegistry()
	if err := queue.Register[explosive](messages); err != nil {
		t.Fatal(err)
	}
	s := open(t, tempFile(t), func(c *sqlstore.Config) { c.Messages = messages })
	if err := s.Push(t.Context(), queue.Outgoing{ID: "m", Message: explosive{}}); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		claim(t, s, "worker", 1)
	}()
	if err := s.Push(t.Context(), message("n", "")); err != nil {
		t.Error(err)
	}
	if d, err := s.Depth(t.Context()); err != nil || d.Ready != 2 {
		t.Errorf("%+v, %v", d, err)
	}
}

type explosive struct{}

func (explosive) Kind() string                 { return "explosive" }
func (explosive) MarshalJSON() ([]byte, error) { return []byte("{}"), nil }
func (*explosive) UnmarshalJSON([]byte) error  { panic("boom") }

// A corrupt row is named, also where only the columns beside the body are wrong.
func TestCorruptRows(t *testing.T) {
	path := tempFile(t)
	s := open(t, path)
	db := raw(t, path)
	for name, text := range map[string]string{
		"unknown status": "UPDATE workflows SET status = 'ASLEEP'",
		"another status": "UPDATE workflows SET status = 'SUCCEEDED'",
		"no header":      "DELETE FROM headers",
		"empty header":   "UPDATE headers SET body = x''",
		"cut header":     "UPDATE headers SET body = substr(body, 1, 20)",
	} {
		t.Run(name, func(t *testing.T) {
			commit(t, s, creation("w"))
			run(t, db, text)
			_, load := s.Load(t.Context(), "w")
			_, summary := s.Summary(t.Context(), "w")
			_, refresh := s.Refresh(t.Context(), "w", 0)
			_, query := s.Query(t.Context(), persistence.Query{})
			for method, err := range map[string]error{"Load": load, "Summary": summary, "Refresh": refresh, "Query": query} {
				var corrupt *stabilize.CorruptError
				if !errors.As(err, &corrupt) || corrupt.Table != "workflows" || corrupt.ID != "w" {
					t.Errorf("%s: %v", method, err)
				}
			}
			if err := s.Delete(t.Context(), "w"); err != nil {
				t.Error(err)
			}
		})
	}
}

// A file that is damaged says so.
func TestDamagedFile(t *testing.T) {
	path := tempFile(t)
	s := open(t, path)
	commit(t, s, creation("w"))
	db := raw(t, path)
	db.SetMaxOpenConns(1)
	run(t, db, "PRAGMA writable_schema = ON")
	run(t, db, "UPDATE sqlite_master SET rootpage = 1 WHERE name = 'headers'")
	run(t, db, "PRAGMA writable_schema = RESET")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
	again, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path})
	if err == nil {
		defer again.Close()
		_, err = again.Load(t.Context(), "w")
	}
	if !errors.Is(err, stabilize.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}
