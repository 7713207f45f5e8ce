package enginebench

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"strings"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/stores"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// postgresSite is schemas of our own in a database, dropped at the end.
type postgresSite struct {
	db      *sql.DB
	dsn     *url.URL
	prefix  string
	schemas []string
	opened  string // DSN of the last store
}

func openPostgresSite(dsn string) (site, error) {
	d, err := stores.Parse(dsn)
	if err != nil {
		return nil, err
	}
	if d.Schema != "" || d.Prefix != "" {
		return nil, stabilize.Invalid("DSN", "names a schema or a prefix: the benchmark runs on schemas of its own only")
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, stabilize.Invalid("DSN", "cannot be read")
	}
	db, err := sql.Open("pgx", d.Postgres) // connects to nothing yet
	if err != nil {
		return nil, stabilize.Invalid("DSN", "cannot be read")
	}
	db.SetMaxOpenConns(2 + rawConnections) // the raw limit keeps the others
	return &postgresSite{db: db, dsn: u, prefix: "enginebench_" + strings.ToLower(rand.Text())}, nil
}

// schema returns the name of one that is to be made.
func (s *postgresSite) schema() string {
	name := fmt.Sprintf("%.26s_%d", s.prefix, len(s.schemas)+1)
	s.schemas = append(s.schemas, name)
	return name
}

func (s *postgresSite) open(ctx context.Context, clock stabilize.Clock) (persistence.Store, error) {
	u := *s.dsn
	q := u.Query()
	q.Set("schema", s.schema())
	u.RawQuery = q.Encode()
	s.opened = u.String()
	return stores.DSN(s.opened)(ctx, persistence.Settings{Clock: clock})
}

// shared counts no bytes: the server's are those of all.
func (s *postgresSite) shared() (string, bool, error) { return s.opened, false, nil }

func (s *postgresSite) limit(ctx context.Context) (limit, error) {
	return openPostgresLimit(ctx, s.db, s.schema())
}

// written is the server's write-ahead log, also of what others write to it.
func (s *postgresSite) written() int64 {
	var n int64
	if err := s.db.QueryRowContext(context.Background(), "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").Scan(&n); err != nil {
		return 0
	}
	return n
}

func (s *postgresSite) close() {
	for _, name := range s.schemas {
		_, _ = s.db.ExecContext(context.Background(), "DROP SCHEMA IF EXISTS "+name+" CASCADE")
	}
	_ = s.db.Close()
}
