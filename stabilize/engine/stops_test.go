package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// TestWorkersComeAndGo stops and starts two engines on one store at random,
// gracefully and hard, and cancels at random, with hooks, synthetic stages and
// limits. Everything ends, nothing is left, no limit is exceeded. The seed in
// the name of a failing case repeats its choices.
func TestWorkersComeAndGo(t *testing.T) {
	seeds := uint64(40)
	if testing.Short() {
		seeds = 6
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { comeAndGo(t, seed) })
		})
	}
}

// chance is a seeded source that several goroutines share.
type chance struct {
	mu  sync.Mutex
	rnd *rand.Rand
}

func (c *chance) below(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rnd.IntN(n)
}

func (c *chance) millis(n int) time.Duration { return time.Duration(c.below(n)) * time.Millisecond }

func comeAndGo(t *testing.T, seed uint64) {
	c := &chance{rnd: rand.New(rand.NewPCG(seed, 1))}
	d := inMemory(t)
	opts := []engine.Option{engine.WithConcurrency(1 + c.below(5))}
	if seed%2 == 1 {
		opts = append(opts, engine.WithoutCascade())
	}
	one, two := newRig(t, d, opts...), newRig(t, d, opts...)
	for _, r := range []*rig{one, two} {
		hook := func(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			return sleepy(300*time.Millisecond)(ctx, x)
		}
		r.task("work", func(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			return sleepy(c.millis(4000))(ctx, x)
		}, stabilize.OnCancel(hook), stabilize.WithCleanup(func(ctx context.Context, x *stabilize.Execution) error {
			_, err := hook(ctx, x)
			return err
		}))
		r.must(r.RegisterStage("family", familyType{before: []string{"ok"}}))
	}
	var ids []string
	for i := range 15 {
		spec := stabilize.NewWorkflow("app", "wf").Add(
			stage("a").Do("work", "work").OfType("family"), stage("b").Do("work"), stage("c", "a", "b").Do("work"))
		if i%3 > 0 {
			spec.LimitConcurrent(fmt.Sprint("cfg", i%3), 2)
		}
		id, err := one.Start(t.Context(), spec)
		one.must(err)
		ids = append(ids, id)
	}
	var all sync.WaitGroup
	for _, r := range []*rig{one, two} {
		all.Go(func() {
			for last := range 12 {
				r.turn(c, ids, last == 11)
			}
		})
	}
	all.Wait()
	for _, id := range ids {
		w, err := one.Get(t.Context(), id)
		one.must(err)
		pending, err := one.Store().Pending(t.Context(), id)
		one.must(err)
		if !w.Status.IsComplete() || len(pending) > 0 {
			t.Errorf("in the end it is %s, with %+v", describe(w), pending)
		}
	}
	one.must(one.Close())
	two.must(two.Close())
}

// turn runs the engine for a while and stops it in some way; the last time it
// runs long enough for everything to end.
func (r *rig) turn(c *chance, ids []string, last bool) {
	done := make(chan error, 1)
	go func() { done <- r.Engine.Run(r.Context()) }()
	time.Sleep(time.Millisecond + c.millis(5000)) // Stop ends a Run that has begun
	if c.below(3) == 0 {
		err := r.Cancel(r.Context(), ids[c.below(len(ids))], "", "")
		if err != nil && !errors.Is(err, stabilize.ErrFinished) {
			r.Errorf("Cancel: %v", err)
		}
	}
	if last {
		time.Sleep(5 * time.Minute)
	}
	for _, key := range []string{"3:app:cfg1", "3:app:cfg2"} {
		places, err := r.Store().Admissions(r.Context(), key)
		r.must(err)
		if len(places.Holding) > 2 {
			r.Errorf("%d hold places under a limit of 2", len(places.Holding))
		}
	}
	ctx, hard := context.WithCancel(r.Context())
	defer hard()
	if !last && c.below(2) == 0 {
		grace := c.millis(1500)
		go func() {
			time.Sleep(grace)
			hard()
		}()
	}
	r.Stop(ctx)
	if err := <-done; err != nil {
		r.Errorf("Run: %v", err)
	}
}
