package sqlstore_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore/pgtest"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// sitting is a store in whose process a worker is ready, and the database past it.
type sitting struct {
	*sqlstore.Store

	worker queue.Worker
	db     *sql.DB
}

func newSitting(t *testing.T, schema string, change ...func(*sqlstore.Config)) *sitting {
	return newSittingOn(t, &server, schema, change...)
}

func newSittingOn(t *testing.T, on *pgtest.Server, schema string, change ...func(*sqlstore.Config)) *sitting {
	s := &sitting{
		Store: openPostgresOn(t, on, schema, change...), db: rawPostgresOn(t, on, schema),
		worker: queue.Worker{ID: rand.Text(), TTL: time.Hour, Ready: true},
	}
	s.beat(t)
	s.Wake()
	s.awaitEar(t)
	select { // that it listens
	case <-s.Wake():
	default:
	}
	s.claim(t, 9)
	return s
}

func (s *sitting) beat(t *testing.T) queue.Leases {
	t.Helper()
	l, err := s.Heartbeat(t.Context(), s.worker)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// claim claims as the processor does.
func (s *sitting) claim(t *testing.T, room int) []queue.Delivery {
	t.Helper()
	got, err := s.Claim(t.Context(), s.worker, queue.Room{Control: room, Work: room})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (s *sitting) hasEar(t *testing.T) (yes bool) {
	t.Helper()
	if err := s.db.QueryRowContext(t.Context(), "SELECT ear IS NOT NULL FROM workers WHERE id = $1", s.worker.ID).Scan(&yes); err != nil {
		t.Fatal(err)
	}
	return yes
}

func (s *sitting) awaitEar(t *testing.T) {
	t.Helper()
	for !s.hasEar(t) {
	}
}

// starting is the creation of a workflow with its message.
func starting(id string) *persistence.Commit {
	c := creation(id)
	c.Messages = []queue.Outgoing{{ID: "of " + id, Message: queue.RunTask{OfTask: queue.ToTask(id, id+"-s0", "t")}}}
	return c
}

// isLeased also asks of those whose worker has lapsed.
func (s *sitting) isLeased(t *testing.T, workflow string) (yes bool) {
	t.Helper()
	if err := s.db.QueryRowContext(t.Context(), "SELECT bool_or(worker IS NOT NULL) FROM messages WHERE workflow_id = $1", workflow).Scan(&yes); err != nil {
		t.Fatal(err)
	}
	return yes
}

// What starts in one process is leased at once to a worker of another that is ready,
// which is told all of it.
func TestPostgresDealt(t *testing.T) {
	schema := server.Schema(t)
	s, other := newSitting(t, schema), openPostgres(t, schema)
	commit(t, other, starting("w"))
	if !s.isLeased(t, "w") {
		t.Fatal("it is not leased")
	}
	<-s.Wake()
	if got := claim(t, other, "another", 9); len(got) != 0 {
		t.Errorf("another claimed %+v", got)
	}
	if held := s.beat(t).Held; len(held) != 1 || held[0].ID != "of w" {
		t.Errorf("it holds %+v", held)
	}
	// What is delivered needs no database.
	run(t, s.db, "ALTER TABLE messages RENAME TO hidden")
	got := s.claim(t, 9)
	run(t, s.db, "ALTER TABLE hidden RENAME TO messages")
	if len(got) != 1 {
		t.Fatalf("delivered %+v", got)
	}
	d := got[0]
	if d.ID != "of w" || d.Attempts != 1 || d.MaxAttempts != queue.DefaultMaxAttempts || d.LastError != "" ||
		d.Message.(queue.RunTask).WorkflowID != "w" || d.Due.IsZero() || !d.Due.Equal(d.CreatedAt) {
		t.Errorf("delivered %+v", d)
	}
	stored, err := other.Load(t.Context(), "w")
	if err != nil || d.Workflow == nil {
		t.Fatalf("with it came %v; loading: %v", d.Workflow, err)
	}
	if a, b := fmt.Sprintf("%+v %+v", d.Workflow.Header, *d.Workflow.Stages[1]), fmt.Sprintf("%+v %+v", stored.Header, *stored.Stages[1]); a != b {
		t.Errorf("with it came %s, stored is %s", a, b)
	}
	commit(t, s.Store, &persistence.Commit{WorkflowID: "w", Expect: 1, Handled: []queue.Receipt{d.Receipt()}})
	if got := s.claim(t, 9); len(got) != 0 {
		t.Errorf("then it claimed %+v", got)
	}
}

// A small batch is dealt to one worker, in one notification.
func TestPostgresDealtBatch(t *testing.T) {
	schema := server.Schema(t)
	s, other := newSitting(t, schema), openPostgres(t, schema)
	commit(t, other, starting("a"), creation("b"), starting("c"), starting("d"))
	<-s.Wake()
	got := s.claim(t, 9)
	if len(got) != 3 {
		t.Fatalf("delivered %+v", got)
	}
	for i, id := range []string{"a", "c", "d"} {
		if w := got[i].Workflow; got[i].ID != "of "+id || w == nil || w.ID != id || len(w.Stages) != 2 || w.Stages[0].ID != id+"-s0" {
			t.Errorf("delivered %+v with %+v", got[i], w)
		}
	}
}

// What is not dealt can be claimed by anybody, and everybody is told.
func TestPostgresNotDealt(t *testing.T) {
	large := starting("w")
	large.Stages[1].Reason = strings.Repeat("x", 8000)
	later := starting("w")
	later.Messages[0].At = start.Add(time.Hour)
	two := starting("w")
	two.Messages = append(two.Messages, message("and another", "w"))
	for name, of := range map[string]struct {
		before func(t *testing.T, s *sitting)
		commit *persistence.Commit
	}{
		"nobody listens there": {before: func(t *testing.T, s *sitting) { run(t, s.db, "UPDATE workers SET ear = 'nobody'") }},
		"it has lapsed":        {before: func(t *testing.T, s *sitting) { run(t, s.db, "UPDATE workers SET expires = 1") }},
		"it is not ready": {before: func(t *testing.T, s *sitting) {
			s.worker.Ready = false
			s.beat(t)
		}},
		"it is not the only one of its store": {before: func(t *testing.T, s *sitting) {
			other := queue.Worker{ID: "another", TTL: time.Hour, Ready: true}
			if _, err := s.Heartbeat(t.Context(), other); err != nil {
				t.Fatal(err)
			}
			s.beat(t)
		}},
		"it has no room": {before: func(t *testing.T, s *sitting) { s.claim(t, 0) }},
		"it has none for control": {before: func(t *testing.T, s *sitting) {
			if _, err := s.Claim(t.Context(), s.worker, queue.Room{Work: 9}); err != nil {
				t.Fatal(err)
			}
		}},
		"it has retired": {before: func(t *testing.T, s *sitting) {
			if err := s.Retire(t.Context(), s.worker.ID); err != nil {
				t.Fatal(err)
			}
		}},
		"it is being removed": {before: func(t *testing.T, s *sitting) {
			tx, err := s.db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = tx.Rollback() })
			if _, err := tx.ExecContext(t.Context(), "SELECT FROM workers FOR UPDATE"); err != nil {
				t.Fatal(err)
			}
		}},
		"the workflow is large": {commit: large},
		"it starts later":       {commit: later},
		"it has two messages":   {commit: two},
	} {
		t.Run(name, func(t *testing.T) {
			schema := server.Schema(t)
			s, other := newSitting(t, schema), openPostgres(t, schema)
			if of.before != nil {
				of.before(t, s)
			}
			c := of.commit
			if c == nil {
				c = starting("w")
			}
			commit(t, other, c)
			if s.isLeased(t, "w") {
				t.Error("it is leased")
			}
		})
	}
}

// A message to a workflow that exists is not dealt: one that waits may be older.
func TestPostgresLaterMessagesAreNotDealt(t *testing.T) {
	schema := server.Schema(t)
	s, other := newSitting(t, schema), openPostgres(t, schema)
	commit(t, other, creation("w"))
	commit(t, other, &persistence.Commit{WorkflowID: "w", Expect: 1, Messages: []queue.Outgoing{message("m", "w")}})
	if s.isLeased(t, "w") {
		t.Error("it is leased")
	}
	<-s.Wake()
	if got := s.claim(t, 9); len(got) != 1 {
		t.Errorf("claimed %+v", got)
	}
}

// A commit that is refused deals nothing, and neither does what goes with it.
func TestPostgresRefusedIsNotDealt(t *testing.T) {
	schema := server.Schema(t)
	s, other := newSitting(t, schema), openPostgres(t, schema)
	commit(t, other, creation("taken"))
	errs := other.CommitBatch(t.Context(), []*persistence.Commit{starting("taken"), starting("w")})
	if !errors.Is(errs[0], stabilize.ErrExists) || errs[1] != nil {
		t.Fatal(errs)
	}
	<-s.Wake()
	got := s.claim(t, 9)
	if len(got) != 1 || got[0].ID != "of w" {
		t.Errorf("claimed %+v", got)
	}
}

// Many that start at once are left to all workers.
func TestPostgresManyAreNotDealt(t *testing.T) {
	schema := server.Schema(t)
	s, other := newSitting(t, schema), openPostgres(t, schema)
	commit(t, other, starting("a"), starting("b"), starting("c"), starting("d"), starting("e"))
	if got := claim(t, other, "another", 4); len(got) != 4 {
		t.Errorf("another claimed %+v", got)
	}
	<-s.Wake()
	if got := s.claim(t, 9); len(got) != 1 || got[0].ID != "of e" {
		t.Errorf("then it claimed %+v", got)
	}
}

// With nothing in between the worker of a process that is dead is not dealt anything.
func TestPostgresNotDealtToTheDead(t *testing.T) {
	schema := server.Schema(t)
	s, other := newSitting(t, schema), openPostgres(t, schema)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !s.hasEar(t) {
		t.Fatal("it has no ear")
	}
	ear := s.ear(t)
	for alive := true; alive; { // the server takes a moment to see that the connection is gone
		if err := s.db.QueryRowContext(t.Context(), "SELECT NOT pg_try_advisory_xact_lock_shared(hashtextextended($1, 0))", ear).Scan(&alive); err != nil {
			t.Fatal(err)
		}
	}
	commit(t, other, starting("w"))
	if s.isLeased(t, "w") {
		t.Error("it is leased")
	}
}

// Of several that are ready each is dealt some.
func TestPostgresDealtToAll(t *testing.T) {
	schema := server.Schema(t)
	other := openPostgres(t, schema)
	var s *sitting
	for range 3 {
		s = newSitting(t, schema)
	}
	for i := range 60 {
		commit(t, other, starting(fmt.Sprint("w", i)))
	}
	var workers, messages int
	if err := s.db.QueryRowContext(t.Context(), "SELECT count(DISTINCT worker), count(worker) FROM messages").Scan(&workers, &messages); err != nil {
		t.Fatal(err)
	}
	if workers != 3 || messages != 60 {
		t.Errorf("%d messages were dealt to %d workers", messages, workers)
	}
}

// Who may only read the tables sees no ears: who knows one can have its worker run tasks.
func TestPostgresEarsAreNotForReaders(t *testing.T) {
	schema := server.Schema(t)
	s := newSitting(t, schema)
	reader, writer := newRole(t, s.db, "x"), newRole(t, s.db, "x")
	run(t, s.db, "GRANT USAGE ON SCHEMA "+schema+" TO "+reader+", "+writer)
	run(t, s.db, "GRANT SELECT ON ALL TABLES IN SCHEMA "+schema+" TO "+reader)
	run(t, s.db, "GRANT ALL ON ALL TABLES IN SCHEMA "+schema+" TO "+writer)
	for role, want := range map[string]int{reader: 0, writer: 1} {
		tx, err := s.db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback() }()
		if _, err := tx.ExecContext(t.Context(), "SET LOCAL ROLE "+role); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := tx.QueryRowContext(t.Context(), "SELECT count(ear) FROM workers").Scan(&n); err != nil || n != want {
			t.Errorf("%d workers are seen and not %d, %v", n, want, err)
		}
		if role == writer {
			for _, text := range []string{"UPDATE workers SET expires = expires + 1", "INSERT INTO workers (id, expires) VALUES ('x', 1)", "DELETE FROM workers"} {
				if r, err := tx.ExecContext(t.Context(), text); err != nil {
					t.Error(err)
				} else if n, _ := r.RowsAffected(); n == 0 {
					t.Errorf("%s changes nothing", text)
				}
			}
		}
	}
}

// Whoever listens where everybody is told hears nothing of what is dealt, and what
// strangers say is not believed.
func TestPostgresDealtInSecret(t *testing.T) {
	schema := server.Schema(t)
	s, other := newSitting(t, schema), openPostgres(t, schema)
	conn, err := pgx.Connect(t.Context(), server.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), "LISTEN "+sqlstore.Channel(other)); err != nil {
		t.Fatal(err)
	}
	commit(t, other, starting("w"))
	commit(t, other, creation("v"))
	commit(t, s.Store, &persistence.Commit{WorkflowID: "v", Expect: 1, Messages: []queue.Outgoing{message("m", "v")}})
	n, err := conn.WaitForNotification(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(n.Payload) != 26 { // which store it was
		t.Errorf("heard %q", n.Payload)
	}
	var seen int
	if err := s.db.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_stat_activity a, workers w WHERE strpos(a.query, w.ear) > 0").Scan(&seen); err != nil || seen > 0 {
		t.Errorf("the channel is seen in the last statement of %d connections, %v", seen, err)
	}
	for _, text := range []string{"", "x", s.worker.ID, s.worker.ID + "\n", s.worker.ID + "\n!", s.worker.ID + "\nAAAA", s.worker.ID + "\nnA", "nobody\n", "\n"} {
		run(t, s.db, "SELECT pg_notify($1 || '_' || (SELECT ear FROM workers), $2)", sqlstore.Channel(other), text)
	}
	var got []string
	for len(got) < 2 {
		<-s.Wake()
		for _, d := range s.claim(t, 9) {
			got = append(got, d.ID)
		}
	}
	if slices.Sort(got); !slices.Equal(got, []string{"m", "of w"}) {
		t.Errorf("claimed %q", got)
	}
}
