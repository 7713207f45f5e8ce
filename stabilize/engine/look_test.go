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

// glanced is a store that counts questions and may do something else at one about many.
type glanced struct {
	persistence.Store
	asked atomic.Int32
	alone atomic.Int32 // questions about one
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

func (s *glanced) Summary(ctx context.Context, id string) (*stabilize.Header, error) {
	s.alone.Add(1)
	return s.Store.Summary(ctx, id)
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
				t.Errorf("asked about %d at a time", len(ids))
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
		time.Sleep(2*time.Second + 50*time.Millisecond) // between two of the moments at which they look
		before := store.asked.Load()
		time.Sleep(10 * time.Second)
		// At eight moments a second: by the first two, and by all others.
		if n := store.asked.Load() - before; n > 10*8*3 {
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

// looking is an engine without workers on a store of so many workflows.
type looking struct {
	*rig
	store *glanced
	ids   []string
	wg    sync.WaitGroup
}

func newLooking(t *testing.T, workflows int, at func(ctx context.Context, ids []string) error) *looking {
	t.Helper()
	store := &glanced{Store: inMemory(t)(), at: at}
	l := &looking{rig: newRigOn(t, store), store: store}
	l.task("never", func(context.Context, *stabilize.Execution) (stabilize.Result, error) { return stabilize.Success(), nil })
	for range workflows {
		l.ids = append(l.ids, l.begin(stage("a").Do("never")))
	}
	return l
}

// await waits for one of them in the background, which is to end with an error, or, with
// nil, with the workflow.
func (l *looking) await(ctx context.Context, i int, want error) {
	l.wg.Go(func() {
		if _, err := l.Wait(ctx, l.ids[i]); !errors.Is(err, want) {
			l.Errorf("waiting for workflow %d: %v, want %v", i, err, want)
		}
	})
}

// over checks that all who wait know the end after so long at most.
func (l *looking) over(most time.Duration) {
	l.Helper()
	began := time.Now()
	l.wg.Wait()
	if took := time.Since(began); took > most {
		l.Errorf("the ends were known after %s", took)
	}
}

// hang is a question that is never answered.
func hang(ctx context.Context, _ []string) error {
	<-ctx.Done()
	return ctx.Err()
}

// Who asks while the store is being asked, twice, waits for the next question, with all
// others; about a thousand at a time.
func TestLooksGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var sizes []int
		l := newLooking(t, 1202, func(_ context.Context, ids []string) error {
			mu.Lock()
			sizes = append(sizes, len(ids))
			mu.Unlock()
			time.Sleep(time.Minute)
			return nil
		})
		defer l.close()
		for i := range l.ids {
			l.await(t.Context(), i, stabilize.ErrNotFound)
			time.Sleep(time.Millisecond)
		}
		l.must(l.store.Delete(t.Context(), l.ids...))
		l.over(4 * time.Minute)
		if slices.Sort(sizes); !slices.Equal(sizes, []int{1, 1, 200, 1000}) {
			t.Errorf("the store was asked about %v", sizes)
		}
	})
}

// A question goes on for the others when who asked first waits no more.
func TestLooksOutliveWhoAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left atomic.Int32
		l := newLooking(t, 4, func(ctx context.Context, _ []string) error {
			select {
			case <-time.After(time.Minute):
			case <-ctx.Done():
				left.Add(1)
			}
			return ctx.Err()
		})
		defer l.close()
		impatient, giveUp := context.WithTimeout(t.Context(), 90*time.Second)
		defer giveUp()
		for i, ctx := range []context.Context{t.Context(), t.Context(), impatient, t.Context()} { // the last two gather
			l.await(ctx, i, map[bool]error{false: stabilize.ErrNotFound, true: context.DeadlineExceeded}[ctx == impatient])
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		l.must(l.store.Delete(t.Context(), l.ids...))
		l.over(2 * time.Minute)
		if asked, n := l.store.asked.Load(), left.Load(); asked != 3 || n != 0 {
			t.Errorf("%d questions, %d ended early", asked, n)
		}
	})
}

// A question ends, or is never asked, when nobody waits for it, and others ask their own.
func TestLooksEndWithWhoAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLooking(t, 3, hang)
		defer l.close()
		ctx, giveUp := context.WithTimeout(t.Context(), time.Second)
		defer giveUp()
		for i := range l.ids { // the last gathers
			l.await(ctx, i, context.DeadlineExceeded)
			time.Sleep(time.Millisecond)
		}
		l.over(time.Second)
		synctest.Wait()
		l.store.at = nil
		l.await(t.Context(), 2, stabilize.ErrNotFound)
		time.Sleep(time.Second)
		if n := l.store.asked.Load(); n < 4 {
			t.Errorf("the store was asked %d times, by the first two alone", n)
		}
		l.must(l.store.Delete(t.Context(), l.ids...))
		l.over(time.Second)
	})
}

// What is wrong with a question is not what is wrong with each of its workflows.
func TestLooksThatFail(t *testing.T) {
	for name, broken := range map[string]error{
		"the store is away for a while": stabilize.Transient(errors.New("away")),
		"one of them is corrupt":        &stabilize.CorruptError{Table: "workflows", ID: "another", Cause: errors.New("no JSON")},
		"the store cannot":              fmt.Errorf("looking: %w", stabilize.ErrUnsupported),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mended atomic.Bool
				l := newLooking(t, 100, func(context.Context, []string) error {
					if mended.Load() {
						return nil
					}
					return broken
				})
				defer l.close()
				for i := range l.ids {
					l.await(t.Context(), i, stabilize.ErrNotFound)
				}
				time.Sleep(10 * time.Second)
				if n := l.store.alone.Load(); errors.Is(broken, stabilize.ErrTransient) && n > 100 {
					t.Errorf("a store that is away was asked %d times about one workflow", n)
				}
				mended.Store(errors.Is(broken, stabilize.ErrTransient))
				l.must(l.store.Delete(t.Context(), l.ids...))
				l.over(time.Second)
			})
		})
	}
}

// A question that hangs keeps nobody from hearing of an end in this process, or that the
// engine is closed, and no other question from being asked.
func TestLooksThatHang(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(l *looking)
		want error
	}{
		"ended here": {func(l *looking) {
			for _, id := range l.ids {
				l.must(l.Cancel(l.Context(), id, "test", ""))
			}
		}, nil},
		"closed": {func(l *looking) { l.close() }, stabilize.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLooking(t, 10, hang)
				defer l.close()
				for i := range l.ids {
					l.await(t.Context(), i, c.want)
					time.Sleep(time.Millisecond)
				}
				time.Sleep(time.Second)
				c.end(l)
				l.over(0)
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		l := newLooking(t, 10, nil)
		defer l.close()
		l.store.at = func(ctx context.Context, ids []string) error {
			if slices.Contains(ids, l.ids[0]) {
				return hang(ctx, ids)
			}
			return nil
		}
		patient, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		l.await(patient, 0, context.DeadlineExceeded)
		time.Sleep(10 * time.Millisecond)
		for i := range l.ids[1:] {
			l.await(t.Context(), i+1, stabilize.ErrNotFound)
		}
		time.Sleep(time.Second)
		l.must(l.store.Delete(t.Context(), l.ids...))
		l.over(time.Minute)
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
