package engine_test

import (
	"context"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// An event says who asked for what it tells of; seen: nobody.
func TestEventsSayWhoAsked(t *testing.T) {
	both(t, func(r *rig) {
		r.gates()
		id := r.begin(stage("g").Do("gate"))
		settle()
		r.must(r.Pause(r.Context(), id, "ann"))
		r.must(r.Engine.Resume(r.Context(), id, "bob"))
		r.must(r.Cancel(r.Context(), id, "cid", "enough"))
		r.wait(id)
		want := map[events.Type]string{
			events.WorkflowStarted: "", events.WorkflowPaused: "ann", events.WorkflowResumed: "bob", events.WorkflowCanceling: "cid",
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, e := range r.events {
			if by, ok := want[e.Type]; ok {
				if e.By != by {
					t.Errorf("%s by %q, want %q", e.Type, e.By, by)
				}
				delete(want, e.Type)
			}
		}
		if len(want) > 0 {
			t.Errorf("no events of %v", want)
		}
	})
}

// A run that is put off is told of, and why.
func TestAnEventTellsOfBeingPutOff(t *testing.T) {
	both(t, func(r *rig) {
		r.task("narrow", sleepy(time.Minute), stabilize.WithBulkhead(1))
		for _, id := range r.crowd(4, "narrow") {
			r.wait(id)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		n := 0
		for _, e := range r.events {
			if e.Type == events.TaskPutOff {
				if n++; e.Reason != stabilize.ReasonBulkhead || e.TaskName != "narrow" || e.To != stabilize.Running {
					t.Errorf("put off: %+v", e)
				}
			}
		}
		if n == 0 {
			t.Error("nothing was said to be put off")
		}
	})
	both(t, func(r *rig) {
		r.task("seldom", func(context.Context, *stabilize.Execution) (stabilize.Result, error) { return stabilize.Success(), nil },
			stabilize.WithRateLimit(stabilize.RateLimit{Runs: 1, Per: time.Minute}))
		for _, id := range r.crowd(2, "seldom") {
			r.wait(id)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, e := range r.events {
			if e.Type == events.TaskPutOff && e.Reason == stabilize.ReasonRateLimit {
				return
			}
		}
		t.Error("nothing was said to be put off")
	})
}
