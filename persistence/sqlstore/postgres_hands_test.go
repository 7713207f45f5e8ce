package sqlstore_test

import (
	"database/sql"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore/pgtest"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// What a worker was dealt beyond its room it gives back, and it is dealt no more until it
// has some.
func TestPostgresDealtBeyondTheRoom(t *testing.T) {
	schema := server.Schema(t)
	s, other := newSitting(t, schema), openPostgres(t, schema)
	commit(t, other, starting("a"), starting("b"), starting("c"))
	<-s.Wake()
	if got := s.claim(t, 1); len(got) != 1 || got[0].ID != "of a" {
		t.Fatalf("claimed %+v", got)
	}
	if s.hasEar(t) {
		t.Error("it is told more")
	}
	if held := s.beat(t).Held; len(held) != 1 || held[0].ID != "of a" {
		t.Errorf("it holds %+v", held)
	}
	if s.hasEar(t) {
		t.Error("after a heartbeat it is told more")
	}
	if got := claim(t, other, "another", 1); len(got) != 1 || got[0].ID != "of b" || got[0].Attempts != 1 {
		t.Fatalf("another claimed %+v", got)
	}
	if got := s.claim(t, 2); len(got) != 1 || got[0].ID != "of c" {
		t.Errorf("then it claimed %+v", got)
	}
	s.beat(t)
	if !s.hasEar(t) {
		t.Error("with room it is not told more")
	}
}

// What lay in its hand for as long as its lease lasts is not delivered: it may be another's.
func TestPostgresDealtLongAgo(t *testing.T) {
	schema := server.Schema(t)
	clock := stabilize.NewManualClock(start)
	s, other := newSitting(t, schema, onClock(clock)), openPostgres(t, schema, onClock(clock))
	commit(t, other, starting("w"))
	<-s.Wake()
	clock.Advance(s.worker.TTL)
	if got := claim(t, other, "another", 9); len(got) != 1 || got[0].Attempts != 2 {
		t.Fatalf("another claimed %+v", got)
	}
	if got := s.claim(t, 9); len(got) != 0 {
		t.Errorf("it claimed %+v", got)
	}
}

// A worker whose connection breaks is dealt nothing until it listens again.
func TestPostgresDealtAgain(t *testing.T) {
	schema := server.Schema(t)
	s, other := newSitting(t, schema), openPostgres(t, schema)
	first := s.ear(t)
	s.deafen(t, first)
	for s.ear(t) == first {
	}
	commit(t, other, starting("w"))
	if !s.isLeased(t, "w") {
		t.Error("it is not leased")
	}
	for got := []queue.Delivery(nil); len(got) == 0; got = s.claim(t, 9) {
		<-s.Wake()
	}
}

func (s *sitting) ear(t *testing.T) (ear string) {
	t.Helper()
	if err := s.db.QueryRowContext(t.Context(), "SELECT ear FROM workers WHERE id = $1", s.worker.ID).Scan(&ear); err != nil {
		t.Fatal(err)
	}
	return ear
}

// deafen breaks the connection that listens with an ear.
func (s *sitting) deafen(t *testing.T, ear string) {
	t.Helper()
	run(t, s.db, `SELECT pg_terminate_backend(pid) FROM pg_locks, hashtextextended($1, 0) h
		WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
			AND classid::bigint = (h >> 32) & 4294967295 AND objid::bigint = h & 4294967295`, ear)
}

// A worker that is dealt one workflow after the other finds what else there is.
func TestPostgresDealtBesideTheRest(t *testing.T) {
	schema := server.Schema(t)
	clock := stabilize.NewManualClock(start)
	s, other := newSitting(t, schema, onClock(clock)), openPostgres(t, schema, onClock(clock))
	later := starting("later")
	later.Messages[0].At = start.Add(100 * time.Millisecond)
	commit(t, other, later)
	for i := 0; ; i++ {
		commit(t, other, starting(fmt.Sprint("w", i)))
		<-s.Wake()
		for _, d := range s.claim(t, 9) {
			if d.ID == "of later" {
				if at := clock.Now(); at.After(start.Add(130 * time.Millisecond)) {
					t.Errorf("it is delivered at %s", at)
				}
				return
			}
		}
		if clock.Advance(5 * time.Millisecond); i > 100 {
			t.Fatal("it is not delivered")
		}
	}
}

// A worker that stops or retires gives back at once what it has not claimed, untouched.
func TestPostgresDealtAndStopped(t *testing.T) {
	for name, stop := range map[string]func(s *sitting) error{
		"stopping": func(s *sitting) error {
			w := s.worker
			w.Ready = false
			_, err := s.Heartbeat(t.Context(), w)
			return err
		},
		"retired": func(s *sitting) error { return s.Retire(t.Context(), s.worker.ID) },
	} {
		t.Run(name, func(t *testing.T) {
			schema := server.Schema(t)
			s, other := newSitting(t, schema), openPostgres(t, schema)
			c := starting("w")
			c.Messages[0].MaxAttempts = 1
			commit(t, other, c)
			<-s.Wake()
			if err := stop(s); err != nil {
				t.Fatal(err)
			}
			if got := claim(t, other, "another", 9); len(got) != 1 || got[0].ID != "of w" || got[0].Attempts != 1 {
				t.Errorf("another claimed %+v", got)
			}
		})
	}
}

// What was given back before it was claimed is not delivered any more.
func TestPostgresDealtAndGivenBack(t *testing.T) {
	schema := server.Schema(t)
	s, other := newSitting(t, schema), openPostgres(t, schema)
	commit(t, other, starting("a"), starting("b"), starting("c"))
	<-s.Wake()
	held := map[string]queue.Receipt{}
	for _, r := range s.beat(t).Held {
		held[r.ID] = r
	}
	if err := errors.Join(s.Return(t.Context(), held["of a"]), s.Ack(t.Context(), held["of b"]), s.Release(t.Context(), held["of c"], start.Add(time.Hour), nil)); err != nil {
		t.Fatal(err)
	}
	if got := claim(t, other, "another", 9); len(got) != 1 || got[0].ID != "of a" {
		t.Errorf("another claimed %+v", got)
	}
	if got := s.claim(t, 9); len(got) != 0 {
		t.Errorf("then it claimed %+v", got)
	}
}

// A worker that does not claim what it is dealt is dealt no more after two heartbeats.
func TestPostgresDealtAndNotClaimed(t *testing.T) {
	schema := server.Schema(t)
	s, other := newSitting(t, schema), openPostgres(t, schema)
	commit(t, other, starting("w"))
	<-s.Wake()
	s.beat(t)
	if !s.hasEar(t) {
		t.Error("after a heartbeat it is told no more")
	}
	s.beat(t)
	if s.hasEar(t) {
		t.Error("after two heartbeats it is told more")
	}
}

// A message that cannot be understood takes no room, and the rest is delivered.
func TestPostgresDealtAndUnknown(t *testing.T) {
	schema := server.Schema(t)
	s, other := newSitting(t, schema), openPostgres(t, schema)
	commit(t, other, starting("a"))
	<-s.Wake()
	s.claim(t, 9)
	told, err := sqlstore.Told(map[string]any{"id": "x", "token": "x", "kind": "Unheard", "created": start.UnixMicro() + 1e9, "body": []byte("{}")},
		map[string]any{"id": "m", "token": "t", "kind": "StartWorkflow", "created": start.UnixMicro() + 1e9, "body": []byte(`{"workflow":"w"}`), "news": []int{1}})
	if err != nil {
		t.Fatal(err)
	}
	run(t, s.db, "SELECT pg_notify($1, $2)", sqlstore.Channel(s.Store)+"_"+s.ear(t), s.worker.ID+"\n"+told)
	<-s.Wake()
	if got := s.claim(t, 1); len(got) != 1 || got[0].ID != "m" {
		t.Errorf("delivered %+v", got)
	}
}

// A connection that does not hear is dealt nothing: one from a pooler that nobody told the
// store of.
func TestPostgresNotDealtToTheDeaf(t *testing.T) {
	schema := server.Schema(t)
	p := newPooler(t, 3)
	p.careless = true
	db, err := sql.Open("pgx", p.dsn()+"&default_query_exec_mode=exec")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := open(t, "", func(c *sqlstore.Config) { c.DB, c.Schema = db, schema })
	w := queue.Worker{ID: "w", TTL: time.Hour, Ready: true}
	if _, err := s.Heartbeat(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	<-s.Wake() // it believes to listen
	look := rawPostgres(t, schema)
	for range 10 {
		if _, err := s.Heartbeat(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		var ears int
		if err := look.QueryRowContext(t.Context(), "SELECT count(ear) FROM workers").Scan(&ears); err != nil || ears > 0 {
			t.Fatalf("%d ears, %v", ears, err)
		}
	}
}

// A connection that has fallen silent is dealt nothing soon, and is made anew.
func TestPostgresSilentConnection(t *testing.T) {
	own := &pgtest.Server{Local: true}
	t.Cleanup(own.Stop)
	s := newSittingOn(t, own, own.Schema(t))
	var pid int
	if err := s.db.QueryRowContext(t.Context(), "SELECT pid FROM pg_locks WHERE locktype = 'advisory'").Scan(&pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	for i := 0; s.hasEar(t); i++ {
		if s.beat(t); i > 3 {
			t.Fatal("it is still told")
		}
	}
	for i := 0; i < 10; i++ {
		s.beat(t)
	}
	s.awaitEar(t)
}

func TestPostgresBatchesAtATime(t *testing.T) {
	schema := server.Schema(t)
	clock := stabilize.NewManualClock(start)
	s, other := openPostgres(t, schema, onClock(clock)), openPostgres(t, schema, onClock(clock))
	beat := func(s *sqlstore.Store, id string, ttl time.Duration, ready bool) {
		t.Helper()
		if _, err := s.Heartbeat(t.Context(), queue.Worker{ID: id, TTL: ttl, Ready: ready}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(n int, when string) {
		t.Helper()
		if got := s.Batches(); got != n {
			t.Errorf("%d batches at a time %s, want %d", got, when, n)
		}
	}
	want(1, "without a worker")
	db := rawPostgres(t, schema)
	run(t, db, "ALTER TABLE workers RENAME TO away")
	if _, err := s.Heartbeat(t.Context(), queue.Worker{ID: "w", TTL: time.Hour, Ready: true}); err == nil {
		t.Fatal("a heartbeat did without the table of the workers")
	}
	want(1, "when the first heartbeat failed")
	run(t, db, "ALTER TABLE away RENAME TO workers")
	beat(s, "w", time.Hour, true)
	want(2, "with the only worker")
	beat(other, "another", time.Minute, true)
	beat(s, "w", time.Hour, true)
	want(1, "beside another worker")
	clock.Advance(time.Minute)
	beat(s, "w", time.Hour, true)
	want(2, "when the other's lease has lapsed")
	beat(s, "x", time.Hour, true)
	want(1, "with two workers here")
	if err := s.Retire(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	beat(s, "w", time.Hour, true)
	want(2, "when one of them has retired")
	beat(s, "w", time.Hour, false)
	want(1, "when it is stopping")
}
