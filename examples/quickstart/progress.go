package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// progress listens to the committed events of one run: it wakes whoever shows
// the run, and ends the process the hard way when it was asked to.
type progress struct {
	killAfter int
	out       *output
	changed   chan struct{}

	mu       sync.Mutex
	workflow string
	finished int
}

func newProgress(killAfter int, out *output) *progress {
	return &progress{killAfter: killAfter, out: out, changed: make(chan struct{}, 1)}
}

// follow names the run.
func (p *progress) follow(workflowID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.workflow = workflowID
}

// Record implements events.Recorder.
func (p *progress) Record(_ context.Context, evs []events.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range evs {
		if evs[i].WorkflowID != p.workflow {
			continue
		}
		if evs[i].Type == events.TaskCompleted {
			p.finished++
			if p.finished == p.killAfter {
				p.die()
			}
		}
		select {
		case p.changed <- struct{}{}:
		default: // it is awake already
		}
	}
}

// die is kill -9: nothing is flushed, released or said goodbye to.
func (p *progress) die() {
	p.out.last(fmt.Sprintf("kill -9 after %s; start again with the same -db to go on", counted(p.finished, "finished task")))
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(err)
	}
	select {} // not one instruction more
}

// watch reports the run whenever it has changed, until it has ended, then once
// more. It looks once a second as well: another process may work on it too.
func (p *progress) watch(eng *engine.Engine, id string, ended <-chan struct{}, report func(*stabilize.Workflow)) {
	look := func() {
		if w, err := eng.Get(context.Background(), id); err == nil { // else the next look, or Wait, tells
			report(w)
		}
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-p.changed:
			look()
		case <-tick.C:
			look()
		case <-ended:
			look()
			return
		}
	}
}
