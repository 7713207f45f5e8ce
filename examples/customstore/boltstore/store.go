package boltstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// DB is an open file. One process has it at a time, and once; what would be
// processes on another database are handles on it. Safe for concurrent use.
type DB struct {
	bolt *bbolt.DB

	mu      sync.Mutex
	handles map[*Store]struct{} // those to wake
}

// Open opens a file, creating it if needed. The options are bbolt's; nil means a
// wait of at most a second for another process that has the file.
func Open(path string, options *bbolt.Options) (*DB, error) {
	if options == nil {
		options = &bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType}
	}
	db, err := bbolt.Open(path, 0o600, options)
	if err != nil {
		return nil, fmt.Errorf("boltstore: open: %w", err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets() {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("boltstore: open: %w", errors.Join(err, db.Close()))
	}
	return &DB{bolt: db, handles: map[*Store]struct{}{}}, nil
}

// Close closes the file, when its handles have been closed.
func (db *DB) Close() error { return db.bolt.Close() }

// Bolt is what is below, for backups and whoever looks past the store.
func (db *DB) Bolt() *bbolt.DB { return db.bolt }

// Config is what a handle is given; the zero value is good.
type Config struct {
	Clock    stabilize.Clock // nil: stabilize.SystemClock
	Messages *queue.Registry // nil: queue.NewRegistry
}

// Store is a handle on a DB. It implements persistence.Store and the optional
// powers Refresher, WaitingKeys, Limits and queue.Notifier.
type Store struct {
	db       *DB
	gate     *persistence.Gate
	clock    stabilize.Clock
	ids      *stabilize.IDs
	messages *queue.Registry
	wake     chan struct{}
}

// New makes a handle.
func New(db *DB, cfg Config) *Store {
	if cfg.Clock == nil {
		cfg.Clock = stabilize.SystemClock{}
	}
	s := &Store{
		db: db, gate: persistence.NewGate("boltstore"), clock: cfg.Clock, ids: stabilize.NewIDs(cfg.Clock, nil),
		messages: cmp.Or(cfg.Messages, queue.NewRegistry()), wake: make(chan struct{}, 1),
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.handles[s] = struct{}{}
	return s
}

// Close implements persistence.WorkflowStore. It closes the handle and not the DB.
func (s *Store) Close() error {
	return s.gate.Close(func() error {
		s.db.mu.Lock()
		defer s.db.mu.Unlock()
		delete(s.db.handles, s)
		return nil
	})
}

// Wake implements queue.Notifier.
func (s *Store) Wake() <-chan struct{} { return s.wake }

func (db *DB) wakeAll() {
	db.mu.Lock()
	defer db.mu.Unlock()
	for s := range db.handles {
		select {
		case s.wake <- struct{}{}:
		default: // it has a hint already
		}
	}
}

const maxPayload = 16 << 20 // bytes

// MaxPayload implements persistence.Limits.
func (s *Store) MaxPayload() int64 { return maxPayload }

const reading, writing = false, true

// run is a call: fn in a transaction. bad is what is wrong with the arguments. If
// fn returns an error nothing is changed.
func (s *Store) run(ctx context.Context, doing string, write bool, bad error, fn func(*txn) error) error {
	_, leave, err := s.gate.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if bad != nil {
		return bad
	}
	tx, err := s.db.bolt.Begin(write)
	if errors.Is(err, bbolterrors.ErrDatabaseNotOpen) {
		return failure(stabilize.ErrClosed, doing, err)
	} else if err != nil {
		return failure(stabilize.ErrInternal, doing, err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	t := &txn{tx: tx, now: stabilize.Instant(s.clock.Now())}
	err = fn(t)
	if t.err != nil {
		return t.err // fn may have seen the zero value of what could not be read
	}
	if err != nil || !t.wrote {
		return err
	}
	if err := s.gate.Check(ctx); err != nil {
		return err // closing, or nobody waits for it any more: nothing is done
	}
	if err := tx.Commit(); err != nil {
		return failure(stabilize.ErrUnknownOutcome, doing, err)
	}
	if t.wake {
		s.db.wakeAll()
	}
	return nil
}

// failure is a database's error under one class.
func failure(class error, doing string, cause error) error {
	return &persistence.Failure{Store: "boltstore", Doing: doing, Class: class, Cause: cause}
}
