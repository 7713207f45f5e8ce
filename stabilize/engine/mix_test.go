package engine_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// Cases that combine features. Each begins with what is promised.

// more registers the task types that the tests here share: "wait" for the signal
// "go", "wait1h" for an hour at most, "work" for a minute, "hooked" waits for ever
// and needs two hours to be canceled.
func (r *rig) more() {
	r.Helper()
	suspend := func(d time.Duration) execute {
		return func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			switch {
			case x.Signal != nil || x.WaitOver:
				return stabilize.Success(), nil
			case d > 0:
				return stabilize.SuspendFor("go", d), nil
			}
			return stabilize.Suspend("go"), nil
		}
	}
	r.task("wait", suspend(0))
	r.task("wait1h", suspend(time.Hour))
	r.task("work", func(ctx context.Context, _ *stabilize.Execution) (stabilize.Result, error) {
		select {
		case <-ctx.Done():
			return stabilize.Result{}, ctx.Err()
		case <-time.After(time.Minute):
			return stabilize.Success(), nil
		}
	})
	r.task("hooked", suspend(0), stabilize.OnCancel(func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
		time.Sleep(2 * time.Hour)
		return stabilize.Success(), nil
	}))
	r.task("poll", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		if x.Polls < 2 {
			return stabilize.StillRunning(time.Minute), nil
		}
		return stabilize.Success(), nil
	})
}

// jumpOnce jumps the first time it runs.
func (r *rig) jumpOnce(name, target string) {
	r.Helper()
	jumped := false
	r.task(name, func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if jumped {
			return stabilize.Success(), nil
		}
		jumped = true
		return stabilize.JumpTo(target), nil
	})
}

// end waits for a workflow that may have ended before, and says where it is if
// it does not.
func (r *rig) end(id string) *stabilize.Workflow {
	r.Helper()
	time.Sleep(4 * time.Hour)
	synctest.Wait()
	w, err := r.Get(r.Context(), id)
	r.must(err)
	if !w.Status.IsComplete() {
		r.Fatalf("it never ends: %s", describe(w))
	}
	return w
}

func mixed(t *testing.T, test func(r *rig), opts ...engine.Option) {
	t.Helper()
	both(t, func(r *rig) { r.more(); test(r) }, append(opts, patient())...)
}
