package engine

import (
	"context"
	"errors"
	"maps"
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
	turn    chan struct{} // has room for those who ask the store

	mu   sync.Mutex
	next *look // gathers until it is its turn
}

// look is one question for many.
type look struct {
	ids     map[string]bool
	waiting int           // for the answer
	leave   func()        // nobody waits any more
	done    chan struct{} // then the answer is there

	unfinished map[string]bool
	err        error
}

const (
	mostLooked = 1000 // workflows that a store is asked about at a time
	mostAsked  = 2    // questions at a time: one that hangs does not hold up all
)

// newLooks returns nil if the store has to be asked one by one.
func newLooks(store persistence.Store) *looks {
	w, ok := store.(persistence.Watcher)
	if !ok {
		return nil
	}
	return &looks{watcher: w, turn: make(chan struct{}, mostAsked)}
}

// join adds a workflow to the question that is asked next. Whoever joins leaves it, with
// the answer or before.
func (l *looks) join(id string) *look {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.next
	if q == nil {
		ctx, cancel := context.WithCancel(context.Background())
		q = &look{ids: map[string]bool{}, leave: cancel, done: make(chan struct{})}
		l.next = q
		go l.ask(ctx, q)
	}
	q.ids[id] = true
	q.waiting++
	return q
}

func (l *looks) leave(q *look) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if q.waiting--; q.waiting == 0 {
		q.leave()
		if l.next == q {
			l.next = nil
		}
	}
}

func (l *looks) ask(ctx context.Context, q *look) {
	defer close(q.done)
	select {
	case <-ctx.Done():
		q.err = ctx.Err()
		return
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	}
	l.mu.Lock()
	if l.next == q {
		l.next = nil
	}
	ids := slices.Collect(maps.Keys(q.ids))
	l.mu.Unlock()
	q.unfinished = make(map[string]bool, len(ids))
	for some := range slices.Chunk(ids, mostLooked) {
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

// lookTogether returns what endOf does, or what comes first of waiting; over: the wait is.
func (e *Engine) lookTogether(ctx context.Context, id string, ended <-chan *stabilize.Workflow) (w *stabilize.Workflow, over bool, err error) {
	q := e.looks.join(id)
	defer e.looks.leave(q)
	if w, over, err = await(ctx, ended, q.done); over {
		return w, over, err
	}
	switch {
	case q.err == nil && q.unfinished[id]:
		return nil, false, nil
	case q.err == nil:
		w, err = e.loadEnded(ctx, id)
	case errors.Is(q.err, stabilize.ErrTransient):
		return nil, false, q.err
	default: // it may be another's trouble
		w, err = e.endOf(ctx, id)
	}
	return w, false, err
}

// endOf returns the workflow if it has ended, else nil.
func (e *Engine) endOf(ctx context.Context, id string) (*stabilize.Workflow, error) {
	h, err := e.store.Summary(ctx, id)
	if err != nil || !h.Status.IsComplete() {
		return nil, err
	}
	return e.loadEnded(ctx, id)
}

// loadEnded loads a workflow that has ended; nil if it was restarted meanwhile.
func (e *Engine) loadEnded(ctx context.Context, id string) (*stabilize.Workflow, error) {
	w, err := e.store.Load(ctx, id)
	if err != nil || !w.Status.IsComplete() {
		return nil, err
	}
	return w, nil
}

// await waits for done, unless the wait for the workflow is over before.
func await[T any](ctx context.Context, ended <-chan *stabilize.Workflow, done <-chan T) (w *stabilize.Workflow, over bool, err error) {
	select {
	case <-ctx.Done():
		return nil, true, ctx.Err()
	case w, open := <-ended:
		if !open {
			return nil, true, stabilize.ErrClosed
		}
		return w, true, nil
	case <-done:
		return nil, false, nil
	}
}

// together shortens a time by an eighth at most, so that many who look then do so at the
// same moments.
func together(now time.Time, delay time.Duration) time.Duration {
	return now.Add(delay).Truncate(delay / 8).Sub(now)
}
