//go:build unix

package mongostore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/queue"
)

// Counting by index comes to the same as counting one by one.
func TestDepthByIndex(t *testing.T) {
	h := newHarness(t, servers.One())
	var msgs []queue.Outgoing
	for i := range 12 {
		o := queue.Outgoing{ID: fmt.Sprint("m", i), Message: queue.StartWaitingWorkflows{Key: "k"}, MaxAttempts: 1 + i%2}
		if i%4 == 3 {
			o.At = h.clock.Now().Add(time.Hour)
		}
		msgs = append(msgs, o)
	}
	h.must(t, h.first.Push(t.Context(), msgs...))
	same := func(when string) {
		t.Helper()
		one, err := h.first.Depth(t.Context())
		h.must(t, err)
		other, err := h.first.DepthByIndex(t.Context())
		h.must(t, err)
		if one != other {
			t.Errorf("%s: one by one %+v, by index %+v", when, one, other)
		}
	}
	claim := func(worker string, room int) {
		t.Helper()
		_, err := h.second.Claim(t.Context(), queue.Worker{ID: worker, TTL: time.Minute}, queue.Room{Control: room})
		h.must(t, err)
	}
	same("pushed")
	claim("silent", 4)
	same("claimed")
	h.clock.Advance(30 * time.Second)
	claim("alive", 2)
	h.clock.Advance(40 * time.Second)
	same("one has lapsed")
	h.clock.Advance(time.Hour)
	claim("heir", 1)
	same("some are dead")
	if got, err := h.first.Depth(t.Context()); err != nil || got.Dead == 0 || got.Leased != 1 || got.Ready == 0 {
		t.Errorf("%+v, %v", got, err)
	}
}
