package engine_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// looked counts what Wait asks of the store.
type looked struct {
	persistence.Store
	summaries atomic.Int32
}

func (s *looked) Summary(ctx context.Context, id string) (*stabilize.Header, error) {
	s.summaries.Add(1)
	return s.Store.Summary(ctx, id)
}

// What this process moves tells of its end: it is not asked for.
func TestWaitDoesNotPollWhatMovesHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &looked{Store: inMemory(t)()}
		r := newRigOn(t, store)
		r.start()
		defer r.close()
		running, ended := make(chan struct{}), make(chan struct{})
		r.task("long", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			close(running)
			<-ended
			return stabilize.Success(), nil
		})
		id := r.begin(stage("a").Do("long"))
		<-running
		go func() {
			r.pass(900 * time.Millisecond)
			close(ended)
		}()
		r.wantStatus(r.wait(id), stabilize.Succeeded)
		if n := store.summaries.Load(); n != 0 {
			t.Errorf("Wait looked %d times within a second at a workflow that moves here", n)
		}
		// One that has ended is found at the first look.
		before := time.Now()
		r.wantStatus(r.wait(id), stabilize.Succeeded)
		if took := time.Since(before); took != 0 {
			t.Errorf("an ended workflow was waited for %s", took)
		}
	})
}

// An end that another process brought about is found although this one
// remembers the workflow.
func TestWaitFindsWhatAnotherProcessEnded(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		r := newRig(t, d)
		r.start()
		defer r.close()
		r.task("wait", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.Suspend("go"), nil
		})
		id := r.begin(stage("a").Do("wait"))
		settle()
		other := newRig(t, d)
		defer other.close()
		other.must(other.Cancel(t.Context(), id, "other", ""))
		w, err := r.Wait(t.Context(), id)
		r.must(err)
		r.wantStatus(w, stabilize.Canceled)
	})
}

// A process without workers learns of an end soon after it, measured by what the
// workflow took.
func TestWaitWhereNoWorkersRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := inMemory(t)
		r := newRig(t, d)
		r.start()
		defer r.close()
		other := newRig(t, d)
		defer other.close()
		for _, takes := range []time.Duration{time.Millisecond, 10 * time.Millisecond, 300 * time.Millisecond, 10 * time.Second} {
			r.task("takes "+takes.String(), func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
				time.Sleep(takes)
				return stabilize.Success(), nil
			})
			id := r.begin(stage("a").Do("takes " + takes.String()))
			start := time.Now()
			_, err := other.Wait(t.Context(), id)
			r.must(err)
			if took, most := time.Since(start), min(2*takes+2*time.Millisecond, takes+time.Second); took > most {
				t.Errorf("the end of a workflow of %s is known after %s", takes, took)
			}
		}
	})
}
