package sqlharness

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Driver is a database/sql driver on top of another one. It counts, and breaks
// connections. It is safe for concurrent use.
//
// A connection that breaks ends its transaction, fails the call at hand with the
// error given to NewDriver and every later one with driver.ErrBadConn, so that
// database/sql replaces it.
type Driver struct {
	name   string
	inner  driver.Driver
	broken error

	queries atomic.Int64

	mu        sync.Mutex
	intercept func(executed bool) bool
	last      Statement
	conns     map[*conn]bool
	txs, rows int // open
}

// Statement is a text and its arguments.
type Statement struct {
	Text string
	Args []any
}

// NewDriver registers a driver on top of the one of that name, for ever, under a
// name of its own. broken is the error that the inner driver has for a connection
// that breaks, or one that the store takes for it.
func NewDriver(inner string, broken error) (*Driver, error) {
	db, err := sql.Open(inner, "") // connects to nothing
	if err != nil {
		return nil, err
	}
	d := &Driver{inner: db.Driver(), broken: broken, conns: map[*conn]bool{}}
	if err := db.Close(); err != nil {
		return nil, err
	}
	d.name = fmt.Sprintf("%s of conformance %p", inner, d)
	sql.Register(d.name, d)
	return d, nil
}

// Name is what sql.Open knows it by.
func (d *Driver) Name() string { return d.name }

// Queries counts the statements sent, but those that begin and end a transaction.
func (d *Driver) Queries() int { return int(d.queries.Load()) }

// Connections counts the open ones.
func (d *Driver) Connections() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.conns)
}

// InUse counts what is open: transactions and cursors.
func (d *Driver) InUse() (transactions, cursors int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.txs, d.rows
}

// LastQuery returns the statement that was last asked for rows.
func (d *Driver) LastQuery() Statement {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last
}

// Intercept implements conformance.Interceptor. Calls are: beginning and
// committing a transaction, each statement, each row.
func (d *Driver) Intercept(f func(executed bool) (breaks bool)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.intercept = f
}

// Break breaks all open connections.
func (d *Driver) Break() {
	d.mu.Lock()
	all := slices.Collect(maps.Keys(d.conns))
	d.mu.Unlock()
	for _, c := range all {
		c.broken.Store(true)
	}
}

func (d *Driver) change(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

// Open implements driver.Driver.
func (d *Driver) Open(dsn string) (driver.Conn, error) {
	inner, err := d.inner.Open(dsn)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: inner, d: d}
	d.change(func() { d.conns[c] = true })
	return c, nil
}
