package engine

import (
	"context"
	"net/url"
	"strings"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// DSN is a parsed data source name.
type DSN struct {
	Scheme string // "memory" or "sqlite"
	Path   string // of the SQLite file
	// Synchronous is SQLite's setting: "full", the default, or "normal".
	Synchronous string
}

// ParseDSN reads the name of a store:
//
//	memory:                          in memory, gone with the process
//	sqlite:///var/lib/app/work.db    a SQLite file, by absolute path
//	sqlite://work.db                 a SQLite file, relative to the working directory
//	sqlite://work.db?synchronous=normal
//
// In the path ? is written as %3F and % as %25.
// Anything else is ErrInvalid and says what is wrong; the DSN itself is not
// repeated, because it may hold a password.
func ParseDSN(dsn string) (DSN, error) {
	scheme, rest, found := strings.Cut(dsn, ":")
	if !found {
		return DSN{}, stabilize.Invalid("DSN", "has no scheme; it begins with memory: or sqlite://")
	}
	switch scheme {
	case "memory":
		if rest != "" {
			return DSN{}, stabilize.Invalid("DSN", "memory: takes nothing after it")
		}
		return DSN{Scheme: scheme}, nil
	case "sqlite":
		return parseSQLite(rest)
	default:
		if len(scheme) > 20 {
			scheme = scheme[:20] + "…"
		}
		return DSN{}, stabilize.Invalid("DSN", "unknown scheme %q; known are memory and sqlite", scheme)
	}
}

func parseSQLite(rest string) (DSN, error) {
	path, found := strings.CutPrefix(rest, "//")
	if !found {
		return DSN{}, stabilize.Invalid("DSN", "sqlite: is followed by //, then the path of the file")
	}
	path, query, _ := strings.Cut(path, "?")
	path, err := url.PathUnescape(path)
	if err != nil {
		return DSN{}, stabilize.Invalid("DSN", "a %% in the path is written as %%25")
	}
	if path == "" {
		return DSN{}, stabilize.Invalid("DSN", "sqlite:// is followed by the path of the file")
	}
	d := DSN{Scheme: "sqlite", Path: path, Synchronous: "full"}
	options, err := url.ParseQuery(query)
	if err != nil {
		return DSN{}, stabilize.Invalid("DSN", "the part after ? cannot be read")
	}
	for name, values := range options {
		switch {
		case name != "synchronous":
			return DSN{}, stabilize.Invalid("DSN", "unknown option %q; known is synchronous", name)
		case len(values) != 1 || values[0] != "full" && values[0] != "normal":
			return DSN{}, stabilize.Invalid("DSN", "synchronous is full or normal")
		default:
			d.Synchronous = values[0]
		}
	}
	return d, nil
}

// StoreConfig is what a store opened by DSN works with; zero fields mean defaults.
type StoreConfig struct {
	Clock    stabilize.Clock
	Messages *queue.Registry
	IDs      *stabilize.IDs
}

// OpenStore opens the store that a DSN names, creating and migrating it as
// needed. The caller closes it.
func OpenStore(ctx context.Context, dsn string, cfg StoreConfig) (persistence.Store, error) {
	d, err := ParseDSN(dsn)
	if err != nil {
		return nil, err
	}
	if d.Scheme == "memory" {
		return memstore.New(memstore.Config{Clock: cfg.Clock, Messages: cfg.Messages, IDs: cfg.IDs}), nil
	}
	synchronous := sqlstore.Full
	if d.Synchronous == "normal" {
		synchronous = sqlstore.Normal
	}
	return sqlstore.Open(ctx, sqlstore.Config{
		Path: d.Path, Clock: cfg.Clock, Messages: cfg.Messages, IDs: cfg.IDs,
		Synchronous: synchronous, Migrate: true,
	})
}
