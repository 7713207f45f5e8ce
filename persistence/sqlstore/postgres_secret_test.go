package sqlstore_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore/pgtest"
	"github.com/stabilize-dev/go-stabilize/persistence/stores"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// noSecret fails if an error holds the password, as it is or as a URL writes it, at
// any depth and in any way to print it.
func noSecret(t testing.TB, err error, password string) {
	t.Helper()
	if err == nil {
		return
	}
	noSecretIn(t, fmt.Sprintf("%v %+v %#v %q", err, err, err, err), password)
	switch e := err.(type) { //nolint:errorlint // each is looked at
	case interface{ Unwrap() error }:
		noSecret(t, e.Unwrap(), password)
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			noSecret(t, err, password)
		}
	}
}

func noSecrets(t testing.TB, errs map[string]error, password string) {
	t.Helper()
	for _, err := range errs {
		noSecret(t, err, password)
	}
}

func noSecretIn(t testing.TB, text, password string) {
	t.Helper()
	quoted := fmt.Sprintf("%q", password)
	for _, form := range []string{password, url.QueryEscape(password), url.PathEscape(password), url.UserPassword("", password).String()[1:], quoted[1 : len(quoted)-1]} {
		if strings.Contains(text, form) {
			t.Errorf("the password %q is in: %s", password, text)
		}
	}
}

// newRole makes a user that may log in.
func newRole(t *testing.T, admin *sql.DB, password string) string {
	t.Helper()
	role := "role_" + server.Schema(t)
	run(t, admin, "CREATE ROLE "+role+" LOGIN PASSWORD '"+password+"'")
	t.Cleanup(func() {
		run(t, admin, "DROP OWNED BY "+role)
		run(t, admin, "DROP ROLE "+role)
	})
	return role
}

// strictServer returns one that asks for a password: not every server does that the
// environment names.
func strictServer(t *testing.T) *pgtest.Server {
	t.Helper()
	u := server.URL(t)
	u.User = url.UserPassword(u.User.Username(), "surely not this")
	conn, err := pgx.Connect(t.Context(), u.String())
	if err != nil {
		return &server
	}
	_ = conn.Close(t.Context())
	own := &pgtest.Server{Local: true}
	t.Cleanup(own.Stop)
	return own
}

// Whatever the password is and whatever is wrong with the data source name or the
// way to the server, the password is in no error.
func TestPostgresKeepsPasswords(t *testing.T) {
	strict := strictServer(t)
	// Long enough not to be part of a text by chance.
	passwords := rapid.StringOfN(rapid.RuneFrom([]rune("aZ09 %:/?#[]@!$&'()*+,;=\"\\\u00fc\u4e16\n\t-_.~|^<>{}`")), 8, 24, -1)
	for seed := range 12 {
		password := "pw" + passwords.Example(seed)
		u := *strict.URL(t)
		u.User = url.UserPassword(u.User.Username(), password)
		dsn := func(change func(u *url.URL)) string {
			u := u
			change(&u)
			return u.String()
		}
		add := func(option string) string { return dsn(func(u *url.URL) { u.RawQuery += "&" + option }) }
		keywords := func(host string) string {
			return "host=" + host + " port=1 user=me dbname=db sslmode=disable password='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password) + "'"
		}
		raw := "postgres://me:" + password + "@127.0.0.1:1/db?sslmode=disable" // as somebody may write it
		for _, dsn := range []string{
			u.String(), add("schema=x"), add("pooling=transaction"), add("port=x"), add("sslmode=sometimes"), add("connect_timeout=x"),
			add("sslrootcert=/nowhere"), add("pooling=x"), add("connections=x"), add("schema=%22"), add("a;b"), add("%zz"),
			dsn(func(u *url.URL) { u.Host = "127.0.0.1:1" }), dsn(func(u *url.URL) { u.Host = "127.0.0.1:x" }),
			dsn(func(u *url.URL) { u.Path = "/no_such_database" }), dsn(func(u *url.URL) { u.Scheme = "mysql" }),
			dsn(func(u *url.URL) { u.Scheme = "sqlite" }),
			raw, raw + "&pooling=x", raw + "%zz", strings.Replace(raw, "postgres:", "postgresql:", 1), strings.TrimPrefix(raw, "postgres:"),
			keywords("127.0.0.1"), keywords("127.0.0.1") + " sslmode=sometimes", keywords("127.0.0.1") + " = x", "password=" + password + " host=127.0.0.1 port=1",
		} {
			s, err := stores.DSN(dsn)(t.Context(), persistence.Settings{})
			if err == nil {
				_ = s.Close()
				t.Fatalf("opened %q", dsn)
			}
			noSecret(t, err, password)
			direct, err := sqlstore.Open(t.Context(), sqlstore.Config{DSN: dsn, Schema: "x"})
			if err == nil {
				_ = direct.Close()
				t.Fatalf("opened %q", dsn)
			}
			noSecret(t, err, password)
		}
	}
}

// An engine goes on when its server was gone, and what it says of that meanwhile does
// not hold the password.
func TestPostgresEngineLogsNoPassword(t *testing.T) {
	own := &pgtest.Server{Local: true}
	t.Cleanup(own.Stop)
	u := own.URL(t)
	q := u.Query()
	q.Set("schema", own.Schema(t))
	u.RawQuery = q.Encode()
	log := &logBuffer{written: make(chan struct{}, 1)}
	eng, err := engine.Open(t.Context(), stores.DSN(u.String()), engine.WithLogger(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	if err != nil {
		t.Fatal(err)
	}
	begun, proceed := make(chan struct{}), make(chan struct{})
	if err := eng.RegisterTask("wait", stabilize.Func(func(context.Context, struct{}) (string, error) {
		select {
		case begun <- struct{}{}:
		default:
		}
		<-proceed
		return "done", nil
	})); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := eng.Run(t.Context()); err != nil {
			t.Error(err)
		}
	})
	id, err := eng.Start(t.Context(), stabilize.NewWorkflow("app", "waits").Add(stabilize.NewStage("s").Do("wait"), stabilize.NewStage("t").After("s").Do("wait")))
	if err != nil {
		t.Fatal(err)
	}
	<-begun
	if err := own.Kill(); err != nil {
		t.Fatal(err)
	}
	close(proceed)
	<-log.written
	_, err = eng.Start(t.Context(), stabilize.NewWorkflow("app", "refused").Add(stabilize.NewStage("s").Do("wait")))
	if !errors.Is(err, stabilize.ErrTransient) && !errors.Is(err, stabilize.ErrUnknownOutcome) {
		t.Errorf("starting without a server: %v", err)
	}
	noSecret(t, err, pgtest.Password)
	if err := own.Start(); err != nil {
		t.Fatal(err)
	}
	w, err := eng.Wait(t.Context(), id)
	for errors.Is(err, stabilize.ErrTransient) {
		w, err = eng.Wait(t.Context(), id)
	}
	if err != nil || w.Status != stabilize.Succeeded {
		t.Errorf("it ended %v, %v", w, err)
	}
	if err := eng.Close(); err != nil {
		t.Error(err)
	}
	running.Wait()
	log.mu.Lock()
	defer log.mu.Unlock()
	noSecretIn(t, log.text.String(), pgtest.Password)
}

type logBuffer struct {
	mu      sync.Mutex
	text    bytes.Buffer
	written chan struct{}
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if bytes.Contains(p, []byte("SQLSTATE")) || bytes.Contains(p, []byte("sqlstore")) {
		select {
		case l.written <- struct{}{}:
		default:
		}
	}
	return l.text.Write(p)
}
