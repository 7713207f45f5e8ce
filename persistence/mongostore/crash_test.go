//go:build unix

package mongostore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/mongoproxy"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// dies runs f on the first handle, whose process dies at the nth moment of its calls
// to the server, from 0: before or after one was executed. It returns false if
// there were fewer moments.
func (h *harness) dies(t *testing.T, n int, f func(context.Context)) bool {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	moment, dead := 0, false
	h.links[0].Intercept(func(c mongoproxy.Call) mongoproxy.Fault {
		mu.Lock()
		defer mu.Unlock()
		if !c.Background() && !dead {
			if dead = moment == n; dead {
				cancel()
			}
			moment++
		}
		return mongoproxy.Fault{Break: dead}
	})
	f(ctx)
	h.links[0].Intercept(nil)
	mu.Lock()
	defer mu.Unlock()
	return dead
}

// impatient: whoever is in the way is dead.
func impatient(cfg *mongostore.Config) { cfg.Patience = 20 * time.Millisecond }

func (h *harness) must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// nothingLeft: of what died at that moment there is no document any more but a step.
func (h *harness) nothingLeft(t *testing.T, moment int) {
	t.Helper()
	rows, err := h.Rows(t.Context())
	h.must(t, err)
	for collection, left := range rows {
		if left > 0 && collection != "steps" {
			t.Errorf("moment %d: %d documents are left in %s", moment, left, collection)
		}
	}
}

// scene stores a running workflow with a message that a worker of the first handle
// has, and returns the commit that handles it, answers with two, and takes a place.
func (h *harness) scene(t *testing.T, id string) *persistence.Commit {
	t.Helper()
	return h.sceneOf(t, h.first, id)
}

// sceneOf is scene for a worker of a handle.
func (h *harness) sceneOf(t *testing.T, s *mongostore.Store, id string) *persistence.Commit {
	t.Helper()
	head := stabilize.Header{ID: id, Application: "app", Name: "crash", Status: stabilize.Running, CreatedAt: h.clock.Now()}
	about := func(name string) queue.Outgoing {
		return queue.Outgoing{ID: name + " of " + id, Message: queue.CompleteWorkflow{OfWorkflow: queue.ToWorkflow(id)}}
	}
	h.must(t, h.second.CommitBatch(t.Context(), []*persistence.Commit{{
		WorkflowID: id, Header: &head, Messages: []queue.Outgoing{about("first")},
	}})[0])
	got, err := s.Claim(t.Context(), queue.Worker{ID: "worker of " + id, TTL: time.Minute}, queue.Room{Control: 10, Work: 10})
	h.must(t, err)
	if len(got) != 1 {
		t.Fatalf("%d messages were claimed, want 1", len(got))
	}
	next := head
	next.Reason = "changed"
	return &persistence.Commit{
		WorkflowID: id, Expect: 1, Header: &next, Handled: []queue.Receipt{got[0].Receipt()},
		Messages:  []queue.Outgoing{about("second"), about("third")},
		Admission: &persistence.Admission{Op: persistence.TakePlace, Key: "key", Limit: 1},
	}
}

// seen returns what there is of the scene, as the second handle sees it.
func (h *harness) seen(t *testing.T, id string) string {
	t.Helper()
	head, err := h.second.Summary(t.Context(), id)
	if errors.Is(err, stabilize.ErrNotFound) {
		head, err = &stabilize.Header{}, nil
	}
	h.must(t, err)
	pending, err := h.second.Pending(t.Context(), id)
	h.must(t, err)
	var ids []string
	for _, m := range pending {
		ids = append(ids, m.ID)
	}
	slices.Sort(ids)
	places, err := h.second.Admissions(t.Context(), "key")
	h.must(t, err)
	return fmt.Sprintf("version %d %q, messages %q, places %q", head.Version, head.Reason, ids, places.Holding)
}

// A process that dies at any moment of a commit leaves all of it or nothing, for
// whoever looks at once, and the next at the same documents goes on.
func TestCrashInCommit(t *testing.T) {
	h := newHarness(t, servers.One(), impatient)
	for n, died := 0, true; died; n++ {
		id := fmt.Sprint("w", n)
		c := h.scene(t, id)
		before := h.seen(t, id)
		after := fmt.Sprintf("version 2 %q, messages %q, places %q", "changed", []string{"second of " + id, "third of " + id}, []string{id})
		var err error
		died = h.dies(t, n, func(ctx context.Context) { err = h.first.CommitBatch(ctx, []*persistence.Commit{c})[0] })
		got := h.seen(t, id)
		switch {
		case got != before && got != after:
			t.Fatalf("moment %d: %s", n, got)
		case err == nil && got != after, !died && got != after:
			t.Errorf("moment %d: the commit returned %v, and there is: %s", n, err, got)
		case err != nil && got == after && !errors.Is(err, stabilize.ErrUnknownOutcome):
			t.Errorf("moment %d: the commit returned %v and was applied", n, err)
		}
		// Somebody else does what is left to do.
		h.clock.Advance(2 * time.Minute)
		version := int64(1)
		if got == after {
			version = 2
		}
		taken, err := h.second.Claim(t.Context(), queue.Worker{ID: "heir", TTL: time.Minute}, queue.Room{Control: 10, Work: 10})
		h.must(t, err)
		next := &persistence.Commit{WorkflowID: id, Expect: version, Admission: &persistence.Admission{Op: persistence.TakePlace, Key: "key", Limit: 1}}
		for _, d := range taken {
			next.Handled = append(next.Handled, d.Receipt())
		}
		if want := 1 + int(version-1); len(taken) != want {
			t.Errorf("moment %d: the heir was given %d messages, want %d", n, len(taken), want)
		}
		h.must(t, h.second.CommitBatch(t.Context(), []*persistence.Commit{next})[0])
		h.must(t, h.second.Delete(t.Context(), id))
		h.nothingLeft(t, n)
		if t.Failed() {
			return
		}
	}
}

// A process that dies at any moment of a creation leaves all of it or nothing, and who
// creates it again finds that out.
func TestCrashInCreation(t *testing.T) {
	h := newHarness(t, servers.One(), impatient)
	for n, died := 0, true; died; n++ {
		id := fmt.Sprint("w", n)
		message := queue.CompleteWorkflow{OfWorkflow: queue.ToWorkflow(id)}
		c := &persistence.Commit{
			WorkflowID: id, Header: &stabilize.Header{ID: id, Application: "app", Name: "crash", Status: stabilize.Running, CreatedAt: h.clock.Now()},
			Messages:  []queue.Outgoing{{ID: "first of " + id, Message: message}, {ID: "second of " + id, Message: message}},
			Admission: &persistence.Admission{Op: persistence.TakePlace, Key: "key", Limit: 1},
		}
		before := h.seen(t, id)
		after := fmt.Sprintf("version 1 %q, messages %q, places %q", "", []string{"first of " + id, "second of " + id}, []string{id})
		var err error
		died = h.dies(t, n, func(ctx context.Context) { err = h.first.CommitBatch(ctx, []*persistence.Commit{c})[0] })
		got := h.seen(t, id)
		switch {
		case got != before && got != after, err == nil && got != after, !died && got != after,
			err != nil && got == after && !errors.Is(err, stabilize.ErrUnknownOutcome):
			t.Errorf("moment %d: the creation returned %v, and there is: %s", n, err, got)
		}
		if err := h.second.CommitBatch(t.Context(), []*persistence.Commit{c})[0]; (err == nil) != (got == before) || err != nil && !errors.Is(err, stabilize.ErrExists) {
			t.Errorf("moment %d: with %s, creating it again returned %v", n, got, err)
		}
		if again := h.seen(t, id); again != after {
			t.Errorf("moment %d: after creating it again there is: %s", n, again)
		}
		h.must(t, h.second.Delete(t.Context(), id))
		h.nothingLeft(t, n)
		if t.Failed() {
			return
		}
	}
}

// A process that dies at any moment of a deletion of several workflows leaves all of
// them with what is theirs, or nothing.
func TestCrashInDelete(t *testing.T) {
	h := newHarness(t, servers.One(), impatient)
	for n, died := 0, true; died; n++ {
		ids := []string{fmt.Sprint("a", n), fmt.Sprint("b", n)}
		for _, id := range ids {
			message := queue.Outgoing{Message: queue.CompleteWorkflow{OfWorkflow: queue.ToWorkflow(id)}}
			h.must(t, h.second.CommitBatch(t.Context(), []*persistence.Commit{{
				WorkflowID: id, Header: &stabilize.Header{ID: id, Application: "app", Name: "crash", Status: stabilize.Running, CreatedAt: h.clock.Now()},
				Messages: []queue.Outgoing{message, message}, Admission: &persistence.Admission{Op: persistence.TakePlace, Key: id, Limit: 1},
			}})[0])
		}
		died = h.dies(t, n, func(ctx context.Context) { _ = h.first.Delete(ctx, ids...) })
		there := 0
		page, err := h.second.Query(t.Context(), persistence.Query{})
		h.must(t, err)
		for _, id := range ids {
			pending, err := h.second.Pending(t.Context(), id)
			h.must(t, err)
			there += len(pending)
		}
		if len(page.Workflows) != there/2 || there%4 != 0 || !died && there > 0 {
			t.Errorf("moment %d: %d workflows and %d messages are there", n, len(page.Workflows), there)
		}
		h.clock.Advance(2 * time.Minute)
		h.must(t, h.second.Delete(t.Context(), ids...))
		h.nothingLeft(t, n)
		if t.Failed() {
			return
		}
	}
}

// A process that dies at any moment of pruning leaves all of it or nothing, and what is
// left can be pruned.
func TestCrashInPrune(t *testing.T) {
	h := newHarness(t, servers.One(), impatient)
	for n, died := 0, true; died; n++ {
		ids := []string{fmt.Sprint("a", n), fmt.Sprint("b", n)}
		for _, id := range ids {
			h.must(t, h.second.CommitBatch(t.Context(), []*persistence.Commit{{
				WorkflowID: id, Header: &stabilize.Header{ID: id, Application: "app", Name: "crash", Status: stabilize.Succeeded, CreatedAt: h.clock.Now()},
			}})[0])
		}
		list := func() []*stabilize.Header {
			t.Helper()
			page, err := h.second.Query(t.Context(), persistence.Query{})
			h.must(t, err)
			return page.Workflows
		}
		all := list()
		died = h.dies(t, n, func(ctx context.Context) { _, _ = h.first.Prune(ctx, all...) })
		there := len(list())
		if there != 0 && there != 2 || !died && there > 0 {
			t.Errorf("moment %d: %d workflows are there", n, there)
		}
		h.clock.Advance(2 * time.Minute)
		if removed, err := h.second.Prune(t.Context(), all...); err != nil || removed != there {
			t.Errorf("moment %d: %d of %d were pruned, %v", n, removed, there, err)
		}
		if t.Failed() {
			return
		}
	}
}

// A process that dies while it buries a message leaves it a dead letter with its
// notice, or neither.
func TestCrashInBurial(t *testing.T) {
	h := newHarness(t, servers.One(), impatient)
	for n, died := 0, true; died; n++ {
		id := fmt.Sprint("w", n)
		h.must(t, h.second.Push(t.Context(), queue.Outgoing{
			ID: "doomed", Message: queue.CompleteWorkflow{OfWorkflow: queue.ToWorkflow(id)}, MaxAttempts: 1,
		}))
		got, err := h.first.Claim(t.Context(), queue.Worker{ID: id, TTL: time.Minute}, queue.Room{Control: 10})
		h.must(t, err)
		h.must(t, h.first.Release(t.Context(), got[0].Receipt(), time.Time{}, errors.New("it failed")))
		died = h.dies(t, n, func(ctx context.Context) {
			_, _ = h.first.Claim(ctx, queue.Worker{ID: id, TTL: time.Minute}, queue.Room{})
		})
		look := func() (dead, told int) {
			t.Helper()
			letters, err := h.second.ListDead(t.Context(), "", 10)
			h.must(t, err)
			pending, err := h.second.Pending(t.Context(), id)
			h.must(t, err)
			for _, m := range pending {
				if m.Kind == (queue.DeadLettered{}).Kind() {
					told++
				}
			}
			return len(letters), told
		}
		if dead, told := look(); dead != told || !died && dead != 1 {
			t.Errorf("moment %d: %d dead letters and %d notices", n, dead, told)
		}
		h.clock.Advance(2 * time.Minute)
		_, err = h.second.Claim(t.Context(), queue.Worker{ID: "heir", TTL: time.Minute}, queue.Room{})
		h.must(t, err)
		if dead, told := look(); dead != 1 || told != 1 {
			t.Errorf("moment %d: after the next claim %d dead letters and %d notices", n, dead, told)
		}
		h.must(t, h.second.Delete(t.Context(), id))
		if t.Failed() {
			return
		}
	}
}
