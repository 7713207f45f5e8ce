package sqlstore_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"

	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// deferred is a database whose transactions take the write lock when they write.
func (s *shop) deferred() *bun.DB {
	s.Helper()
	var path string
	s.must(s.db.NewSelect().TableExpr("pragma_database_list").Column("file").Scan(s.Context(), &path))
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(0)")
	s.must(err)
	s.Cleanup(func() { _ = db.Close() })
	return bun.NewDB(db, sqlitedialect.New())
}

// A transaction that has read, and others have written since, never gets the write
// lock: it is told at once, however patient the store is, and run again.
func TestSQLiteWithinOutdated(t *testing.T) {
	s := sqliteShop(t)
	store := s.open(func(c *sqlstore.Config) { c.BusyTimeout = 24 * time.Hour })
	id, err := s.eng.Start(t.Context(), spec("a", "gate"))
	s.must(err)
	db := s.deferred()
	attempt := func(between func()) error {
		tx, err := db.BeginTx(t.Context(), nil)
		s.must(err)
		defer func() { _ = tx.Rollback() }()
		if _, err := tx.NewSelect().Model((*Order)(nil)).Count(t.Context()); err != nil {
			return err
		}
		between()
		if _, err := s.eng.Within(store.Within(tx)).Signal(t.Context(), id, "go", nil); err != nil {
			return err
		}
		s.insert(tx, "a")
		return tx.Commit()
	}
	s.want(attempt(func() {
		_, err := s.eng.Signal(t.Context(), id, "go", nil)
		s.must(err)
	}), stabilize.ErrTransient)
	s.must(attempt(func() {}))
	w, err := s.eng.Get(t.Context(), id)
	s.must(err)
	if len(w.Signals) != 2 || s.orders() != 1 {
		s.Errorf("%d signals, %d orders", len(w.Signals), s.orders())
	}
}

// While another has the write lock a request waits for it, as long as the store may;
// and the transaction goes on after it gave up.
func TestSQLiteWithinBusy(t *testing.T) {
	s := sqliteShop(t)
	impatient := s.open(func(c *sqlstore.Config) { c.BusyTimeout = time.Millisecond })
	holder := s.tx() // BEGIN IMMEDIATE
	tx, err := s.deferred().BeginTx(t.Context(), nil)
	s.must(err)
	defer func() { _ = tx.Rollback() }()
	_, err = s.eng.Within(impatient.Within(tx)).Start(t.Context(), spec("a", "count"), engine.WithKey("a"))
	s.want(err, stabilize.ErrTransient)
	done := make(chan error, 1)
	go func() {
		_, err := s.within(tx).Start(t.Context(), spec("a", "count"), engine.WithKey("a"))
		done <- err
	}()
	s.must(holder.Rollback())
	s.must(<-done)
	s.must(tx.Commit())
	if n := s.rows("workflows"); n != 1 {
		s.Errorf("%d workflows", n)
	}
}
