package sqlstore

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Store is a persistence.Store in an SQL database. All methods are safe for
// concurrent use.
type Store struct {
	cfg Config
	w   *bun.DB   // writes, one transaction at a time
	r   *bun.DB   // reads; the same as w if the caller gave the database, and in PostgreSQL
	pg  *postgres // nil: SQLite

	texts      [stCount]string
	statements atomic.Pointer[prepared] // nil until the schema was seen
	preparing  sync.Mutex

	writer chan struct{} // held by whoever writes: the database would only make them wait less politely
	wake   chan struct{}

	gate *persistence.Gate
}

var (
	_ persistence.Store       = (*Store)(nil)
	_ persistence.Refresher   = (*Store)(nil)
	_ persistence.WaitingKeys = (*Store)(nil)
	_ persistence.Watcher     = (*Store)(nil)
	_ persistence.Clocked     = (*Store)(nil)
	_ persistence.Pipelined   = (*Store)(nil)
	_ persistence.Trier       = (*Store)(nil)
	_ persistence.EventKeeper = (*Store)(nil)
	_ queue.Notifier          = (*Store)(nil)
)

// Open opens a database and, if asked, migrates it. Errors: ErrInvalid, naming
// the path, for a configuration or a file that cannot be used; ErrNotFound if
// the file does not exist and is not to be made; ErrSchemaTooNew;
// ErrUnsupported where the file system cannot hold a write-ahead log. After an
// error nothing stays open, and a file that is no database is as it was.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := &Store{
		cfg:    cfg,
		texts:  cfg.statements(),
		writer: make(chan struct{}, 1),
		wake:   make(chan struct{}, 1),
		gate:   persistence.NewGate("sqlstore"),
	}
	if err := s.connect(); err != nil {
		return nil, err
	}
	if err := s.prepareDatabase(ctx); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) connect() error {
	if s.cfg.isPostgres() {
		return s.connectPostgres()
	}
	if s.cfg.Bun != nil {
		s.w, s.r = s.cfg.Bun, s.cfg.Bun
		return nil
	}
	if s.cfg.DB != nil {
		s.w = bun.NewDB(s.cfg.DB, sqlitedialect.New())
		s.r = s.w
		return nil
	}
	if err := checkPath(s.cfg.Path, s.cfg.Migrate); err != nil {
		return err
	}
	w, err := pool(&s.cfg, 1, "cache_size=-16000", "temp_store=MEMORY",
		"wal_autocheckpoint=4000", "journal_size_limit=67108864")
	if err != nil {
		return err
	}
	r, err := pool(&s.cfg, s.cfg.Readers, "query_only=1")
	if err != nil {
		_ = w.Close()
		return err
	}
	s.w, s.r = bun.NewDB(w, sqlitedialect.New()), bun.NewDB(r, sqlitedialect.New())
	return nil
}

func (s *Store) prepareDatabase(ctx context.Context) error {
	if s.pg != nil {
		return s.preparePostgres(ctx)
	}
	var tables int
	if err := s.retryBusy(ctx, func() error {
		return s.w.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master").Scan(&tables)
	}); err != nil {
		return s.pathError(ctx, "open", err)
	}
	if s.cfg.Migrate {
		if s.cfg.Path != "" {
			if err := s.useWAL(ctx); err != nil {
				return s.pathError(ctx, "open", err)
			}
		}
		if err := s.migrate(ctx); err != nil {
			return s.pathError(ctx, "migrate", err)
		}
	}
	switch err := s.checkSchema(ctx, s.r); {
	case err == nil:
	case isMissing(err):
		return nil // every call will say so
	default:
		return s.pathError(ctx, "open", err)
	}
	if s.cfg.Path != "" {
		if err := s.useWAL(ctx); err != nil {
			return s.pathError(ctx, "open", err)
		}
	}
	if _, err := s.ready(ctx); err != nil {
		return s.pathError(ctx, "open", err)
	}
	// A file that can be read but not written is found out now.
	return s.pathError(ctx, "open", s.write(ctx, "open", func(*wtx) error { return errNothingToWrite }))
}

// Close ends the calls in flight (each finishes or returns ErrClosed) and closes
// what Open opened. Closing twice is no error.
func (s *Store) Close() error {
	return s.gate.Close(func() error {
		s.statements.Load().close()
		if s.pg != nil {
			s.closePostgres()
		} else if s.cfg.Path != "" {
			// What a connection fails to flush now, the next to open the file does.
			_ = s.r.DB.Close()
			_ = s.w.DB.Close()
		}
		s.ping(true) // whoever waits for work finds out that there will be none
		return nil
	})
}

// begin is the first thing every method does: closed and canceled come before
// what is wrong with the arguments.
func (s *Store) begin(ctx context.Context) error { return s.gate.Check(ctx) }

// enter begins a call: the context it returns also ends when Close begins, in
// PostgreSQL a little later, and leave must be called at its end.
func (s *Store) enter(ctx context.Context) (context.Context, func(), error) {
	inner, leave, err := s.gate.Enter(ctx)
	if err != nil || s.pg == nil {
		return inner, leave, err
	}
	call, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	// What is under way when Close begins may finish, if it does so soon: a commit
	// that is cut off has an unknown outcome.
	stop := context.AfterFunc(inner, func() { time.AfterFunc(closeGrace, cancel) })
	return call, func() { stop(); cancel(); leave() }, nil
}

// closeGrace is how long Close lets the calls to a server finish. In real time,
// whatever the Clock says: so does the server.
const closeGrace = 3 * time.Second

// Wake implements queue.Notifier: it tells of writes through this handle, and
// once of its end. In PostgreSQL also of writes through any other: the first call
// opens one more connection, which waits for them until Close.
func (s *Store) Wake() <-chan struct{} {
	if s.pg != nil {
		s.pg.listen(s)
	}
	return s.wake
}

// ping tells whoever waits that a message may have become claimable.
func (s *Store) ping(claimable bool) {
	if !claimable {
		return
	}
	if s.pg != nil {
		s.pg.told.Store(true)
	}
	s.hint()
}

// hint has whoever waits claim.
func (s *Store) hint() {
	select {
	case s.wake <- struct{}{}:
	default: // it has a hint already
	}
}

func (s *Store) now() time.Time { return stabilize.Instant(s.cfg.Clock.Now()) }

// MaxPayload implements persistence.Limits.
func (s *Store) MaxPayload() int64 { return s.cfg.MaxPayload }

// Batches implements persistence.Pipelined. In a file there is one writer.
func (s *Store) Batches() int {
	if s.pg != nil {
		return s.pg.batches()
	}
	return 1
}
