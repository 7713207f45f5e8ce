//go:build unix

package mongostore_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/mongoproxy"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// member makes a server that is none the primary of a replica set, as far as a driver
// can tell: one that remembers what it answered to writes that may be sent again.
type member struct {
	addr string

	mu       sync.Mutex
	answered map[string]bson.Raw
}

func (m *member) intercept(c mongoproxy.Call) mongoproxy.Fault {
	switch c.Name {
	case "hello", "isMaster", "ismaster":
		if c.Executed() {
			return mongoproxy.Fault{Answer: m.introduce(c.Reply)}
		}
		return mongoproxy.Fault{}
	}
	number, ok := c.Body.Lookup("txnNumber").AsInt64OK()
	if !ok {
		return mongoproxy.Fault{}
	}
	key := fmt.Sprint(c.Body.Lookup("lsid"), number)
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.Executed() {
		m.answered[key] = slices.Clone(c.Reply)
		return mongoproxy.Fault{}
	}
	return mongoproxy.Fault{Answer: m.answered[key]}
}

// introduce returns what a member says of itself.
func (m *member) introduce(hello bson.Raw) bson.Raw {
	var doc bson.D
	if err := bson.Unmarshal(hello, &doc); err != nil {
		panic(err) // the server's
	}
	says := bson.D{
		{Key: "setName", Value: "rs"}, {Key: "setVersion", Value: int32(1)}, {Key: "hosts", Value: bson.A{m.addr}}, {Key: "me", Value: m.addr},
		{Key: "primary", Value: m.addr}, {Key: "secondary", Value: false}, {Key: "isWritablePrimary", Value: true}, {Key: "ismaster", Value: true},
		{Key: "logicalSessionTimeoutMinutes", Value: int32(30)},
	}
	doc = slices.DeleteFunc(doc, func(e bson.E) bool {
		return slices.ContainsFunc(says, func(s bson.E) bool { return s.Key == e.Key })
	})
	raw, err := bson.Marshal(append(doc, says...))
	if err != nil {
		panic(err)
	}
	return raw
}

// trouble is what happens to a command when the primary steps down.
type trouble struct {
	name  string
	after bool // it was executed
	fault func(labels ...string) mongoproxy.Fault
}

func troubles() []trouble {
	answer := func(code int32) func(...string) mongoproxy.Fault {
		return func(labels ...string) mongoproxy.Fault {
			return mongoproxy.Fault{Answer: mongoproxy.Error(code, "so it was asked for", labels...)}
		}
	}
	concern := func(code int32) func(...string) mongoproxy.Fault {
		return func(labels ...string) mongoproxy.Fault {
			if code == 64 {
				labels = nil // it is no reason to send it again
			}
			return mongoproxy.Fault{Answer: mongoproxy.WriteConcernError(1, code, "so it was asked for", labels...)}
		}
	}
	cut := func(...string) mongoproxy.Fault { return mongoproxy.Fault{Break: true} }
	return []trouble{
		{"the connection is cut before", false, cut},
		{"the connection is cut after", true, cut},
		{"it is no primary any more", false, answer(mongoproxy.NotWritablePrimary)},
		{"it is interrupted before", false, answer(mongoproxy.InterruptedDueToReplStateChange)},
		{"it is interrupted after", true, answer(mongoproxy.InterruptedDueToReplStateChange)},
		{"it shuts down after", true, answer(mongoproxy.ShutdownInProgress)},
		{"no majority in time", true, concern(64)},
		{"interrupted while it waits for the majority", true, concern(mongoproxy.InterruptedDueToReplStateChange)},
	}
}

// look returns what there is of a workflow, for whoever looks: "nothing", if nothing is.
func (h *harness) look(t *testing.T, id string) string {
	t.Helper()
	if _, err := h.second.Summary(t.Context(), id); err == nil {
		return h.seen(t, id)
	} else if !errors.Is(err, stabilize.ErrNotFound) {
		t.Fatal(err)
	}
	pending, err := h.second.Pending(t.Context(), id)
	h.must(t, err)
	places, err := h.second.Admissions(t.Context(), "key")
	h.must(t, err)
	if len(pending)+len(places.Holding)+len(places.Waiting) == 0 {
		return "nothing"
	}
	return fmt.Sprintf("no workflow, messages %v, places %v", pending, places)
}

// A primary that steps down at any write of a commit leaves no doubt, whether the driver
// sends writes again or not: what the commit returns is so, an error says that trying
// again helps, and whoever goes on finds nothing in his way.
func TestStepDownInCommit(t *testing.T) {
	server := servers.One()
	points := []struct {
		name string
		at   func(moment) bool
	}{
		{"mark of the message", moment.marksMessage}, {"new messages", moment.births}, {"mark of the admission", moment.admits},
		{"payload", moment.pays}, {"update", moment.decides}, {"creation", moment.creates},
		{"new messages' end", moment.bears}, {"old message's end", moment.drops}, {"admission's end", moment.leaves},
	}
	full := os.Getenv("STABILIZE_TEST_FULL") != ""
	for i, tr := range troubles() {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, server, impatient)
			for n, again := range []bool{false, true} {
				if again && server.Name() == "standalone" {
					continue // its driver never sends a write again
				}
				link := server.Link(t)
				m := &member{addr: link.Addr(), answered: map[string]bson.Raw{}}
				link.Intercept(m.intercept)
				cfg := h.config(0)
				cfg.URI, cfg.Inline = fmt.Sprint(link.URI(), "&retryWrites=", again), inline
				s, err := mongostore.Open(t.Context(), cfg)
				h.must(t, err)
				for j, p := range points {
					// After each the driver waits half a second before it looks for the primary.
					if full || (i+n+j)%4 == 0 {
						h.stepDown(t, s, link, m, tr, again, p.name, p.at)
					}
				}
				link.Intercept(nil)
				h.must(t, s.Close())
			}
		})
	}
}

// stepDown makes a commit with one trouble at one point.
func (h *harness) stepDown(t *testing.T, s *mongostore.Store, link *mongotest.Link, m *member, tr trouble, again bool, point string, at func(moment) bool) {
	t.Helper()
	id := fmt.Sprint(point, " ", again)
	c := h.sceneOf(t, s, id)
	if point == "creation" {
		h.must(t, h.second.Delete(t.Context(), id))
		c.Expect, c.Handled = 0, nil
	}
	before := h.look(t, id)
	version := c.Expect + 1
	after := fmt.Sprintf("version %d %q, messages %q, places %q", version, "changed", []string{"second of " + id, "third of " + id}, []string{id})
	var hit atomic.Bool
	link.Intercept(func(call mongoproxy.Call) mongoproxy.Fault {
		f := m.intercept(call)
		collection, _ := call.Body.Lookup(call.Name).StringValueOK()
		if call.Executed() != tr.after || !at(moment{call, collection}) || hit.Swap(true) {
			return f
		}
		if again {
			return tr.fault(mongoproxy.LabelRetryable)
		}
		return tr.fault()
	})
	err := s.CommitBatch(t.Context(), []*persistence.Commit{c})[0]
	link.Intercept(m.intercept)
	got := h.look(t, id)
	switch {
	case !hit.Load():
		t.Errorf("%s: the commit did not come there", id)
	case got != before && got != after:
		t.Errorf("%s: %s", id, got)
	case (err == nil) != (got == after):
		t.Errorf("%s: the commit returned %v, and there is: %s", id, err, got)
	case err != nil && !errors.Is(err, stabilize.ErrTransient):
		t.Errorf("%s: the commit returned %v", id, err)
	case err != nil && again && !tr.says(64):
		t.Errorf("%s: the driver may send it again, and the commit returned %v", id, err)
	}
	// The same handle tries again.
	err = s.CommitBatch(t.Context(), []*persistence.Commit{c})[0]
	switch {
	case got == after && !errors.Is(err, stabilize.ErrConflict) && !errors.Is(err, stabilize.ErrExists):
		t.Errorf("%s: it was done, and again returned %v", id, err)
	case got != after && err != nil:
		t.Errorf("%s: it was not done, and again returned %v", id, err)
	}
	if got := h.look(t, id); got != after {
		t.Errorf("%s: done again there is: %s", id, got)
	}
	h.clock.Advance(2 * time.Minute)
	taken, err := h.second.Claim(t.Context(), queue.Worker{ID: "heir", TTL: time.Minute}, queue.Room{Control: 10, Work: 10})
	h.must(t, err)
	if len(taken) != 2 {
		t.Errorf("%s: the heir was given %d messages, want 2", id, len(taken))
	}
	h.must(t, h.second.Delete(t.Context(), id))
	rows, err := h.Rows(t.Context())
	h.must(t, err)
	for collection, left := range rows {
		if left > 0 {
			t.Errorf("%s: %d documents are left in %s", id, left, collection)
		}
	}
}

// says reports whether the answer is that a majority was not reached for a reason.
func (tr trouble) says(code int32) bool {
	got, ok := tr.fault().Answer.Lookup("writeConcernError", "code").AsInt64OK()
	return ok && got == int64(code)
}
