package mutant

import (
	"context"
	"time"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/handlers"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Hooks replace methods of a store. Each gets the good store; nil leaves the
// method as it is. They are shared by all handles of a harness and must be safe
// for concurrent use.
type Hooks struct {
	// Handlers are what the engines on the harness's handles decide with, made anew
	// for each; nil: those of this module.
	Handlers func() *handlers.Set
	// Reopened is told when a harness opened the data anew.
	Reopened func()
	Open     Openers

	CommitBatch func(s persistence.Store, ctx context.Context, cs []*persistence.Commit) []error
	TryBatch    func(s persistence.Store, ctx context.Context, cs []*persistence.Commit) []error
	Load        func(s persistence.Store, ctx context.Context, id string) (*stabilize.Workflow, error)
	Summary     func(s persistence.Store, ctx context.Context, id string) (*stabilize.Header, error)
	Query       func(s persistence.Store, ctx context.Context, q persistence.Query) (persistence.Page, error)
	Delete      func(s persistence.Store, ctx context.Context, ids []string) error
	Prune       func(s persistence.Store, ctx context.Context, finished []*stabilize.Header) (int, error)
	Admissions  func(s persistence.Store, ctx context.Context, key string) (persistence.Admissions, error)
	Close       func(s persistence.Store) error
	Refresh     func(s persistence.Store, ctx context.Context, id string, since int64) (*persistence.Delta, error)
	WaitingKeys func(s persistence.Store, ctx context.Context) ([]persistence.WaitingKey, error)
	Unfinished  func(s persistence.Store, ctx context.Context, ids []string) ([]string, error)

	// EventLog is asked for the log of each handle.
	EventLog func(s persistence.Store) events.Log

	Push        func(s persistence.Store, ctx context.Context, msgs []queue.Outgoing) error
	Claim       func(s persistence.Store, ctx context.Context, w queue.Worker, room queue.Room) ([]queue.Delivery, error)
	Ack         func(s persistence.Store, ctx context.Context, rs []queue.Receipt) error
	Release     func(s persistence.Store, ctx context.Context, r queue.Receipt, at time.Time, cause error) error
	Return      func(s persistence.Store, ctx context.Context, r queue.Receipt) error
	Heartbeat   func(s persistence.Store, ctx context.Context, w queue.Worker) (queue.Leases, error)
	Retire      func(s persistence.Store, ctx context.Context, worker string) error
	Pending     func(s persistence.Store, ctx context.Context, id string) ([]queue.Stored, error)
	Depth       func(s persistence.Store, ctx context.Context) (queue.Depth, error)
	ListDead    func(s persistence.Store, ctx context.Context, after string, limit int) ([]queue.DeadLetter, error)
	ReplayDead  func(s persistence.Store, ctx context.Context, id string) error
	DiscardDead func(s persistence.Store, ctx context.Context, id string) error
	Wake        func(s persistence.Store) <-chan struct{}
}

// Store is a good store with some methods replaced. The good one must have the
// optional powers.
type Store struct {
	Good  persistence.Store
	Hooks *Hooks
}

var (
	_ persistence.Store       = (*Store)(nil)
	_ persistence.Refresher   = (*Store)(nil)
	_ persistence.WaitingKeys = (*Store)(nil)
	_ persistence.Watcher     = (*Store)(nil)
	_ persistence.Trier       = (*Store)(nil)
	_ persistence.EventKeeper = (*Store)(nil)
	_ queue.Notifier          = (*Store)(nil)
)

func (m *Store) CommitBatch(ctx context.Context, cs []*persistence.Commit) []error {
	if f := m.Hooks.CommitBatch; f != nil {
		return f(m.Good, ctx, cs)
	}
	return m.Good.CommitBatch(ctx, cs)
}

// TryBatch is what is done to CommitBatch, done to the good store's TryBatch, where
// nothing says otherwise.
func (m *Store) TryBatch(ctx context.Context, cs []*persistence.Commit) []error {
	if f := m.Hooks.TryBatch; f != nil {
		return f(m.Good, ctx, cs)
	}
	good := m.Good
	if t, ok := good.(persistence.Trier); ok {
		good = trying{good, t}
	}
	if f := m.Hooks.CommitBatch; f != nil {
		return f(good, ctx, cs)
	}
	return good.CommitBatch(ctx, cs)
}

// trying is a store whose every batch is tried.
type trying struct {
	persistence.Store
	trier persistence.Trier
}

func (t trying) CommitBatch(ctx context.Context, cs []*persistence.Commit) []error {
	return t.trier.TryBatch(ctx, cs)
}

func (m *Store) Load(ctx context.Context, id string) (*stabilize.Workflow, error) {
	if f := m.Hooks.Load; f != nil {
		return f(m.Good, ctx, id)
	}
	return m.Good.Load(ctx, id)
}

func (m *Store) Summary(ctx context.Context, id string) (*stabilize.Header, error) {
	if f := m.Hooks.Summary; f != nil {
		return f(m.Good, ctx, id)
	}
	return m.Good.Summary(ctx, id)
}

func (m *Store) Query(ctx context.Context, q persistence.Query) (persistence.Page, error) {
	if f := m.Hooks.Query; f != nil {
		return f(m.Good, ctx, q)
	}
	return m.Good.Query(ctx, q)
}

func (m *Store) Delete(ctx context.Context, ids ...string) error {
	if f := m.Hooks.Delete; f != nil {
		return f(m.Good, ctx, ids)
	}
	return m.Good.Delete(ctx, ids...)
}

func (m *Store) Prune(ctx context.Context, finished ...*stabilize.Header) (int, error) {
	if f := m.Hooks.Prune; f != nil {
		return f(m.Good, ctx, finished)
	}
	return m.Good.Prune(ctx, finished...)
}

func (m *Store) Admissions(ctx context.Context, key string) (persistence.Admissions, error) {
	if f := m.Hooks.Admissions; f != nil {
		return f(m.Good, ctx, key)
	}
	return m.Good.Admissions(ctx, key)
}

func (m *Store) Close() error {
	if f := m.Hooks.Close; f != nil {
		return f(m.Good)
	}
	return m.Good.Close()
}

func (m *Store) Refresh(ctx context.Context, id string, since int64) (*persistence.Delta, error) {
	if f := m.Hooks.Refresh; f != nil {
		return f(m.Good, ctx, id, since)
	}
	return m.Good.(persistence.Refresher).Refresh(ctx, id, since)
}

func (m *Store) WaitingKeys(ctx context.Context) ([]persistence.WaitingKey, error) {
	if f := m.Hooks.WaitingKeys; f != nil {
		return f(m.Good, ctx)
	}
	return m.Good.(persistence.WaitingKeys).WaitingKeys(ctx)
}

func (m *Store) Unfinished(ctx context.Context, ids ...string) ([]string, error) {
	if f := m.Hooks.Unfinished; f != nil {
		return f(m.Good, ctx, ids)
	}
	return m.Good.(persistence.Watcher).Unfinished(ctx, ids...)
}

// EventLog is nil where the good store keeps none.
func (m *Store) EventLog() events.Log {
	if f := m.Hooks.EventLog; f != nil {
		return f(m.Good)
	}
	return persistence.EventLogOf(m.Good)
}

func (m *Store) Push(ctx context.Context, msgs ...queue.Outgoing) error {
	if f := m.Hooks.Push; f != nil {
		return f(m.Good, ctx, msgs)
	}
	return m.Good.Push(ctx, msgs...)
}

func (m *Store) Claim(ctx context.Context, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
	if f := m.Hooks.Claim; f != nil {
		return f(m.Good, ctx, w, room)
	}
	return m.Good.Claim(ctx, w, room)
}

func (m *Store) Ack(ctx context.Context, rs ...queue.Receipt) error {
	if f := m.Hooks.Ack; f != nil {
		return f(m.Good, ctx, rs)
	}
	return m.Good.Ack(ctx, rs...)
}

func (m *Store) Release(ctx context.Context, r queue.Receipt, at time.Time, cause error) error {
	if f := m.Hooks.Release; f != nil {
		return f(m.Good, ctx, r, at, cause)
	}
	return m.Good.Release(ctx, r, at, cause)
}

func (m *Store) Return(ctx context.Context, r queue.Receipt) error {
	if f := m.Hooks.Return; f != nil {
		return f(m.Good, ctx, r)
	}
	return m.Good.Return(ctx, r)
}

func (m *Store) Heartbeat(ctx context.Context, w queue.Worker) (queue.Leases, error) {
	if f := m.Hooks.Heartbeat; f != nil {
		return f(m.Good, ctx, w)
	}
	return m.Good.Heartbeat(ctx, w)
}

func (m *Store) Retire(ctx context.Context, worker string) error {
	if f := m.Hooks.Retire; f != nil {
		return f(m.Good, ctx, worker)
	}
	return m.Good.Retire(ctx, worker)
}

func (m *Store) Pending(ctx context.Context, id string) ([]queue.Stored, error) {
	if f := m.Hooks.Pending; f != nil {
		return f(m.Good, ctx, id)
	}
	return m.Good.Pending(ctx, id)
}

func (m *Store) Depth(ctx context.Context) (queue.Depth, error) {
	if f := m.Hooks.Depth; f != nil {
		return f(m.Good, ctx)
	}
	return m.Good.Depth(ctx)
}

func (m *Store) ListDead(ctx context.Context, after string, limit int) ([]queue.DeadLetter, error) {
	if f := m.Hooks.ListDead; f != nil {
		return f(m.Good, ctx, after, limit)
	}
	return m.Good.ListDead(ctx, after, limit)
}

func (m *Store) ReplayDead(ctx context.Context, id string) error {
	if f := m.Hooks.ReplayDead; f != nil {
		return f(m.Good, ctx, id)
	}
	return m.Good.ReplayDead(ctx, id)
}

func (m *Store) DiscardDead(ctx context.Context, id string) error {
	if f := m.Hooks.DiscardDead; f != nil {
		return f(m.Good, ctx, id)
	}
	return m.Good.DiscardDead(ctx, id)
}

func (m *Store) Wake() <-chan struct{} {
	if f := m.Hooks.Wake; f != nil {
		return f(m.Good)
	}
	return m.Good.(queue.Notifier).Wake()
}
