package enginebench

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	mongooptions "go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore"
	"github.com/stabilize-dev/go-stabilize/persistence/stores"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// mongoSite is collections of our own in a database, dropped at the end.
type mongoSite struct {
	tally

	client   *mongo.Client
	db       *mongo.Database
	dsn      string
	prefix   string
	prefixes int
	opened   string // DSN of the last store
}

// tally counts what a store sends to a server.
type tally struct {
	trips  atomic.Int64 // commands
	writes atomic.Int64 // documents of workflows inserted or updated
}

// started implements event.CommandMonitor.
func (c *tally) started(_ context.Context, e *event.CommandStartedEvent) {
	c.trips.Add(1)
	collection, _ := e.Command.Lookup(e.CommandName).StringValueOK()
	if !strings.HasSuffix(collection, "workflows") {
		return
	}
	for _, field := range []string{"updates", "documents"} {
		if list, ok := e.Command.Lookup(field).ArrayOK(); ok {
			values, _ := list.Values()
			c.writes.Add(int64(len(values)))
		}
	}
}

// sent implements counting.
func (c *tally) sent() (trips, writes int64) { return c.trips.Load(), c.writes.Load() }

func openMongoSite(dsn string) (site, error) {
	d, err := stores.Parse(dsn)
	if err != nil {
		return nil, err
	}
	if d.Prefix != "" {
		return nil, stabilize.Invalid("DSN", "names a prefix: the benchmark runs under prefixes of its own only")
	}
	database := databaseOf(d.MongoDB)
	if database == "" {
		return nil, stabilize.Invalid("DSN", "names no database")
	}
	client, err := mongo.Connect(mongooptions.Client().ApplyURI(d.MongoDB)) // connects to nothing yet
	if err != nil {
		return nil, stabilize.Invalid("DSN", "cannot be read")
	}
	opts := mongooptions.Database()
	if !d.LocalConcern {
		opts.SetWriteConcern(writeconcern.Majority()).SetReadConcern(readconcern.Majority())
	}
	return &mongoSite{
		client: client, db: client.Database(database, opts), dsn: dsn,
		prefix: fmt.Sprintf("enginebench_%.12s", strings.ToLower(rand.Text())),
	}, nil
}

// databaseOf is the database that a URI names. It may name several hosts, so it is no
// URL.
func databaseOf(uri string) string {
	_, rest, _ := strings.Cut(uri, "://")
	rest, _, _ = strings.Cut(rest, "?")
	_, name, _ := strings.Cut(rest[strings.LastIndexByte(rest, '@')+1:], "/")
	name, _ = url.PathUnescape(name) // what cannot be read is refused by the driver
	return name
}

// next returns a prefix under which there is nothing yet.
func (s *mongoSite) next() string {
	s.prefixes++
	return fmt.Sprintf("%s_%d_", s.prefix, s.prefixes)
}

func (s *mongoSite) open(ctx context.Context, clock stabilize.Clock) (persistence.Store, error) {
	mark := "?"
	if strings.Contains(s.dsn, "?") {
		mark = "&"
	}
	s.opened = s.dsn + mark + "prefix=" + s.next()
	return openCounted(ctx, s.opened, clock, &s.tally)
}

// openCounted opens a store and counts what it sends, if it is in MongoDB.
func openCounted(ctx context.Context, dsn string, clock stabilize.Clock, count *tally) (persistence.Store, error) {
	with := persistence.Settings{Clock: clock}
	d, err := stores.Parse(dsn)
	if err != nil || d.Scheme != "mongodb" {
		return stores.DSN(dsn)(ctx, with)
	}
	cfg := mongostore.Config{
		URI: d.MongoDB, Prefix: d.Prefix, Clock: clock, Migrate: true, Monitor: &event.CommandMonitor{Started: count.started},
	}
	if d.LocalConcern {
		cfg.Concern = mongostore.Local
	}
	return mongostore.Open(ctx, cfg)
}

func (s *mongoSite) shared() (string, bool, error) { return s.opened, true, nil }

func (s *mongoSite) limit(ctx context.Context) (limit, error) {
	return openMongoLimit(ctx, s.db.Collection(s.next()+"raw"))
}

// written is what this process sent, where the system tells.
func (s *mongoSite) written() int64 {
	n, _ := writtenByProcess()
	return n
}

func (s *mongoSite) close() {
	ctx := context.Background()
	names, _ := s.db.ListCollectionNames(ctx, bson.D{})
	for _, name := range names {
		if strings.HasPrefix(name, s.prefix+"_") {
			_ = s.db.Collection(name).Drop(ctx)
		}
	}
	_ = s.client.Disconnect(ctx)
}
