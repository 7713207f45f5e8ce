package memstore

import (
	"context"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Config is what a handle works with. The zero value works.
type Config struct {
	Clock    stabilize.Clock // nil: SystemClock
	Messages *queue.Registry // nil: the types of package queue
	IDs      *stabilize.IDs  // nil: made on the clock
}

// Store is one handle on the data. All methods are safe for concurrent use.
type Store struct {
	data     *Data
	clock    stabilize.Clock
	messages *queue.Registry
	ids      *stabilize.IDs
	wake     chan struct{}
	gate     *persistence.Gate
}

var (
	_ persistence.Store       = (*Store)(nil)
	_ persistence.Refresher   = (*Store)(nil)
	_ persistence.WaitingKeys = (*Store)(nil)
	_ persistence.Watcher     = (*Store)(nil)
	_ queue.Notifier          = (*Store)(nil)
)

// New opens a store on data of its own.
func New(cfg Config) *Store { return Open(NewData(), cfg) }

// Open opens a handle on data that others may share. Closing one handle does
// not close the others, and the data outlives them all.
func Open(data *Data, cfg Config) *Store {
	if cfg.Clock == nil {
		cfg.Clock = stabilize.SystemClock{}
	}
	if cfg.Messages == nil {
		cfg.Messages = queue.NewRegistry()
	}
	if cfg.IDs == nil {
		cfg.IDs = stabilize.NewIDs(cfg.Clock, nil)
	}
	s := &Store{data: data, clock: cfg.Clock, messages: cfg.Messages, ids: cfg.IDs, wake: make(chan struct{}, 1), gate: persistence.NewGate("memstore")}
	data.mu.Lock()
	defer data.mu.Unlock()
	data.wakes = append(data.wakes, s.wake)
	return s
}

// Data returns what the handle works on, to open further handles.
func (s *Store) Data() *Data { return s.data }

// Close implements persistence.WorkflowStore.
func (s *Store) Close() error {
	return s.gate.Close(func() error {
		s.data.mu.Lock()
		defer s.data.mu.Unlock()
		s.data.forgetWake(s.wake)
		return nil
	})
}

// Wake implements queue.Notifier: it tells of writes through any handle,
// until the handle is closed.
func (s *Store) Wake() <-chan struct{} { return s.wake }

// begin is the first thing every method does.
func (s *Store) begin(ctx context.Context) error { return s.gate.Check(ctx) }

func (s *Store) now() time.Time { return stabilize.Instant(s.clock.Now()) }
