package sqlharness

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
)

// PostgresConfig says where a harness has its schemas.
type PostgresConfig struct {
	// DSN is the driver's data source name, a URL, of a database in which the user may
	// create schemas. The harness makes some of its own and drops them at its end.
	DSN string
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
	wire    *wire  // the handles' connections go over it, those of the first tapped
	schema  string // also the name under which the handles are known to the server
	trips   *trips // of the first handle
	schemas []string
}

var (
	_ conformance.Harness       = (*Postgres)(nil)
	_ conformance.OpenCounter   = (*Postgres)(nil)
	_ conformance.RowCounter    = (*Postgres)(nil)
	_ conformance.Tamperer      = (*Postgres)(nil)
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
)

// NewPostgres makes a harness, which is closed when the test ends.
func NewPostgres(t testing.TB, cfg PostgresConfig) *Postgres {
	t.Helper()
	h := &Postgres{cfg: cfg, trips: &trips{}}
	h.clock, h.mark = newClock(), "$"
	h.schema = h.newSchema()
	t.Cleanup(func() {
		if err := h.close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	config, err := h.config("look")
	if err == nil {
		config.RuntimeParams["search_path"] = h.schema
		h.db = stdlib.OpenDB(*config)
		h.db.SetMaxOpenConns(2)
		h.wire, err = newWire(pgconn.NetworkAddress(config.Host, config.Port))
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

// config is how to connect, known to the server by a name.
func (h *Postgres) config(name string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(h.cfg.DSN)
	if err != nil {
		return nil, errors.New("the DSN cannot be read") // what the driver says may hold the password
	}
	config.RuntimeParams["application_name"] = name
	return config, nil
}

func (h *Postgres) open() (err error) {
	counted, err := h.config(h.schema)
	if err != nil {
		return err
	}
	counted.Tracer = h.trips
	counted.AfterNetConnect = h.wire.tap
	if h.first, _, err = h.onGiven(counted, 8); err != nil {
		return err
	}
	h.second, err = h.handle(h.schema, func(c *sqlstore.Config) { c.Connections, c.Migrate = 1, false })
	return err
}

// onGiven opens a handle on a database that the harness closes at its end.
func (h *Postgres) onGiven(config *pgx.ConnConfig, connections int) (*sqlstore.Store, *sql.DB, error) {
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	h.keep(db)
	s, err := sqlstore.Open(context.Background(), sqlstore.Config{DB: db, Schema: h.schema, Clock: h.clock, MaxPayload: payload, Migrate: true})
	return s, db, err
}

// handle opens a handle by data source name, known to the server by a name.
func (h *Postgres) handle(name string, change func(*sqlstore.Config)) (*sqlstore.Store, error) {
	dsn, err := url.Parse(h.cfg.DSN)
	if err != nil {
		return nil, errors.New("the DSN is no URL") // as above
	}
	q := dsn.Query()
	q.Set("application_name", name)
	q.Del("host")
	q.Del("port")
	dsn.Host, dsn.RawQuery = h.wire.listen.Addr().String(), q.Encode()
	cfg := sqlstore.Config{DSN: dsn.String(), Schema: h.schema, Clock: h.clock, MaxPayload: payload, Migrate: true}
	change(&cfg)
	return sqlstore.Open(context.Background(), cfg)
}

func (h *Postgres) close(ctx context.Context) error {
	errs := []error{h.closeAll()}
	if h.wire != nil {
		errs = append(errs, h.wire.close())
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
	return h.mustExtra(h.handle(h.schema, func(*sqlstore.Config) {}))
}

// Intercept implements conformance.Interceptor.
func (h *Postgres) Intercept(f func(executed bool) (breaks bool)) { h.wire.Intercept(f) }

// Freeze implements conformance.Freezer.
func (h *Postgres) Freeze(ctx context.Context) (thaw func() error, err error) {
	return h.wire.Freeze(ctx)
}

// Restart implements conformance.Restarter: the server ends all connections of the
// handles.
func (h *Postgres) Restart(ctx context.Context) error {
	_, err := h.db.ExecContext(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", h.schema)
	return err
}

// OpenNarrow implements conformance.NarrowOpener.
func (h *Postgres) OpenNarrow(context.Context) (persistence.Store, error) {
	return h.extra(h.handle(h.schema, func(c *sqlstore.Config) { c.Connections = 1 }))
}

// OpenTenant implements conformance.TenantOpener: by the prefix of the tables.
func (h *Postgres) OpenTenant(_ context.Context, name string) (persistence.Store, error) {
	return h.extra(h.handle(h.schema, func(c *sqlstore.Config) { c.Prefix = name }))
}

// OpenGiven implements conformance.GivenOpener.
func (h *Postgres) OpenGiven(_ context.Context, given bool) (persistence.Store, func(context.Context) bool, error) {
	if !given {
		name := strings.ToLower(rand.Text())
		s, err := h.extra(h.handle(name, func(*sqlstore.Config) {}))
		return s, func(ctx context.Context) bool {
			var n int
			err := h.db.QueryRowContext(ctx, "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", name).Scan(&n)
			return err == nil && n > 0
		}, err
	}
	config, err := h.config(h.schema)
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
