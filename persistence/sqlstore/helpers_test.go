package sqlstore_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

var start = time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)

// open opens a store on path with a clock of its own and closes it at the end.
func open(t testing.TB, path string, change ...func(*sqlstore.Config)) *sqlstore.Store {
	t.Helper()
	cfg := sqlstore.Config{Path: path, Migrate: true, Clock: stabilize.NewManualClock(start)}
	for _, f := range change {
		f(&cfg)
	}
	s, err := sqlstore.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func onClock(c stabilize.Clock) func(*sqlstore.Config) {
	return func(cfg *sqlstore.Config) { cfg.Clock = c }
}

func tempFile(t testing.TB) string { return filepath.Join(t.TempDir(), "store.db") }

// raw opens the file past the store.
func raw(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func run(t testing.TB, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(context.WithoutCancel(t.Context()), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func workflow(id string) *stabilize.Workflow {
	return &stabilize.Workflow{
		Header: stabilize.Header{ID: id, Application: "app", Status: stabilize.Running, CreatedAt: start, StartedAt: start},
		Stages: []*stabilize.Stage{
			{ID: id + "-s0", Ref: "a", Position: 0, Status: stabilize.Running, StartedAt: start},
			{ID: id + "-s1", Ref: "b", Position: 1, Requisites: []string{"a"}},
		},
	}
}

func creation(id string) *persistence.Commit {
	w := workflow(id)
	return &persistence.Commit{WorkflowID: id, Header: &w.Header, Stages: w.Stages}
}

func commit(t testing.TB, s *sqlstore.Store, commits ...*persistence.Commit) {
	t.Helper()
	for i, err := range s.CommitBatch(t.Context(), commits) {
		if err != nil {
			t.Fatalf("commit %d: %v", i, err)
		}
	}
}

func message(id, workflow string) queue.Outgoing {
	return queue.Outgoing{ID: id, Message: queue.StartWorkflow{OfWorkflow: queue.ToWorkflow(workflow)}}
}

func claim(t testing.TB, s *sqlstore.Store, worker string, room int) []queue.Delivery {
	t.Helper()
	got, err := s.Claim(t.Context(), queue.Worker{ID: worker, TTL: time.Minute}, queue.Room{Control: room, Work: room})
	if err != nil {
		t.Fatal(err)
	}
	return got
}
