//go:build unix

package mongostore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/mongoproxy"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// about returns the collection that a call is about.
func about(c mongoproxy.Call) string {
	collection, _ := c.Body.Lookup(c.Name).StringValueOK()
	return collection
}

// births tells the call that lets the messages of a commit out.
func births(c mongoproxy.Call) bool {
	q, _ := c.Body.Lookup("updates", "0", "q", "q").StringValueOK()
	return q == "unborn"
}

func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

// hold stops the first handle before its next call of that name on a collection:
// its process is slow. reached is closed when it stands there, resume lets it go on.
func (h *harness) hold(name, collection string) (reached <-chan struct{}, resume func()) {
	there, on := make(chan struct{}), make(chan struct{})
	var once sync.Once
	h.links[0].Intercept(func(c mongoproxy.Call) mongoproxy.Fault {
		if c.Name == name && about(c) == collection && !c.Executed() {
			once.Do(func() { close(there); <-on })
		}
		return mongoproxy.Fault{}
	})
	return there, func() { close(on) }
}

// A claim that is slow between looking and taking does not take what has come in the
// meantime under the id of what it saw: it would hand out the old message again, and
// the new one would be acknowledged unseen.
func TestSlowClaim(t *testing.T) {
	h := newHarness(t, servers.One())
	again := func(at time.Time) queue.Outgoing {
		return queue.Outgoing{ID: "m", Message: queue.CompleteWorkflow{OfWorkflow: queue.ToWorkflow("w")}, At: at}
	}
	slow, quick := queue.Worker{ID: "slow", TTL: time.Minute}, queue.Worker{ID: "quick", TTL: time.Minute}
	room := queue.Room{Control: 10, Work: 10}
	if _, err := h.first.Claim(t.Context(), slow, room); err != nil { // so that it has its lease
		t.Fatal(err)
	}
	h.must(t, h.second.Push(t.Context(), again(time.Time{})))
	replace := func(at time.Time) {
		t.Helper()
		got, err := h.second.Claim(t.Context(), quick, room)
		h.must(t, err)
		if len(got) != 1 {
			t.Fatalf("%d messages were claimed, want 1", len(got))
		}
		h.must(t, h.second.CommitBatch(t.Context(), []*persistence.Commit{{
			Handled: []queue.Receipt{got[0].Receipt()}, Messages: []queue.Outgoing{again(at)},
		}})[0])
	}
	replace(time.Time{}) // what it will see is such a message itself
	reached, resume := h.hold("update", "messages")
	var got []queue.Delivery
	done := make(chan error, 1)
	go func() {
		var err error
		got, err = h.first.Claim(t.Context(), slow, room)
		done <- err
	}()
	<-reached
	replace(h.clock.Now().Add(time.Hour))
	resume()
	h.must(t, <-done)
	h.links[0].Intercept(nil)
	if len(got) != 0 {
		t.Errorf("a message that is due in an hour was claimed: %+v", got[0])
	}
	pending, err := h.second.Pending(t.Context(), "w")
	h.must(t, err)
	if len(pending) != 1 || pending[0].Leased || pending[0].Attempts != 0 {
		t.Errorf("there is %+v", pending)
	}
}

// A deletion breaks off a creation of the same id that is slow, and what keeps that
// from being done late stays: it would come without its messages.
func TestDeleteDuringCreation(t *testing.T) {
	h := newHarness(t, servers.One(), impatient)
	reached, resume := h.hold("insert", "workflows")
	done := make(chan error, 1)
	go func() {
		done <- h.first.CommitBatch(t.Context(), []*persistence.Commit{{
			WorkflowID: "w",
			Header:     &stabilize.Header{ID: "w", Application: "app", Name: "slow", Status: stabilize.Running, CreatedAt: h.clock.Now()},
			Messages:   []queue.Outgoing{{ID: "m", Message: queue.CompleteWorkflow{OfWorkflow: queue.ToWorkflow("w")}}},
		}})[0]
	}()
	<-reached
	h.must(t, h.second.Delete(t.Context(), "w"))
	resume()
	h.must(t, <-done) // it has tried again
	head, err := h.second.Summary(t.Context(), "w")
	h.must(t, err)
	pending, err := h.second.Pending(t.Context(), "w")
	h.must(t, err)
	if head.Version != 1 || len(pending) != 1 {
		t.Errorf("the workflow is at version %d with %d messages, want 1 with 1", head.Version, len(pending))
	}
}

// Counting while a commit takes its marks off finds what it brought, and not what it
// handled: never nothing, where there always was something.
func TestDepthDuringCommit(t *testing.T) {
	h := newHarness(t, servers.One())
	c := h.scene(t, "w")
	c.Messages = c.Messages[:1]
	counting, count := make(chan struct{}), make(chan struct{})
	stored, handled, resume := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var once [3]sync.Once
	h.links[1].Intercept(func(c mongoproxy.Call) mongoproxy.Fault {
		if filter, _ := c.Body.Lookup("filter").DocumentOK(); c.Name == "find" && about(c) == "messages" && len(filter) <= 5 && !c.Executed() {
			once[0].Do(func() { close(counting); <-count })
		}
		return mongoproxy.Fault{}
	})
	h.links[0].Intercept(func(c mongoproxy.Call) mongoproxy.Fault {
		switch {
		case about(c) != "messages":
		case c.Name == "update" && !c.Executed() && births(c):
			once[1].Do(func() { close(stored); <-resume })
		case c.Name == "delete" && c.Executed():
			once[2].Do(func() { close(handled) })
		}
		return mongoproxy.Fault{}
	})
	counted, done := make(chan error, 1), make(chan error, 1)
	var depth queue.Depth
	go func() {
		var err error
		depth, err = h.second.Depth(t.Context())
		counted <- err
	}()
	<-counting
	go func() { done <- h.first.CommitBatch(t.Context(), []*persistence.Commit{c})[0] }()
	<-stored
	<-handled
	close(count)
	h.must(t, <-counted)
	close(resume)
	h.must(t, <-done)
	h.links[0].Intercept(nil)
	if depth.Live() != 1 || depth.Ready != 1 {
		t.Errorf("%+v, want the one message that is there", depth)
	}
}

// Where the server cannot say that it has changed all that was asked for (documents may
// be on their way from shard to shard), the commit's token stays until somebody has
// looked.
func TestMarksMissed(t *testing.T) {
	h := newHarness(t, servers.One())
	// miss has the first handle's next such call find nothing.
	miss := func(is func(mongoproxy.Call) bool) {
		var once sync.Once
		h.links[0].Intercept(func(c mongoproxy.Call) (fault mongoproxy.Fault) {
			if !c.Executed() && is(c) {
				once.Do(func() {
					fault.Answer = must(bson.Marshal(bson.D{{Key: "ok", Value: 1}, {Key: "n", Value: 0}, {Key: "nModified", Value: 0}}))
				})
			}
			return fault
		})
	}
	deletes := func(collection string) func(mongoproxy.Call) bool {
		return func(c mongoproxy.Call) bool { return c.Name == "delete" && about(c) == collection }
	}
	for name, is := range map[string]func(mongoproxy.Call) bool{"births": births, "drops": deletes("messages")} {
		c := h.scene(t, name)
		miss(is)
		h.must(t, h.first.CommitBatch(t.Context(), []*persistence.Commit{c})[0])
		h.links[0].Intercept(nil)
		for version := range int64(30) {
			h.must(t, h.first.CommitBatch(t.Context(), []*persistence.Commit{{WorkflowID: name, Expect: version + 2}})[0])
		}
		h.clock.Advance(2 * time.Minute)
		got, err := h.second.Claim(t.Context(), queue.Worker{ID: "heir", TTL: time.Hour}, queue.Room{Control: 10, Work: 10})
		h.must(t, err)
		if len(got) != 2 {
			t.Errorf("%s: %d messages are there, want the 2 that the commit brought", name, len(got))
		}
		miss(deletes("workflows"))
		h.must(t, h.first.Delete(t.Context(), name))
		h.links[0].Intercept(nil)
		if _, err := h.second.Summary(t.Context(), name); !errors.Is(err, stabilize.ErrNotFound) {
			t.Errorf("%s: a workflow that was deleted: %v", name, err)
		}
	}
}

// What keeps a broken creation from being done late, and what decides about commits
// that name no workflow, goes when the database is opened a day later.
func TestLeftoversAreSwept(t *testing.T) {
	h := newHarness(t, servers.One(), impatient)
	push := []queue.Outgoing{
		{ID: "a", Message: queue.StartWaitingWorkflows{Key: "k"}}, {ID: "b", Message: queue.StartWaitingWorkflows{Key: "k"}},
	}
	create := &persistence.Commit{
		WorkflowID: "w", Messages: push[:1],
		Header: &stabilize.Header{ID: "w", Application: "app", Name: "slow", Status: stabilize.Running, CreatedAt: h.clock.Now()},
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h.links[0].Intercept(func(c mongoproxy.Call) mongoproxy.Fault { // the process dies
		if c.Name == "insert" && about(c) == "workflows" {
			cancel()
		}
		return mongoproxy.Fault{Break: ctx.Err() != nil}
	})
	if err := h.first.CommitBatch(ctx, []*persistence.Commit{create})[0]; err == nil {
		t.Fatal("the creation was done")
	}
	h.links[0].Intercept(nil)
	h.must(t, h.second.Push(t.Context(), push...)) // breaks it off
	for _, decided := range []bool{false, true} {
		h.links[0].Intercept(func(c mongoproxy.Call) mongoproxy.Fault {
			if c.Name == "update" && about(c) == "steps" && !decided || c.Name == "delete" && about(c) == "steps" {
				return mongoproxy.Fault{Answer: refusal(t, 1)}
			}
			return mongoproxy.Fault{}
		})
		var more []queue.Outgoing
		for _, o := range push {
			more = append(more, queue.Outgoing{ID: fmt.Sprint(o.ID, decided), Message: o.Message})
		}
		_ = h.first.Push(t.Context(), more...)
	}
	h.links[0].Intercept(nil)
	want := map[time.Duration]int{0: 3, 25 * time.Hour: 0}
	for _, later := range []time.Duration{0, 25 * time.Hour} {
		h.clock.Advance(later)
		h.Reopen()
		rows, err := h.Rows(t.Context())
		h.must(t, err)
		if n := rows["steps"] + rows["workflows"]; n != want[later] {
			t.Errorf("after %s: %v, want %d", later, rows, want[later])
		}
	}
	pending, err := h.Second().Pending(t.Context(), "")
	h.must(t, err)
	if len(pending) != 4 {
		t.Errorf("%d messages are there, want those of the two pushes that were done", len(pending))
	}
}
