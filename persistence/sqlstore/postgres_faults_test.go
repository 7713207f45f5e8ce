package sqlstore_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore/pgtest"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// What does not let us in is ErrInvalid and says where, but not with what.
func TestPostgresOpenRefuses(t *testing.T) {
	const secret = "tr0ub4dor"
	admin := rawPostgres(t, "public")
	role := newRole(t, admin, secret)
	strict := strictServer(t)
	owned := server.Schema(t)
	if err := openPostgres(t, owned).Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*url.URL)
		schema string
		want   error
		says   string
	}{
		"wrong password": {func(u *url.URL) {
			*u = *strict.URL(t)
			u.User = url.UserPassword(u.User.Username(), secret)
		}, "", stabilize.ErrInvalid, "28P01"},
		"missing database":           {func(u *url.URL) { u.Path = "/no_such_database" }, "", stabilize.ErrInvalid, "3D000"},
		"may not make a schema":      {func(u *url.URL) { u.User = url.UserPassword(role, secret) }, role, stabilize.ErrInvalid, "42501"},
		"may not use the schema":     {func(u *url.URL) { u.User = url.UserPassword(role, secret) }, owned, stabilize.ErrInvalid, "42501"},
		"read-only":                  {func(u *url.URL) { u.RawQuery += "&default_transaction_read_only=on" }, "", stabilize.ErrInvalid, "only reads"},
		"nobody there":               {func(u *url.URL) { u.Host = "127.0.0.1:1" }, "", stabilize.ErrTransient, "127.0.0.1"},
		"another program's tables":   {func(*url.URL) {}, strangersSchema(t, admin), stabilize.ErrInvalid, "42P07"},
		"a port that is no number":   {func(u *url.URL) { u.RawQuery += "&port=x" }, "", stabilize.ErrInvalid, "config DSN"},
		"a mode that does not exist": {func(u *url.URL) { u.RawQuery = "sslmode=sometimes" }, "", stabilize.ErrInvalid, "config DSN"},
	} {
		t.Run(name, func(t *testing.T) {
			u := server.URL(t)
			c.change(u)
			s, err := sqlstore.Open(t.Context(), sqlstore.Config{DSN: u.String(), Schema: c.schema, Migrate: true})
			if err == nil {
				_ = s.Close()
				t.Fatal("opened")
			}
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v is not %v saying %q", err, c.want, c.says)
			}
			noSecret(t, err, secret)
			noSecret(t, err, pgtest.Password)
		})
	}
	_, err := sqlstore.Open(t.Context(), sqlstore.Config{DSN: "postgres://me:" + secret + "%zz@host/db"})
	if !errors.Is(err, stabilize.ErrInvalid) {
		t.Errorf("a URL that cannot be read: %v", err)
	}
	noSecret(t, err, secret)
}

// strangersSchema has a table of another program in the way of ours.
func strangersSchema(t *testing.T, admin *sql.DB) string {
	schema := server.Schema(t)
	run(t, admin, "CREATE SCHEMA "+schema)
	run(t, admin, "CREATE TABLE "+schema+".places (mine text)")
	return schema
}

func TestPostgresConfig(t *testing.T) {
	for name, change := range map[string]func(*sqlstore.Config){
		"hostile schema":       func(c *sqlstore.Config) { c.Schema = `x"; DROP SCHEMA public; --` },
		"schema of a digit":    func(c *sqlstore.Config) { c.Schema = "1x" },
		"upper-case schema":    func(c *sqlstore.Config) { c.Schema = "Work" },
		"hostile prefix":       func(c *sqlstore.Config) { c.Prefix = `x"` },
		"two databases":        func(c *sqlstore.Config) { c.Path = "x.db" },
		"negative connections": func(c *sqlstore.Config) { c.Connections = -1 },
		"negative timeout":     func(c *sqlstore.Config) { c.CallTimeout = -1 },
		"schema of SQLite":     func(c *sqlstore.Config) { c.DSN, c.Path, c.Schema = "", "x.db", "y" },
	} {
		cfg := sqlstore.Config{DSN: "postgres://nobody@127.0.0.1:1/none", Migrate: true}
		change(&cfg)
		if _, err := sqlstore.Open(t.Context(), cfg); !errors.Is(err, stabilize.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A schema that is missing, too new, or behind, as in a file; many migrators make
// it once.
func TestPostgresSchema(t *testing.T) {
	schema := server.Schema(t)
	db := rawPostgres(t, schema)
	unmigrated := func(c *sqlstore.Config) { c.Migrate = false }
	missing := openPostgres(t, schema, unmigrated)
	wantAll(t, missing, stabilize.ErrSchemaMissing)

	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			s, err := sqlstore.Open(t.Context(), sqlstore.Config{DSN: server.DSN(t), Schema: schema, Migrate: true})
			if err != nil {
				t.Error(err)
				return
			}
			_ = s.Close()
		})
	}
	all.Wait()
	var applied, distinct int
	err := db.QueryRowContext(t.Context(), "SELECT count(*), count(DISTINCT name) FROM migrations").Scan(&applied, &distinct)
	if err != nil || applied != distinct || applied == 0 {
		t.Fatalf("%d migrations recorded, %d different, %v", applied, distinct, err)
	}
	commit(t, missing, creation("w")) // works from then on

	run(t, db, "INSERT INTO migrations (name, group_id) VALUES ('9999', 9)")
	if _, err := sqlstore.Open(t.Context(), sqlstore.Config{DSN: server.DSN(t), Schema: schema, Migrate: true}); !errors.Is(err, stabilize.ErrSchemaTooNew) {
		t.Errorf("a newer schema: %v", err)
	}
	run(t, db, "DELETE FROM migrations")
	old := openPostgres(t, schema, unmigrated)
	wantAll(t, old, stabilize.ErrSchemaMissing)
	run(t, db, "DROP TABLE workflows, headers, stages, messages, workers, dead_letters, places CASCADE")
	wantAll(t, missing, stabilize.ErrSchemaMissing)
}

// Stores of two schemas and of two prefixes never see each other's data.
func TestPostgresSchemasAndPrefixes(t *testing.T) {
	schema := server.Schema(t)
	stores := []*sqlstore.Store{
		openPostgres(t, schema), openPostgres(t, schema, func(c *sqlstore.Config) { c.Prefix = "other_" }), openPostgres(t, server.Schema(t)),
	}
	for i, s := range stores {
		create := creation("w")
		create.Messages = append(create.Messages, message(fmt.Sprint("m", i), "w"))
		commit(t, s, create)
	}
	for i, s := range stores {
		if got := claim(t, s, "w", 9); len(got) != 1 || got[0].ID != fmt.Sprint("m", i) {
			t.Errorf("store %d claimed %v", i, got)
		}
	}
}

// A server that turns read-only while it is used, as in a failover, may get better.
func TestPostgresTurnsReadOnly(t *testing.T) {
	db, err := sql.Open("pgx", server.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	s := openPostgres(t, server.Schema(t), func(c *sqlstore.Config) { c.DSN, c.DB = "", db })
	commit(t, s, creation("w"))
	next := &persistence.Commit{WorkflowID: "w", Expect: 1}
	run(t, db, "SET default_transaction_read_only = on")
	noSecrets(t, callAll(t.Context(), s), pgtest.Password)
	var cause *pgconn.PgError
	if err := s.CommitBatch(t.Context(), []*persistence.Commit{next})[0]; !errors.Is(err, stabilize.ErrTransient) || !errors.As(err, &cause) || cause.Code != "25006" {
		t.Errorf("committing: %v", err)
	}
	if err := s.Retire(t.Context(), "w"); err != nil {
		if !errors.Is(err, stabilize.ErrTransient) {
			t.Errorf("retiring: %v", err)
		}
	}
	if _, err := s.Load(t.Context(), "w"); err != nil {
		t.Errorf("reading: %v", err)
	}
	run(t, db, "SET default_transaction_read_only = off")
	commit(t, s, next)
}

// A driver that is not pgx's is refused, whatever it can do.
func TestPostgresGivenDatabases(t *testing.T) {
	schema := server.Schema(t)
	db, err := sql.Open("pgx", server.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	given := openPostgres(t, schema, func(c *sqlstore.Config) { c.DSN, c.DB = "", db })
	commit(t, given, creation("w"))
	if err := given.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.PingContext(t.Context()); err != nil {
		t.Errorf("the database that was given: %v", err)
	}
	_ = db.Close()
	if _, err := sqlstore.Open(t.Context(), sqlstore.Config{DB: db, Schema: schema}); !errors.Is(err, stabilize.ErrClosed) {
		t.Errorf("opening on a closed database: %v", err)
	}
	if _, ok := db.Driver().(*stdlib.Driver); !ok {
		t.Errorf("the driver is %T", db.Driver())
	}
}

// link is a connection to the server that a test can cut.
type link struct {
	t      *testing.T
	listen net.Listener
	server string
	// cut says what happens to the next request that holds the text: 0 nothing, 1 it
	// is lost, 2 its answer is.
	cut  atomic.Int32
	text []byte
}

func newLink(t *testing.T) *link {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed with the test
	if err != nil {
		t.Fatal(err)
	}
	k := &link{t: t, listen: l, server: server.URL(t).Host}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { k.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		conns.Wait()
	})
	return k
}

func (k *link) serve(client net.Conn) {
	defer client.Close()
	up, err := net.Dial("tcp", k.server) //nolint:noctx // closed below
	if err != nil {
		return
	}
	defer up.Close()
	var lost atomic.Bool
	var back sync.WaitGroup
	back.Go(func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := up.Read(buf)
			if lost.Load() {
				_ = client.Close()
				return // the server has answered: it is done
			}
			if _, werr := client.Write(buf[:n]); err != nil || werr != nil {
				_ = client.Close()
				return
			}
		}
	})
	defer back.Wait()
	defer up.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if k.cut.Load() > 0 && bytes.Contains(buf[:n], k.text) {
			if k.cut.Swap(0) == 1 {
				return
			}
			lost.Store(true)
		}
		if _, werr := io.Copy(up, bytes.NewReader(buf[:n])); err != nil || werr != nil {
			return
		}
	}
}

// A commit whose reply was lost has an unknown outcome, whichever way it is sent.
// Trying again does not apply it twice, and the error says what had happened.
func TestPostgresUnknownOutcome(t *testing.T) {
	k := newLink(t)
	through := func(c *sqlstore.Config) {
		u := server.URL(t)
		u.Host = k.listen.Addr().String()
		c.DSN, c.Connections = u.String(), 1
	}
	for name, next := range map[string]*persistence.Commit{
		"set": {WorkflowID: "w", Expect: 1, Messages: []queue.Outgoing{message("m", "w")}},
		"set with a place": {WorkflowID: "w", Expect: 1, Messages: []queue.Outgoing{message("m", "w")},
			Admission: &persistence.Admission{Op: persistence.TakePlace, Key: "k", Limit: 1}},
		"conversation": {WorkflowID: "w", Expect: 1, Messages: []queue.Outgoing{message("m", "w")}},
	} {
		for cut, applied := range map[int32]bool{1: false, 2: true} {
			t.Run(fmt.Sprint(name, ", applied ", applied), func(t *testing.T) {
				s := openPostgres(t, server.Schema(t), through)
				commit(t, s, creation("w"), creation("other"))
				// Statements of the set are prepared when they are first used.
				commit(t, s, &persistence.Commit{WorkflowID: "other", Expect: 1, Messages: []queue.Outgoing{message("o", "other")}})
				batch := []*persistence.Commit{next}
				k.text = []byte("StartWorkflow")
				if name == "conversation" { // for the sake of two commits of one workflow
					k.text = []byte("commit\x00") // not "begin isolation level read committed"
					batch = append(batch, &persistence.Commit{WorkflowID: "w", Expect: 9})
				}
				k.cut.Store(cut)
				err := s.CommitBatch(t.Context(), batch)[0]
				if !errors.Is(err, stabilize.ErrUnknownOutcome) || errors.Is(err, stabilize.ErrTransient) {
					t.Fatalf("got %v", err)
				}
				noSecret(t, err, pgtest.Password)
				again := s.CommitBatch(t.Context(), []*persistence.Commit{next})[0]
				var conflict *stabilize.ConflictError
				switch {
				case applied && (!errors.As(again, &conflict) || conflict.Actual != 2):
					t.Errorf("again: %v", again)
				case !applied && again != nil:
					t.Errorf("again: %v", again)
				}
				if got := claim(t, s, "worker", 9); len(got) != 2 {
					t.Errorf("claimed %d messages", len(got))
				}
			})
		}
	}
}

// Against a server that does not answer every call ends with its context, and the
// handle goes on when the server does.
func TestPostgresFrozen(t *testing.T) {
	own := &pgtest.Server{Local: true}
	t.Cleanup(own.Stop)
	s := openPostgresOn(t, own, own.Schema(t))
	commit(t, s, creation("w"))
	thaw, err := own.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	defer thaw()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	failed := callAll(ctx, s)
	noSecrets(t, failed, pgtest.Password)
	for name, err := range failed {
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, stabilize.ErrUnknownOutcome) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Without a deadline of the caller's the store's own ends the wait.
	_, err = sqlstore.Open(t.Context(), sqlstore.Config{DSN: own.DSN(t), CallTimeout: 200 * time.Millisecond})
	if !errors.Is(err, stabilize.ErrTransient) {
		t.Errorf("opening: %v", err)
	}
	noSecret(t, err, pgtest.Password)
	thaw()
	if _, err := s.Load(t.Context(), "w"); err != nil {
		t.Error(err)
	}
	commit(t, s, creation("v"))
}

// A pooler's connections: no prepared statement is left on one.
func TestPostgresTransactionPooling(t *testing.T) {
	s := openPostgres(t, server.Schema(t), func(c *sqlstore.Config) { c.TransactionPooling, c.Connections = true, 1 })
	create := creation("w")
	create.Messages = append(create.Messages, message("m", "w"))
	commit(t, s, create)
	got := claim(t, s, "worker", 1)
	if len(got) != 1 {
		t.Fatalf("claimed %v", got)
	}
	commit(t, s, &persistence.Commit{WorkflowID: "w", Expect: 1, Handled: []queue.Receipt{got[0].Receipt()},
		Admission: &persistence.Admission{Op: persistence.TakePlace, Key: "k", Limit: 1}})
	w, err := s.Load(t.Context(), "w")
	if err != nil || w.Version != 2 {
		t.Errorf("%+v, %v", w, err)
	}
	if n, err := sqlstore.PreparedStatements(t.Context(), s); err != nil || n != 0 {
		t.Errorf("%d statements are prepared on the connection, %v", n, err)
	}
}
