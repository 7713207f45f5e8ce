package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// glanced is a store that counts questions about many workflows and may do something
// else at one.
type glanced struct {
	persistence.Store
	asked atomic.Int32
	at    func(ctx context.Context, ids []string) error
}

func (s *glanced) Unfinished(ctx context.Context, ids ...string) ([]string, error) {
	s.asked.Add(1)
	if s.at != nil {
		if err := s.at(ctx, ids); err != nil {
			return nil, err
		}
	}
	return s.Store.(persistence.Watcher).Unfinished(ctx, ids...)
}

// Of many who wait for what other processes end each learns of it in time, and the store
// is asked for all of them together.
func TestManyWaitersLookTogether(t *testing.T) {
	const waiters = 2500
	synctest.Test(t, func(t *testing.T) {
		d := inMemory(t)
		store := &glanced{Store: d(), at: func(_ context.Context, ids []string) error {
			time.Sleep(time.Millisecond) // as a database
			if len(ids) > 1000 {
				return fmt.Errorf("asked about %d at a time", len(ids))
			}
			return nil
		}}
		r := newRig(t, d)
		r.start()
		defer r.close()
		r.task("long", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.Suspend("go"), nil
		})
		var ids []string
		for range waiters {
			ids = append(ids, r.begin(stage("a").Do("long")))
		}
		other := newRigOn(t, store)
		defer other.close()
		var wg sync.WaitGroup
		for _, id := range ids {
			time.Sleep(time.Millisecond) // they come one after the other
			wg.Go(func() {
				w, err := other.Wait(t.Context(), id)
				if err != nil || w.Status != stabilize.Canceled {
					t.Errorf("waiting: %v", err)
				}
			})
		}
		time.Sleep(2 * time.Second)
		before := store.asked.Load()
		time.Sleep(10 * time.Second)
		// At eight moments a second: by the first, and by all others.
		if n := store.asked.Load() - before; n > 10*8*2 {
			t.Errorf("the store was asked %d times in ten seconds", n)
		}
		for _, id := range ids {
			r.must(r.Cancel(t.Context(), id, "other", ""))
		}
		began := time.Now()
		wg.Wait()
		if took := time.Since(began); took > time.Second {
			t.Errorf("the ends were known after %s", took)
		}
	})
}

// Who asks while the store is being asked waits for the next question, with all others;
// about a thousand at a time.
func TestLooksGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := inMemory(t)
		var sizes []int
		store := &glanced{Store: d(), at: func(_ context.Context, ids []string) error {
			sizes = append(sizes, len(ids)) // one question at a time: nothing else guards it
			time.Sleep(time.Minute)
			return nil
		}}
		r := newRigOn(t, store)
		defer r.close()
		r.task("never", func(context.Context, *stabilize.Execution) (stabilize.Result, error) { return stabilize.Success(), nil })
		const waiters = 1201
		var ids []string
		for range waiters {
			ids = append(ids, r.begin(stage("a").Do("never")))
		}
		var wg sync.WaitGroup
		for _, id := range ids {
			wg.Go(func() {
				if _, err := r.Wait(t.Context(), id); !errors.Is(err, stabilize.ErrNotFound) {
					t.Errorf("waiting for what was deleted: %v", err)
				}
			})
			time.Sleep(time.Millisecond)
		}
		r.must(store.Delete(t.Context(), ids...))
		wg.Wait()
		if !slices.Equal(sizes, []int{1, 1000, 200}) {
			t.Errorf("the store was asked about %v", sizes)
		}
	})
}

// A question ends with the one who asked it, or fails, and the others ask again.
func TestLooksSurviveWhoAsks(t *testing.T) {
	for name, broken := range map[string]error{"its asker waits no more": nil, "the store cannot answer": stabilize.Transient(errors.New("away"))} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := inMemory(t)
				store := &glanced{Store: d()}
				impatient, giveUp := context.WithCancel(t.Context())
				defer giveUp()
				store.at = func(ctx context.Context, _ []string) error {
					switch {
					case broken != nil && store.asked.Load() <= 2:
						return broken
					case broken == nil && impatient.Err() == nil:
						<-ctx.Done()
						return ctx.Err()
					}
					return nil
				}
				r := newRigOn(t, store)
				defer r.close()
				r.task("never", func(context.Context, *stabilize.Execution) (stabilize.Result, error) { return stabilize.Success(), nil })
				first, second, third := r.begin(stage("a").Do("never")), r.begin(stage("a").Do("never")), r.begin(stage("a").Do("never"))
				var wg sync.WaitGroup
				wait := func(ctx context.Context, id string, want error) {
					wg.Go(func() {
						if _, err := r.Wait(ctx, id); !errors.Is(err, want) {
							t.Errorf("waiting: %v, want %v", err, want)
						}
					})
					time.Sleep(100 * time.Millisecond)
				}
				last := stabilize.ErrNotFound
				if broken == nil {
					last = context.Canceled
				}
				wait(impatient, first, last)
				wait(impatient, second, last) // of the next question
				wait(t.Context(), third, stabilize.ErrNotFound)
				r.must(store.Delete(t.Context(), first, second, third))
				if broken == nil {
					giveUp()
				}
				began := time.Now()
				wg.Wait()
				if took := time.Since(began); took > time.Second {
					t.Errorf("the end was known after %s", took)
				}
			})
		})
	}
}

// A store that wraps one without the power is asked one by one.
func TestWaitWhereTheStoreCannotWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := inMemory(t)
		store := &glanced{Store: d(), at: func(context.Context, []string) error {
			return fmt.Errorf("looking: %w", stabilize.ErrUnsupported)
		}}
		r, other := newRig(t, d), newRigOn(t, store)
		r.start()
		defer r.close()
		defer other.close()
		r.task("long", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			time.Sleep(10 * time.Second)
			return stabilize.Success(), nil
		})
		w, err := other.Wait(t.Context(), r.begin(stage("a").Do("long")))
		r.must(err)
		r.wantStatus(w, stabilize.Succeeded)
	})
}

// corrupt is a store that cannot read the header of any workflow.
type corrupt struct{ glanced }

func (*corrupt) Summary(_ context.Context, id string) (*stabilize.Header, error) {
	return nil, &stabilize.CorruptError{Table: "workflows", ID: id, Cause: errors.New("no JSON")}
}

// What is wrong with a workflow that has not ended is told at once.
func TestWaitForWhatIsCorrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := inMemory(t)
		r, other := newRig(t, d), newRigOn(t, &corrupt{glanced{Store: d()}})
		r.start()
		defer r.close()
		defer other.close()
		r.task("suspend", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.Suspend("go"), nil
		})
		id := r.begin(stage("a").Do("suspend"))
		settle()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := other.Wait(ctx, id); !errors.Is(err, stabilize.ErrCorrupt) {
			t.Errorf("waiting: %v", err)
		}
	})
}
