//go:build unix

package mongostore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/mongoproxy"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func refusal(t *testing.T, code int32) bson.Raw {
	t.Helper()
	raw, err := bson.Marshal(bson.D{{Key: "ok", Value: 0}, {Key: "code", Value: code}, {Key: "errmsg", Value: "so it was asked for"}})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// A server that cannot give a majority is told from one that is broken.
func TestNoMajority(t *testing.T) {
	server := servers.One()
	database := server.Database(t)
	for _, command := range []string{"find", "createIndexes", "insert"} {
		for _, code := range []int32{79, 100, 148} {
			link := server.Link(t)
			link.Intercept(func(c mongoproxy.Call) mongoproxy.Fault {
				if c.Name == command && !c.Executed() {
					return mongoproxy.Fault{Answer: refusal(t, code)}
				}
				return mongoproxy.Fault{}
			})
			_, err := mongostore.Open(t.Context(), mongostore.Config{URI: link.URI(), Database: database, Migrate: true})
			if !errors.Is(err, stabilize.ErrInvalid) || !strings.Contains(err.Error(), "majority") {
				t.Errorf("%s, code %d: %v", command, code, err)
			}
		}
	}
}

// A primary that steps down in a commit, before or after the deciding write, leaves
// no doubt: what the commit returned is so.
func TestStepDown(t *testing.T) {
	h := newHarness(t, servers.One())
	for _, executed := range []bool{false, true} {
		for _, code := range []int32{10107, 189, 112, 91, 11600, 11602, 13435, 13436, 6, 89} {
			id := fmt.Sprint("w-", code, executed)
			c := h.scene(t, id)
			var once atomic.Bool
			h.links[0].Intercept(func(call mongoproxy.Call) mongoproxy.Fault {
				collection, _ := call.Body.Lookup(call.Name).StringValueOK()
				if call.Name == "update" && collection == "workflows" && call.Executed() == executed && !once.Swap(true) {
					return mongoproxy.Fault{Answer: refusal(t, code)}
				}
				return mongoproxy.Fault{}
			})
			err := h.first.CommitBatch(context.WithoutCancel(t.Context()), []*persistence.Commit{c})[0]
			h.links[0].Intercept(nil)
			applied := strings.HasPrefix(h.seen(t, id), "version 2")
			switch {
			case !once.Load():
				t.Fatal("no deciding write was seen")
			case executed && err != nil, applied != (err == nil):
				t.Errorf("code %d, executed %v: the commit returned %v, applied is %v", code, executed, err, applied)
			case err != nil && !errors.Is(err, stabilize.ErrTransient):
				t.Errorf("code %d: %v is not transient", code, err)
			}
			h.must(t, h.second.Delete(t.Context(), id))
			h.must(t, h.first.Retire(t.Context(), "worker of "+id))
		}
	}
}

// A commit of a batch that the server refuses leaves the others alone.
func TestOneIsRefused(t *testing.T) {
	h := newHarness(t, servers.One())
	var commits []*persistence.Commit
	for _, id := range []string{"a", "b", "c"} {
		h.must(t, h.first.Push(t.Context(), queue.Outgoing{ID: id, Message: queue.StartWaitingWorkflows{Key: "k"}}))
	}
	got, err := h.first.Claim(t.Context(), queue.Worker{ID: "worker", TTL: time.Minute}, queue.Room{Control: 10})
	h.must(t, err)
	for _, d := range got {
		commits = append(commits, &persistence.Commit{
			Handled: []queue.Receipt{d.Receipt()}, Messages: []queue.Outgoing{{ID: "next " + d.ID, Message: d.Message}},
		})
	}
	h.links[0].Intercept(func(c mongoproxy.Call) mongoproxy.Fault {
		if list, ok := c.Body.Lookup("updates").ArrayOK(); ok && about(c) == "messages" && !c.Executed() {
			for _, update := range must(list.Values()) {
				if id, _ := update.Document().Lookup("q", "_id").StringValueOK(); id == "b" {
					return mongoproxy.Fault{Answer: mongoproxy.WriteError(17419, "too large")}
				}
			}
		}
		if list, ok := c.Body.Lookup("documents").ArrayOK(); ok && about(c) == "workflows" && !c.Executed() {
			for _, document := range must(list.Values()) {
				if document.Document().Lookup("_id").StringValue() == "b" {
					return mongoproxy.Fault{Answer: refusal(t, 10334)}
				}
			}
		}
		return mongoproxy.Fault{}
	})
	var creations []*persistence.Commit
	for _, d := range got {
		creations = append(creations, &persistence.Commit{WorkflowID: d.ID, Header: &stabilize.Header{
			ID: d.ID, Application: "app", Name: "large", Status: stabilize.Running, CreatedAt: h.clock.Now(),
		}})
	}
	errs := append(h.first.CommitBatch(t.Context(), commits), h.first.CommitBatch(t.Context(), creations)...)
	h.links[0].Intercept(nil)
	for i, err := range errs {
		if id := got[i%len(got)].ID; id == "b" && !errors.Is(err, stabilize.ErrTooLarge) || id != "b" && err != nil {
			t.Errorf("commit %d, about %s, returned %v", i, id, err)
		}
	}
}

// What the driver does not send, because it is too large, is told as what a server
// refuses for that.
func TestTooLargeToBeSent(t *testing.T) {
	err := fmt.Errorf("inserting: %w", driver.ErrDocumentTooLarge)
	if class := mongostore.ClassOf(err); !errors.Is(class, stabilize.ErrTooLarge) || !mongostore.Refused(err) {
		t.Errorf("%v, refused for good: %v", class, mongostore.Refused(err))
	}
}

// An answer that is lost leaves one commit in doubt, and not those beside it.
func TestOneAnswerIsLost(t *testing.T) {
	h := newHarness(t, servers.One())
	var commits []*persistence.Commit
	for _, id := range []string{"a", "b"} {
		h.must(t, h.first.Push(t.Context(), queue.Outgoing{ID: id, Message: queue.StartWaitingWorkflows{Key: "k"}}))
		commits = append(commits, &persistence.Commit{Discard: []string{id}})
	}
	h.links[0].Intercept(func(c mongoproxy.Call) mongoproxy.Fault {
		id, _ := c.Body.Lookup("deletes", "0", "q", "_id").StringValueOK()
		return mongoproxy.Fault{Break: c.Name == "delete" && id == "b" && !c.Executed()}
	})
	errs := h.first.CommitBatch(t.Context(), commits)
	h.links[0].Intercept(nil)
	if errs[0] != nil || !errors.Is(errs[1], stabilize.ErrUnknownOutcome) {
		t.Errorf("%v, want that only the second is not known", errs)
	}
}
