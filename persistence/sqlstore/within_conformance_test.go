//go:build !race

package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/sqlharness"
	"github.com/stabilize-dev/go-stabilize/conformance/storetest"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// The contract of a store holds within transactions of the caller's: each call in one
// of its own, which is committed whatever the call refused. Not under the race
// detector, as TestStoreGivenDatabase.
func TestStoreWithin(t *testing.T) {
	storetest.Run(t, func(t *testing.T) conformance.Harness {
		folder := t.TempDir()
		h := sqlharness.NewSQLite(t, sqlharness.SQLiteConfig{Folder: folder, InUse: sqlstore.InUse})
		db, err := sql.Open("sqlite", "file:"+filepath.Join(folder, sqlharness.SQLiteFile)+"?_pragma=busy_timeout(10000)")
		if err != nil {
			t.Fatal(err)
		}
		db.SetMaxOpenConns(8)
		t.Cleanup(func() { _ = db.Close() })
		return &withinHarness{backend: h, db: bun.NewDB(db, sqlitedialect.New())}
	})
}

func TestPostgresStoreWithin(t *testing.T) {
	storetest.Run(t, func(t *testing.T) conformance.Harness {
		db, err := sql.Open("pgx", server.DSN(t))
		if err != nil {
			t.Fatal(err)
		}
		db.SetMaxOpenConns(8)
		t.Cleanup(func() { _ = db.Close() })
		return &withinHarness{backend: newPostgresHarness(t).(backend), db: bun.NewDB(db, pgdialect.New())}
	})
}

// backend is what a harness needs to know of ours.
type backend interface {
	conformance.Harness
	conformance.OpenCounter
	conformance.RowCounter
	conformance.Tamperer
	conformance.VersionSetter
	conformance.Limiter
	conformance.Explainer
}

// withinHarness has its handles within transactions.
type withinHarness struct {
	backend

	db            *bun.DB
	first, second *withinStore
}

func (h *withinHarness) Store() persistence.Store {
	if s := h.backend.Store().(*sqlstore.Store); h.first == nil || h.first.Store != s {
		h.first = &withinStore{s, h.db}
	}
	return h.first
}

func (h *withinHarness) Second() persistence.Store {
	if s := h.backend.Second().(*sqlstore.Store); h.second == nil || h.second.Store != s {
		h.second = &withinStore{s, h.db}
	}
	return h.second
}

func (h *withinHarness) Reopen() persistence.Store {
	h.backend.Reopen()
	return h.Store()
}

// Lacks implements conformance.Lacking: what becomes of the database behind the
// handles is the business of the handles.
func (h *withinHarness) Lacks() []conformance.Power {
	return []conformance.Power{
		conformance.CanIntercept, conformance.CanFreeze, conformance.CanRestart, conformance.CanMigrate,
		conformance.CanOpenNarrow, conformance.CanOpenTenant, conformance.CanOpenGiven, conformance.CanCountQueries, conformance.CanHold,
	}
}

// withinStore is a store whose workflows are changed and read in transactions.
type withinStore struct {
	*sqlstore.Store

	db *bun.DB
}

// in runs fn in a transaction, which is committed unless it is spoiled.
func (s *withinStore) in(ctx context.Context, fn func(persistence.WorkflowStore) error) error {
	tx, err := s.db.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return err
	}
	err = fn(s.Within(tx))
	if errors.Is(err, stabilize.ErrTransient) {
		return errors.Join(err, tx.Rollback())
	}
	return errors.Join(err, tx.Commit())
}

func (s *withinStore) CommitBatch(ctx context.Context, commits []*persistence.Commit) (errs []error) {
	err := s.in(ctx, func(v persistence.WorkflowStore) error {
		errs = v.CommitBatch(ctx, commits)
		return nil
	})
	if err != nil {
		panic(err)
	}
	return errs
}

func (s *withinStore) Load(ctx context.Context, id string) (w *stabilize.Workflow, err error) {
	err = s.in(ctx, func(v persistence.WorkflowStore) error { w, err = v.Load(ctx, id); return err })
	return w, err
}

func (s *withinStore) Summary(ctx context.Context, id string) (h *stabilize.Header, err error) {
	err = s.in(ctx, func(v persistence.WorkflowStore) error { h, err = v.Summary(ctx, id); return err })
	return h, err
}

func (s *withinStore) Query(ctx context.Context, q persistence.Query) (p persistence.Page, err error) {
	err = s.in(ctx, func(v persistence.WorkflowStore) error { p, err = v.Query(ctx, q); return err })
	return p, err
}

func (s *withinStore) Admissions(ctx context.Context, key string) (a persistence.Admissions, err error) {
	err = s.in(ctx, func(v persistence.WorkflowStore) error { a, err = v.Admissions(ctx, key); return err })
	return a, err
}

func (s *withinStore) Delete(ctx context.Context, ids ...string) error {
	return s.in(ctx, func(v persistence.WorkflowStore) error { return v.Delete(ctx, ids...) })
}
