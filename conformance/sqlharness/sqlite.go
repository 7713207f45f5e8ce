package sqlharness

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
)

// SQLiteConfig says how a harness opens its handles.
type SQLiteConfig struct {
	// Folder holds the harness's files, and nothing else; it must exist. The data
	// are in the file SQLiteFile.
	Folder      string
	Synchronous sqlstore.Synchronous
	// Given says which handles are given a database of one connection, without a
	// write-ahead log unless the file has one already. The others open the file.
	GivenFirst, GivenSecond bool
	// InUse counts the connections that a store has checked out; nil: that is not
	// known from outside, and transactions and cursors alone are counted.
	InUse func(*sqlstore.Store) int
}

// SQLiteFile is the name of the file within SQLiteConfig.Folder.
const SQLiteFile = "store.db"

// SQLite is a harness of sqlstore on an SQLite file: two handles, and a third way
// past both.
type SQLite struct {
	handles

	cfg     SQLiteConfig
	path    string
	drivers [2]*Driver // of the handles
	empties int
}

var (
	_ conformance.Harness       = (*SQLite)(nil)
	_ conformance.Lacking       = (*SQLite)(nil)
	_ conformance.OpenCounter   = (*SQLite)(nil)
	_ conformance.RowCounter    = (*SQLite)(nil)
	_ conformance.Tamperer      = (*SQLite)(nil)
	_ conformance.EventTamperer = (*SQLite)(nil)
	_ conformance.VersionSetter = (*SQLite)(nil)
	_ conformance.Limiter       = (*SQLite)(nil)
	_ conformance.QueryCounter  = (*SQLite)(nil)
	_ conformance.Explainer     = (*SQLite)(nil)
	_ conformance.Interceptor   = (*SQLite)(nil)
	_ conformance.Restarter     = (*SQLite)(nil)
	_ conformance.NarrowOpener  = (*SQLite)(nil)
	_ conformance.TenantOpener  = (*SQLite)(nil)
	_ conformance.GivenOpener   = (*SQLite)(nil)
	_ conformance.Migrator      = (*SQLite)(nil)
)

// errBroken is how SQLite says that it cannot reach its file any more.
type errBroken struct{}

func (errBroken) Error() string { return "disk I/O error, made by the harness" }
func (errBroken) Code() int     { return 10 } // SQLITE_IOERR

// NewSQLite makes a harness, which is closed when the test ends.
func NewSQLite(t testing.TB, cfg SQLiteConfig) *SQLite {
	t.Helper()
	h := &SQLite{cfg: cfg, path: filepath.Join(cfg.Folder, SQLiteFile)}
	h.clock, h.mark = newClock(), "?"
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range h.drivers {
		d, err := newDriver()
		must(err)
		h.drivers[i] = d
	}
	t.Cleanup(func() {
		if err := h.close(); err != nil {
			t.Error(err)
		}
	})
	must(h.open())
	var err error
	h.db, err = look(h.path)
	must(err)
	return h
}

func newDriver() (*Driver, error) { return NewDriver("sqlite", errBroken{}) }

// uri names a file whatever is in its path.
func uri(path string) string {
	return "file:" + strings.NewReplacer("%", "%25", "?", "%3F", "#", "%23").Replace(filepath.ToSlash(path))
}

// look opens a file past any store.
func look(path string) (*sql.DB, error) {
	return sql.Open("sqlite", uri(path)+"?_pragma=busy_timeout(10000)")
}

func (h *SQLite) open() (err error) {
	if h.first, err = h.handle(h.drivers[0], h.cfg.GivenFirst, ""); err != nil {
		return err
	}
	h.second, err = h.handle(h.drivers[1], h.cfg.GivenSecond, "")
	return err
}

// handle opens a handle on the harness's file.
func (h *SQLite) handle(d *Driver, given bool, prefix string) (*sqlstore.Store, error) {
	if given {
		s, _, err := h.onGiven(d)
		return s, err
	}
	cfg := h.config(prefix)
	cfg.Path, cfg.Driver = h.path, d.Name()
	return sqlstore.Open(context.Background(), cfg)
}

// onGiven opens a handle on a database of one connection, which the harness
// closes at its end.
func (h *SQLite) onGiven(d *Driver) (*sqlstore.Store, *sql.DB, error) {
	db, err := sql.Open(d.Name(), uri(h.path))
	if err != nil {
		return nil, nil, err
	}
	db.SetMaxOpenConns(1)
	h.keep(db)
	cfg := h.config("")
	cfg.DB = db
	s, err := sqlstore.Open(context.Background(), cfg)
	return s, db, err
}

func (h *SQLite) config(prefix string) sqlstore.Config {
	return sqlstore.Config{Clock: h.clock, Migrate: true, MaxPayload: payload, Synchronous: h.cfg.Synchronous, Prefix: prefix}
}

func (h *SQLite) close() error {
	err := h.closeAll()
	if h.db != nil {
		err = errors.Join(err, h.db.Close())
	}
	return err
}

// Reopen implements conformance.Harness. It panics where a handle cannot be
// opened or closed: the clause fails and says so.
func (h *SQLite) Reopen() persistence.Store { return h.reopen(h.open) }

// Open opens a further handle on the data, as another process would have. It
// panics if it cannot: whoever uses it fails and says so.
func (h *SQLite) Open() persistence.Store { return h.mustExtra(h.handle(h.drivers[1], false, "")) }

// Lacks implements conformance.Lacking: a call to SQLite does not leave the
// process, so there is nobody who would answer late.
func (h *SQLite) Lacks() []conformance.Power {
	return []conformance.Power{conformance.CanFreeze, conformance.CanHold}
}

// Intercept implements conformance.Interceptor.
func (h *SQLite) Intercept(f func(executed bool) (breaks bool)) { h.drivers[0].Intercept(f) }

// Restart implements conformance.Restarter.
func (h *SQLite) Restart(context.Context) error {
	for _, d := range h.drivers {
		d.Break()
	}
	return nil
}

// OpenNarrow implements conformance.NarrowOpener.
func (h *SQLite) OpenNarrow(context.Context) (persistence.Store, error) {
	return h.extra(h.handle(h.drivers[1], true, ""))
}

// OpenTenant implements conformance.TenantOpener.
func (h *SQLite) OpenTenant(_ context.Context, name string) (persistence.Store, error) {
	return h.extra(h.handle(h.drivers[1], false, name))
}

// OpenGiven implements conformance.GivenOpener.
func (h *SQLite) OpenGiven(_ context.Context, given bool) (persistence.Store, func(context.Context) bool, error) {
	d, err := newDriver()
	if err != nil {
		return nil, nil, err
	}
	if !given {
		s, err := h.extra(h.handle(d, false, ""))
		return s, func(context.Context) bool { return d.Connections() > 0 }, err
	}
	s, db, err := h.onGiven(d)
	if err != nil {
		return nil, nil, err
	}
	kept, err := h.extra(s, nil)
	return kept, func(ctx context.Context) bool { return db.PingContext(ctx) == nil }, err
}
