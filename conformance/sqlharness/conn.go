package sqlharness

import (
	"context"
	"database/sql/driver"
	"sync"
	"sync/atomic"
)

type conn struct {
	driver.Conn

	d      *Driver
	broken atomic.Bool
}

var (
	_ driver.ConnBeginTx     = (*conn)(nil)
	_ driver.SessionResetter = (*conn)(nil)
	_ driver.Validator       = (*conn)(nil)
)

// call makes a call to the database.
func (c *conn) call(do func() error) error {
	if c.broken.Load() {
		return driver.ErrBadConn
	}
	c.d.mu.Lock()
	intercept := c.d.intercept
	c.d.mu.Unlock()
	if intercept != nil && intercept(false) {
		c.broken.Store(true)
		return c.d.broken
	}
	err := do()
	if intercept != nil && intercept(true) {
		c.broken.Store(true)
	}
	if c.broken.Load() {
		return c.d.broken
	}
	return err
}

func (c *conn) IsValid() bool { return !c.broken.Load() }

func (c *conn) ResetSession(ctx context.Context) error {
	if c.broken.Load() {
		return driver.ErrBadConn
	}
	if r, ok := c.Conn.(driver.SessionResetter); ok {
		return r.ResetSession(ctx)
	}
	return nil
}

func (c *conn) Close() error {
	c.d.change(func() { delete(c.d.conns, c) })
	return c.Conn.Close()
}

func (c *conn) Prepare(query string) (driver.Stmt, error) {
	if c.broken.Load() {
		return nil, driver.ErrBadConn
	}
	st, err := c.Conn.Prepare(query)
	if err != nil {
		return nil, err
	}
	return &stmt{Stmt: st, c: c, text: query}, nil
}

func (c *conn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	var inner driver.Tx
	err := c.call(func() (err error) {
		inner, err = c.Conn.(driver.ConnBeginTx).BeginTx(ctx, o)
		return err
	})
	if err != nil {
		if inner != nil {
			_ = inner.Rollback() // the database does so when the connection is gone
		}
		return nil, err
	}
	c.d.change(func() { c.d.txs++ })
	return &tx{inner: inner, c: c}, nil
}

type tx struct {
	inner driver.Tx
	c     *conn
}

func (t *tx) Commit() error {
	t.c.d.change(func() { t.c.d.txs-- })
	committed := false
	err := t.c.call(func() error {
		committed = true
		return t.inner.Commit()
	})
	if !committed {
		_ = t.inner.Rollback() // as above
	}
	return err
}

func (t *tx) Rollback() error {
	t.c.d.change(func() { t.c.d.txs-- })
	return t.inner.Rollback()
}

type stmt struct {
	driver.Stmt

	c    *conn
	text string
}

var (
	_ driver.StmtExecContext  = (*stmt)(nil)
	_ driver.StmtQueryContext = (*stmt)(nil)
)

func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (res driver.Result, err error) {
	s.c.d.queries.Add(1)
	err = s.c.call(func() (err error) {
		res, err = s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
		return err
	})
	return res, err
}

func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	s.c.d.queries.Add(1)
	var inner driver.Rows
	err := s.c.call(func() (err error) {
		inner, err = s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
		return err
	})
	if err != nil {
		if inner != nil {
			_ = inner.Close() // nobody else will
		}
		return nil, err
	}
	values := make([]any, len(args))
	for i, a := range args {
		values[i] = a.Value
	}
	s.c.d.change(func() {
		s.c.d.rows++
		s.c.d.last = Statement{s.text, values}
	})
	return &rows{Rows: inner, c: s.c, close: sync.OnceValue(func() error {
		s.c.d.change(func() { s.c.d.rows-- })
		return inner.Close()
	})}, nil
}

type rows struct {
	driver.Rows

	c     *conn
	close func() error
}

func (r *rows) Next(dest []driver.Value) error {
	return r.c.call(func() error { return r.Rows.Next(dest) })
}

func (r *rows) Close() error { return r.close() }
