package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Store is a hostile handle on a store: one process's, for one life. Its
// optional powers (persistence.Refresher, Limits, WaitingKeys, EventKeeper,
// queue.Notifier) are those of the store it wraps. Safe for concurrent use.
//
// When it has died nothing gets through any more: calls return ErrClosed, also
// those that were under way, whose replies are lost. Return and Retire do
// nothing and return nil, as the killed neither hand back nor say goodbye: what
// the worker held stays leased until the lease lapses. Close still closes the
// wrapped store, for nothing may leak out of a test.
type Store interface {
	persistence.Store
	// Commits returns how many commits have come through this handle, the one it
	// died at among them.
	Commits() int
	// Died is closed when the handle is dead and what it applied last is in the
	// store.
	Died() <-chan struct{}
	// Kill makes it die now, if it has not yet.
	Kill()
}

// Wrap makes a hostile handle of a store.
func Wrap(under persistence.Store, plan Plan) Store {
	if plan.Clock == nil {
		plan.Clock = stabilize.SystemClock{}
	}
	return withPowers(&store{under: under, plan: plan, died: make(chan struct{})})
}

type store struct {
	under persistence.Store
	plan  Plan

	mu      sync.Mutex
	commits int
	dead    bool // from the moment on at which nothing more may get through
	died    chan struct{}

	calls, claims, pushes atomic.Uint64
}

var (
	errDead     = fmt.Errorf("faults: the handle has died: %w", stabilize.ErrClosed)
	errLost     = fmt.Errorf("faults: the reply was lost: %w", stabilize.ErrUnknownOutcome)
	errPanicked = errors.New("faults: the store panicked")
	errRefused  = errors.New("faults: refused")
)

func (s *store) Commits() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commits
}

func (s *store) Died() <-chan struct{} { return s.died }

func (s *store) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dead {
		s.dead = true
		close(s.died)
	}
}

func (s *store) isDead() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dead
}

// CommitBatch implements persistence.WorkflowStore.
func (s *store) CommitBatch(ctx context.Context, commits []*persistence.Commit) []error {
	if len(commits) == 0 {
		return nil
	}
	first, n, crash := s.number(len(commits))
	var errs []error
	if n > 0 {
		errs = s.send(ctx, first, commits[:n])
	}
	if crash {
		close(s.died)
	}
	if !s.isDead() {
		return errs
	}
	errs = make([]error, len(commits))
	for i := range errs {
		errs[i] = errDead
	}
	return errs
}

// number counts so many commits and returns the number of the first and how
// many of them reach the store. crash: the handle dies of them, and the caller
// must say so when they have.
func (s *store) number(batch int) (first, n int, crash bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return 0, 0, false
	}
	first = s.commits + 1
	at := s.plan.Crash.Commit - first // index of the commit to die at
	if at < 0 || at >= batch {
		s.commits += batch
		return first, batch, false
	}
	s.dead = true // nothing that comes meanwhile gets past
	s.commits += at + 1
	if s.plan.Crash.After {
		at++
	}
	return first, at, true
}

// send gives the store those of the commits that are not refused.
func (s *store) send(ctx context.Context, first int, commits []*persistence.Commit) []error {
	errs := make([]error, len(commits))
	var through []*persistence.Commit
	var at []int // their indexes
	for i, c := range commits {
		r := s.plan.draw(ofCommits, uint64(first+i))
		refused, lost := r.Float64() < s.plan.Refused, s.plan.lost(first+i, r)
		switch {
		case refused:
			errs[i] = stabilize.Transient(errRefused)
			continue
		case lost:
			errs[i] = errLost
		}
		through, at = append(through, s.plan.commit(c, r)), append(at, i)
	}
	if len(through) == 0 {
		return errs
	}
	answers, panicked := caught(s, func() ([]error, error) { return s.under.CommitBatch(ctx, through), nil })
	if panicked != nil {
		answers = slices.Repeat([]error{panicked}, len(through))
	}
	for j, err := range answers {
		if i := at[j]; errs[i] == nil {
			errs[i] = err
		}
	}
	return errs
}

// Push implements queue.Queue.
func (s *store) Push(ctx context.Context, msgs ...queue.Outgoing) error {
	if s.plan.Copies > 0 {
		copies := s.plan.copies(msgs, s.plan.draw(ofPushes, s.pushes.Add(1)))
		for i := range copies {
			copies[i].ID = "" // a later push may use the id anew
		}
		msgs = append(msgs[:len(msgs):len(msgs)], copies...)
	}
	return s.do(func() error { return s.under.Push(ctx, msgs...) })
}

// Claim implements queue.Queue.
func (s *store) Claim(ctx context.Context, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
	return get(s, func() ([]queue.Delivery, error) {
		got, err := s.under.Claim(ctx, w, room)
		r := s.plan.draw(ofClaims, s.claims.Add(1))
		kept := got[:0]
		for _, d := range got {
			if r.Float64() < s.plan.HeldBack && !s.isDead() && s.under.Return(ctx, d.Receipt()) == nil {
				continue
			}
			kept = append(kept, d)
		}
		if s.plan.Shuffled {
			r.Shuffle(len(kept), func(i, j int) { kept[i], kept[j] = kept[j], kept[i] })
		}
		return kept, err
	})
}
