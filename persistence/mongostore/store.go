package mongostore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Store is a persistence.Store in a MongoDB database. All methods are safe for
// concurrent use.
type Store struct {
	cfg    Config
	client *mongo.Client
	db     *mongo.Database

	workflows  *mongo.Collection
	messages   *mongo.Collection
	admissions *mongo.Collection
	payloads   *mongo.Collection
	workers    *mongo.Collection
	steps      *mongo.Collection // commits of several documents that name no workflow
	events     *mongo.Collection
	meta       *mongo.Collection

	largest  int64       // document that the server takes
	migrated atomic.Bool // the schema was seen
	opening  sync.Mutex

	known  *cache
	keys   *locks   // of admission keys, and of claiming, within this handle
	flying *flights // this handle's commits that are on their way
	wake   chan struct{}
	gate   *persistence.Gate
}

var (
	_ persistence.Store       = (*Store)(nil)
	_ persistence.Refresher   = (*Store)(nil)
	_ persistence.WaitingKeys = (*Store)(nil)
	_ persistence.Watcher     = (*Store)(nil)
	_ persistence.Limits      = (*Store)(nil)
	_ persistence.Pipelined   = (*Store)(nil)
	_ persistence.Clocked     = (*Store)(nil)
	_ persistence.EventKeeper = (*Store)(nil)
	_ queue.Notifier          = (*Store)(nil)
)

// Open opens a database and, if asked, migrates it. Errors: ErrInvalid for a
// configuration that cannot be used, for credentials that the server does not take or
// that may not do what is needed, and for a server that cannot give the concern asked
// for; ErrSchemaTooNew; ErrTransient for a server that does not answer; ErrInternal
// for what else it says. After an error nothing stays open.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := &Store{
		cfg: cfg, client: cfg.Client, largest: largest,
		known: newCache(), keys: newLocks(), flying: newFlights(), wake: make(chan struct{}, 1), gate: persistence.NewGate("mongostore"),
	}
	if cfg.Client == nil {
		opts := options.Client().ApplyURI(cfg.URI)
		if cfg.Monitor != nil {
			opts.SetMonitor(cfg.Monitor)
		}
		client, err := mongo.Connect(opts, orEmpty(cfg.Options))
		if err != nil {
			return nil, stabilize.Invalid("config URI", "cannot be used: one of its options is wrong, or a host cannot be looked up")
		}
		s.client = client
	}
	s.useDatabase()
	call, cancel := context.WithTimeout(ctx, cfg.CallTimeout)
	defer cancel()
	err := s.prepare(call)
	if refusesUs(err) {
		err = failure(stabilize.ErrInvalid, "open", err)
	}
	if err := s.classify(ctx, "open", err); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func orEmpty(o *options.ClientOptions) *options.ClientOptions {
	if o == nil {
		return options.Client()
	}
	return o
}

func (s *Store) useDatabase() {
	// Not as the client may be told to: what is empty must be there to be found.
	opts := options.Database().SetReadPreference(readpref.Primary()).
		SetBSONOptions(&options.BSONOptions{}).SetRegistry(bson.NewRegistry())
	if s.cfg.Concern == Majority {
		opts.SetReadConcern(readconcern.Majority()).SetWriteConcern(writeconcern.Majority())
	}
	s.db = s.client.Database(s.cfg.Database, opts)
	name := func(n string) *mongo.Collection { return s.db.Collection(s.cfg.Prefix + n) }
	s.workflows, s.messages, s.admissions = name("workflows"), name("messages"), name("admissions")
	s.payloads, s.workers, s.steps, s.meta = name("payloads"), name("workers"), name("steps"), name("meta")
	s.events = name("events")
}

// Close ends the calls in flight (each finishes or returns ErrClosed) and closes
// the client that Open made. Closing twice is no error.
func (s *Store) Close() error {
	return s.gate.Close(func() error {
		if s.cfg.Client == nil {
			ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
			defer cancel()
			_ = s.client.Disconnect(ctx) // what it cannot say goodbye to is closed all the same
		}
		s.ping(true) // whoever waits for work finds out that there will be none
		return nil
	})
}

// closeGrace is how long Close lets the calls to a server finish, and how long a
// commit whose context has ended goes on. In real time: so does the server.
const closeGrace = time.Second

// enter begins a call: closed and canceled come before what is wrong with the
// arguments. The context it returns also ends some time after Close begins, and
// with CallTimeout; leave must be called at the call's end.
func (s *Store) enter(ctx context.Context, bad ...error) (context.Context, func(), error) {
	inner, leave, err := s.gate.Enter(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, err := range bad {
		if err != nil {
			leave()
			return nil, nil, err
		}
	}
	call, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	stop := context.AfterFunc(inner, func() {
		if ctx.Err() == nil {
			time.AfterFunc(closeGrace, cancel)
		}
	})
	done := func() { stop(); cancel(); leave() }
	s.followClock(call)
	if err := s.ready(call); err != nil {
		done()
		return nil, nil, s.classify(ctx, "look for the schema", err)
	}
	return call, done, nil
}

// lasting is a context that goes on for a while after ctx has ended: for what
// must not be broken off in the middle.
func lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(closeGrace, cancel) })
	return out, func() { stop(); cancel() }
}

// Wake implements queue.Notifier: it tells of writes through this handle, and
// once of its end. What others store is found by polling.
func (s *Store) Wake() <-chan struct{} { return s.wake }

// ping tells whoever waits that a message may have become claimable.
func (s *Store) ping(claimable bool) {
	if !claimable {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default: // it has a hint already
	}
}

func (s *Store) now() time.Time { return stabilize.Instant(s.cfg.Clock.Now()) }

// token is a new writer's token: never used before, and ordered by its time.
func (s *Store) token() string { return s.cfg.IDs.New() }

// Clock implements persistence.Clocked.
func (s *Store) Clock() stabilize.Clock { return s.cfg.Clock }

// followClock measures the server's clock, if the store follows it and has not lately.
// Every server tells its time to whoever says hello.
func (s *Store) followClock(ctx context.Context) {
	c, ok := s.cfg.Clock.(*persistence.DatabaseClock)
	if !ok {
		return
	}
	c.Follow(ctx, func(ctx context.Context) (time.Time, error) {
		var hello struct {
			Time time.Time `bson:"localTime"`
		}
		err := s.client.Database("admin").RunCommand(ctx, d("hello", int32(1))).Decode(&hello)
		if err == nil && hello.Time.IsZero() {
			err = errors.New("the server does not tell the time")
		}
		return hello.Time, err
	})
}

// MaxPayload implements persistence.Limits.
func (s *Store) MaxPayload() int64 { return s.cfg.MaxPayload }

// Batches implements persistence.Pipelined: one is prepared while another is decided.
func (s *Store) Batches() int { return 2 }
