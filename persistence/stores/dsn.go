package stores

import (
	"context"
	"net/url"
	"strconv"
	"strings"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Address is a parsed data source name.
type Address struct {
	Scheme string // "memory", "sqlite", "postgres" or "mongodb"
	Path   string // of the SQLite file
	// Synchronous is SQLite's setting: "full", the default, or "normal".
	Synchronous string
	// Postgres is the data source name for PostgreSQL's driver, without the options
	// that are ours. It may hold a password.
	Postgres string
	// Schema and Prefix say where the tables are in PostgreSQL; Prefix also where the
	// collections are in MongoDB.
	Schema, Prefix string
	// Connections that a store in PostgreSQL has open at most; 0: its default.
	Connections int
	// TransactionPooling says that PostgreSQL is behind a pooler of transactions.
	TransactionPooling bool
	// MongoDB is the URI for MongoDB's driver, without the options that are ours. It may
	// hold a password.
	MongoDB string
	// LocalConcern leaves the read and write concern to MongoDB's server.
	LocalConcern bool
}

// Parse reads the name of a store:
//
//	memory:                          in memory, gone with the process
//	sqlite:///var/lib/app/work.db    a SQLite file, by absolute path
//	sqlite://work.db                 a SQLite file, relative to the working directory
//	sqlite://work.db?synchronous=normal
//	postgres://user:password@host:5432/database?schema=work&prefix=x_&connections=8&pooling=transaction
//	mongodb://user:password@host:27017/database?prefix=x_&concern=local
//	mongodb+srv://user:password@host/database
//
// In the path of a file ? is written as %3F and % as %25.
// Anything else is ErrInvalid and says what is wrong; the DSN itself is not
// repeated, because it may hold a password.
func Parse(dsn string) (Address, error) {
	scheme, rest, found := strings.Cut(dsn, ":")
	if !found {
		return Address{}, stabilize.Invalid("DSN", "has no scheme; it begins with memory:, sqlite://, postgres:// or mongodb://")
	}
	switch scheme {
	case "memory":
		if rest != "" {
			return Address{}, stabilize.Invalid("DSN", "memory: takes nothing after it")
		}
		return Address{Scheme: scheme}, nil
	case "sqlite":
		return parseSQLite(rest)
	case "postgres", "postgresql":
		return parsePostgres(dsn)
	case "mongodb", "mongodb+srv":
		return parseMongoDB(dsn)
	default:
		if len(scheme) > 20 {
			scheme = scheme[:20] + "…"
		}
		return Address{}, stabilize.Invalid("DSN", "unknown scheme %q; known are memory, sqlite, postgres and mongodb", scheme)
	}
}

func parseSQLite(rest string) (Address, error) {
	path, found := strings.CutPrefix(rest, "//")
	if !found {
		return Address{}, stabilize.Invalid("DSN", "sqlite: is followed by //, then the path of the file")
	}
	path, query, _ := strings.Cut(path, "?")
	path, err := url.PathUnescape(path)
	if err != nil {
		return Address{}, stabilize.Invalid("DSN", "a %% in the path is written as %%25")
	}
	if path == "" {
		return Address{}, stabilize.Invalid("DSN", "sqlite:// is followed by the path of the file")
	}
	d := Address{Scheme: "sqlite", Path: path, Synchronous: "full"}
	options, err := url.ParseQuery(query)
	if err != nil {
		return Address{}, stabilize.Invalid("DSN", "the part after ? cannot be read")
	}
	for name, values := range options {
		switch {
		case name != "synchronous":
			return Address{}, stabilize.Invalid("DSN", "unknown option %q; known is synchronous", name)
		case len(values) != 1 || values[0] != "full" && values[0] != "normal":
			return Address{}, stabilize.Invalid("DSN", "synchronous is full or normal")
		default:
			d.Synchronous = values[0]
		}
	}
	return d, nil
}

// parsePostgres takes our options off the URL; the rest is the driver's.
func parsePostgres(dsn string) (Address, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return Address{}, stabilize.Invalid("DSN", "cannot be read as postgres://user:password@host:port/database; what is special in the password is written as %%XX")
	}
	d := Address{Scheme: "postgres"}
	options, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Address{}, stabilize.Invalid("DSN", "the part after ? cannot be read")
	}
	for _, name := range []string{"schema", "prefix", "connections", "pooling"} {
		values, given := options[name]
		if !given {
			continue
		}
		value := values[0]
		switch {
		case len(values) != 1:
			return Address{}, stabilize.Invalid("DSN", "%s is given twice", name)
		case name == "schema":
			d.Schema = value
		case name == "prefix":
			d.Prefix = value
		case name == "connections":
			if d.Connections, err = strconv.Atoi(value); err != nil || d.Connections < 1 {
				return Address{}, stabilize.Invalid("DSN", "connections is a number from 1")
			}
		case value != "transaction" && value != "session":
			return Address{}, stabilize.Invalid("DSN", "pooling is transaction or session")
		default:
			d.TransactionPooling = value == "transaction"
		}
		options.Del(name)
	}
	u.RawQuery = options.Encode()
	d.Postgres = u.String()
	return d, nil
}

// parseMongoDB takes our options off the URI; the rest is the driver's. It may name
// several hosts, so it is not a URL.
func parseMongoDB(dsn string) (Address, error) {
	d := Address{Scheme: "mongodb"}
	base, query, _ := strings.Cut(dsn, "?")
	var theirs []string
	for option := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(option, "=")
		switch {
		case name == "prefix" && d.Prefix == "":
			d.Prefix = value
		case name == "prefix":
			return Address{}, stabilize.Invalid("DSN", "prefix is given twice")
		case name == "concern" && value != "local" && value != "majority":
			return Address{}, stabilize.Invalid("DSN", "concern is majority or local")
		case name == "concern":
			d.LocalConcern = value == "local"
		case option != "":
			theirs = append(theirs, option)
		}
	}
	d.MongoDB = base
	if len(theirs) > 0 {
		d.MongoDB += "?" + strings.Join(theirs, "&")
	}
	return d, nil
}

// DSN opens the store that a data source name, see Parse, stands for. Errors of the
// Opener: those of Parse, ErrSchemaTooNew for data of a newer program, others as
// the store says.
func DSN(dsn string) persistence.Opener {
	return func(ctx context.Context, with persistence.Settings) (persistence.Store, error) {
		a, err := Parse(dsn)
		if err != nil {
			return nil, err
		}
		return a.open(ctx, with)
	}
}

func (a Address) open(ctx context.Context, with persistence.Settings) (persistence.Store, error) {
	if a.Scheme == "memory" {
		return memstore.New(memstore.Config{Clock: with.Clock, Messages: with.Messages, IDs: with.IDs}), nil
	}
	if a.Scheme == "postgres" {
		return sqlstore.Open(ctx, sqlstore.Config{
			DSN: a.Postgres, Schema: a.Schema, Prefix: a.Prefix, Connections: a.Connections, TransactionPooling: a.TransactionPooling,
			Clock: with.Clock, Messages: with.Messages, IDs: with.IDs, Migrate: true,
		})
	}
	if a.Scheme == "mongodb" {
		cfg := mongostore.Config{URI: a.MongoDB, Prefix: a.Prefix, Clock: with.Clock, Messages: with.Messages, IDs: with.IDs, Migrate: true}
		if a.LocalConcern {
			cfg.Concern = mongostore.Local
		}
		return mongostore.Open(ctx, cfg)
	}
	synchronous := sqlstore.Full
	if a.Synchronous == "normal" {
		synchronous = sqlstore.Normal
	}
	return sqlstore.Open(ctx, sqlstore.Config{
		Path: a.Path, Clock: with.Clock, Messages: with.Messages, IDs: with.IDs,
		Synchronous: synchronous, Migrate: true,
	})
}
