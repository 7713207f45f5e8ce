//go:build unix

package mongostore_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/mongoproxy"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Commits of a batch that travel in one command are judged each on its own: some
// are behind what this handle remembers, some acknowledge what others have, some
// only messages that are theirs.
func TestManyStatements(t *testing.T) {
	h := newHarness(t, servers.One())
	const n = 12
	header := func(i int) *stabilize.Header {
		return &stabilize.Header{ID: fmt.Sprint("w", i), Application: "app", Name: "many", Status: stabilize.Running, CreatedAt: h.clock.Now()}
	}
	var create []*persistence.Commit
	for i := range n {
		create = append(create, &persistence.Commit{WorkflowID: fmt.Sprint("w", i), Header: header(i), Messages: []queue.Outgoing{
			{ID: fmt.Sprint("m", i), Message: queue.CompleteWorkflow{OfWorkflow: queue.ToWorkflow(fmt.Sprint("w", i))}},
		}})
	}
	for _, err := range h.first.CommitBatch(t.Context(), create) {
		h.must(t, err)
	}
	held := map[string]queue.Delivery{}
	got, err := h.first.Claim(t.Context(), queue.Worker{ID: "worker", TTL: time.Minute}, queue.Room{Control: n})
	h.must(t, err)
	for _, d := range got {
		held[d.ID] = d
	}
	var commits []*persistence.Commit
	want := make([]error, n)
	for i := range n {
		c := &persistence.Commit{
			WorkflowID: fmt.Sprint("w", i), Expect: 1, Header: header(i), Messages: []queue.Outgoing{
				{ID: fmt.Sprint("next", i), Message: queue.CompleteWorkflow{OfWorkflow: queue.ToWorkflow(fmt.Sprint("w", i))}},
			},
		}
		d := held[fmt.Sprint("m", i)]
		c.Handled = []queue.Receipt{d.Receipt()}
		switch i % 4 {
		case 1: // the other handle was first
			h.must(t, h.second.CommitBatch(t.Context(), []*persistence.Commit{{WorkflowID: c.WorkflowID, Expect: 1}})[0])
			want[i] = stabilize.ErrConflict
		case 2: // the message is gone
			h.must(t, h.second.Ack(t.Context(), d.Receipt()))
			want[i] = stabilize.ErrLeaseLost
		case 3: // the id is in use
			c.Messages[0].ID = "m0"
			want[i] = stabilize.ErrExists
			c.Handled = nil
		}
		commits = append(commits, c)
	}
	commits[0].Handled = nil // so that its id stays in use
	for i, err := range h.first.CommitBatch(t.Context(), commits) {
		if !errors.Is(err, want[i]) {
			t.Errorf("commit %d returned %v, want %v", i, err, want[i])
		}
	}
	for i := range n {
		head, err := h.second.Summary(t.Context(), fmt.Sprint("w", i))
		h.must(t, err)
		pending, err := h.second.Pending(t.Context(), head.ID)
		h.must(t, err)
		var ids []string
		for _, m := range pending {
			ids = append(ids, m.ID)
		}
		version, messages := int64(1), fmt.Sprintf("[m%d]", i)
		switch {
		case i == 0:
			version, messages = 2, "[m0 next0]"
		case want[i] == nil:
			version, messages = 2, fmt.Sprintf("[next%d]", i)
		case i%4 == 1:
			version = 2
		case i%4 == 2:
			messages = "[]"
		}
		if head.Version != version || fmt.Sprint(ids) != messages {
			t.Errorf("%s is at version %d with %v, want %d with %s", head.ID, head.Version, ids, version, messages)
		}
	}
}

// A command of many updates that is refused because of one of them takes no others with
// it, whether the server made some of them or none.
func TestRefusedTogether(t *testing.T) {
	h := newHarness(t, servers.One())
	const n = 5
	commits := func(version int64) (list []*persistence.Commit) {
		for i := range n {
			list = append(list, &persistence.Commit{WorkflowID: fmt.Sprint("w", i), Expect: version, Header: &stabilize.Header{
				ID: fmt.Sprint("w", i), Application: "app", Name: "many", Status: stabilize.Running, CreatedAt: h.clock.Now(),
			}})
		}
		return list
	}
	for _, err := range h.first.CommitBatch(t.Context(), commits(0)) {
		h.must(t, err)
	}
	for _, executed := range []bool{true, false} {
		version := map[bool]int64{true: 1, false: 2}[executed]
		var refused, single atomic.Int64
		h.links[0].Intercept(func(c mongoproxy.Call) mongoproxy.Fault {
			list, ok := c.Body.Lookup("updates").ArrayOK()
			if !ok || c.Executed() != executed {
				return mongoproxy.Fault{}
			}
			switch values, _ := list.Values(); {
			case len(values) > 1:
				refused.Add(1)
				return mongoproxy.Fault{Answer: refusal(t, 17419)}
			default:
				if _, err := values[0].Document().LookupErr("u", "$set", "version"); err != nil {
					break // it does not decide
				}
				single.Add(1)
				if id, _ := values[0].Document().Lookup("q", "_id").StringValueOK(); id == "w3" {
					return mongoproxy.Fault{Answer: refusal(t, 17419)}
				}
			}
			return mongoproxy.Fault{}
		})
		errs := h.first.CommitBatch(t.Context(), commits(version))
		h.links[0].Intercept(nil)
		if refused.Load() != 1 {
			t.Fatalf("%d commands of several updates were refused", refused.Load())
		}
		for i, err := range errs {
			want := error(nil)
			if i == 3 && !executed {
				want = stabilize.ErrTooLarge
			}
			if !errors.Is(err, want) {
				t.Errorf("executed %v, commit %d: %v, want %v", executed, i, err, want)
			}
			head, err := h.second.Summary(t.Context(), fmt.Sprint("w", i))
			h.must(t, err)
			if at := version + 1; (head.Version == at) != (want == nil) {
				t.Errorf("executed %v, workflow %d is at version %d", executed, i, head.Version)
			}
		}
		if executed && single.Load() != 0 {
			t.Errorf("%d updates that were made were sent again", single.Load())
		}
	}
}
