package controltest

import (
	"context"
	"sync"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// watched is a process's handle. It ends a shift after its first claim, keeps
// what was committed, and can line its steps up with those of another process.
type watched struct {
	persistence.Store

	mu     sync.Mutex
	stop   func() // ends the shift
	failed error  // of the last claim
	line   *line
	past   []moment
}

// moment is the status that something had from a version of its workflow on.
type moment struct {
	workflow string
	version  int64
	what     string
	status   stabilize.Status
}

// withPowers returns the handle with those optional powers that change what an
// engine reads and writes.
func (w *watched) withPowers() persistence.Store {
	r, refreshes := w.Store.(persistence.Refresher)
	l, limited := w.Store.(persistence.Limits)
	switch {
	case refreshes && limited:
		return struct {
			*watched
			persistence.Refresher
			persistence.Limits
		}{w, r, l}
	case refreshes:
		return struct {
			*watched
			persistence.Refresher
		}{w, r}
	case limited:
		return struct {
			*watched
			persistence.Limits
		}{w, l}
	default:
		return w
	}
}

// EventLog implements persistence.EventKeeper.
func (w *watched) EventLog() events.Log { return persistence.EventLogOf(w.Store) }

// Claim implements queue.Queue.
func (w *watched) Claim(ctx context.Context, worker queue.Worker, room queue.Room) ([]queue.Delivery, error) {
	got, err := w.Store.Claim(ctx, worker, room)
	w.mu.Lock()
	stop, l := w.stop, w.line
	w.failed = err
	w.mu.Unlock()
	if stop != nil {
		stop()
	}
	l.meet(afterClaim)
	return got, err
}

// CommitBatch implements persistence.WorkflowStore.
func (w *watched) CommitBatch(ctx context.Context, commits []*persistence.Commit) []error {
	w.mu.Lock()
	l := w.line
	w.mu.Unlock()
	l.meet(beforeCommit)
	errs := w.Store.CommitBatch(ctx, commits)
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, c := range commits {
		if i < len(errs) && errs[i] == nil {
			w.keep(c)
		}
	}
	return errs
}

// keep must be called with mu held.
func (w *watched) keep(c *persistence.Commit) {
	add := func(what string, status stabilize.Status) {
		w.past = append(w.past, moment{c.WorkflowID, c.Expect + 1, what, status})
	}
	if c.Header != nil {
		add("the workflow", c.Header.Status)
	}
	for _, s := range c.Stages {
		add("stage "+s.ID, s.Status)
		for _, t := range s.Tasks {
			add("task "+t.ID, t.Status)
		}
	}
}

// moments returns what was committed through this handle.
func (w *watched) moments() []moment {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]moment{}, w.past...)
}

// refused is the error of the last claim.
func (w *watched) refused() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// begin begins a shift.
func (w *watched) begin(stop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stop = stop
}

// join lines the handle up with the others of a line.
func (w *watched) join(l *line) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.line = l
}

// leave ends a shift, and the lining up: nobody waits for this handle any more.
func (w *watched) leave() {
	w.mu.Lock()
	l := w.line
	w.stop, w.line = nil, nil
	w.mu.Unlock()
	l.leave()
}

// The points at which the parties of a line meet, each once.
const (
	afterClaim = iota
	beforeCommit
	points
)

// line makes several processes do the same at the same time: each waits at a
// point until all have come to it or left. A nil line waits for nobody.
type line struct {
	mu      sync.Mutex
	parties int
	here    [points]int
	open    [points]chan struct{}
}

func newLine(parties int) *line {
	l := &line{parties: parties}
	for i := range l.open {
		l.open[i] = make(chan struct{})
	}
	return l
}

func (l *line) meet(point int) {
	if l == nil {
		return
	}
	l.mu.Lock()
	l.here[point]++
	l.release()
	l.mu.Unlock()
	<-l.open[point]
}

func (l *line) leave() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parties--
	l.release()
}

// release must be called with mu held.
func (l *line) release() {
	for i, n := range l.here {
		if n < l.parties {
			continue
		}
		select {
		case <-l.open[i]:
		default:
			close(l.open[i])
		}
	}
}
