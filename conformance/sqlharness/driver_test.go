package sqlharness_test

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"path/filepath"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance/sqlharness"
)

var errBroken = errors.New("broken")

// open makes a table of three rows.
func open(t *testing.T) (*sqlharness.Driver, *sql.DB) {
	t.Helper()
	d, err := sqlharness.NewDriver("sqlite", errBroken)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open(d.Name(), filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if n := d.Connections(); n != 0 {
			t.Errorf("%d connections are open after Close", n)
		}
	})
	db.SetMaxOpenConns(1)
	for _, text := range []string{"CREATE TABLE t (n)", "INSERT INTO t VALUES (1), (2), (3)"} {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	return d, db
}

func count(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM t").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// at breaks the connection at the nth moment from now on.
func at(d *sqlharness.Driver, n int) {
	d.Intercept(func(bool) bool { n--; return n == -1 })
}

func TestTransactionEndsWithItsConnection(t *testing.T) {
	d, db := open(t)
	insert := func() error {
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // after a commit it does nothing
		if _, err := tx.ExecContext(t.Context(), "INSERT INTO t VALUES (4)"); err != nil {
			return err
		}
		return tx.Commit()
	}
	// Moments: before and after each of BEGIN, INSERT and COMMIT.
	for n, rows := range []int{3, 3, 3, 3, 3, 4} {
		at(d, n)
		if err := insert(); !errors.Is(err, errBroken) {
			t.Errorf("moment %d: %v", n, err)
		}
		d.Intercept(nil)
		if got := count(t, db); got != rows {
			t.Errorf("after a connection that broke at moment %d there are %d rows, want %d", n, got, rows)
		}
		if txs, cursors := d.InUse(); txs != 0 || cursors != 0 || d.Connections() != 1 {
			t.Errorf("moment %d: in use are %d transactions, %d cursors, %d connections", n, txs, cursors, d.Connections())
		}
	}
}

func TestRowsAreCalls(t *testing.T) {
	d, db := open(t)
	moments := 0
	d.Intercept(func(bool) bool { moments++; return false })
	if count(t, db); moments != 4 { // the statement and its row
		t.Errorf("reading a row has %d moments", moments)
	}
	at(d, 5) // the second row was read
	rows, err := db.QueryContext(t.Context(), "SELECT n FROM t WHERE n > ?", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		n++
	}
	if !errors.Is(rows.Err(), errBroken) || n != 1 {
		t.Errorf("%d rows came through, then %v", n, rows.Err())
	}
	if asked := d.LastQuery(); asked.Text != "SELECT n FROM t WHERE n > ?" || len(asked.Args) != 1 || asked.Args[0] != int64(0) {
		t.Errorf("the last query was %+v", asked)
	}
}

func TestBreakEndsEveryConnection(t *testing.T) {
	d, db := open(t)
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), "DELETE FROM t"); err != nil {
		t.Fatal(err)
	}
	d.Break()
	if err := tx.Commit(); !errors.Is(err, driver.ErrBadConn) {
		t.Errorf("committing on a broken connection: %v", err)
	}
	if n := count(t, db); n != 3 {
		t.Errorf("a transaction that was not committed left %d rows", n)
	}
}
