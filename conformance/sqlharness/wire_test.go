package sqlharness

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore/pgtest"
)

var server pgtest.Server

func TestMain(m *testing.M) {
	code := m.Run()
	server.Stop()
	os.Exit(code)
}

// openWire returns a database over a wire, of one connection, and one past it. Both
// look at a table of three rows.
func openWire(t *testing.T) (w *wire, over, past *sql.DB) {
	t.Helper()
	config, err := pgx.ParseConfig(server.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	schema := server.Schema(t)
	config.RuntimeParams["search_path"] = schema
	if w, err = newWire(pgconn.NetworkAddress(config.Host, config.Port)); err != nil {
		t.Fatal(err)
	}
	past = stdlib.OpenDB(*config)
	config.AfterNetConnect = w.tap
	over = stdlib.OpenDB(*config, stdlib.OptionShouldPing(func(context.Context, stdlib.ShouldPingParams) bool { return false }))
	over.SetMaxOpenConns(1)
	t.Cleanup(func() {
		if err := errors.Join(over.Close(), w.close(), past.Close()); err != nil {
			t.Error(err)
		}
	})
	for _, text := range []string{"CREATE SCHEMA " + schema, "CREATE TABLE t (n bigint)", "INSERT INTO t VALUES (1), (2), (3)"} {
		if _, err := past.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	return w, over, past
}

func rowsOf(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM t").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// breakAt breaks the connection at the nth moment from now on.
func breakAt(w *wire, n int) {
	w.Intercept(func(bool) bool { n--; return n == -1 })
}

func TestWireBreaksAtEachMoment(t *testing.T) {
	w, over, past := openWire(t)
	insert := func() error {
		tx, err := over.BeginTx(t.Context(), nil)
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
		if got := rowsOf(t, over); got != 3 { // and connects
			t.Fatalf("%d rows before", got)
		}
		breakAt(w, n)
		if insert() == nil {
			t.Errorf("moment %d: no error", n)
		}
		w.Intercept(nil)
		// Not even its locks are left.
		if _, err := past.ExecContext(t.Context(), "SET lock_timeout = '1ms'; LOCK TABLE t; SET lock_timeout = 0"); err != nil {
			t.Errorf("after moment %d: %v", n, err)
		}
		if got := rowsOf(t, past); got != rows {
			t.Errorf("after a connection that broke at moment %d there are %d rows, want %d", n, got, rows)
		}
	}
}

func TestWireAsksForWhatWaits(t *testing.T) {
	w, over, _ := openWire(t)
	var executed []bool
	w.Intercept(func(e bool) bool { executed = append(executed, e); return false })
	rowsOf(t, over)
	if want := []bool{false, true, false, true, false, true}; !slices.Equal(executed, want) {
		t.Errorf("connecting, preparing and asking have the moments %v", executed)
	}
	tx, err := over.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	executed = nil
	if err := tx.Rollback(); err != nil || len(executed) != 0 {
		t.Errorf("rolling back has moments %v, %v", executed, err)
	}
	// Of a row that is not the first the moment is before it.
	broken := 0
	w.Intercept(func(e bool) bool {
		if e {
			broken++
		}
		return broken == 2
	})
	rows, err := over.QueryContext(t.Context(), "SELECT n FROM t ORDER BY n", pgx.QueryExecModeExec)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		n++
	}
	if rows.Err() == nil || n != 2 {
		t.Errorf("%d rows came through, then %v", n, rows.Err())
	}
}

func TestWireFreezes(t *testing.T) {
	w, over, past := openWire(t)
	rowsOf(t, over)
	thaw, err := w.Freeze(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := over.ExecContext(ctx, "INSERT INTO t VALUES (4)"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("over a frozen wire: %v", err)
	}
	rowsOf(t, past)
	for range 2 {
		if err := thaw(); err != nil {
			t.Fatal(err)
		}
	}
	rowsOf(t, over)
}

// Who loses patience is told when the server is done: what is seen then is final.
func TestWireToldLate(t *testing.T) {
	w, over, past := openWire(t)
	rowsOf(t, over)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.Intercept(func(executed bool) bool {
		if !executed {
			cancel()
		}
		return false
	})
	if _, err := over.ExecContext(ctx, "INSERT INTO t SELECT 4 FROM pg_sleep(0.2)", pgx.QueryExecModeSimpleProtocol); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	w.Intercept(nil)
	if got := rowsOf(t, past); got != 4 {
		t.Errorf("%d rows", got)
	}
}
