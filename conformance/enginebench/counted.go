package enginebench

import (
	"context"
	"sync/atomic"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// counted is a store that counts claims. The optional powers of the store
// under it pass through; where it lacks one, the stand-in does what an engine
// would do without.
type counted struct {
	persistence.Store

	claims atomic.Int64
}

var (
	_ persistence.Refresher   = (*counted)(nil)
	_ persistence.WaitingKeys = (*counted)(nil)
	_ persistence.Watcher     = (*counted)(nil)
	_ persistence.EventKeeper = (*counted)(nil)
	_ queue.Notifier          = (*counted)(nil)
)

// Claim implements queue.Queue.
func (c *counted) Claim(ctx context.Context, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
	c.claims.Add(1)
	return c.Store.Claim(ctx, w, room)
}

// Refresh implements persistence.Refresher.
func (c *counted) Refresh(ctx context.Context, id string, since int64) (*persistence.Delta, error) {
	if r, ok := c.Store.(persistence.Refresher); ok {
		return r.Refresh(ctx, id, since)
	}
	w, err := c.Load(ctx, id)
	if err != nil {
		return nil, err
	}
	return &persistence.Delta{Header: w.Header, Stages: w.Stages, Whole: true}, nil
}

// WaitingKeys implements persistence.WaitingKeys.
func (c *counted) WaitingKeys(ctx context.Context) ([]persistence.WaitingKey, error) {
	if l, ok := c.Store.(persistence.WaitingKeys); ok {
		return l.WaitingKeys(ctx)
	}
	return nil, nil
}

// Unfinished implements persistence.Watcher.
func (c *counted) Unfinished(ctx context.Context, ids ...string) ([]string, error) {
	if l, ok := c.Store.(persistence.Watcher); ok {
		return l.Unfinished(ctx, ids...)
	}
	return nil, stabilize.ErrUnsupported
}

// EventLog implements persistence.EventKeeper.
func (c *counted) EventLog() events.Log { return persistence.EventLogOf(c.Store) }

// Wake implements queue.Notifier.
func (c *counted) Wake() <-chan struct{} {
	if n, ok := c.Store.(queue.Notifier); ok {
		return n.Wake()
	}
	return nil
}

// TryBatch implements persistence.Trier.
func (c *counted) TryBatch(ctx context.Context, commits []*persistence.Commit) []error {
	if t, ok := c.Store.(persistence.Trier); ok {
		return t.TryBatch(ctx, commits)
	}
	return c.Store.CommitBatch(ctx, commits)
}

// Batches implements persistence.Pipelined.
func (c *counted) Batches() int {
	if p, ok := c.Store.(persistence.Pipelined); ok {
		return p.Batches()
	}
	return 1
}
