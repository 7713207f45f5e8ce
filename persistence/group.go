package persistence

import (
	"context"
	"errors"
	"sync"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Group is group commit, once above all stores: commits that arrive while a
// batch is in flight (as many as the store likes, see Pipelined) travel together
// in the next, and so do those of goroutines that are about to commit. What another
// transaction blocks (see Trier) is taken out, and sent again beside the rest until it
// is blocked no more. Nothing is added when there is only one: no goroutine, no timer, no
// delay. Safe for concurrent use.
type Group struct {
	send    func(ctx context.Context, commits []*Commit) []error
	max     int
	lanes   func() int // batches that may be in flight
	blocked *Group     // sends what is blocked; nil: nothing ever is

	mu       sync.Mutex
	busy     int // batches in flight
	waiting  []*groupEntry
	courtesy courtesy
	batches  int64
	commits  int64
}

type groupEntry struct {
	commit *Commit
	// wake tells its owner that err is set, or that it leads the next batch.
	wake chan bool
	err  error
}

const leads, answered = true, false

// NewGroup makes a Group over a store, with at most limit commits in a batch; 0
// means 512.
func NewGroup(store WorkflowStore, limit int) *Group {
	if limit <= 0 {
		limit = 512
	}
	one := func() int { return 1 }
	g := &Group{send: store.CommitBatch, max: limit, lanes: one}
	if p, ok := store.(Pipelined); ok {
		g.lanes = func() int { return max(1, p.Batches()) }
	}
	if t, ok := store.(Trier); ok {
		g.send = t.TryBatch
		g.blocked = &Group{send: t.TryBatch, max: limit, lanes: one}
	}
	return g
}

// Commit applies c with the next batch and returns what became of it; see
// WorkflowStore.CommitBatch. If ctx ends before the batch has left, c is
// withdrawn, nothing was done and the context's error is returned; afterwards
// the batch's answer is awaited. As long as c is blocked by another transaction it is
// tried again.
func (g *Group) Commit(ctx context.Context, c *Commit) error {
	err := g.commit(ctx, c)
	for g.blocked != nil && isBlocked(err) {
		err = g.blocked.commit(ctx, c)
	}
	return err
}

func isBlocked(err error) bool {
	_, ok := errors.AsType[*BlockedError](err)
	return ok
}

// commit sends c once.
func (g *Group) commit(ctx context.Context, c *Commit) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e := &groupEntry{commit: c, wake: make(chan bool, 1)}
	g.mu.Lock()
	if g.busy >= g.lanes() {
		g.waiting = append(g.waiting, e)
		g.mu.Unlock()
		if lead := g.await(ctx, e); !lead {
			return e.err
		}
	} else {
		g.busy++
		g.mu.Unlock()
	}
	g.lead(ctx, e)
	return e.err
}

// await reports whether e's owner is to lead; otherwise e.err is set.
func (g *Group) await(ctx context.Context, e *groupEntry) bool {
	select {
	case lead := <-e.wake:
		return lead
	case <-ctx.Done():
	}
	g.mu.Lock()
	for i, w := range g.waiting {
		if w != e {
			continue
		}
		g.waiting = append(g.waiting[:i:i], g.waiting[i+1:]...)
		e.err = ctx.Err()
		g.mu.Unlock()
		return false
	}
	g.mu.Unlock()
	return <-e.wake // its batch has left, or it must lead, for the others
}

// lead sends one batch, which begins with the leader's own commit, and hands over.
func (g *Group) lead(ctx context.Context, leader *groupEntry) {
	g.mu.Lock()
	if g.courtesy.due() {
		waited := len(g.waiting)
		g.mu.Unlock()
		took := giveWay()
		g.mu.Lock()
		g.courtesy.took(took, len(g.waiting)-waited)
	}
	n := min(len(g.waiting), g.max-1)
	batch := append([]*groupEntry{leader}, g.waiting[:n]...)
	g.waiting = g.waiting[n:]
	n++
	g.courtesy.sent(n)
	g.batches++
	g.commits += int64(n)
	g.mu.Unlock()

	commits := make([]*Commit, n)
	for i, e := range batch {
		commits[i] = e.commit
	}
	// One caller's end must not undo the others' commits.
	var errs []error
	defer func() { // also when the store panics: the others must not wait for ever
		g.mu.Lock()
		if len(g.waiting) > 0 && g.busy <= g.lanes() {
			next := g.waiting[0]
			g.waiting = g.waiting[1:] // no other batch takes it
			next.wake <- leads
		} else {
			g.busy--
		}
		g.mu.Unlock()
		for i, e := range batch {
			if e.err = stabilize.ErrUnknownOutcome; len(errs) == n {
				e.err = errs[i]
			}
			if i > 0 { // the first is the leader's own
				e.wake <- answered
			}
		}
	}()
	errs = g.send(context.WithoutCancel(ctx), commits)
}

// Counts returns how many batches and commits have been sent.
func (g *Group) Counts() (batches, commits int64) {
	if g.blocked != nil {
		batches, commits = g.blocked.Counts()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return batches + g.batches, commits + g.commits
}
