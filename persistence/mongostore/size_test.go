//go:build unix

package mongostore_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/mongoproxy"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// stagesOf are n small stages with a few larger ones.
func stagesOf(n, from int) (out []*stabilize.Stage) {
	for i := range n {
		id := fmt.Sprint("stage ", strings.Repeat("x", i%7), from+i)
		st := &stabilize.Stage{ID: id, Ref: fmt.Sprint("r", from+i), Position: from + i, Status: stabilize.Running}
		if i%5 == 0 {
			st.Context = stabilize.Values{"fill": []byte(`"` + strings.Repeat("y", 50*i) + `"`)}
		}
		out = append(out, st)
	}
	return out
}

// What is thought of a document's size is what it has, but for the reserve, also after
// stages were put again and removed, and for a handle that has not written it.
func TestSizeOfADocument(t *testing.T) {
	h := newHarness(t, servers.One(), func(cfg *mongostore.Config) { cfg.Inline = 600 })
	head := &stabilize.Header{ID: "w", Application: "app", Name: "sizes", Status: stabilize.Running, CreatedAt: h.clock.Now()}
	stages := stagesOf(40, 0)
	check := func(when string, s *mongostore.Store) {
		t.Helper()
		raw, err := h.db.Collection("workflows").FindOne(t.Context(), bson.M{"_id": "w"}).Raw()
		h.must(t, err)
		size, reserved := s.SizeOf("w")
		if left := size - int64(len(raw)); left < reserved*3/4 || left > reserved {
			t.Errorf("%s: %d bytes are thought to be %d at most, with a reserve of %d", when, len(raw), size, reserved)
		}
	}
	commit := func(c *persistence.Commit) { h.must(t, h.first.CommitBatch(t.Context(), []*persistence.Commit{c})[0]) }
	commit(&persistence.Commit{WorkflowID: "w", Header: head, Stages: stages})
	check("created", h.first)
	again := stagesOf(20, 0)
	for _, st := range again {
		st.Context = stabilize.Values{"fill": []byte(`"z"`)}
	}
	commit(&persistence.Commit{WorkflowID: "w", Expect: 1, Header: head, Stages: again, Admission: &persistence.Admission{Op: persistence.TakePlace, Key: "key", Limit: 1}})
	check("put again", h.first)
	commit(&persistence.Commit{WorkflowID: "w", Expect: 2, Removed: []string{stages[0].ID, stages[30].ID, stages[39].ID}})
	check("removed", h.first)
	_, err := h.second.Load(t.Context(), "w")
	h.must(t, err)
	check("read", h.second)
}

// writes counts what the first handle writes but for its counters.
func (h *harness) writes() (stop func() int64) {
	var n atomic.Int64
	h.links[0].Intercept(func(c mongoproxy.Call) mongoproxy.Fault {
		if !c.Executed() && slices.Contains([]string{"insert", "update", "delete"}, c.Name) {
			n.Add(1)
		}
		return mongoproxy.Fault{}
	})
	return func() int64 { h.links[0].Intercept(nil); return n.Load() }
}

// A workflow whose document the server would not take is refused before anything is
// written, when it is created and when it grows, and those beside it are not.
func TestTooManyStages(t *testing.T) {
	h := newHarness(t, servers.One())
	h.first.Limit(64 << 10)
	creation := func(id string, stages int) *persistence.Commit {
		return &persistence.Commit{
			WorkflowID: id, Header: &stabilize.Header{ID: id, Application: "app", Name: "many", Status: stabilize.Running, CreatedAt: h.clock.Now()},
			Stages: stagesOf(stages, 0),
		}
	}
	tooLarge := func(err error) {
		t.Helper()
		var e *stabilize.TooLargeError
		if !errors.As(err, &e) || !strings.Contains(e.What, `"large"`) || e.Max != 64<<10 || e.Size <= e.Max {
			t.Errorf("%v", err)
		}
	}
	stop := h.writes()
	tooLarge(h.first.CommitBatch(t.Context(), []*persistence.Commit{creation("large", 400)})[0])
	if n := stop(); n != 0 {
		t.Errorf("%d commands wrote", n)
	}
	errs := h.first.CommitBatch(t.Context(), []*persistence.Commit{creation("small", 20), creation("large", 400)})
	h.must(t, errs[0])
	tooLarge(errs[1])
	version := int64(1)
	h.must(t, h.first.CommitBatch(t.Context(), []*persistence.Commit{creation("large", 50)})[0])
	for version < 100 {
		err := h.first.CommitBatch(t.Context(), []*persistence.Commit{{WorkflowID: "large", Expect: version, Stages: stagesOf(50, int(version)*50)}})[0]
		if err != nil {
			tooLarge(err)
			break
		}
		version++
	}
	w, err := h.second.Load(t.Context(), "large")
	h.must(t, err)
	if w.Version != version || len(w.Stages) != int(version)*50 || version < 2 || version == 100 {
		t.Errorf("it is of version %d with %d stages, want %d", w.Version, len(w.Stages), version)
	}
	// What does not make it larger goes on.
	h.must(t, h.first.CommitBatch(t.Context(), []*persistence.Commit{{WorkflowID: "large", Expect: version, Stages: stagesOf(50, 0)}})[0])
}

// More waiters under a key than its document holds are refused, and those who are there
// come to their turns.
func TestTooManyWaiters(t *testing.T) {
	h := newHarness(t, servers.One())
	h.first.Limit(20 << 10)
	ask := func(id string, expect int64, op persistence.AdmissionOp, status stabilize.Status) error {
		return h.first.CommitBatch(t.Context(), []*persistence.Commit{{
			WorkflowID: id, Expect: expect, Header: &stabilize.Header{ID: id, Application: "app", Name: "waits", Status: status, CreatedAt: h.clock.Now()},
			Admission: &persistence.Admission{Op: op, Key: "key", Limit: 1},
		}})[0]
	}
	waiter := func(i int) string { return fmt.Sprint(strings.Repeat("w", 200), i) } // there need not be many
	h.must(t, ask("holder", 0, persistence.TakePlace, stabilize.Running))
	waiting := 0
	for ; waiting < 200; waiting++ {
		if err := ask(waiter(waiting), 0, persistence.WaitForPlace, stabilize.Buffered); err != nil {
			var e *stabilize.TooLargeError
			if !errors.As(err, &e) || !strings.Contains(e.What, `"key"`) || e.Max != 20<<10 {
				t.Fatalf("waiter %d: %v", waiting, err)
			}
			break
		}
	}
	now, err := h.second.Admissions(t.Context(), "key")
	h.must(t, err)
	if len(now.Waiting) != waiting || waiting < 10 || waiting == 200 {
		t.Errorf("%d wait, %d were let in", len(now.Waiting), waiting)
	}
	if _, err := h.second.Summary(t.Context(), waiter(waiting)); !errors.Is(err, stabilize.ErrNotFound) {
		t.Errorf("who was refused is there: %v", err)
	}
	h.must(t, ask("holder", 1, persistence.LeavePlace, stabilize.Succeeded))
	h.must(t, ask(waiter(0), 1, persistence.TakePlace, stabilize.Running))
	h.must(t, ask("another", 0, persistence.WaitForPlace, stabilize.Buffered))
}

// What a server says of a message that takes the place of one with which it does not fit
// into a document is told as that, whatever its code is.
func TestTooLargeBeside(t *testing.T) {
	h := newHarness(t, servers.One())
	h.must(t, h.first.Push(t.Context(), queue.Outgoing{ID: "m", Message: queue.StartWaitingWorkflows{Key: "k"}}))
	h.links[0].Intercept(func(c mongoproxy.Call) mongoproxy.Fault {
		if c.Name == "update" && about(c) == "messages" && !c.Executed() {
			return mongoproxy.Fault{Answer: mongoproxy.WriteError(2, "Size 17000000 is larger than MaxDocumentSize 16777216")}
		}
		return mongoproxy.Fault{}
	})
	h.first.Limit(h.first.MaxPayload() + 4<<10)
	for size, want := range map[int]error{100: stabilize.ErrInternal, 8 << 10: stabilize.ErrTooLarge} {
		err := h.first.CommitBatch(t.Context(), []*persistence.Commit{{
			Discard: []string{"m"}, Messages: []queue.Outgoing{{ID: "m", Message: queue.StartWaitingWorkflows{Key: strings.Repeat("k", size)}}},
		}})[0]
		if !errors.Is(err, want) {
			t.Errorf("with a message of %d bytes: %v", size, err)
		}
	}
}
