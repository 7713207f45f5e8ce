package sqlstore_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance/sqlharness"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// A batch of admissions under the same keys, in which one commit frees the place that
// a later one takes, is one round trip, and each commit is told what became of it.
func TestPostgresAdmissionsInOneTrip(t *testing.T) {
	h := sqlharness.NewPostgres(t, sqlharness.PostgresConfig{DSN: server.DSN(t)})
	s := h.Store()
	start := func(id string) *persistence.Commit {
		c := creation(id)
		c.Header.Status = stabilize.NotStarted
		return c
	}
	ask := func(c *persistence.Commit, op persistence.AdmissionOp, key string, limit int) *persistence.Commit {
		c.Admission = &persistence.Admission{Op: op, Key: key, Limit: limit}
		return c
	}
	run := func(id string, version int64, status stabilize.Status) *persistence.Commit {
		c := start(id)
		c.Expect, c.Header.Status, c.Stages = version, status, nil
		return c
	}
	commitAll := func(round string, want []error, commits ...*persistence.Commit) {
		t.Helper()
		before := h.Queries()
		errs := s.CommitBatch(t.Context(), commits)
		trips := h.Queries() - before
		for i, err := range errs {
			if !errors.Is(err, want[i]) {
				t.Errorf("%s, commit %d: %v, want %v", round, i, err, want[i])
			}
		}
		if trips != 1 {
			t.Errorf("%s took %d round trips", round, trips)
		}
	}
	see := func(key string, holding, waiting []string) {
		t.Helper()
		got, err := s.Admissions(t.Context(), key)
		if err != nil || !slices.Equal(got.Holding, holding) || !slices.Equal(got.Waiting, waiting) {
			t.Errorf("under %s: %+v, %v; want %v and %v", key, got, err, holding, waiting)
		}
	}
	var created []*persistence.Commit
	for i := range 6 {
		created = append(created, start(fmt.Sprint("w", i)))
	}
	for _, err := range s.CommitBatch(t.Context(), created) {
		if err != nil {
			t.Fatal(err)
		}
	}
	const take, wait, leave = persistence.TakePlace, persistence.WaitForPlace, persistence.LeavePlace
	commitAll("taking", []error{nil, stabilize.ErrNoPlace, nil, nil, stabilize.ErrConflict, stabilize.ErrPlaceFree},
		ask(run("w0", 1, stabilize.Running), take, "k", 1),
		ask(run("w1", 1, stabilize.Running), take, "k", 1), // w0 is ahead of it, in this batch
		ask(run("w2", 1, stabilize.Buffered), wait, "k", 1),
		ask(run("w3", 1, stabilize.Running), take, "l", 1),
		ask(run("w4", 9, stabilize.Running), take, "m", 1), // takes nothing
		ask(run("w5", 1, stabilize.Buffered), wait, "m", 1))
	see("k", []string{"w0"}, []string{"w2"})
	see("l", []string{"w3"}, nil)
	see("m", nil, nil)
	commitAll("handing on", []error{nil, nil, nil, stabilize.ErrNoPlace, nil},
		run("w0", 2, stabilize.Succeeded), // it ends: its place counts no more for those after it
		ask(run("w2", 2, stabilize.Running), take, "k", 1),
		ask(run("w3", 2, stabilize.Succeeded), leave, "l", 0),
		ask(run("w1", 1, stabilize.Running), take, "k", 1),
		ask(run("w4", 1, stabilize.Running), take, "l", 1))
	see("k", []string{"w2"}, nil)
	see("l", []string{"w4"}, nil)
	var stale int
	db := rawPostgres(t, "public")
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+h.Schema()+".places").Scan(&stale); err != nil || stale != 2 {
		t.Errorf("%d places are stored, %v", stale, err)
	}
}

// Tables that are found by the search path have the names of nothing in a statement; a
// long waiting list is not read to its end.
func TestPostgresLongWaitingList(t *testing.T) {
	schema := server.Schema(t)
	db := rawPostgres(t, schema)
	run(t, db, "CREATE SCHEMA "+schema)
	s := openPostgres(t, "", func(c *sqlstore.Config) { c.DSN, c.Connections = searching(server.URL(t), schema), 1 })
	ask := func(id string, op persistence.AdmissionOp) error {
		c := creation(id)
		c.Header.Status = stabilize.Buffered
		if op == persistence.TakePlace {
			c.Header.Status = stabilize.Running
		}
		c.Admission = &persistence.Admission{Op: op, Key: "k", Limit: 1}
		return s.CommitBatch(t.Context(), []*persistence.Commit{c})[0]
	}
	if err := ask("first", persistence.TakePlace); err != nil {
		t.Fatal(err)
	}
	const waiters = 20_000
	run(t, db, `INSERT INTO workflows (id, version, removed_at, application, config_id, status, sort_at) SELECT 'w' || n, 1, 0, '', '', 'BUFFERED', 0 FROM generate_series(1, $1::int) n`, waiters)
	run(t, db, `INSERT INTO places (key, workflow_id, waiting, lim) SELECT 'k', 'w' || n, true, 1 FROM generate_series(1, $1::int) n`, waiters)
	read := func() (n int64) {
		t.Helper()
		// The connection tells what it read when it is closed or asked to.
		for _, text := range []string{"SELECT pg_stat_clear_snapshot()", "SELECT coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0) FROM pg_stat_user_tables WHERE relname = 'places' AND schemaname = $1"} {
			if strings.Contains(text, "$1") {
				if err := db.QueryRowContext(t.Context(), text, schema).Scan(&n); err != nil {
					t.Fatal(err)
				}
			} else {
				run(t, db, text)
			}
		}
		return n
	}
	before := read()
	if err := ask("second", persistence.TakePlace); !errors.Is(err, stabilize.ErrNoPlace) {
		t.Errorf("taking: %v", err)
	}
	if err := ask("third", persistence.WaitForPlace); err != nil {
		t.Errorf("waiting: %v", err)
	}
	if err := s.Close(); err != nil { // then the server has its counts
		t.Fatal(err)
	}
	if n := read() - before; n > waiters/10 {
		t.Errorf("%d rows were read of a list of %d", n, waiters)
	}
}
