package faults

import (
	"context"
	"fmt"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// The optional powers, each as what can be embedded beside a *store.
type (
	refresher   struct{ s *store }
	waitingKeys struct{ s *store }
	limits      = persistence.Limits
	notifier    = queue.Notifier
)

func (p refresher) Refresh(ctx context.Context, id string, since int64) (*persistence.Delta, error) {
	return get(p.s, func() (*persistence.Delta, error) {
		return p.s.under.(persistence.Refresher).Refresh(ctx, id, since)
	})
}

func (p waitingKeys) WaitingKeys(ctx context.Context) ([]persistence.WaitingKey, error) {
	return get(p.s, func() ([]persistence.WaitingKey, error) {
		return p.s.under.(persistence.WaitingKeys).WaitingKeys(ctx)
	})
}

// Unfinished implements persistence.Watcher: ErrUnsupported where the wrapped store does not.
func (s *store) Unfinished(ctx context.Context, ids ...string) ([]string, error) {
	return get(s, func() ([]string, error) {
		if l, ok := s.under.(persistence.Watcher); ok {
			return l.Unfinished(ctx, ids...)
		}
		return nil, fmt.Errorf("looking at many workflows: %w", stabilize.ErrUnsupported)
	})
}

// EventLog implements persistence.EventKeeper: nil where the wrapped store keeps none.
func (s *store) EventLog() events.Log {
	if log := persistence.EventLogOf(s.under); log != nil {
		return eventLog{s, log}
	}
	return nil
}

type eventLog struct {
	s     *store
	under events.Log
}

func (l eventLog) Read(ctx context.Context, q events.Query) (events.Page, error) {
	return get(l.s, func() (events.Page, error) { return l.under.Read(ctx, q) })
}

func (l eventLog) Count(ctx context.Context, q events.Query) (int64, error) {
	return get(l.s, func() (int64, error) { return l.under.Count(ctx, q) })
}

func (l eventLog) Get(ctx context.Context, id string) (*events.Event, error) {
	return get(l.s, func() (*events.Event, error) { return l.under.Get(ctx, id) })
}

func (l eventLog) Last(ctx context.Context) (events.Position, error) {
	return get(l.s, func() (events.Position, error) { return l.under.Last(ctx) })
}

// withPowers returns s with the powers that its store has, and no others: they
// are found by asking for a method, so each set of them is a type of its own.
func withPowers(s *store) Store {
	_, isRefresher := s.under.(persistence.Refresher)
	_, listsKeys := s.under.(persistence.WaitingKeys)
	l, isLimited := s.under.(persistence.Limits)
	n, notifies := s.under.(queue.Notifier)
	r, k := refresher{s}, waitingKeys{s}
	var set int
	for i, has := range []bool{isRefresher, listsKeys, isLimited, notifies} {
		if has {
			set |= 1 << i
		}
	}
	switch set {
	case 0b0001:
		return struct {
			*store
			refresher
		}{s, r}
	case 0b0010:
		return struct {
			*store
			waitingKeys
		}{s, k}
	case 0b0011:
		return struct {
			*store
			refresher
			waitingKeys
		}{s, r, k}
	case 0b0100:
		return struct {
			*store
			limits
		}{s, l}
	case 0b0101:
		return struct {
			*store
			refresher
			limits
		}{s, r, l}
	case 0b0110:
		return struct {
			*store
			waitingKeys
			limits
		}{s, k, l}
	case 0b0111:
		return struct {
			*store
			refresher
			waitingKeys
			limits
		}{s, r, k, l}
	case 0b1000:
		return struct {
			*store
			notifier
		}{s, n}
	case 0b1001:
		return struct {
			*store
			refresher
			notifier
		}{s, r, n}
	case 0b1010:
		return struct {
			*store
			waitingKeys
			notifier
		}{s, k, n}
	case 0b1011:
		return struct {
			*store
			refresher
			waitingKeys
			notifier
		}{s, r, k, n}
	case 0b1100:
		return struct {
			*store
			limits
			notifier
		}{s, l, n}
	case 0b1101:
		return struct {
			*store
			refresher
			limits
			notifier
		}{s, r, l, n}
	case 0b1110:
		return struct {
			*store
			waitingKeys
			limits
			notifier
		}{s, k, l, n}
	case 0b1111:
		return struct {
			*store
			refresher
			waitingKeys
			limits
			notifier
		}{s, r, k, l, n}
	default:
		return s
	}
}
