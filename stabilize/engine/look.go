package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// looks asks a store which workflows have not ended: together for all who wait for one
// and look at the same time.
type looks struct {
	watcher persistence.Watcher
	turn    chan struct{} // has room for whoever asks the store

	mu   sync.Mutex
	next *look // gathers until it is its turn
}

// look is one question for many.
type look struct {
	ids  []string
	done chan struct{}

	unfinished map[string]bool
	err        error
}

// mostLooked is how many a store is asked about at a time.
const mostLooked = 1000

// newLooks returns nil if the store has to be asked one by one.
func newLooks(store persistence.Store) *looks {
	w, ok := store.(persistence.Watcher)
	if !ok {
		return nil
	}
	return &looks{watcher: w, turn: make(chan struct{}, 1)}
}

// unfinished reports whether a workflow has not ended, as far as can be told. The first
// who asks for a question asks the store.
func (l *looks) unfinished(ctx context.Context, id string) (bool, error) {
	l.mu.Lock()
	q := l.next
	first := q == nil
	if first {
		q = &look{done: make(chan struct{})}
		l.next = q
	}
	q.ids = append(q.ids, id)
	l.mu.Unlock()
	if first {
		l.ask(ctx, q)
		return q.unfinished[id], q.err
	}
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-q.done:
	}
	if errors.Is(q.err, context.Canceled) || errors.Is(q.err, context.DeadlineExceeded) {
		return true, nil // who asked waits no more
	}
	return q.unfinished[id], q.err
}

func (l *looks) ask(ctx context.Context, q *look) {
	defer close(q.done)
	asks := true
	select {
	case <-ctx.Done():
		asks = false
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	}
	l.mu.Lock()
	l.next = nil
	l.mu.Unlock()
	if !asks {
		q.err = ctx.Err()
		return
	}
	q.unfinished = make(map[string]bool, len(q.ids))
	for some := range slices.Chunk(q.ids, mostLooked) {
		found, err := l.watcher.Unfinished(ctx, some...)
		if err != nil {
			q.err = err
			return
		}
		for _, id := range found {
			q.unfinished[id] = true
		}
	}
}

// endOf returns the workflow if it has ended, else nil. At the first look it says also
// what is wrong with one that has not.
func (e *Engine) endOf(ctx context.Context, id string, first bool) (*stabilize.Workflow, error) {
	var live bool
	err := stabilize.ErrUnsupported
	if e.looks != nil && !first {
		live, err = e.looks.unfinished(ctx, id)
	}
	if errors.Is(err, stabilize.ErrUnsupported) {
		var h *stabilize.Header
		if h, err = e.store.Summary(ctx, id); err == nil {
			live = !h.Status.IsComplete()
		}
	}
	if err != nil || live {
		return nil, err
	}
	w, err := e.store.Load(ctx, id)
	if err != nil || !w.Status.IsComplete() { // it was restarted meanwhile
		return nil, err
	}
	return w, nil
}

// together shortens a time by an eighth at most, so that many who look then do so at the
// same moments.
func together(now time.Time, delay time.Duration) time.Duration {
	return now.Add(delay).Truncate(delay / 8).Sub(now)
}
