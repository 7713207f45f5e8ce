package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
)

// hooked is a driver of its own on top of the default one. It counts statements
// and may get in the way of a COMMIT.
type hooked struct {
	name    string
	inner   driver.Driver
	queries atomic.Int64
	commit  atomic.Pointer[func(driver.Tx) error]
	pragmas sync.Map // texts prepared that set one
}

func newDriver(t testing.TB) *hooked {
	t.Helper()
	db, err := sql.Open("sqlite", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	h := &hooked{name: "hooked " + t.TempDir(), inner: db.Driver()}
	sql.Register(h.name, h)
	return h
}

func (h *hooked) use(cfg *sqlstore.Config) { cfg.Driver = h.name }

func (h *hooked) Open(dsn string) (driver.Conn, error) {
	conn, err := h.inner.Open(dsn)
	if err != nil {
		return nil, err
	}
	return hookedConn{conn, h}, nil
}

type hookedConn struct {
	driver.Conn

	h *hooked
}

func (c hookedConn) Prepare(query string) (driver.Stmt, error) {
	if strings.HasPrefix(query, "PRAGMA") {
		c.h.pragmas.Store(query, true)
	}
	st, err := c.Conn.Prepare(query)
	if err != nil {
		return nil, err
	}
	return hookedStmt{st, c.h}, nil
}

func (c hookedConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	tx, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, o)
	if err != nil {
		return nil, err
	}
	return hookedTx{tx, c.h}, nil
}

type hookedStmt struct {
	driver.Stmt

	h *hooked
}

func (s hookedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	s.h.queries.Add(1)
	return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
}

func (s hookedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	s.h.queries.Add(1)
	return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
}

type hookedTx struct {
	driver.Tx

	h *hooked
}

func (t hookedTx) Commit() error {
	if f := t.h.commit.Load(); f != nil {
		return (*f)(t.Tx)
	}
	return t.Tx.Commit()
}
