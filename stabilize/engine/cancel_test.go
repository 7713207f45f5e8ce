package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// A task runs on one engine, and another on the same data cancels its workflow:
// the code is told within one heartbeat, a quarter of the lease, and what it
// answers then leaves no trace.
func TestACancelFromElsewhereReachesRunningCode(t *testing.T) {
	const lease = 4 * time.Second
	for _, works := range []bool{true, false} {
		t.Run(fmt.Sprint("the other works too: ", works), func(t *testing.T) {
			onStores(t, func(t *testing.T, d data) {
				opts := engine.WithConfig(engine.Config{LeaseTTL: lease})
				here, there := newRig(t, d, opts), newRig(t, d, opts)
				var told time.Time
				var cause error
				returned := make(chan struct{})
				here.task("long", func(ctx context.Context, _ *stabilize.Execution) (stabilize.Result, error) {
					defer close(returned)
					<-ctx.Done()
					told, cause = time.Now(), context.Cause(ctx)
					time.Sleep(time.Minute) // it is slow to stop, and wants to have the last word
					r := stabilize.Success()
					return r, r.Outputs.Set("late", true)
				})
				there.must(there.RegisterTask("long", stabilize.Func(func(context.Context, struct{}) (struct{}, error) {
					t.Error("the task ran on the other engine")
					return struct{}{}, nil
				})))
				here.start()
				id := here.begin(stage("a").Do("long"), stage("b", "a").Do("ok"))
				synctest.Wait()
				if works {
					there.start()
					defer there.close()
				}
				for range 7 { // at no special time between two heartbeats
					time.Sleep(333 * time.Millisecond)
				}
				canceled := time.Now()
				there.must(there.Cancel(t.Context(), id, "me", "changed my mind"))
				ended, err := there.Wait(t.Context(), id)
				there.must(err)
				there.wantStatus(ended, stabilize.Canceled)
				if took := time.Since(canceled); took > time.Second {
					t.Errorf("the workflow ended %s after the cancel, and waited for its task", took)
				}
				<-returned
				if took := told.Sub(canceled); took > lease/4+10*time.Millisecond {
					t.Errorf("the task was told after %s, want a quarter of %s", took, lease)
				}
				if !errors.Is(cause, stabilize.ErrLeaseLost) {
					t.Errorf("the cause is %v", cause)
				}
				time.Sleep(time.Minute)
				w, err := here.Get(t.Context(), id)
				here.must(err)
				if w.Version != ended.Version || len(w.StageByRef("a").Outputs) > 0 {
					t.Errorf("the late answer left version %d after %d and %v", w.Version, ended.Version, w.StageByRef("a").Outputs)
				}
				here.wantStage(w, "a", stabilize.Canceled, w.StageByRef("a").Reason)
				here.wantLog("a.long")
				pending, err := here.Store().Pending(t.Context(), id)
				here.must(err)
				if len(pending) > 0 {
					t.Errorf("messages are left: %+v", pending)
				}
				here.wantStatus(here.wait(here.begin(stage("next").Do("ok"))), stabilize.Succeeded)
				here.close()
			})
		})
	}
}

// A cancel decided where the task runs is told at once, as what it is.
func TestACancelHereIsToldAtOnce(t *testing.T) {
	both(t, func(r *rig) {
		told := make(chan error, 1)
		r.task("long", func(ctx context.Context, _ *stabilize.Execution) (stabilize.Result, error) {
			<-ctx.Done()
			told <- context.Cause(ctx)
			return stabilize.Success(), nil
		})
		id := r.begin(stage("a").Do("long"))
		synctest.Wait()
		began := time.Now()
		r.must(r.Cancel(r.Context(), id, "", ""))
		if cause := <-told; !errors.Is(cause, stabilize.ErrCanceled) || time.Since(began) > 0 {
			r.Errorf("told after %s: %v", time.Since(began), cause)
		}
		r.wantStatus(r.wait(id), stabilize.Canceled)
	})
}
