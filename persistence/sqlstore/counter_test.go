package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"sync/atomic"
	"testing"
)

// counter is a driver of its own that counts the statements it passes on to
// the default one.
type counter struct {
	name    string
	inner   driver.Driver
	queries atomic.Int64
}

func newCounter(t testing.TB) *counter {
	t.Helper()
	db, err := sql.Open("sqlite", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	c := &counter{name: "counted " + t.TempDir(), inner: db.Driver()}
	sql.Register(c.name, c)
	return c
}

func (c *counter) Open(dsn string) (driver.Conn, error) {
	conn, err := c.inner.Open(dsn)
	if err != nil {
		return nil, err
	}
	return countedConn{conn, c}, nil
}

type countedConn struct {
	driver.Conn

	c *counter
}

func (n countedConn) Prepare(query string) (driver.Stmt, error) {
	st, err := n.Conn.Prepare(query)
	if err != nil {
		return nil, err
	}
	return countedStmt{st, n.c}, nil
}

func (n countedConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	return n.Conn.(driver.ConnBeginTx).BeginTx(ctx, o)
}

type countedStmt struct {
	driver.Stmt

	c *counter
}

func (s countedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	s.c.queries.Add(1)
	return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
}

func (s countedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	s.c.queries.Add(1)
	return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
}
