package sqlstore_test

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// listener counts what is told in a channel.
type listener struct {
	conn *pgx.Conn
	end  string // a channel where nobody else listens
}

func newListener(t *testing.T, channel string) *listener {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	l := &listener{conn: conn, end: "end_" + strings.ToLower(rand.Text())}
	for _, channel := range []string{channel, l.end} {
		if _, err := conn.Exec(t.Context(), "LISTEN "+channel); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// told returns how often since the last call.
func (l *listener) told(t *testing.T) (n int) {
	t.Helper()
	if _, err := l.conn.Exec(t.Context(), "SELECT pg_notify($1, '')", l.end); err != nil {
		t.Fatal(err)
	}
	for ; ; n++ {
		got, err := l.conn.WaitForNotification(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got.Channel == l.end {
			return n
		}
	}
}

// What another process stores wakes whoever waits, and one's own does not come twice.
func TestPostgresNotifications(t *testing.T) {
	schema := server.Schema(t)
	s, other := openPostgres(t, schema), openPostgres(t, schema)
	wake := s.Wake()
	<-wake // it listens
	for range 3 {
		commit(t, other, &persistence.Commit{Messages: []queue.Outgoing{message("", "w"), message("", "w")}})
		<-wake
	}
	deaf := openPostgres(t, schema, func(c *sqlstore.Config) { c.NoListen = true })
	commit(t, other, &persistence.Commit{Messages: []queue.Outgoing{message("", "w")}})
	select {
	case <-deaf.Wake():
		t.Error("a store that does not listen was woken")
	default:
	}
}

// Whatever makes messages claimable tells other processes, once for a call, and what
// does not tells nobody.
func TestPostgresNotifiesOnce(t *testing.T) {
	schema := server.Schema(t)
	clock := stabilize.NewManualClock(start)
	s := openPostgres(t, schema, onClock(clock))
	listener := newListener(t, sqlstore.Channel(s))
	told := func(doing string, want int, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", doing, err)
		}
		if n := listener.told(t); n != want {
			t.Errorf("%s notified %d times, not %d", doing, n, want)
		}
	}
	db := rawPostgres(t, schema)
	push := func(ids ...string) error {
		var msgs []queue.Outgoing
		for _, id := range ids {
			msgs = append(msgs, message(id, "w"))
		}
		return s.Push(t.Context(), msgs...)
	}
	take := func(n int) []queue.Delivery {
		t.Helper()
		got := claim(t, s, "worker", n)
		if len(got) != n {
			t.Fatalf("claimed %+v", got)
		}
		return got
	}
	told("a push", 1, push("a", "b", "c"))
	told("a delayed push", 0, s.Push(t.Context(), queue.Outgoing{ID: "later", Message: queue.StartWorkflow{OfWorkflow: queue.ToWorkflow("w")}, At: start.Add(time.Hour)}))
	held := take(3)
	told("a claim", 0, nil)
	told("a release for later", 0, s.Release(t.Context(), held[0].Receipt(), start.Add(time.Hour), nil))
	told("a release", 1, s.Release(t.Context(), held[1].Receipt(), time.Time{}, errors.New("not now")))
	told("a return", 1, s.Return(t.Context(), held[2].Receipt()))
	if err := s.Return(t.Context(), held[2].Receipt()); !errors.Is(err, stabilize.ErrLeaseLost) {
		t.Fatal(err)
	}
	told("a second return", 0, nil)
	take(2)
	told("a retirement", 1, s.Retire(t.Context(), "worker"))
	told("a second retirement", 0, s.Retire(t.Context(), "worker"))
	if _, err := s.Heartbeat(t.Context(), queue.Worker{ID: "idle", TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	told("the retirement of an idle worker", 0, s.Retire(t.Context(), "idle"))
	take(2)
	clock.Advance(2 * time.Minute)
	_, err := s.Claim(t.Context(), queue.Worker{ID: "another", TTL: time.Hour}, queue.Room{})
	told("a claim that frees what a silent worker held", 1, err)
	run(t, db, "UPDATE messages SET attempts = max_attempts WHERE id IN ('b', 'c')")
	_, err = s.Claim(t.Context(), queue.Worker{ID: "another", TTL: time.Hour}, queue.Room{})
	told("a claim that buries", 1, err) // it tells the workflow
	run(t, db, "DELETE FROM messages WHERE id <> 'a'")
	run(t, db, "UPDATE messages SET due = 0, body = 'x' WHERE id = 'a'")
	_, err = s.Claim(t.Context(), queue.Worker{ID: "another", TTL: time.Hour}, queue.Room{Control: 1})
	told("a claim that buries what cannot be read", 1, err)
	told("a replay", 1, s.ReplayDead(t.Context(), "b"))
	told("a discard", 0, s.DiscardDead(t.Context(), "c"))
	for _, err := range s.CommitBatch(t.Context(), []*persistence.Commit{ // one after the other
		creation("w"), {WorkflowID: "w", Expect: 1, Messages: []queue.Outgoing{message("", "w"), message("", "w")}},
	}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	told("a batch", 1, nil)
}

// A pool that asks for a password before each connection is asked for the one that
// listens, each time it is made.
func TestPostgresListensAsThePoolConnects(t *testing.T) {
	config, err := pgxpool.ParseConfig(server.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	password := config.ConnConfig.Password
	config.ConnConfig.Password = "expired"
	var asked atomic.Int32
	name := server.Schema(t)
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		if asked.Add(1) == 2 { // the first is of Open
			return errors.New("the provider of passwords is away")
		}
		c.Password = password
		c.RuntimeParams["application_name"] = name
		return nil
	}
	config.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	s := openPostgres(t, server.Schema(t), func(c *sqlstore.Config) { c.DSN, c.Pool = "", pool })
	wake := s.Wake()
	<-wake // it listens, after one refusal
	db := rawPostgres(t, "public")
	for range 2 {
		var n, pid int
		if err := db.QueryRowContext(t.Context(), "SELECT count(*), coalesce(max(pid), 0) FROM pg_stat_activity WHERE application_name = $1 AND query = 'SELECT 1'", name).
			Scan(&n, &pid); err != nil || n != 1 {
			t.Fatalf("%d connections listen that were made as the pool's are, not one, %v", n, err)
		}
		run(t, db, "SELECT pg_terminate_backend($1)", pid)
		for alive := true; alive; {
			if err := db.QueryRowContext(t.Context(), "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", pid).Scan(&alive); err != nil {
				t.Fatal(err)
			}
		}
		<-wake // again
	}
}

// A database that we were given, whose connections have another password by now.
func TestPostgresListensWithTheNewestPassword(t *testing.T) {
	db := rawPostgres(t, "public")
	role, schema := newRole(t, db, "first"), server.Schema(t)
	openPostgres(t, schema)
	run(t, db, "GRANT USAGE ON SCHEMA "+schema+" TO "+role)
	run(t, db, "GRANT ALL ON ALL TABLES IN SCHEMA "+schema+" TO "+role)
	config, err := pgx.ParseConfig(server.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	config.User = role
	var password atomic.Value
	password.Store("first")
	given := stdlib.OpenDB(*config, stdlib.OptionBeforeConnect(func(_ context.Context, c *pgx.ConnConfig) error {
		c.Password = password.Load().(string)
		return nil
	}))
	defer given.Close()
	s := openPostgres(t, schema, func(c *sqlstore.Config) { c.DSN, c.DB, c.Migrate = "", given, false })
	wake := s.Wake()
	<-wake
	run(t, db, "ALTER ROLE "+role+" PASSWORD 'second'")
	password.Store("second")
	run(t, db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", role)
	<-wake
}
