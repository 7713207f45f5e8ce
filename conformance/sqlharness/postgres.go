package sqlharness

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// PostgresConfig says where a harness has its schemas.
type PostgresConfig struct {
	// DSN is the driver's data source name, a URL, of a database in which the user may
	// create schemas. The harness makes some of its own and drops them at its end.
	DSN string
	// Pooler is the data source name of a pooler of transactions in front of that
	// server, by which the handles go; empty: there is none.
	Pooler string
	// Connections of the first handle at most; 0: 8. The second has one.
	Connections int
	// InUse counts the connections that a store has checked out; nil: they are not
	// counted.
	InUse func(*sqlstore.Store) int
}

// Postgres is a harness of sqlstore in PostgreSQL: two handles on one schema, and a
// third way past both. The first is given a database whose round trips are counted,
// the second opens one of one connection.
type Postgres struct {
	handles

	cfg     PostgresConfig
	wire    *wire // the handles' connections go over it, those of the first tapped
	wires   []*wire
	schema  string // also the name under which the handles are known to the server
	trips   *trips // of the first handle
	schemas []string
}

var (
	_ conformance.Harness       = (*Postgres)(nil)
	_ conformance.OpenCounter   = (*Postgres)(nil)
	_ conformance.RowCounter    = (*Postgres)(nil)
	_ conformance.Tamperer      = (*Postgres)(nil)
	_ conformance.EventTamperer = (*Postgres)(nil)
	_ conformance.VersionSetter = (*Postgres)(nil)
	_ conformance.Limiter       = (*Postgres)(nil)
	_ conformance.QueryCounter  = (*Postgres)(nil)
	_ conformance.Explainer     = (*Postgres)(nil)
	_ conformance.Interceptor   = (*Postgres)(nil)
	_ conformance.Freezer       = (*Postgres)(nil)
	_ conformance.Restarter     = (*Postgres)(nil)
	_ conformance.NarrowOpener  = (*Postgres)(nil)
	_ conformance.TenantOpener  = (*Postgres)(nil)
	_ conformance.GivenOpener   = (*Postgres)(nil)
	_ conformance.Migrator      = (*Postgres)(nil)
	_ conformance.Holder        = (*Postgres)(nil)
)

// NewPostgres makes a harness, which is closed when the test ends.
func NewPostgres(t testing.TB, cfg PostgresConfig) *Postgres {
	t.Helper()
	if cfg.Connections == 0 {
		cfg.Connections = 8
	}
	h := &Postgres{cfg: cfg, trips: &trips{}}
	h.clock, h.mark = newClock(), "$"
	h.schema = h.newSchema()
	t.Cleanup(func() {
		if err := h.close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	config, err := parse(cfg.DSN, "look")
	if err == nil {
		config.RuntimeParams["search_path"] = h.schema
		h.db = stdlib.OpenDB(*config)
		h.db.SetMaxOpenConns(2)
		h.wire, err = h.newWire()
	}
	if err == nil {
		err = h.open()
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// newSchema names a schema, which the harness drops at its end.
func (h *Postgres) newSchema() string {
	name := "conformance_" + strings.ToLower(rand.Text()[:20])
	h.mu.Lock()
	defer h.mu.Unlock()
	h.schemas = append(h.schemas, name)
	return name
}

// address is the data source name of the handles.
func (h *Postgres) address() string { return cmp.Or(h.cfg.Pooler, h.cfg.DSN) }

// newWire makes a wire that leads to where the handles go; the harness closes it.
func (h *Postgres) newWire() (*wire, error) {
	config, err := parse(h.address(), "")
	if err != nil {
		return nil, err
	}
	w, err := newWire(pgconn.NetworkAddress(config.Host, config.Port))
	if err == nil {
		h.mu.Lock()
		h.wires = append(h.wires, w)
		h.mu.Unlock()
	}
	return w, err
}

// parse returns how to connect, known to the server by a name.
func parse(dsn, name string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("the DSN cannot be read") // what the driver says may hold the password
	}
	config.RuntimeParams["application_name"] = name
	return config, nil
}

// config is how the handle connects that is given its database.
func (h *Postgres) config() (*pgx.ConnConfig, error) {
	config, err := parse(h.address(), h.schema)
	if err == nil && h.cfg.Pooler != "" {
		config.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	return config, err
}

func (h *Postgres) open() (err error) {
	counted, err := h.config()
	if err != nil {
		return err
	}
	counted.Tracer = h.trips
	counted.AfterNetConnect = h.wire.tap
	if h.first, _, err = h.onGiven(counted, h.cfg.Connections); err != nil {
		return err
	}
	h.second, err = h.handle(func(c *sqlstore.Config) { c.Connections, c.Migrate = 1, false })
	return err
}

// onGiven opens a handle on a database that the harness closes at its end.
func (h *Postgres) onGiven(config *pgx.ConnConfig, connections int) (*sqlstore.Store, *sql.DB, error) {
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	h.keep(db)
	s, err := sqlstore.Open(context.Background(), sqlstore.Config{
		DB: db, Schema: h.schema, Clock: h.clock, MaxPayload: payload, Migrate: true, TransactionPooling: h.cfg.Pooler != "",
	})
	return s, db, err
}

// handle opens a handle by data source name, known to the server by the schema's.
func (h *Postgres) handle(change func(*sqlstore.Config)) (*sqlstore.Store, error) {
	return h.handleOver(h.wire, change)
}

func (h *Postgres) handleOver(w *wire, change func(*sqlstore.Config)) (*sqlstore.Store, error) {
	dsn, err := url.Parse(h.address())
	if err != nil {
		return nil, errors.New("the DSN is no URL") // as above
	}
	q := dsn.Query()
	q.Set("application_name", h.schema)
	q.Del("host")
	q.Del("port")
	dsn.Host, dsn.RawQuery = w.listen.Addr().String(), q.Encode()
	cfg := sqlstore.Config{
		DSN: dsn.String(), Schema: h.schema, Clock: h.clock, MaxPayload: payload, Migrate: true, TransactionPooling: h.cfg.Pooler != "",
	}
	change(&cfg)
	return sqlstore.Open(context.Background(), cfg)
}

func (h *Postgres) close(ctx context.Context) error {
	errs := []error{h.closeAll()}
	for _, w := range h.wires {
		errs = append(errs, w.close())
	}
	if h.db == nil {
		return errors.Join(errs...)
	}
	for _, schema := range h.schemas {
		_, err := h.db.ExecContext(ctx, "DROP SCHEMA IF EXISTS "+schema+" CASCADE")
		errs = append(errs, err)
	}
	return errors.Join(append(errs, h.db.Close())...)
}

// Reopen implements conformance.Harness. It panics where a handle cannot be
// opened or closed: the clause fails and says so.
func (h *Postgres) Reopen() persistence.Store { return h.reopen(h.open) }

// Open opens a further handle on the data, as another process would have. It
// panics if it cannot: whoever uses it fails and says so.
func (h *Postgres) Open() persistence.Store {
	return h.mustExtra(h.handle(func(*sqlstore.Config) {}))
}

// Intercept implements conformance.Interceptor.
func (h *Postgres) Intercept(f func(executed bool) (breaks bool)) { h.wire.Intercept(f) }

// Freeze implements conformance.Freezer.
func (h *Postgres) Freeze(ctx context.Context) (thaw func() error, err error) {
	return h.wire.Freeze(ctx)
}

// Restart implements conformance.Restarter: the server ends all connections of the
// handles, or they break on the way to the pooler.
func (h *Postgres) Restart(ctx context.Context) error {
	if h.cfg.Pooler != "" {
		h.wire.cut()
		return nil
	}
	_, err := h.db.ExecContext(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", h.schema)
	return err
}

// OpenNarrow implements conformance.NarrowOpener.
func (h *Postgres) OpenNarrow(context.Context) (persistence.Store, error) {
	return h.extra(h.handle(func(c *sqlstore.Config) { c.Connections = 1 }))
}

// OpenTenant implements conformance.TenantOpener: by the prefix of the tables.
func (h *Postgres) OpenTenant(_ context.Context, name string) (persistence.Store, error) {
	return h.extra(h.handle(func(c *sqlstore.Config) { c.Prefix = name }))
}

// OpenGiven implements conformance.GivenOpener.
func (h *Postgres) OpenGiven(_ context.Context, given bool) (persistence.Store, func(context.Context) bool, error) {
	if !given {
		w, err := h.newWire()
		if err != nil {
			return nil, nil, err
		}
		s, err := h.extra(h.handleOver(w, func(*sqlstore.Config) {}))
		return s, func(ctx context.Context) bool {
			patience := time.Duration(0)
			if _, err := s.Summary(ctx, "none"); errors.Is(err, stabilize.ErrClosed) {
				patience = time.Minute // connections take a moment to end
			}
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			return w.inUse(ctx)
		}, err
	}
	config, err := h.config()
	if err != nil {
		return nil, nil, err
	}
	s, db, err := h.onGiven(config, 2)
	if err != nil {
		return nil, nil, err
	}
	kept, err := h.extra(s, nil)
	return kept, func(ctx context.Context) bool { return db.PingContext(ctx) == nil }, err
}

// Hold implements conformance.Holder: as a program that changes rows of the store's.
func (h *Postgres) Hold(ctx context.Context, workflowID string) (release func() error, err error) {
	tx, err := h.db.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return nil, err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE workflows SET version = version WHERE id = $1", workflowID); err != nil {
		return nil, errors.Join(err, tx.Rollback())
	}
	return tx.Rollback, nil
}
