package patterns

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

func adding(id, key string, values stabilize.Values) func(ctx context.Context, e *engine.Engine) error {
	return func(ctx context.Context, e *engine.Engine) error { return e.AddInstance(ctx, id, "W", key, values) }
}

func isClosed(err error) bool { return errors.Is(err, stabilize.ErrInstancesClosed) }

func added(r *run) {
	r.members()
	id := r.start(many(stabilize.Multi{Count: 2, Open: true}), tally("J", "W"), gate("G"))
	r.waits(id, "W[0]", "W[1]", "G")
	r.open(id, "W[0]")
	for range 2 { // the second adds none
		r.add(id, "k3", nil)
	}
	r.open(id, "W[1]")
	r.waits(id, "W[2]")
	r.act(func(ctx context.Context, e *engine.Engine) error { return e.CloseInstances(ctx, id, "W") })
	r.closed(id, "k4")
	r.add(id, "k3", nil) // it is there
	r.still(id, "J")
	r.open(id, "W[2]")
	r.until(id, "J has run", func(w *stabilize.Workflow) bool { return w.StageByRef("J").Status.IsComplete() })
	r.closed(id, "k5")
	r.open(id, "G")
	w := r.succeeds(id, commits(3, "W"), ran("J", "G"))
	r.instanceEnds(w, "W", "sss")
	r.saw(w, "J", 0, 1, 2)
}

// add adds an instance to W.
func (r *run) add(id, key string, with map[string]any) {
	r.Helper()
	values, err := stabilize.NewValues(with)
	r.must(err)
	r.act(adding(id, key, values))
}

// closed checks that no instance can be added to W any more.
func (r *run) closed(id, key string) {
	r.Helper()
	if err := r.try(adding(id, key, nil)); !isClosed(err) {
		r.Errorf("adding an instance says %v, want %v", err, stabilize.ErrInstancesClosed)
	}
}

// leftOpen: all that are there have ended, and it waits for more.
func leftOpen(r *run) {
	r.members()
	id := r.start(doing("member", "W").Instances(stabilize.Multi{Count: 2, Open: true}), tally("J", "W"))
	r.until(id, "both have ended", func(w *stabilize.Workflow) bool { return committed(w, "W") == 2 })
	r.still(id, "J")
	r.act(func(ctx context.Context, e *engine.Engine) error { return e.CloseInstances(ctx, id, "W") })
	w := r.succeeds(id, commits(2, "W"), ran("J"))
	r.saw(w, "J", 0, 1)
}

// races is how often a race is run in this cell: once each way it may go where a
// crash is tried at every commit.
func (r *run) races() int {
	if r.at.trouble == "" || !r.exact() {
		return 3
	}
	return 6
}

// addRace: the stage is complete when all instances have ended, and one is added
// shortly before the last of them ends, in the same instant, or shortly after.
func addRace(r *run) {
	r.members()
	for i := range r.races() {
		id := r.start(
			doing("member", "W").Instances(stabilize.Multi{Count: 2, Open: true, Until: "done == total"}), tally("J", "W"), gate("G"))
		w := r.until(id, "the instances have begun", func(w *stabilize.Workflow) bool {
			s := w.StageByRef("W[1]")
			return s != nil && !s.Tasks[0].StartedAt.IsZero()
		})
		last := w.StageByRef("W[1]").Tasks[0].StartedAt.Add(memberTakes)
		r.pause(last.Sub(r.clock.Now()) + time.Duration(i%3-1)*time.Millisecond)
		r.acceptedOrRefused(id, r.try(adding(id, "late", nil)))
	}
}

// closeRace: one is added and the stage closed in the same instant.
func closeRace(r *run) {
	r.members()
	for i := range r.races() {
		id := r.start(doing("member", "W").Instances(stabilize.Multi{Count: 2, Open: true}), tally("J", "W"), gate("G"))
		r.until(id, "W has begun", func(w *stabilize.Workflow) bool { return !w.StageByRef("W").StartedAt.IsZero() })
		var ask sync.WaitGroup
		var adds, closes error
		ask.Go(func() {
			r.pause(time.Duration(i%2) * time.Millisecond)
			adds = r.try(adding(id, "late", nil))
		})
		ask.Go(func() {
			r.pause(time.Duration(i%3) * time.Millisecond)
			closes = r.try(func(ctx context.Context, e *engine.Engine) error { return e.CloseInstances(ctx, id, "W") })
		})
		ask.Wait()
		if closes != nil && r.exact() {
			r.Errorf("closing says %v", closes)
		}
		r.acceptedOrRefused(id, adds)
	}
}

// acceptedOrRefused checks what became of an instance beside the two that W began
// with: refused, or run and waited for.
func (r *run) acceptedOrRefused(id string, err error) {
	r.Helper()
	n := 2
	w := r.until(id, "J has run", func(w *stabilize.Workflow) bool { return w.StageByRef("J").Status.IsComplete() })
	if w.StageByRef("W[2]") != nil {
		n = 3
	}
	if err != nil && !isClosed(err) {
		r.Errorf("adding an instance says %v", err)
	}
	// Asked again after a death, it may be refused although it was added.
	if accepted := err == nil; accepted != (n == 3) && (accepted || r.exact()) {
		r.Errorf("adding says %v, and there are %d instances: %s", err, n, kit.Describe(w))
	}
	r.open(id, "G")
	w = r.succeeds(id, commits(n, "W"), ran("J", "G"))
	r.instanceEnds(w, "W", strings.Repeat("s", n))
	r.saw(w, "J", []int{0, 1, 2}[:n]...)
}
