package sqlstore

import (
	"database/sql"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/uptrace/bun"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Config says which database to open and how. One of Path, DSN, DB, Bun and Pool
// is required, the zero value of the rest is a good default.
type Config struct {
	// Path of the SQLite file. It is created only with Migrate.
	Path string
	// DSN of a PostgreSQL database, as a URL (postgres://user:password@host/database)
	// or in keywords; what it leaves out is taken from the environment as libpq
	// does. It is never part of an error.
	DSN string
	// DB is a database opened by the caller, instead of Path or DSN; it is used for
	// reading and writing as it is set up (a pool of one connection is enough)
	// and not closed. It is PostgreSQL if its driver is that of
	// github.com/jackc/pgx/v5/stdlib, else SQLite; there WAL mode and a synchronous
	// setting are the caller's choice.
	DB *sql.DB
	// Bun is DB as a bun.DB.
	Bun *bun.DB
	// Pool is a pool of connections to PostgreSQL opened by the caller. It is not
	// closed.
	Pool *pgxpool.Pool
	// Driver is the name of a database/sql driver for SQLite; empty: "sqlite",
	// which is modernc.org/sqlite. It must understand file: URIs.
	Driver string
	// ErrorCode reads SQLite's result code from a driver's error; nil: from an
	// error with a method Code() int, as modernc.org/sqlite has.
	ErrorCode func(error) (code int, ok bool)

	// Prefix of the names of all tables: lower-case letters, digits and
	// underscores, not beginning with a digit. A database with tables of other
	// programs wants one.
	Prefix string
	// Schema that holds the tables, in PostgreSQL; of the characters of a Prefix.
	// With Migrate it is created. Empty: the first of the search path.
	Schema string
	// Migrate brings the schema up to date. Otherwise a database without the
	// schema answers every call with ErrSchemaMissing.
	Migrate bool

	// Clock is the only source of time; nil: SystemClock and, in PostgreSQL, a clock
	// that follows the database's, so that all hosts agree. See Store.Clock.
	Clock stabilize.Clock
	// IDs of messages that have none; nil: on Clock.
	IDs *stabilize.IDs
	// Messages that can be decoded; nil: those of package queue.
	Messages *queue.Registry

	// Synchronous says what a commit waits for; only with Path.
	Synchronous Synchronous
	// BusyTimeout is how long a call waits for a lock that another process
	// holds, before it is ErrTransient; 0: 10 s.
	BusyTimeout time.Duration
	// MaxPayload is the largest stored header, stage or message in bytes; 0: 512
	// MiB, which is also the most that can be asked for.
	MaxPayload int64
	// Readers is how many connections read at the same time; 0: 4. Only with Path.
	Readers int

	// Connections is how many connections are open at most; 0: 8. Only with DSN.
	// One more waits for notifications, see Store.Wake.
	Connections int
	// TransactionPooling says that PostgreSQL is reached through a pooler that gives
	// a connection for the length of a transaction, as PgBouncer does in that mode:
	// with DSN no statement is prepared, and it implies NoListen.
	TransactionPooling bool
	// NoListen leaves it to polling to find what other processes store, and opens no
	// connection to be told of it; what is stored through this one is told all the same.
	NoListen bool
	// CallTimeout is how long a call waits for PostgreSQL to answer, whatever its
	// context says; then it is ErrTransient, or ErrUnknownOutcome for what may have
	// been committed. 0: 30 s.
	CallTimeout time.Duration
}

// Synchronous is how durable a successful commit is.
type Synchronous uint8

const (
	// Full survives a loss of power.
	Full Synchronous = iota
	// Normal survives a crash of the program; a loss of power may lose the
	// last commits, but never corrupts the database. Faster by far for single
	// commits, hardly for large batches.
	Normal
)

const maxPayload = 512 << 20 // SQLite stops at 1 GB for a whole row

// check fills in defaults. The error is ErrInvalid.
func (c *Config) check() error {
	switch {
	case c.sources() == 0:
		return stabilize.Invalid("config", "has none of Path, DSN, DB, Bun and Pool")
	case c.sources() > 1:
		return stabilize.Invalid("config", "has more than one of Path, DSN, DB, Bun and Pool")
	case strings.ContainsRune(c.Path, 0):
		return stabilize.Invalid("config path", "%q holds a NUL", c.Path)
	case c.Path == ":memory:":
		return stabilize.Invalid("config path", "a database in memory belongs to one connection; package memstore keeps data in memory")
	case c.Synchronous > Normal:
		return stabilize.Invalid("config synchronous", "unknown value %d", c.Synchronous)
	case c.BusyTimeout < 0:
		return stabilize.Invalid("config busy timeout", "%s is negative", c.BusyTimeout)
	case c.MaxPayload < 0 || c.MaxPayload > maxPayload:
		return stabilize.Invalid("config max payload", "%d is not within 0 to %d", c.MaxPayload, maxPayload)
	case c.Readers < 0:
		return stabilize.Invalid("config readers", "%d is negative", c.Readers)
	case c.Connections < 0:
		return stabilize.Invalid("config connections", "%d is negative", c.Connections)
	case c.CallTimeout < 0:
		return stabilize.Invalid("config call timeout", "%s is negative", c.CallTimeout)
	case c.Schema != "" && !c.isPostgres():
		return stabilize.Invalid("config schema", "%q: SQLite has no schemas; a Prefix keeps tables apart", c.Schema)
	}
	if err := checkPrefix("config prefix", c.Prefix); err != nil {
		return err
	}
	if err := checkPrefix("config schema", c.Schema); err != nil {
		return err
	}
	if c.Driver == "" {
		c.Driver = "sqlite"
	}
	if c.ErrorCode == nil {
		c.ErrorCode = codeMethod
	}
	switch {
	case c.Clock != nil:
	case c.isPostgres():
		c.Clock = persistence.NewDatabaseClock()
	default:
		c.Clock = stabilize.SystemClock{}
	}
	if c.IDs == nil {
		c.IDs = stabilize.NewIDs(c.Clock, nil)
	}
	if c.Messages == nil {
		c.Messages = queue.NewRegistry()
	}
	if c.BusyTimeout == 0 {
		c.BusyTimeout = 10 * time.Second
	}
	if c.MaxPayload == 0 {
		c.MaxPayload = maxPayload
	}
	if c.Readers == 0 {
		c.Readers = 4
	}
	if c.Connections == 0 {
		c.Connections = 8
	}
	if c.CallTimeout == 0 {
		c.CallTimeout = 30 * time.Second
	}
	return nil
}

// sources counts the ways to a database that are given.
func (c *Config) sources() int {
	n := 0
	for _, given := range []bool{c.Path != "", c.DSN != "", c.DB != nil, c.Bun != nil, c.Pool != nil} {
		if given {
			n++
		}
	}
	return n
}

func checkPrefix(field, prefix string) error {
	for i, r := range prefix {
		if r == '_' || r >= 'a' && r <= 'z' || i > 0 && r >= '0' && r <= '9' {
			continue
		}
		return stabilize.Invalid(field, "%q is not made of a-z, 0-9 and _, beginning with no digit", prefix)
	}
	if len(prefix) > 32 {
		return stabilize.Invalid(field, "%q is longer than 32 bytes", prefix)
	}
	return nil
}
