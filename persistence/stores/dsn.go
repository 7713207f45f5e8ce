package stores

import (
	"context"
	"net/url"
	"strings"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Address is a parsed data source name.
type Address struct {
	Scheme string // "memory" or "sqlite"
	Path   string // of the SQLite file
	// Synchronous is SQLite's setting: "full", the default, or "normal".
	Synchronous string
}

// Parse reads the name of a store:
//
//	memory:                          in memory, gone with the process
//	sqlite:///var/lib/app/work.db    a SQLite file, by absolute path
//	sqlite://work.db                 a SQLite file, relative to the working directory
//	sqlite://work.db?synchronous=normal
//
// In the path ? is written as %3F and % as %25.
// Anything else is ErrInvalid and says what is wrong; the DSN itself is not
// repeated, because it may hold a password.
func Parse(dsn string) (Address, error) {
	scheme, rest, found := strings.Cut(dsn, ":")
	if !found {
		return Address{}, stabilize.Invalid("DSN", "has no scheme; it begins with memory: or sqlite://")
	}
	switch scheme {
	case "memory":
		if rest != "" {
			return Address{}, stabilize.Invalid("DSN", "memory: takes nothing after it")
		}
		return Address{Scheme: scheme}, nil
	case "sqlite":
		return parseSQLite(rest)
	default:
		if len(scheme) > 20 {
			scheme = scheme[:20] + "…"
		}
		return Address{}, stabilize.Invalid("DSN", "unknown scheme %q; known are memory and sqlite", scheme)
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
	synchronous := sqlstore.Full
	if a.Synchronous == "normal" {
		synchronous = sqlstore.Normal
	}
	return sqlstore.Open(ctx, sqlstore.Config{
		Path: a.Path, Clock: with.Clock, Messages: with.Messages, IDs: with.IDs,
		Synchronous: synchronous, Migrate: true,
	})
}
