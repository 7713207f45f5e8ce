package sqlstore_test

import (
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// newEar is a worker of another process that is ready and listens.
func newEar(t *testing.T, db *sql.DB, s *sqlstore.Store, name string) *listener {
	t.Helper()
	l := newListener(t, sqlstore.Channel(s)+"_"+name)
	if _, err := l.conn.Exec(t.Context(), "SELECT pg_advisory_lock(hashtextextended($1::text, 0))", name); err != nil {
		t.Fatal(err)
	}
	run(t, db, "INSERT INTO workers (id, expires, ear) VALUES ($1, $2, $1)", name, start.Add(time.Hour).UnixMicro())
	return l
}

func pushMany(t *testing.T, s *sqlstore.Store, n int) {
	t.Helper()
	msgs := make([]queue.Outgoing, n)
	for i := range msgs {
		msgs[i] = queue.Outgoing{Message: queue.RunTask{OfTask: queue.ToTask("w", "s", "t")}}
	}
	if err := s.Push(t.Context(), msgs...); err != nil {
		t.Fatal(err)
	}
}

// Of what is free one worker that is ready is told, of more of it more of them, and
// nobody else: others would claim what it claims.
func TestPostgresTellsOne(t *testing.T) {
	schema := server.Schema(t)
	s, db := openPostgres(t, schema, onClock(stabilize.NewManualClock(start))), rawPostgres(t, schema)
	everybody := newListener(t, sqlstore.Channel(s))
	a, b := newEar(t, db, s, "a"), newEar(t, db, s, "b")
	told := map[string]int{}
	for range 60 {
		pushMany(t, s, 1)
		told[fmt.Sprint(a.told(t), b.told(t), everybody.told(t))]++
	}
	if told["1 0 0"] == 0 || told["0 1 0"] == 0 || len(told) != 2 {
		t.Errorf("a, b and everybody were told: %v", told)
	}
	for n, want := range map[int]int{64: 1, 65: 2, 300: 2} {
		pushMany(t, s, n)
		if got := a.told(t) + b.told(t); got != want || everybody.told(t) != 0 {
			t.Errorf("of %d messages %d workers were told, want %d", n, got, want)
		}
	}
}

// Where nobody else is ready and listens everybody is told.
func TestPostgresTellsEverybody(t *testing.T) {
	for name, leave := range map[string]func(t *testing.T, a *listener, db *sql.DB){
		"its connection is gone": func(t *testing.T, a *listener, db *sql.DB) {
			var pid int
			if err := a.conn.QueryRow(t.Context(), "SELECT pg_backend_pid()").Scan(&pid); err != nil {
				t.Fatal(err)
			}
			if err := a.conn.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			for locks := 1; locks > 0; {
				if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_locks WHERE pid = $1", pid).Scan(&locks); err != nil {
					t.Fatal(err)
				}
			}
		},
		"its lease has lapsed": func(t *testing.T, _ *listener, db *sql.DB) {
			run(t, db, "UPDATE workers SET expires = $1", start.UnixMicro())
		},
		"it has no room": func(t *testing.T, _ *listener, db *sql.DB) {
			run(t, db, "UPDATE workers SET ear = NULL")
		},
	} {
		t.Run(name, func(t *testing.T) {
			schema := server.Schema(t)
			s, db := openPostgres(t, schema, onClock(stabilize.NewManualClock(start))), rawPostgres(t, schema)
			everybody := newListener(t, sqlstore.Channel(s))
			leave(t, newEar(t, db, s, "a"), db)
			for range 2 {
				pushMany(t, s, 1)
				if n := everybody.told(t); n != 1 {
					t.Errorf("everybody was told %d times", n)
				}
			}
		})
	}
}

// A process does not tell itself instead of others.
func TestPostgresTellsNotItself(t *testing.T) {
	s := newSitting(t, server.Schema(t))
	everybody := newListener(t, sqlstore.Channel(s.Store))
	pushMany(t, s.Store, 1)
	if n := everybody.told(t); n != 1 {
		t.Errorf("everybody was told %d times", n)
	}
}

// A worker that was told alone and has no room for all tells the others, and is told no
// more until a later claim leaves room again.
func TestPostgresTellsTheRest(t *testing.T) {
	for name, c := range map[string]struct {
		rooms []queue.Room // of claims that leave none
	}{
		"one place": {[]queue.Room{{Control: 99, Work: 1}}},
		"two places, and two of the rest at once": {[]queue.Room{{Control: 99, Work: 2}, {Control: 99, Work: 2}}},
		"control": {[]queue.Room{{Control: 3, Work: 99}}},
	} {
		t.Run(name, func(t *testing.T) {
			schema := server.Schema(t)
			clock := stabilize.NewManualClock(start)
			s, other := newSitting(t, schema, onClock(clock)), openPostgres(t, schema, onClock(clock))
			everybody := newListener(t, sqlstore.Channel(s.Store))
			pushMany(t, other, 9)
			for range 9 {
				if err := other.Push(t.Context(), message("", "w")); err != nil {
					t.Fatal(err)
				}
			}
			<-s.Wake()
			claim := func(r queue.Room) (n int) {
				t.Helper()
				got, err := s.Claim(t.Context(), s.worker, r)
				if err != nil {
					t.Fatal(err)
				}
				return len(got)
			}
			for _, room := range c.rooms {
				if !s.hasEar(t) || everybody.told(t) > 0 {
					t.Error("it is told no more, or others are, though it claims at once again")
				}
				claim(room)
			}
			if s.hasEar(t) || everybody.told(t) != 1 {
				t.Error("with no room it is still told, or others were not")
			}
			clock.Advance(99 * time.Millisecond)
			if claim(queue.Room{Control: 99, Work: 99}); s.hasEar(t) {
				t.Error("it is told again too soon")
			}
			clock.Advance(time.Millisecond)
			if claim(queue.Room{Control: 99, Work: 99}); !s.hasEar(t) || everybody.told(t) > 0 {
				t.Error("with room it is not told again, or others are of nothing")
			}
		})
	}
}

// Two claims that leave no room are not in a row if one between them leaves some.
func TestPostgresToldBetweenClaims(t *testing.T) {
	schema := server.Schema(t)
	s, other := newSitting(t, schema), openPostgres(t, schema)
	for _, n := range []int{2, 1, 2} {
		pushMany(t, other, n)
		<-s.Wake()
		if got := s.claim(t, 2); len(got) != n {
			t.Fatalf("claimed %+v", got)
		}
		if !s.hasEar(t) {
			t.Errorf("after a claim of %d it is told no more", n)
		}
	}
}

// A worker that is told and does not claim is told no more after two heartbeats; others are
// told then, and not before.
func TestPostgresToldAndNotClaimed(t *testing.T) {
	schema := server.Schema(t)
	s, other := newSitting(t, schema), openPostgres(t, schema)
	everybody := newListener(t, sqlstore.Channel(s.Store))
	pushMany(t, other, 1)
	<-s.Wake()
	s.beat(t)
	if n := everybody.told(t); n != 0 || !s.hasEar(t) {
		t.Errorf("after a heartbeat it is told no more, or others were told %d times", n)
	}
	s.beat(t)
	if n := everybody.told(t); n != 1 || s.hasEar(t) {
		t.Errorf("after two heartbeats it is told more, or others were told %d times", n)
	}
}

// A worker that has claimed what it was told of stays ready.
func TestPostgresToldAndClaimed(t *testing.T) {
	schema := server.Schema(t)
	s, other := newSitting(t, schema), openPostgres(t, schema)
	pushMany(t, other, 1)
	<-s.Wake()
	s.claim(t, 9)
	for range 2 { // of more the echoes may be late
		if s.beat(t); !s.hasEar(t) {
			t.Error("after a claim it is told no more")
		}
	}
}

// What it was told of before a claim does not count against it when it is told again.
func TestPostgresToldAgain(t *testing.T) {
	schema := server.Schema(t)
	s, other := newSitting(t, schema), openPostgres(t, schema)
	for range 2 {
		pushMany(t, other, 1)
		<-s.Wake()
		if s.beat(t); !s.hasEar(t) {
			t.Error("after a heartbeat it is told no more")
		}
		s.claim(t, 9)
	}
}

// A worker that has just asked the database and is dealt something does not take that for
// what it was told of.
func TestPostgresToldAndDealt(t *testing.T) {
	schema, clock := server.Schema(t), onClock(stabilize.NewManualClock(start))
	s, other := newSitting(t, schema, clock), openPostgres(t, schema, clock)
	commit(t, other, starting("a"))
	<-s.Wake()
	pushMany(t, other, 1)
	<-s.Wake()
	if got := s.claim(t, 9); len(got) != 2 {
		t.Errorf("claimed %+v", got)
	}
}

// A batch draws a worker and is committed when that has no room any more and nothing could
// be seen to tell others of: it tells them then.
func TestPostgresToldLate(t *testing.T) {
	schema := server.Schema(t)
	s, other, third := newSitting(t, schema), openPostgres(t, schema), openPostgres(t, schema)
	everybody := newListener(t, sqlstore.Channel(s.Store))
	run(t, s.db, `CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN new; END $$`)
	run(t, s.db, `CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON messages DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (new.id = 'late') EXECUTE FUNCTION wait()`)
	tx, err := s.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), "SELECT pg_advisory_xact_lock(1)"); err != nil {
		t.Fatal(err)
	}
	late := make(chan error, 1)
	go func() {
		late <- other.Push(t.Context(), queue.Outgoing{ID: "late", Message: queue.RunTask{OfTask: queue.ToTask("w", "s", "t")}})
	}()
	waitsFor(t, s.db, tx)
	pushMany(t, third, 1)
	<-s.Wake()
	if got := s.claim(t, 1); len(got) != 1 || s.hasEar(t) {
		t.Fatalf("claimed %+v", got)
	}
	if n := everybody.told(t); n != 0 {
		t.Errorf("others were told %d times of nothing", n)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-late; err != nil {
		t.Fatal(err)
	}
	<-s.Wake()
	for _, want := range []int{1, 0} {
		if _, err := s.Claim(t.Context(), s.worker, queue.Room{Control: 9}); err != nil {
			t.Fatal(err)
		}
		if n := everybody.told(t); n != want {
			t.Errorf("others were told %d times, want %d", n, want)
		}
	}
}

// A worker that is told and is ready no more, or retires, leaves it to the others.
func TestPostgresToldAndStopped(t *testing.T) {
	for name, stop := range map[string]func(*sitting) error{
		"stops": func(s *sitting) error {
			w := s.worker
			w.Ready = false
			_, err := s.Heartbeat(t.Context(), w)
			return err
		},
		"retires": func(s *sitting) error { return s.Retire(t.Context(), s.worker.ID) },
		"does not claim": func(s *sitting) error {
			_, err := s.Heartbeat(t.Context(), s.worker)
			_, again := s.Heartbeat(t.Context(), s.worker)
			return errors.Join(err, again)
		},
	} {
		t.Run(name, func(t *testing.T) {
			schema := server.Schema(t)
			s, other := newSitting(t, schema), openPostgres(t, schema)
			everybody := newListener(t, sqlstore.Channel(s.Store))
			pushMany(t, other, 1)
			<-s.Wake()
			if err := stop(s); err != nil {
				t.Fatal(err)
			}
			if n := everybody.told(t); n != 1 {
				t.Errorf("others were told %d times", n)
			}
		})
	}
}

// An ear that could not be taken is taken by the next claim.
func TestPostgresEarNotTaken(t *testing.T) {
	for name, alone := range map[string]bool{"told alone": true, "told with everybody": false} {
		t.Run(name, func(t *testing.T) {
			schema := server.Schema(t)
			s, other := newSitting(t, schema), openPostgres(t, schema)
			everybody := newListener(t, sqlstore.Channel(s.Store))
			want := 0
			if alone {
				pushMany(t, other, 2)
				want = 1
			} else {
				pushMany(t, s.Store, 2)
				everybody.told(t)
			}
			<-s.Wake()
			run(t, s.db, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF new.ear IS DISTINCT FROM old.ear THEN RAISE EXCEPTION 'no'; END IF; RETURN new; END $$`)
			run(t, s.db, `CREATE TRIGGER refuse BEFORE UPDATE ON workers FOR EACH ROW EXECUTE FUNCTION refuse()`)
			if got := s.claim(t, 1); len(got) != 1 || !s.hasEar(t) || everybody.told(t) > 0 {
				t.Fatalf("claimed %+v", got)
			}
			run(t, s.db, `DROP TRIGGER refuse ON workers`)
			if _, err := s.Claim(t.Context(), s.worker, queue.Room{Control: 9}); err != nil {
				t.Fatal(err)
			}
			if n := everybody.told(t); s.hasEar(t) || n != want {
				t.Errorf("it still has an ear, or others were told %d times, not %d", n, want)
			}
		})
	}
}

// What a worker has taken since it was told alone it does not tell others of.
func TestPostgresToldAndTaken(t *testing.T) {
	schema := server.Schema(t)
	s, other := newSitting(t, schema), openPostgres(t, schema)
	everybody := newListener(t, sqlstore.Channel(s.Store))
	pushMany(t, other, 1)
	<-s.Wake()
	if got := s.claim(t, 9); len(got) != 1 {
		t.Fatalf("claimed %+v", got)
	}
	pushMany(t, s.Store, 2)
	everybody.told(t)
	if got := s.claim(t, 1); len(got) != 1 || s.hasEar(t) {
		t.Fatalf("claimed %+v", got)
	}
	if n := everybody.told(t); n != 0 {
		t.Errorf("others were told %d times of what they had been told of", n)
	}
}
