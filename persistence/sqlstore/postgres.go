package sqlstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// What is PostgreSQL's own: how a database is opened, what text it cannot hold,
// how a transaction is run. Its errors are in postgres_errors.go, its statements
// in postgres_statements.go.

// postgres is what a Store in PostgreSQL has beside that in SQLite.
type postgres struct {
	set setTexts

	own     bool            // the connections are ours: each is set up when it is made
	config  *pgx.ConnConfig // of a connection of the same kind
	before  beforeConnect   // what the pool that we were given does to it first; may be nil
	channel string          // of the notifications
	self    string          // what ours say
	ear     sync.Once
	trust   trust
	told    atomic.Bool  // of something claimable, since the last claim
	asked   atomic.Int64 // when a claim last asked for it
	hands   hands
}

// beforeConnect changes how the next connection is made: it may have the password.
type beforeConnect func(context.Context, *pgx.ConnConfig) error

// isPostgres tells the two databases apart.
func (c *Config) isPostgres() bool {
	switch {
	case c.DSN != "" || c.Pool != nil:
		return true
	case c.DB != nil:
		_, ok := c.DB.Driver().(*stdlib.Driver)
		return ok
	case c.Bun != nil:
		return c.Bun.Dialect().Name() == dialect.PG
	}
	return false
}

// tuning sets up a connection or a transaction. All statements name rows by an
// index; a plan that is made while the tables are empty would read them from end
// to end, and be kept when they are large. Nothing here is worth a compiler. Whoever stands
// still in a transaction that holds its worker's row is not taken over until that ends: a
// host that is gone without a word would hold it for hours.
const tuning = `SELECT set_config('plan_cache_mode', 'force_generic_plan', $1),
	set_config('enable_seqscan', 'off', $1), set_config('enable_hashjoin', 'off', $1),
	set_config('enable_mergejoin', 'off', $1), set_config('jit', 'off', $1),
	set_config('default_transaction_isolation', 'read committed', $1),
	set_config('idle_in_transaction_session_timeout', '5s', $1)`

func (s *Store) connectPostgres() error {
	p := &postgres{
		set: newSetTexts(&s.cfg), self: rand.Text(),
	}
	var db *sql.DB
	switch {
	case s.cfg.DSN != "":
		config, err := pgx.ParseConfig(s.cfg.DSN)
		if err != nil {
			// What the driver says may hold the password.
			return stabilize.Invalid("config DSN", "cannot be read; a URL is postgres://user:password@host:port/database, with %%XX for what is special in it")
		}
		p.own, p.config = !s.cfg.TransactionPooling, config
		if s.cfg.TransactionPooling {
			config.DefaultQueryExecMode = pgx.QueryExecModeExec
		}
		db = stdlib.OpenDB(*config, stdlib.OptionAfterConnect(p.setUp))
		db.SetMaxOpenConns(s.cfg.Connections)
		db.SetMaxIdleConns(s.cfg.Connections)
	case s.cfg.Pool != nil:
		pool := s.cfg.Pool.Config()
		p.config, p.before = pool.ConnConfig, pool.BeforeConnect
		db = stdlib.OpenDBFromPool(s.cfg.Pool)
	case s.cfg.DB != nil:
		db = s.cfg.DB
	default:
		s.pg, s.w, s.r = p, s.cfg.Bun, s.cfg.Bun
		return nil
	}
	s.pg, s.w = p, bun.NewDB(db, pgdialect.New())
	s.r = s.w
	return nil
}

// setUp makes a connection ready, if it stays ours.
func (p *postgres) setUp(ctx context.Context, conn *pgx.Conn) error {
	if !p.own {
		return nil
	}
	_, err := conn.Exec(ctx, tuning, false)
	return err
}

func (s *Store) closePostgres() {
	if s.cfg.DSN != "" || s.cfg.Pool != nil { // the pool itself stays open
		_ = s.w.DB.Close()
	}
}

// preparePostgres is the I/O of Open.
func (s *Store) preparePostgres(ctx context.Context) error {
	inner, leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := s.inspectPostgres(inner); err != nil {
		return s.openError(ctx, "open", err)
	}
	s.followClock(inner, s.r)
	if s.cfg.Migrate {
		if err := s.migrate(inner); err != nil {
			return s.openError(ctx, "migrate", err)
		}
	}
	if s.cfg.Migrate {
		if err := s.settleEvents(inner); err != nil {
			return s.openError(ctx, "open", err)
		}
	}
	if err := s.pg.findChannel(inner, s); err != nil {
		return s.openError(ctx, "open", err)
	}
	if _, err := s.ready(inner); err != nil && !isMissing(err) { // then every call will say so
		return s.openError(ctx, "open", err)
	}
	return nil
}

// inspectPostgres refuses a server that would lose text or cannot be written.
func (s *Store) inspectPostgres(ctx context.Context) error {
	conn, err := s.w.DB.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := raw(conn, func(c *pgx.Conn) error {
		if s.pg.config == nil {
			s.pg.config = c.Config()
		}
		return nil
	}); err != nil {
		return err
	}
	var encoding, readOnly, isolation string
	var version int
	err = conn.QueryRowContext(ctx, `SELECT current_setting('server_encoding'), current_setting('transaction_read_only'),
		current_setting('default_transaction_isolation'), current_setting('server_version_num')::int`).Scan(&encoding, &readOnly, &isolation, &version)
	switch {
	case err != nil:
		return err
	case encoding != "UTF8":
		return fmt.Errorf("sqlstore: the database %q holds text as %s, and not as UTF8: %w", s.pg.config.Database, encoding, stabilize.ErrUnsupported)
	case version < 120000:
		return fmt.Errorf("sqlstore: PostgreSQL %d is older than 12: %w", version/10000, stabilize.ErrUnsupported)
	case isolation != "read committed": // of connections that are not ours to set
		return fmt.Errorf("sqlstore: default_transaction_isolation is %q for the connections of %s; counting under a lock needs %q: %w",
			isolation, s.pg.target(), "read committed", stabilize.ErrUnsupported)
	case readOnly == "on":
		return stabilize.Invalid("config DSN", "%s only reads: it is a standby, or set up so (target_session_attrs=read-write takes the one of several that does not)", s.pg.target())
	}
	return nil
}

// target names the database in errors, with all the servers where it may be.
func (p *postgres) target() string {
	at := []string{fmt.Sprintf("%s:%d", p.config.Host, p.config.Port)}
	for _, f := range p.config.Fallbacks {
		if host := fmt.Sprintf("%s:%d", f.Host, f.Port); !slices.Contains(at, host) {
			at = append(at, host)
		}
	}
	return fmt.Sprintf("PostgreSQL %q at %s as %q", p.config.Database, strings.Join(at, ", "), p.config.User)
}

// raw calls fn with the driver's connection.
func raw(conn *sql.Conn, fn func(*pgx.Conn) error) error {
	return conn.Raw(func(dc any) error {
		c, ok := dc.(interface{ Conn() *pgx.Conn })
		if !ok {
			return fmt.Errorf("sqlstore: the driver of the database is %T, and not that of github.com/jackc/pgx/v5/stdlib: %w", dc, stabilize.ErrUnsupported)
		}
		return fn(c.Conn())
	})
}

// writePostgres is Store.write in PostgreSQL: transactions run side by side.
func (s *Store) writePostgres(ctx context.Context, doing string, fn func(*wtx) error) error {
	return s.again(ctx, func() error { return s.writeOncePostgres(ctx, doing, fn) })
}

// again runs fn again while another transaction is in its way, or while the pool
// has connections that broke when nobody looked: as many times as it may have some.
func (s *Store) again(ctx context.Context, fn func() error) error {
	p := s.patience()
	for broken := 0; ; {
		err := fn()
		var st *stale
		switch {
		case err == nil || persistence.Classified(err):
			return err
		case errors.As(err, &st) && broken <= s.w.Stats().MaxOpenConnections && ctx.Err() == nil:
			broken++
		case !mayRetry(err) || !p.wait(ctx):
			return err
		}
	}
}

// stale is the error of a connection that was broken before anything was changed
// through it.
type stale struct{ error }

func (s *stale) Unwrap() error { return s.error }

func asStale(err error) error {
	var connect *pgconn.ConnectError
	if err == nil || errors.As(err, &connect) || !lostConnection(err) {
		return err
	}
	return &stale{err}
}

func (s *Store) writeOncePostgres(ctx context.Context, doing string, fn func(*wtx) error) error {
	conn, err := s.w.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return asStale(err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if !s.pg.own {
		if _, err := tx.Tx.ExecContext(ctx, tuning, true); err != nil {
			return err
		}
	}
	if err := fn(&wtx{Tx: tx, ctx: ctx, texts: &s.texts, pg: s.pg, self: s.pg.self}); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err // nothing of it was sent yet
	}
	return outcome(doing, tx.Commit())
}

// unstorable marks the stored form of a text that a column cannot hold. No id begins with
// it.
const unstorable = "\n#"

// textForm is the form in which a text is a column or compared with one. Nearly
// always it is the text; what PostgreSQL or an index cannot hold is its hash, which
// is as good for comparing. What is read back is never such a text.
func textForm(s string) string {
	if len(s) <= 1024 && utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 && !strings.HasPrefix(s, unstorable) {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return unstorable + hex.EncodeToString(sum[:])
}

func textForms(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = textForm(s)
	}
	return out
}

// textArgs brings the texts among the arguments to their form, in place.
func textArgs(args []any) []any {
	for i, a := range args {
		switch a := a.(type) {
		case string:
			args[i] = textForm(a)
		case sql.NullString:
			a.String = textForm(a.String)
			args[i] = a
		}
	}
	return args
}

// column is textForm in PostgreSQL.
func (s *Store) column(text string) string {
	if s.pg != nil {
		return textForm(text)
	}
	return text
}

// list is many ids as one argument.
func (p *postgres) list(ids []string) any {
	if p != nil {
		return textForms(ids)
	}
	return jsonList(ids)
}

// text is the argument for a column that holds any text and is never compared.
func (p *postgres) text(s string) any {
	if p != nil {
		return []byte(s)
	}
	return s
}

// insert runs an INSERT of a row that numbers itself and returns the number.
func (t *wtx) insert(id statement, args ...any) (number int64, err error) {
	if t.pg != nil {
		err = t.row(id, args...).Scan(&number)
		return number, err
	}
	res, err := t.exec(id, args...)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

// checkTexts returns ErrInvalid for what could not be read back as it is.
func (s *Store) checkTexts(m *queue.Encoded) error {
	if s.pg == nil {
		return nil
	}
	for _, text := range []string{m.Kind, leaseToken(m)} {
		if textForm(text) != text {
			return stabilize.Invalid("message "+m.Kind, "its kind or the token of its lease is longer than 1024 bytes, or no text")
		}
	}
	return nil
}

func leaseToken(m *queue.Encoded) string {
	if m.Lease == nil {
		return ""
	}
	return m.Lease.Token
}

// hasTable reports whether a table of ours is there.
func (p *postgres) hasTable(ctx context.Context, s *Store, db bun.IDB, name string) (found bool, err error) {
	err = db.QueryRowContext(ctx, "SELECT to_regclass(?::text) IS NOT NULL", s.cfg.qualifier()+s.cfg.Prefix+name).Scan(&found)
	return found, err
}

// beginMigration takes a lock that every migrator in the database takes, until
// the transaction ends, and makes the schema the place of what is created.
func (p *postgres) beginMigration(s *Store) func(context.Context, *bun.DB) error {
	return func(ctx context.Context, db *bun.DB) error {
		if _, err := db.ExecContext(ctx, "BEGIN ISOLATION LEVEL READ COMMITTED"); err != nil {
			return err
		}
		err := func() error {
			if _, err := db.ExecContext(ctx, "SELECT pg_advisory_xact_lock(?)", lockNumber("migrate")); err != nil {
				return err
			}
			if s.cfg.Schema == "" {
				return nil
			}
			// Asked before: creating needs a right, also when there is nothing to do.
			var n int
			if err := db.QueryRowContext(ctx, "SELECT count(*) FROM pg_namespace WHERE nspname = ?", s.cfg.Schema).Scan(&n); err != nil {
				return err
			}
			if n == 0 {
				if _, err := db.ExecContext(ctx, "CREATE SCHEMA ?", bun.Ident(s.cfg.Schema)); err != nil {
					return err
				}
			}
			_, err := db.ExecContext(ctx, "SET LOCAL search_path TO ?", bun.Ident(s.cfg.Schema))
			return err
		}()
		if err != nil {
			_, _ = db.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		}
		return err
	}
}

// lockNumber is the number of an advisory lock.
func lockNumber(parts ...string) int64 {
	sum := sha256.Sum256([]byte("stabilize\x00" + strings.Join(parts, "\x00")))
	n := int64(0)
	for _, b := range sum[:8] {
		n = n<<8 | int64(b)
	}
	return n
}

// openError says of which database an error at Open is. What does not let us in
// is bad input; what is not there at the moment is not.
func (s *Store) openError(ctx context.Context, doing string, err error) error {
	if persistence.Classified(err) || ctx.Err() != nil || s.pg.config == nil {
		return s.classify(ctx, doing, err)
	}
	doing += " " + s.pg.target()
	if code, ok := sqlState(err); ok && refusesUs(code) {
		return failure(stabilize.ErrInvalid, doing, err)
	}
	return s.classify(ctx, doing, err)
}
