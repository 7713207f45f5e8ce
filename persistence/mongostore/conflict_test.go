//go:build unix

package mongostore_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/mongoproxy"
	"github.com/stabilize-dev/go-stabilize/queue"
)

// conflicts answers the nth write of the first handle that is chosen, from 0, as an
// engine does that found a deadlock: nothing is done. done reports whether there were so
// many.
func (h *harness) conflicts(n int, chosen func(mongoproxy.Call) bool) (done func() bool) {
	var mu sync.Mutex
	writes := 0
	h.links[0].Intercept(func(c mongoproxy.Call) mongoproxy.Fault {
		mu.Lock()
		defer mu.Unlock()
		if c.Executed() || !slices.Contains([]string{"insert", "update", "delete"}, c.Name) || !chosen(c) {
			return mongoproxy.Fault{}
		}
		writes++
		if writes-1 != n {
			return mongoproxy.Fault{}
		}
		return mongoproxy.Fault{Answer: mongoproxy.WriteError(16908292, "deadlock detected")}
	})
	return func() bool {
		h.links[0].Intercept(nil)
		mu.Lock()
		defer mu.Unlock()
		return writes > n
	}
}

// Where the server breaks one of a batch's writes off because it met another one, the
// batch is committed all the same.
func TestCommitsOutlastConflicts(t *testing.T) {
	h := newHarness(t, servers.One())
	for n, met := 0, true; met; n++ {
		var commits []*persistence.Commit
		for _, id := range []string{fmt.Sprint("a", n), fmt.Sprint("b", n)} {
			c := h.scene(t, id)
			c.Admission = nil
			commits = append(commits, c)
		}
		commits = append(commits, &persistence.Commit{Messages: []queue.Outgoing{
			{ID: fmt.Sprint("push", n), Message: queue.CompleteWorkflow{OfWorkflow: queue.ToWorkflow("none")}, At: h.clock.Now().Add(time.Hour)},
		}})
		done := h.conflicts(n, func(mongoproxy.Call) bool { return true })
		errs := h.first.CommitBatch(t.Context(), commits)
		met = done()
		for i, err := range errs {
			if err != nil {
				t.Errorf("write %d: commit %d returned %v", n, i, err)
			}
		}
		for _, c := range commits[:2] {
			want := fmt.Sprintf("version 2 %q, messages %q, places []", "changed", []string{"second of " + c.WorkflowID, "third of " + c.WorkflowID})
			if got := h.seen(t, c.WorkflowID); got != want {
				t.Errorf("write %d: %s, want %s", n, got, want)
			}
			h.must(t, h.second.Delete(t.Context(), c.WorkflowID))
			h.must(t, h.first.Retire(t.Context(), "worker of "+c.WorkflowID))
		}
		if t.Failed() {
			return
		}
	}
}

// So are a claim, and what is said of the messages that it gave.
func TestClaimsOutlastConflicts(t *testing.T) {
	h := newHarness(t, servers.One())
	worker := queue.Worker{ID: "worker", TTL: time.Minute}
	for n, met := 0, true; met; n++ {
		for i := range 3 {
			h.must(t, h.second.Push(t.Context(), queue.Outgoing{ID: fmt.Sprint(i), Message: queue.StartWaitingWorkflows{Key: "k"}}))
		}
		done := h.conflicts(n, func(c mongoproxy.Call) bool { return about(c) == "messages" })
		got, err := h.first.Claim(t.Context(), worker, queue.Room{Control: 10})
		if err != nil || len(got) != 3 {
			t.Fatalf("write %d: %d messages were claimed, %v", n, len(got), err)
		}
		for i, f := range []func() error{
			func() error { return h.first.Ack(t.Context(), got[0].Receipt()) },
			func() error { return h.first.Release(t.Context(), got[1].Receipt(), time.Time{}, nil) },
			func() error { return h.first.Return(t.Context(), got[2].Receipt()) },
			func() error { return h.first.Retire(t.Context(), worker.ID) },
		} {
			if err := f(); err != nil {
				t.Errorf("write %d: call %d after the claim: %v", n, i, err)
			}
		}
		met = done()
		left, err := h.second.Claim(t.Context(), worker, queue.Room{Control: 10})
		h.must(t, err)
		if len(left) != 2 {
			t.Errorf("write %d: %d messages are left, want 2", n, len(left))
		}
		for _, d := range left {
			h.must(t, h.second.Ack(t.Context(), d.Receipt()))
		}
		if t.Failed() {
			return
		}
	}
}

// Whatever the order of a batch is, documents are changed in that of their ids: two
// commands that hold what they have changed do not wait for each other.
func TestChangesAreInOneOrder(t *testing.T) {
	h := newHarness(t, servers.One())
	var commits []*persistence.Commit
	for _, id := range []string{"c", "a", "d", "b"} {
		c := h.scene(t, id)
		c.Admission = nil
		commits = append(commits, c)
	}
	var many atomic.Int64
	h.links[0].Intercept(func(c mongoproxy.Call) mongoproxy.Fault {
		if list, ok := c.Body.Lookup("updates").ArrayOK(); ok && !c.Executed() {
			var ids []string
			for _, update := range must(list.Values()) {
				id, _ := update.Document().Lookup("q", "_id").StringValueOK()
				ids = append(ids, id)
			}
			if !slices.IsSorted(ids) {
				t.Errorf("of %s, one command changes %q", about(c), ids)
			}
			if len(ids) == len(commits) {
				many.Add(1)
			}
		}
		return mongoproxy.Fault{}
	})
	for _, err := range h.first.CommitBatch(t.Context(), commits) {
		h.must(t, err)
	}
	h.links[0].Intercept(nil)
	if many.Load() != 2 {
		t.Errorf("%d commands changed all of them, want one of messages and one of workflows", many.Load())
	}
}
