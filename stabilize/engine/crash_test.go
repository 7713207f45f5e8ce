package engine_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// tamperer is a store handle whose commits a test may look at, change, and cut
// off: it dies when told to, and may lose the answer of its last commit.
type tamperer struct {
	mortal
	mu    sync.Mutex
	each  func(*persistence.Commit) // called with each commit before it is applied
	after int                       // dies with this batch of commits; 0: never
	lost  bool                      // the batch it dies with is not applied
}

func tamper(s persistence.Store) *tamperer {
	return &tamperer{mortal: mortal{Store: s, dead: make(chan struct{})}}
}

func (s *tamperer) CommitBatch(ctx context.Context, commits []*persistence.Commit) []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.each != nil && !s.gone() {
		for _, c := range commits {
			s.each(c)
		}
	}
	if s.after == 0 || s.gone() {
		return s.mortal.CommitBatch(ctx, commits)
	}
	if s.after--; s.after > 0 {
		return s.mortal.CommitBatch(ctx, commits)
	}
	errs := make([]error, len(commits))
	if !s.lost {
		errs = s.Store.CommitBatch(ctx, commits)
	}
	close(s.dead)
	for i := range errs {
		if errs[i] == nil {
			errs[i] = stabilize.ErrUnknownOutcome
		}
	}
	return errs
}

// crashes runs what begin starts on a worker that dies before or after its n-th
// commit, for every n, and then to its end on another; check looks at the end.
func crashes(t *testing.T, setup func(r *rig), begin func(r *rig) string, check func(r *rig, w *stabilize.Workflow), opts ...engine.Option) {
	t.Helper()
	for _, lost := range []bool{false, true} {
		for n, survived := 1, false; !survived; n++ {
			t.Run(fmt.Sprintf("commit %d lost %t", n, lost), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					survived = crash(t, n, lost, setup, begin, check, opts)
				})
			})
			if n > 500 {
				t.Fatal("it never ends")
			}
		}
	}
}

func crash(t *testing.T, n int, lost bool, setup func(r *rig), begin func(r *rig) string, check func(r *rig, w *stabilize.Workflow), opts []engine.Option) (survived bool) {
	d := inMemory(t)
	store := tamper(d())
	first := newRigOn(t, store, opts...)
	setup(first)
	id := begin(first)
	store.mu.Lock()
	store.after, store.lost = n, lost
	store.mu.Unlock()
	first.start()
	settle()
	survived = !store.gone()
	killed, cancel := context.WithCancel(t.Context())
	cancel()
	if !survived {
		first.Stop(killed)
	}
	first.stop()
	second := newRig(t, d, opts...)
	setup(second)
	second.start()
	ctx, done := context.WithTimeout(t.Context(), 12*60*60*1e9)
	defer done()
	w, err := second.Wait(ctx, id)
	if err != nil {
		w, _ = second.Get(t.Context(), id)
		t.Fatalf("%v: %s", err, describe(w))
	}
	check(second, w)
	second.close()
	return survived
}
