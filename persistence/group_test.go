package persistence_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// slowStore takes a second for a batch and refuses workflows named "bad".
type slowStore struct {
	persistence.WorkflowStore
	mu      sync.Mutex
	batches []int
}

func (s *slowStore) CommitBatch(_ context.Context, commits []*persistence.Commit) []error {
	time.Sleep(time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches = append(s.batches, len(commits))
	errs := make([]error, len(commits))
	for i, c := range commits {
		if c.WorkflowID == "bad" {
			errs[i] = stabilize.ErrConflict
		}
	}
	return errs
}

func TestGroupSendsWhatWaitedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowStore{}
		g := persistence.NewGroup(store, 4)
		began := time.Now()
		var wg sync.WaitGroup
		commit := func(id string, want error) {
			wg.Go(func() {
				if err := g.Commit(t.Context(), &persistence.Commit{WorkflowID: id}); !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", id, err, want)
				}
			})
		}
		commit("first", nil)
		synctest.Wait() // it is in flight, alone: nothing waits for company
		for i := range 5 {
			commit(fmt.Sprint(i), nil)
			synctest.Wait()
		}
		commit("bad", stabilize.ErrConflict)
		wg.Wait()
		if fmt.Sprint(store.batches) != "[1 4 2]" {
			t.Errorf("batches of %v, want [1 4 2]", store.batches)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("three batches took %s", took)
		}
		if b, c := g.Counts(); b != 3 || c != 7 {
			t.Errorf("counted %d batches, %d commits", b, c)
		}
	})
}

// pipelined takes some batches at a time.
type pipelined struct {
	slowStore
	takes atomic.Int64
}

func (p *pipelined) Batches() int { return int(p.takes.Load()) }

// commitInTurn commits n times, each when the one before is in flight or waits.
func commitInTurn(t *testing.T, g *persistence.Group, wg *sync.WaitGroup, n int) {
	for i := range n {
		wg.Go(func() {
			if err := g.Commit(t.Context(), &persistence.Commit{WorkflowID: fmt.Sprint(i)}); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
	}
}

func TestGroupSendsBatchesSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &pipelined{}
		store.takes.Store(2)
		g := persistence.NewGroup(store, 4)
		began := time.Now()
		var wg sync.WaitGroup
		commitInTurn(t, g, &wg, 10)
		wg.Wait()
		// Two alone, at once; then four with each that comes back.
		if fmt.Sprint(store.batches) != "[1 1 4 4]" {
			t.Errorf("batches of %v, want [1 1 4 4]", store.batches)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("they took %s", took)
		}
	})
}

func TestGroupAsksEachTimeHowManyBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &pipelined{}
		g := persistence.NewGroup(store, 2)
		var wg sync.WaitGroup
		takes := func(n int64, want time.Duration) {
			began := time.Now()
			store.takes.Store(n)
			commitInTurn(t, g, &wg, 2)
			store.takes.Store(1)
			commitInTurn(t, g, &wg, 4)
			wg.Wait()
			if took := time.Since(began); took != want {
				t.Errorf("with %d at first they took %s, want %s", n, took, want)
			}
		}
		takes(2, 3*time.Second) // two side by side, then two times two
		takes(1, 4*time.Second) // one batch after the other
		takes(0, 4*time.Second) // as 1
		if fmt.Sprint(store.batches) != "[1 1 2 2 1 2 2 1 1 2 2 1]" {
			t.Errorf("batches of %v, want [1 1 2 2 1 2 2 1 1 2 2 1]", store.batches)
		}
	})
}

// swift answers at once, and counts its batches.
type swift struct {
	persistence.WorkflowStore
	waits   bool // others run meanwhile, as while one waits for a disk
	batches int
}

func (s *swift) CommitBatch(_ context.Context, commits []*persistence.Commit) []error {
	s.batches++
	if s.waits {
		runtime.Gosched()
	}
	return make([]error, len(commits))
}

func TestGroupTakesAlongWhoIsAboutToCommit(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const rounds, committers = 100, 10
	store := &swift{waits: true}
	synctest.Test(t, func(t *testing.T) { // where no turn is long
		g := persistence.NewGroup(store, 0)
		for range rounds {
			var wg sync.WaitGroup
			for range committers {
				wg.Go(func() {
					if err := g.Commit(t.Context(), &persistence.Commit{}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		}
	})
	// The first alone and the others behind it would be 200. The runtime may interrupt a
	// round anywhere.
	if store.batches > rounds*3/2 {
		t.Errorf("%d times %d goroutines that could commit at once needed %d batches", rounds, committers, store.batches)
	}
}

func TestGroupDoesNotGiveWayForOneThatCommitsAlone(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	g := persistence.NewGroup(&swift{}, 0)
	turns := 0
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for ; !stop.Load(); turns++ {
			runtime.Gosched()
		}
	})
	const commits = 1000
	for range commits {
		if err := g.Commit(t.Context(), &persistence.Commit{}); err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
	wg.Wait()
	if turns > commits/2 { // the runtime may interrupt it
		t.Errorf("another goroutine had %d turns during %d commits", turns, commits)
	}
}

func TestGroupWithdrawsACommitThatHasNotLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowStore{}
		g := persistence.NewGroup(store, 0)
		var wg sync.WaitGroup
		wg.Go(func() { _ = g.Commit(t.Context(), &persistence.Commit{WorkflowID: "a"}) })
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			if err := g.Commit(ctx, &persistence.Commit{WorkflowID: "b"}); !errors.Is(err, context.Canceled) {
				t.Errorf("the withdrawn commit answers %v", err)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if err := g.Commit(t.Context(), &persistence.Commit{WorkflowID: "c"}); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		cancel()
		wg.Wait()
		if fmt.Sprint(store.batches) != "[1 1]" {
			t.Errorf("batches of %v, want [1 1]", store.batches)
		}
	})
}

// fragile panics in its first batch.
type fragile struct {
	persistence.WorkflowStore
	broken bool
}

func (f *fragile) CommitBatch(_ context.Context, commits []*persistence.Commit) []error {
	if !f.broken {
		f.broken = true
		time.Sleep(time.Second)
		panic("driver bug")
	}
	return make([]error, len(commits))
}

func TestGroupOutlivesAPanicOfItsStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := persistence.NewGroup(&fragile{}, 0)
		var wg sync.WaitGroup
		wg.Go(func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic did not reach the caller whose commit it was")
				}
			}()
			_ = g.Commit(t.Context(), &persistence.Commit{})
		})
		synctest.Wait()
		wg.Go(func() {
			if err := g.Commit(t.Context(), &persistence.Commit{}); err != nil {
				t.Errorf("the commit that waited behind it: %v", err)
			}
		})
		wg.Wait()
		if err := g.Commit(t.Context(), &persistence.Commit{}); err != nil {
			t.Errorf("a later commit: %v", err)
		}
	})
}

// blockedStore has a workflow "x" that is blocked until free is closed.
type blockedStore struct {
	slowStore
	free chan struct{}
	with []int // sizes of the batches that x was in
}

func (s *blockedStore) TryBatch(_ context.Context, commits []*persistence.Commit) []error {
	time.Sleep(time.Second)
	errs := make([]error, len(commits))
	for i, c := range commits {
		if c.WorkflowID != "x" {
			continue
		}
		s.mu.Lock()
		s.with = append(s.with, len(commits))
		s.mu.Unlock()
		select {
		case <-s.free:
		default:
			errs[i] = &persistence.BlockedError{WorkflowID: "x"}
		}
	}
	return errs
}

func TestGroupTakesAsideWhatIsBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &blockedStore{free: make(chan struct{})}
		g := persistence.NewGroup(store, 0)
		var wg sync.WaitGroup
		commit := func(ctx context.Context, id string, want error) {
			wg.Go(func() {
				if err := g.Commit(ctx, &persistence.Commit{WorkflowID: id}); !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", id, err, want)
				}
			})
		}
		commit(t.Context(), "first", nil)
		synctest.Wait()
		impatient, cancel := context.WithCancel(t.Context())
		commit(t.Context(), "x", nil)
		commit(impatient, "x", context.Canceled)
		commit(t.Context(), "second", nil)
		began := time.Now()
		for range 10 { // the others go on as if x were not there
			if err := g.Commit(t.Context(), &persistence.Commit{WorkflowID: "other"}); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took > 12*time.Second {
			t.Errorf("ten commits beside a blocked one took %s", took)
		}
		cancel()
		time.Sleep(5 * time.Second)
		close(store.free)
		wg.Wait()
		store.mu.Lock()
		defer store.mu.Unlock()
		if n := len(store.with); n < 10 || store.with[n-1] != 1 {
			t.Errorf("x was sent in batches of %v", store.with)
		}
	})
}
