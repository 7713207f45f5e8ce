package difftest

import (
	"errors"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/mutant"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// TestReach: the sequences bring about what a comparison is worth having for.
// Without this, operations that always fail would agree on that.
func TestReach(t *testing.T) {
	seen := map[string]int{}
	count := func(what string, err error) {
		if err == nil {
			seen[what]++
		}
	}
	h := &hooks{
		CommitBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
			errs := s.CommitBatch(ctx, cs)
			for i, c := range cs {
				if errs[i] != nil {
					seen[classOf(errs[i])]++
					continue
				}
				seen["commit"]++
				if c.Expect > 0 {
					seen["update"]++
				}
				if len(c.Removed) > 0 {
					seen["removed stage"]++
				}
				if len(c.Handled) > 0 {
					seen["handled message"]++
				}
				if i > 0 && c.WorkflowID != "" && c.WorkflowID == cs[i-1].WorkflowID {
					seen["two in turn"]++
				}
			}
			return errs
		},
		Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
			ds, err := s.Claim(ctx, w, room)
			for _, d := range ds {
				seen["delivery"]++
				if d.Attempts > 1 {
					seen["redelivery"]++
				}
				if d.LastError != "" {
					seen["delivery with a cause"]++
				}
				if _, is := d.Message.(queue.DeadLettered); is {
					seen["notice"]++
				}
			}
			return ds, err
		},
		Ack: func(s store, ctx ctxt, rs []queue.Receipt) error {
			err := s.Ack(ctx, rs...)
			count("ack", err)
			return err
		},
		Return: func(s store, ctx ctxt, r queue.Receipt) error {
			err := s.Return(ctx, r)
			count("return", err)
			return err
		},
		Pending: func(s store, ctx ctxt, id string) ([]queue.Stored, error) {
			list, err := s.Pending(ctx, id)
			for _, m := range list {
				if m.Leased {
					seen["pending and leased"]++
				}
			}
			return list, err
		},
		ReplayDead: func(s store, ctx ctxt, id string) error {
			err := s.ReplayDead(ctx, id)
			count("replay", err)
			return err
		},
		DiscardDead: func(s store, ctx ctxt, id string) error {
			err := s.DiscardDead(ctx, id)
			count("discarded dead letter", err)
			return err
		},
		Prune: func(s store, ctx ctxt, finished []*stabilize.Header) (int, error) {
			n, err := s.Prune(ctx, finished...)
			seen["pruned"] += n
			if err == nil {
				seen["not pruned"] += len(finished) - n
			}
			return n, err
		},
		Admissions: func(s store, ctx ctxt, key string) (persistence.Admissions, error) {
			a, err := s.Admissions(ctx, key)
			if len(a.Holding) > 0 {
				seen["place held"]++
			}
			if len(a.Waiting) > 1 {
				seen["two who wait"]++
			}
			return a, err
		},
		Query: func(s store, ctx ctxt, q persistence.Query) (persistence.Page, error) {
			p, err := s.Query(ctx, q)
			if q.Token != "" && errors.Is(err, stabilize.ErrInvalid) {
				seen["foreign token"]++
			}
			if q.Token != "" && len(p.Workflows) > 0 {
				seen["next page"]++
			}
			return p, err
		},
	}
	full := &filled{map[int]*stabilize.Header{}, map[int]*stabilize.Stage{}}
	for seed := range uint64(60) {
		if says := play(t.Context(), generate(seed+1, 120, false), full, false, mutant.New(newMemory(), h)); says != nil {
			t.Fatal(says.says)
		}
	}
	for _, what := range []string{
		"commit", "update", "removed stage", "handled message", "two in turn", "delivery", "redelivery", "delivery with a cause",
		"notice", "ack", "return", "pending and leased", "replay", "discarded dead letter", "pruned", "not pruned", "place held", "two who wait", "foreign token", "next page",
		stabilize.ErrInvalid.Error(), stabilize.ErrNotFound.Error(), stabilize.ErrExists.Error(), stabilize.ErrConflict.Error(),
		stabilize.ErrLeaseLost.Error(), stabilize.ErrNoPlace.Error(), stabilize.ErrPlaceFree.Error(),
	} {
		t.Logf("%5d × %s", seen[what], what)
		if seen[what] < 3 {
			t.Errorf("%q came about %d times", what, seen[what])
		}
	}
}
