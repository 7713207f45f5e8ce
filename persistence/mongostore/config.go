package mongostore

import (
	"net/url"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Config says which database to open and how. One of URI and Client is required,
// the zero value of the rest is a good default.
type Config struct {
	// URI of the server, mongodb:// or mongodb+srv://. It is never part of an error.
	URI string
	// Options are applied to the client that is made for URI, after it: TLS, a
	// dialer, a registry of credentials. They may be nil.
	Options *options.ClientOptions
	// Client is a client of the caller's, instead of URI. It is not closed.
	Client *mongo.Client

	// Database that holds the collections; empty: the one that URI names.
	Database string
	// Prefix of the names of all collections: lower-case letters, digits and
	// underscores, not beginning with a digit. A database with collections of other
	// programs, or of a second engine, wants one.
	Prefix string
	// Migrate makes what is missing: indexes and the record of the schema's version.
	// Otherwise a database without it answers every call with ErrSchemaMissing.
	Migrate bool
	// Concern is how durable what is written is, and what is read.
	Concern Concern

	// Clock is the only source of time. nil: the clock of the database's server, as it
	// tells it when the store is opened and every 30 seconds of use, so that hosts whose
	// clocks are wrong agree about leases and delays. Stores on one database must be
	// given clocks that agree, or none.
	Clock stabilize.Clock
	// IDs of messages that have none; nil: on Clock.
	IDs *stabilize.IDs
	// Messages that can be decoded; nil: those of package queue.
	Messages *queue.Registry

	// MaxPayload is the largest stored header, stage or message in bytes; 0: 15 MiB,
	// which is also the most that can be asked for: a document of MongoDB ends at 16.
	MaxPayload int64
	// Inline is up to what size, in bytes, a header or a stage is kept in the
	// workflow's document; a larger one is a document of its own. 0: 64 KiB.
	Inline int
	// Patience is how long a call waits for what another process has under way on the
	// same documents before it breaks that off. In real time; 0: 1 s.
	Patience time.Duration
	// CallTimeout is how long a call waits for the server, whatever its context says;
	// then it is ErrTransient, or ErrUnknownOutcome for what may have been committed.
	// 0: 30 s.
	CallTimeout time.Duration
	// Monitor is told of every command; nil: nobody. Only with URI.
	Monitor *event.CommandMonitor
}

// Concern is what a write waits for and a read sees.
type Concern uint8

const (
	// Majority: a write is on a majority of the replica set before it counts, and
	// what is read is. It survives the loss of the primary.
	Majority Concern = iota
	// Local leaves the concerns to the server and, with Client, to the client. A
	// commit that was answered may be lost with the primary, or some of its messages.
	// For servers that have no majority. A client that asks for no answer to what it
	// writes (w is 0) is ErrInvalid.
	Local
)

const (
	maxPayload = 15 << 20
	maxInline  = 1 << 20
	maxPrefix  = 32
)

// check fills in defaults. The error is ErrInvalid.
func (c *Config) check() error {
	switch {
	case c.URI == "" && c.Client == nil:
		return stabilize.Invalid("config", "has neither URI nor Client")
	case c.URI != "" && c.Client != nil:
		return stabilize.Invalid("config", "has both URI and Client")
	case c.Concern > Local:
		return stabilize.Invalid("config concern", "unknown value %d", c.Concern)
	case c.MaxPayload < 0 || c.MaxPayload > maxPayload:
		return stabilize.Invalid("config max payload", "%d is not within 0 to %d", c.MaxPayload, maxPayload)
	case c.Inline < 0 || c.Inline > maxInline:
		return stabilize.Invalid("config inline", "%d is not within 0 to %d", c.Inline, maxInline)
	case c.Patience < 0:
		return stabilize.Invalid("config patience", "%s is negative", c.Patience)
	case c.CallTimeout < 0:
		return stabilize.Invalid("config call timeout", "%s is negative", c.CallTimeout)
	}
	if c.URI != "" {
		named, err := databaseOf(c.URI)
		if err != nil {
			return err
		}
		if c.Database == "" {
			c.Database = named
		}
	}
	if err := checkDatabase(c.Database); err != nil {
		return err
	}
	if err := checkPrefix(c.Prefix); err != nil {
		return err
	}
	c.defaults()
	return nil
}

func (c *Config) defaults() {
	if c.Clock == nil {
		c.Clock = persistence.NewDatabaseClock()
	}
	if c.IDs == nil {
		c.IDs = stabilize.NewIDs(c.Clock, nil)
	}
	if c.Messages == nil {
		c.Messages = queue.NewRegistry()
	}
	if c.MaxPayload == 0 {
		c.MaxPayload = maxPayload
	}
	if c.Inline == 0 {
		c.Inline = 64 << 10
	}
	if c.Patience == 0 {
		c.Patience = time.Second
	}
	if c.CallTimeout == 0 {
		c.CallTimeout = 30 * time.Second
	}
}

// databaseOf returns the database that a URI names, "" if it names none. The rest
// of it is the driver's to read. The URI is not repeated: it may hold a password.
func databaseOf(uri string) (string, error) {
	rest, found := strings.CutPrefix(uri, "mongodb://")
	if !found {
		rest, found = strings.CutPrefix(uri, "mongodb+srv://")
	}
	if !found {
		return "", stabilize.Invalid("config URI", "does not begin with mongodb:// or mongodb+srv://")
	}
	rest, _, _ = strings.Cut(rest, "?")
	hosts, name, _ := strings.Cut(rest[strings.LastIndexByte(rest, '@')+1:], "/")
	if hosts == "" {
		return "", stabilize.Invalid("config URI", "names no host: it is mongodb://user:password@host:port/database, and what is special in the password is written as %%XX")
	}
	name, err := url.PathUnescape(name)
	if err != nil {
		return "", stabilize.Invalid("config URI", "names a database that cannot be read: %% is written as %%25")
	}
	return name, nil
}

// checkDatabase takes what every server takes on every system.
func checkDatabase(name string) error {
	switch {
	case name == "":
		return stabilize.Invalid("config database", "is empty, and the URI names none")
	case len(name) > 63:
		return stabilize.Invalid("config database", "%q is longer than 63 bytes", name)
	case name == "admin" || name == "local" || name == "config":
		return stabilize.Invalid("config database", "%q is the server's own", name)
	}
	for _, r := range name {
		if r != '_' && r != '-' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') {
			return stabilize.Invalid("config database", "%q is not made of letters, digits, _ and -", name)
		}
	}
	return nil
}

func checkPrefix(prefix string) error {
	for i, r := range prefix {
		if r == '_' || r >= 'a' && r <= 'z' || i > 0 && r >= '0' && r <= '9' {
			continue
		}
		return stabilize.Invalid("config prefix", "%q is not made of a-z, 0-9 and _, beginning with no digit", prefix)
	}
	if len(prefix) > maxPrefix {
		return stabilize.Invalid("config prefix", "%q is longer than %d bytes", prefix, maxPrefix)
	}
	if strings.HasPrefix(prefix, "system") {
		return stabilize.Invalid("config prefix", "%q begins as the server's own collections do", prefix)
	}
	return nil
}
