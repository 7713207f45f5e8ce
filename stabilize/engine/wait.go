package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Wait returns the workflow when it has ended, however it ended, and whichever
// process ended it. What another process ends is found by looking, once a second or,
// if Config.MaxPoll is longer, as seldom as that; many who wait look together if the store is a
// persistence.Watcher. Errors: ErrNotFound, the context's, ErrClosed.
func (e *Engine) Wait(ctx context.Context, id string) (*stabilize.Workflow, error) {
	ended, forget := e.waiters.add(id)
	defer forget()
	// A workflow that another process ends is found by looking. What this process
	// moves tells of its end; it is looked at seldom, should another have ended it.
	seldom := max(time.Second, e.cfg.MaxPoll)
	delay := lookInterval
	if e.processor() == nil {
		delay = lookIntervalElsewhere
	}
	for first := true; ; delay = min(2*delay, seldom) {
		if delay == seldom || e.processor() == nil || !e.runner.Knows(id) {
			var w *stabilize.Workflow
			var over bool
			var err error
			if first || e.looks == nil {
				w, err = e.endOf(ctx, id) // which says also what is wrong with one that has not ended
			} else {
				w, over, err = e.lookTogether(ctx, id, ended)
			}
			if over || w != nil || err != nil && !errors.Is(err, stabilize.ErrTransient) {
				return w, err
			}
			first = first && err != nil
		}
		timer, stop := e.cfg.clock.Timer(together(e.cfg.clock.Now(), delay))
		w, over, err := await(ctx, ended, timer)
		stop()
		if over {
			return w, err
		}
	}
}

// How long Wait waits at first before it looks again; it doubles up to a second, or
// Config.MaxPoll if that is more. Where no workers run every end is found by looking:
// about as long after it as the workflow took, at most.
const (
	lookInterval          = 50 * time.Millisecond
	lookIntervalElsewhere = 2 * time.Millisecond
)

// waiters are those who wait in this process for workflows to end.
type waiters struct {
	mu     sync.Mutex
	byID   map[string]map[chan *stabilize.Workflow]struct{}
	closed bool
}

func newWaiters() *waiters { return &waiters{byID: map[string]map[chan *stabilize.Workflow]struct{}{}} }

func (w *waiters) add(id string) (<-chan *stabilize.Workflow, func()) {
	c := make(chan *stabilize.Workflow, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		close(c)
		return c, func() {}
	}
	if w.byID[id] == nil {
		w.byID[id] = map[chan *stabilize.Workflow]struct{}{}
	}
	w.byID[id][c] = struct{}{}
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if delete(w.byID[id], c); len(w.byID[id]) == 0 {
			delete(w.byID, id)
		}
	}
}

// ended gives each who waits for the workflow a copy of its own.
func (w *waiters) ended(x *stabilize.Workflow) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.byID[x.ID] {
		end := x.Clone()
		end.Index()
		select {
		case c <- end:
		default:
		}
	}
}

func (w *waiters) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, cs := range w.byID {
		for c := range cs {
			close(c)
		}
	}
	w.byID = map[string]map[chan *stabilize.Workflow]struct{}{}
}

// sweepWaiting wakes waiting lists whose place-holder vanished without a
// commit of its own (it was deleted), until ctx ends.
func (e *Engine) sweepWaiting(ctx context.Context) {
	lister, ok := e.store.(persistence.WaitingKeys)
	if !ok {
		return
	}
	for {
		timer, stop := e.cfg.clock.Timer(e.cfg.SweepInterval)
		select {
		case <-ctx.Done():
			stop()
			return
		case <-timer:
		}
		stop()
		if err := e.sweepOnce(ctx, lister); err != nil && ctx.Err() == nil {
			e.cfg.logger.Warn("looking at waiting lists", "error", err)
		}
	}
}

func (e *Engine) sweepOnce(ctx context.Context, lister persistence.WaitingKeys) error {
	keys, err := lister.WaitingKeys(ctx)
	if err != nil {
		return err
	}
	if err := e.sweepLocks(ctx); err != nil {
		return err
	}
	for _, k := range keys {
		places, err := e.store.Admissions(ctx, k.Key)
		if err != nil {
			return err
		}
		if len(places.Waiting) == 0 || k.Limit > 0 && len(places.Holding) >= k.Limit {
			continue
		}
		err = e.store.Push(ctx, queue.Outgoing{Message: queue.StartWaitingWorkflows{Key: k.Key, Limit: k.Limit}})
		if err != nil {
			return err
		}
	}
	return nil
}

// sweepLocks gives on global exclusion keys whose holder vanished.
func (e *Engine) sweepLocks(ctx context.Context) error {
	token := ""
	for {
		page, err := e.store.Query(ctx, persistence.Query{
			Application: queue.LockApplication, Statuses: []stabilize.Status{stabilize.Running}, Token: token,
		})
		if err != nil {
			return err
		}
		for _, lock := range page.Workflows {
			line, err := stabilize.Get[[]queue.LockPlace](lock.Context, queue.LockLine)
			if err != nil || len(line) == 0 {
				continue
			}
			h, err := e.store.Summary(ctx, line[0].For)
			switch {
			case errors.Is(err, stabilize.ErrNotFound):
			case err != nil:
				return err
			case !h.Status.IsComplete():
				continue
			}
			err = e.store.Push(ctx, queue.Outgoing{Message: queue.ReleaseLock{OfWorkflow: queue.ToWorkflow(lock.ID), Key: lock.Name, LockPlace: line[0]}})
			if err != nil {
				return err
			}
		}
		if token = page.Next; token == "" {
			return nil
		}
	}
}
