package queue_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// handlerFunc makes a Handler of a function.
type handlerFunc func(ctx context.Context, box *queue.Box, items []queue.Item)

func (f handlerFunc) Handle(ctx context.Context, box *queue.Box, items []queue.Item) {
	f(ctx, box, items)
}

// station is a processor on a memory queue in virtual time.
type station struct {
	*testing.T
	*queue.Processor
	store *memstore.Store
	done  chan error
}

func newStation(t *testing.T, store *memstore.Store, h queue.Handler, change func(*queue.ProcessorConfig)) *station {
	t.Helper()
	cfg := queue.ProcessorConfig{Queue: store, Handler: h, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	p, err := queue.NewProcessor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &station{T: t, Processor: p, store: store, done: make(chan error, 1)}
}

func (s *station) start() {
	go func() { s.done <- s.Processor.Run(s.Context()) }()
	synctest.Wait()
}

func (s *station) stop() {
	s.Helper()
	s.Stop(s.Context())
	if err := <-s.done; err != nil {
		s.Errorf("Run: %v", err)
	}
}

func (s *station) push(msgs ...queue.Message) {
	s.Helper()
	for _, m := range msgs {
		if err := s.store.Push(s.Context(), queue.Outgoing{Message: m}); err != nil {
			s.Fatal(err)
		}
	}
}

func (s *station) depth() queue.Depth {
	s.Helper()
	d, err := s.store.Depth(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	return d
}

func run(workflow, task string) queue.RunTask {
	return queue.RunTask{OfTask: queue.ToTask(workflow, "s", task)}
}

// working answers every RunTask by a run of fn and acknowledges what it answers.
func working(store *memstore.Store, fn func(context.Context, *queue.Delivery) any) queue.Handler {
	return handlerFunc(func(ctx context.Context, box *queue.Box, items []queue.Item) {
		for _, it := range items {
			if it.Value == nil {
				box.Run(it.Delivery, func(ctx context.Context) any { return fn(ctx, it.Delivery) })
				continue
			}
			if err := store.Ack(ctx, it.Delivery.Receipt()); err == nil {
				box.Settled(it.Delivery)
			}
		}
	})
}

func TestProcessorNeverTakesMoreThanItHasRoomFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{})
		var mu sync.Mutex
		running, most := 0, 0
		s := newStation(t, store, working(store, func(context.Context, *queue.Delivery) any {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(time.Minute)
			mu.Lock()
			running--
			mu.Unlock()
			return "done"
		}), func(c *queue.ProcessorConfig) { c.Concurrency = 4 })
		for i := range 20 {
			s.push(run(fmt.Sprint("w", i), "t"))
		}
		s.start()
		time.Sleep(30 * time.Second)
		if d := s.depth(); d.Leased != 4 || d.Ready != 16 {
			t.Errorf("with room for 4 the queue holds %+v", d)
		}
		time.Sleep(5 * time.Minute)
		if d := s.depth(); d.Live() != 0 || most != 4 {
			t.Errorf("%d ran at once with room for 4; left are %+v", most, d)
		}
		s.stop()
	})
}

func TestAMailboxIsServedByOneAndWhatWaitsIsHandledTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{})
		var sizes []int
		inside := 0
		s := newStation(t, store, handlerFunc(func(ctx context.Context, box *queue.Box, items []queue.Item) {
			if inside++; inside != 1 {
				t.Error("two goroutines serve one mailbox")
			}
			sizes = append(sizes, len(items))
			time.Sleep(10 * time.Second) // meanwhile others arrive
			for _, it := range items {
				if err := store.Ack(ctx, it.Delivery.Receipt()); err != nil {
					t.Error(err)
				}
				box.Settled(it.Delivery)
			}
			inside--
		}), nil)
		s.start()
		for i := range 5 {
			s.push(queue.StartStage{OfStage: queue.ToStage("w", fmt.Sprint(i))})
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if fmt.Sprint(sizes) != "[1 4]" {
			t.Errorf("the mailbox was served in batches of %v, want [1 4]", sizes)
		}
		s.stop()
	})
}

func TestControlMessagesDoNotWaitBehindWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{})
		canceled := false
		s := newStation(t, store, handlerFunc(func(ctx context.Context, box *queue.Box, items []queue.Item) {
			for _, it := range items {
				if _, ok := it.Delivery.Message.(queue.CancelWorkflow); ok {
					canceled = true
				}
				if it.Value == nil && queue.LaneOf(it.Delivery.Message) == queue.Work {
					box.Run(it.Delivery, func(ctx context.Context) any { <-ctx.Done(); return "" })
					continue
				}
				if err := store.Ack(ctx, it.Delivery.Receipt()); err != nil {
					t.Error(err)
				}
				box.Settled(it.Delivery)
			}
		}), func(c *queue.ProcessorConfig) { c.Concurrency = 2 })
		for i := range 100 {
			s.push(run(fmt.Sprint("w", i), "t"))
		}
		s.start()
		s.push(queue.CancelWorkflow{OfWorkflow: queue.ToWorkflow("w99")})
		time.Sleep(time.Second)
		synctest.Wait()
		if !canceled {
			t.Error("a cancel waits behind task runs")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s.Stop(ctx)
		<-s.done
	})
}

func TestALostLeaseStopsTheWorkItCovered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{})
		causes := make(chan error, 2)
		s := newStation(t, store, working(store, func(ctx context.Context, _ *queue.Delivery) any {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return "too late"
		}), func(c *queue.ProcessorConfig) { c.Concurrency = 1 })
		s.push(run("w", "t"))
		s.start()
		// Somebody takes its lease away, as after a pause longer than the TTL.
		if err := store.Retire(t.Context(), s.Worker()); err != nil {
			t.Fatal(err)
		}
		other, err := store.Claim(t.Context(), queue.Worker{ID: "other", TTL: time.Hour}, queue.Room{Work: 1})
		if err != nil || len(other) != 1 || other[0].Attempts != 2 {
			t.Fatalf("the other worker got %+v, %v", other, err)
		}
		if err := <-causes; !errors.Is(err, stabilize.ErrLeaseLost) {
			t.Errorf("the work was told %v", err)
		}
		synctest.Wait()
		if err := store.Ack(t.Context(), other[0].Receipt()); err != nil {
			t.Errorf("the message was acknowledged by the loser: %v", err)
		}
		s.stop()
	})
}

func TestMessagesLeasedWithoutOurKnowingAreHandedBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{})
		ran := 0
		s := newStation(t, store, working(store, func(context.Context, *queue.Delivery) any { ran++; return "done" }), nil)
		s.start()
		// As after a commit whose reply was lost: the message is leased to the
		// worker, which does not know of it.
		for _, err := range store.CommitBatch(t.Context(), []*persistence.Commit{{Messages: []queue.Outgoing{{
			ID: "m", Message: run("w", "t"), Lease: &queue.Lease{Worker: s.Worker(), Token: "lost"},
		}}}}) {
			if err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if ran != 1 {
			t.Errorf("it ran %d times", ran)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s.Stop(ctx)
		<-s.done
	})
}

func TestADelayedMessageIsTakenWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{})
		var at time.Time
		s := newStation(t, store, working(store, func(context.Context, *queue.Delivery) any { at = time.Now(); return "done" }), nil)
		s.start()
		due := time.Now().Add(3*time.Second + 210*time.Millisecond)
		if err := store.Push(t.Context(), queue.Outgoing{Message: run("w", "t"), At: due}); err != nil {
			t.Fatal(err)
		}
		s.WakeAt(due)
		time.Sleep(time.Minute)
		synctest.Wait()
		if late := at.Sub(due); late != 0 {
			t.Errorf("it ran %s after it was due", late)
		}
		s.stop()
	})
}

func TestProcessorConfigIsChecked(t *testing.T) {
	store := memstore.New(memstore.Config{})
	h := handlerFunc(nil)
	for name, cfg := range map[string]queue.ProcessorConfig{
		"no queue":             {Handler: h},
		"no handler":           {Queue: store},
		"negative concurrency": {Queue: store, Handler: h, Concurrency: -1},
		"negative lease":       {Queue: store, Handler: h, LeaseTTL: -1},
	} {
		if _, err := queue.NewProcessor(cfg); !errors.Is(err, stabilize.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// unreachable is a queue whose database cannot be reached for a while.
type unreachable struct {
	*memstore.Store
	down atomic.Bool
}

func (q *unreachable) Claim(ctx context.Context, w queue.Worker, r queue.Room) ([]queue.Delivery, error) {
	if q.down.Load() {
		return nil, stabilize.ErrTransient
	}
	return q.Store.Claim(ctx, w, r)
}

func (q *unreachable) Heartbeat(ctx context.Context, w queue.Worker) (queue.Leases, error) {
	if q.down.Load() {
		return queue.Leases{}, stabilize.ErrTransient
	}
	return q.Store.Heartbeat(ctx, w)
}

// A worker is cut off for longer than its lease; another frees what it held and
// takes none of it; the worker comes back and claims its own messages again.
func TestWhatWasLostAndClaimedAgainRunsOnceAndLeaksNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{})
		q := &unreachable{Store: store}
		var mu sync.Mutex
		running, most := map[string]int{}, 0
		s := newStation(t, store, working(store, func(ctx context.Context, d *queue.Delivery) any {
			mu.Lock()
			running[d.ID]++
			most = max(most, running[d.ID])
			mu.Unlock()
			select {
			case <-ctx.Done():
			case <-time.After(time.Minute):
			}
			mu.Lock()
			running[d.ID]--
			mu.Unlock()
			return "done"
		}), func(c *queue.ProcessorConfig) { c.Queue, c.Concurrency, c.MaxPoll = q, 4, 100*time.Millisecond })
		s.start()
		s.push(run("w", "a"), run("w", "b"))
		time.Sleep(time.Second)
		q.down.Store(true)
		time.Sleep(5 * time.Second)
		if _, err := store.Claim(t.Context(), queue.Worker{ID: "other", TTL: time.Second}, queue.Room{}); err != nil {
			t.Fatal(err)
		}
		q.down.Store(false)
		time.Sleep(3 * time.Minute)
		for i := range 8 {
			s.push(run("v", fmt.Sprint(i)))
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		atOnce := 0
		for _, n := range running {
			atOnce += n
		}
		if atOnce != 4 {
			t.Errorf("of 4 places %d are left", atOnce)
		}
		if most > 1 {
			t.Logf("%d runs of one message overlapped: the first was told when the second was claimed", most)
		}
		s.stop()
	})
}

func TestNothingIsBegunAfterAHardStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{})
		slow := make(chan struct{})
		s := newStation(t, store, handlerFunc(func(_ context.Context, box *queue.Box, items []queue.Item) {
			<-slow
			for _, it := range items {
				box.Run(it.Delivery, func(context.Context) any {
					t.Error("a run began after the hard stop")
					return "done"
				})
			}
		}), nil)
		s.start()
		s.push(run("w", "a"))
		synctest.Wait()
		hard, cancel := context.WithCancel(t.Context())
		cancel()
		go s.Stop(hard)
		synctest.Wait()
		close(slow)
		if err := <-s.done; err != nil {
			t.Error(err)
		}
		if err := s.Processor.Run(t.Context()); !errors.Is(err, stabilize.ErrInvalidTransition) {
			t.Errorf("a second Run: %v", err)
		}
	})
}

// beating notes what the heartbeats say.
type beating struct {
	*memstore.Store

	ready  chan bool
	broken atomic.Int32
}

func (q *beating) Heartbeat(ctx context.Context, w queue.Worker) (queue.Leases, error) {
	q.ready <- w.Ready
	if !w.Ready {
		time.Sleep(7 * time.Second) // as over a slow network
	}
	if ctx.Err() != nil {
		q.broken.Add(1)
	}
	return q.Store.Heartbeat(ctx, w)
}

// A worker is ready from its first heartbeat on until it is told to stop: that it says
// with the next, and lets what runs end, and a heartbeat too.
func TestAWorkerSaysThatItIsReadyAndThatItStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{})
		q := &beating{Store: store, ready: make(chan bool, 100)}
		s := newStation(t, store, working(store, func(context.Context, *queue.Delivery) any {
			time.Sleep(time.Minute)
			return "done"
		}), func(c *queue.ProcessorConfig) { c.Queue = q })
		s.push(run("w", "t"))
		s.start()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		n := len(q.ready)
		for range n {
			if !<-q.ready {
				t.Error("it was not ready")
			}
		}
		if n < 2 {
			t.Errorf("%d heartbeats in two seconds", n)
		}
		began := time.Now()
		go s.Stop(t.Context())
		if <-q.ready || time.Since(began) > 750*time.Millisecond {
			t.Errorf("%s after it was told to stop it was still ready", time.Since(began))
		}
		if err := <-s.done; err != nil {
			t.Error(err)
		}
		for range len(q.ready) {
			if <-q.ready {
				t.Error("it was ready again")
			}
		}
		if n := q.broken.Load(); n > 0 {
			t.Errorf("%d heartbeats were broken off", n)
		}
	})
}
