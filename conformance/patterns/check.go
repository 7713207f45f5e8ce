package patterns

import (
	"fmt"
	"strings"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// checkAll checks what holds after every scenario, of every workflow in the data.
func (r *run) checkAll() {
	r.Helper()
	if !r.begun {
		return
	}
	r.drained()
	for _, h := range r.workflows() {
		if h.Application == queue.LockApplication {
			if !h.Status.IsComplete() {
				r.Errorf("the lock %s is still held: %s", h.Name, h.Context)
			}
			continue
		}
		r.checkWorkflow(r.load(h.ID))
	}
	if lister, ok := r.look.(persistence.WaitingKeys); ok {
		keys, err := lister.WaitingKeys(r.Context())
		r.must(err)
		if len(keys) > 0 {
			r.Errorf("somebody still waits for a place: %+v", keys)
		}
	}
	letters, err := r.look.ListDead(r.Context(), "", 10)
	r.must(err)
	if len(letters) > 0 {
		r.Errorf("dead letters: %+v", letters)
	}
	r.checkEvents()
}

// leaves allows signals that nobody has consumed.
func (r *run) leaves(id string, signals int) { r.leftover[id] = signals }

// drained waits until no message is left, late copies and the messages between
// workflows included.
func (r *run) drained() {
	r.Helper()
	for delay, waited := time.Millisecond, time.Duration(0); ; delay = min(2*delay, time.Second/2) {
		d, err := r.look.Depth(r.Context())
		r.must(err)
		if d.Live() == 0 {
			return
		}
		if waited > r.patience() {
			left, _ := r.look.Pending(r.Context(), "")
			r.Fatalf("messages are left: %+v %+v", d, left)
		}
		r.pause(delay)
		waited += delay
	}
}

// workflows returns the headers of all workflows in the data.
func (r *run) workflows() []*stabilize.Header {
	r.Helper()
	var out []*stabilize.Header
	for token := ""; ; {
		page, err := r.look.Query(r.Context(), persistence.Query{Token: token})
		r.must(err)
		out = append(out, page.Workflows...)
		if token = page.Next; token == "" {
			return out
		}
	}
}

func (r *run) checkWorkflow(w *stabilize.Workflow) {
	r.Helper()
	if !w.Status.IsComplete() {
		r.Errorf("a workflow has not ended, and no message is left: %s", kit.Describe(w))
		return
	}
	for _, s := range w.Stages {
		if !s.Status.IsComplete() {
			r.Errorf("the workflow is %s, its stage %s is %s: %s", w.Status, s.Ref, s.Status, kit.Describe(w))
		}
		for _, t := range s.Tasks {
			if !t.Status.IsComplete() {
				r.Errorf("the workflow is %s, task %s of stage %s is %s", w.Status, t.Name, s.Ref, t.Status)
			}
			if t.Run != "" {
				r.Errorf("task %s of stage %s ended with a run out", t.Name, s.Ref)
			}
		}
	}
	left := 0
	for _, g := range w.Signals {
		if !g.Consumed {
			left++
		}
	}
	if left != r.leftover[w.ID] {
		r.Errorf("%d signals are left, want %d: %+v", left, r.leftover[w.ID], w.Signals)
	}
	if len(w.Locks) > 0 {
		r.Errorf("the workflow ended with locks: %+v", w.Locks)
	}
	if key := w.ConcurrencyKey(); key != "" {
		places, err := r.look.Admissions(r.Context(), key)
		r.must(err)
		if len(places.Holding)+len(places.Waiting) > 0 {
			r.Errorf("places are still taken: %+v", places)
		}
	}
}

// checkEvents checks that all moves are legal and, where none can have been
// lost, that each end was recorded once.
func (r *run) checkEvents() {
	r.Helper()
	if r.exact() {
		r.checkEnds()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.From != e.To && !e.From.CanTransition(e.To) {
			r.Errorf("%s of %s from %s to %s is no legal move", e.Type, name(e), e.From, e.To)
		}
		if strings.HasSuffix(string(e.Type), ".completed") && !e.To.IsComplete() {
			r.Errorf("%s of %s, but it is %s", e.Type, name(e), e.To)
		}
	}
}

// checkEnds waits for the ends to be recorded, which is after their commit.
func (r *run) checkEnds() {
	r.Helper()
	recorded := func(id string) (n int) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, e := range r.events {
			if e.WorkflowID == id && e.Type == events.WorkflowCompleted {
				n++
			}
		}
		return n
	}
	for _, h := range r.workflows() {
		if h.Application == queue.LockApplication {
			continue
		}
		want := max(r.finished[h.ID], 1)
		for delay, waited := 2*time.Millisecond, time.Duration(0); recorded(h.ID) < want && waited <= r.patience(); delay = min(2*delay, time.Second/2) {
			r.pause(delay)
			waited += delay
		}
		if got := recorded(h.ID); got != want {
			r.Errorf("the end of workflow %s was recorded %d times, want %d", h.ID, got, want)
		}
	}
}

func name(e events.Event) string {
	return fmt.Sprintf("%s %s#%d %s", e.Entity(), e.StageRef, e.Round, e.TaskName)
}
