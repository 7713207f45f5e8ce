package queue_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// slowToStart is a queue whose first heartbeat takes a second.
type slowToStart struct {
	*memstore.Store
	beaten bool
}

func (q *slowToStart) Heartbeat(ctx context.Context, w queue.Worker) (queue.Leases, error) {
	if !q.beaten {
		q.beaten = true
		time.Sleep(time.Second)
	}
	return q.Store.Heartbeat(ctx, w)
}

// What a commit stores leased to a worker that has no lease yet would be stored
// free: run at once, and again by who claims it.
func TestNothingIsReservedBeforeTheFirstLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{})
		var got []int
		s := newStation(t, store, handlerFunc(func(_ context.Context, box *queue.Box, _ []queue.Item) {
			n := box.Reserve(1)
			got = append(got, n)
			if n > 0 {
				box.Unreserve("m")
			}
		}), func(c *queue.ProcessorConfig) { c.Queue = &slowToStart{Store: store} })
		s.start()
		for range 2 {
			if !s.Submit(t.Context(), "w", "request") {
				t.Fatal("the request was refused")
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
		}
		if len(got) != 2 || got[0] != 0 || got[1] != 1 {
			t.Errorf("reserved %v, want none before the lease and one after", got)
		}
		s.stop()
	})
}

// A message that was to be stored leased, but was stored free because the worker's
// lease had lapsed, may be claimed before it is adopted: what was claimed is run.
func TestWhatWasClaimedMeanwhileIsNotAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{})
		var ran []string
		s := newStation(t, store, handlerFunc(func(ctx context.Context, box *queue.Box, items []queue.Item) {
			for _, it := range items {
				d := it.Delivery
				switch {
				case d == nil:
					if box.Reserve(1) != 1 {
						t.Error("there is no room")
					}
					box.Expect("m")
					if err := store.Push(ctx, queue.Outgoing{ID: "m", Message: run("w", "a")}); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Minute) // it is claimed
					box.Adopt(&queue.Delivery{ID: "m", Token: "not the claim's", Message: run("w", "a")}, func(context.Context) any {
						ran = append(ran, "adopted")
						return "done"
					})
				case it.Value == nil:
					box.Run(d, func(context.Context) any {
						ran = append(ran, "claimed")
						return "done"
					})
				default:
					if err := store.Ack(ctx, d.Receipt()); err != nil {
						t.Error(err)
					}
					box.Settled(d)
				}
			}
		}), func(c *queue.ProcessorConfig) { c.Concurrency = 2 })
		s.start()
		if !s.Submit(t.Context(), "w", "request") {
			t.Fatal("the request was refused")
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(ran) != 1 || ran[0] != "claimed" {
			t.Errorf("ran %v", ran)
		}
		if d := s.depth(); d != (queue.Depth{}) {
			t.Errorf("left: %+v", d)
		}
		s.stop()
	})
}

// slowToReturn is a queue whose answer to Return takes a minute.
type slowToReturn struct{ *memstore.Store }

func (q *slowToReturn) Return(ctx context.Context, r queue.Receipt) error {
	defer time.Sleep(time.Minute)
	return q.Store.Return(ctx, r)
}

// What is given back may be claimed again before the answer comes: it is handled then.
func TestWhatIsClaimedAgainWhileItIsReturnedIsHandled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{})
		var tokens []string
		s := newStation(t, store, handlerFunc(func(ctx context.Context, box *queue.Box, items []queue.Item) {
			for _, it := range items {
				tokens = append(tokens, it.Delivery.Token)
				if len(tokens) == 1 {
					box.Return(ctx, it.Delivery)
					continue
				}
				if err := store.Ack(ctx, it.Delivery.Receipt()); err != nil {
					t.Error(err)
				}
				box.Settled(it.Delivery)
			}
		}), func(c *queue.ProcessorConfig) { c.Queue, c.LeaseTTL = &slowToReturn{store}, time.Hour })
		s.start()
		s.push(run("w", "a"))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if len(tokens) != 2 || tokens[0] == tokens[1] {
			t.Errorf("handled under the tokens %q, want two", tokens)
		}
		s.stop()
	})
}

// endless is a queue whose heartbeat ends with its context, nobody knows how.
type endless struct{ *memstore.Store }

func (endless) Heartbeat(ctx context.Context, _ queue.Worker) (queue.Leases, error) {
	<-ctx.Done()
	return queue.Leases{}, stabilize.ErrUnknownOutcome
}

// A worker that is stopped during its first heartbeat was canceled, whatever the
// heartbeat came to.
func TestAWorkerStoppedBeforeItsFirstLeaseWasCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{})
		s := newStation(t, store, handlerFunc(func(context.Context, *queue.Box, []queue.Item) {}),
			func(c *queue.ProcessorConfig) { c.Queue = endless{store} })
		s.start()
		hard, cancel := context.WithCancel(t.Context())
		cancel()
		s.Stop(hard)
		if err := <-s.done; !errors.Is(err, context.Canceled) || !errors.Is(err, stabilize.ErrUnknownOutcome) {
			t.Errorf("Run: %v, want both that it was canceled and what the heartbeat said", err)
		}
	})
}
