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

// hooked is a driver of its own on top of the default one. It notes pragmas and may
// get in the way of what is prepared and of a COMMIT.
type hooked struct {
	name    string
	inner   driver.Driver
	commit  atomic.Pointer[func(driver.Tx) error]
	prepare atomic.Pointer[func(query string) error] // its error is Prepare's
	pragmas sync.Map                                 // texts prepared that set one
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
	if f := c.h.prepare.Load(); f != nil {
		if err := (*f)(query); err != nil {
			return nil, err
		}
	}
	return c.Conn.Prepare(query)
}

func (c hookedConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	tx, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, o)
	if err != nil {
		return nil, err
	}
	return hookedTx{tx, c.h}, nil
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
