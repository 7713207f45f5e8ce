//go:build unix

package mongostore_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/mongoproxy"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// A commit that is slow between its marks and the deciding write is broken off by
// whoever loses patience, and is not done then: it is judged by what there is now.
func TestPatienceEnds(t *testing.T) {
	h := newHarness(t, servers.One(), impatient)
	slow := h.scene(t, "slow")
	marked, resume := make(chan struct{}), make(chan struct{})
	var once sync.Once
	h.links[0].Intercept(func(c mongoproxy.Call) mongoproxy.Fault {
		if collection, _ := c.Body.Lookup(c.Name).StringValueOK(); c.Name == "update" && collection == "workflows" && !c.Executed() {
			once.Do(func() { close(marked); <-resume })
		}
		return mongoproxy.Fault{}
	})
	refused := make(chan error, 1)
	go func() { refused <- h.first.CommitBatch(t.Context(), []*persistence.Commit{slow})[0] }()
	<-marked
	before := h.seen(t, "slow")
	quick := &stabilize.Header{ID: "quick", Application: "app", Name: "quick", Status: stabilize.Running, CreatedAt: h.clock.Now()}
	h.must(t, h.second.CommitBatch(t.Context(), []*persistence.Commit{{
		WorkflowID: "quick", Header: quick, Admission: &persistence.Admission{Op: persistence.TakePlace, Key: "key", Limit: 1},
	}})[0])
	close(resume)
	if err := <-refused; !errors.Is(err, stabilize.ErrNoPlace) {
		t.Errorf("the slow commit returned %v, want that there is no place", err)
	}
	h.links[0].Intercept(nil)
	places, err := h.second.Admissions(t.Context(), "key")
	h.must(t, err)
	if len(places.Holding) != 1 || places.Holding[0] != "quick" {
		t.Errorf("%q hold the one place", places.Holding)
	}
	h.must(t, h.second.CommitBatch(t.Context(), []*persistence.Commit{{
		WorkflowID: "quick", Expect: 1, Admission: &persistence.Admission{Op: persistence.LeavePlace, Key: "key"},
	}})[0])
	if after := h.seen(t, "slow"); after != before {
		t.Errorf("the slow commit left %s, before it was %s", after, before)
	}
}
