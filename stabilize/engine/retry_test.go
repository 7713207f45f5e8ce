package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func TestWhatAFailedTryLearnedIsCarriedToTheNext(t *testing.T) {
	both(t, func(r *rig) {
		r.task("upload", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			done, _ := stabilize.Get[int](x.Context, "done")
			if x.Attempt != done+1 {
				t.Errorf("attempt %d sees what try %d left", x.Attempt, done)
			}
			if done == 3 {
				return stabilize.Success(), nil
			}
			var state stabilize.Values
			r.must(state.Set("done", done+1))
			return stabilize.Result{}, &stabilize.TransientError{Cause: errors.New("half"), RetryAfter: time.Duration(done+1) * time.Minute, Context: state}
		})
		began := time.Now()
		w := r.finish(stage("a").Do("upload"))
		r.wantStatus(w, stabilize.Succeeded)
		if took := time.Since(began); took < 6*time.Minute || took > 6*time.Minute+5*time.Second {
			t.Errorf("it took %s, want the 1, 2 and 3 minutes that the tries asked for", took)
		}
		if task := w.StageByRef("a").Tasks[0]; task.Failures != 3 || task.Polls != 0 {
			t.Errorf("%d failures and %d polls were counted", task.Failures, task.Polls)
		}
	})
}

func TestARetryPolicyDecidesWhatIsTriedAgain(t *testing.T) {
	plain, quota := errors.New("plain"), errors.New("quota")
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	fails := func(err error) func(context.Context) error { return func(context.Context) error { return err } }
	anything := stabilize.RetryPolicy{MaxFailures: 3, When: stabilize.AnyError, Never: []error{quota}}
	for _, c := range []struct {
		name   string
		policy stabilize.RetryPolicy
		fail   func(context.Context) error
		tries  int
		code   string
	}{
		{"a plain error", stabilize.RetryPolicy{}, fails(plain), 1, stabilize.CodeTaskFailed},
		{"a plain error where any is", anything, fails(plain), 3, stabilize.CodeRetriesExhausted},
		{"a permanent one where any is", anything, fails(stabilize.Permanent(plain)), 1, stabilize.CodeTaskFailed},
		{"one that never is", anything, fails(fmt.Errorf("over: %w", quota)), 1, stabilize.CodeTaskFailed},
		{"a transient one whose policy says no", stabilize.RetryPolicy{When: func(error) bool { return false }}, fails(stabilize.Transient(plain)), 1, stabilize.CodeTaskFailed},
		{"a classifier that panics", stabilize.RetryPolicy{When: func(error) bool { panic("classifier") }}, fails(plain), 1, stabilize.CodePanic},
		{"a panic", anything, func(context.Context) error { panic("boom") }, 1, stabilize.CodePanic},
		{"a run whose time is over", stabilize.RetryPolicy{MaxFailures: 3}, hang, 1, stabilize.CodeTimeout},
		{"a run whose time is over where any error is", anything, hang, 3, stabilize.CodeRetriesExhausted},
		{"a run whose time is over and a classifier that panics", stabilize.RetryPolicy{When: func(error) bool { panic("classifier") }}, hang, 1, stabilize.CodeTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(r *rig) {
				var tries atomic.Int32
				r.task("fails", func(ctx context.Context, _ *stabilize.Execution) (stabilize.Result, error) {
					tries.Add(1)
					return stabilize.Result{}, c.fail(ctx)
				}, stabilize.WithRetry(c.policy), stabilize.WithRunTimeout(time.Minute))
				w := r.finish(stage("a").Do("fails"))
				r.wantStatus(w, stabilize.Terminal)
				if n := int(tries.Load()); n != c.tries || codeOf(w) != c.code {
					t.Errorf("%d tries, want %d; the failure is %+v, want %s", n, c.tries, w.Failure, c.code)
				}
			})
		})
	}
}

// Tasks that fail together come back apart, and each when the policy says.
func TestJitterSpreadsTriesAndIsTheSameEveryTime(t *testing.T) {
	both(t, func(r *rig) {
		policy := stabilize.RetryPolicy{MaxFailures: 4, Backoff: stabilize.Backoff{Initial: time.Minute}, Jitter: 0.5}
		tries := map[string][]time.Time{}
		r.task("busy", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			tries[x.Task.ID] = append(tries[x.Task.ID], time.Now())
			return stabilize.Result{}, stabilize.Transient(errors.New("busy"))
		}, stabilize.WithRetry(policy))
		var stages []*stabilize.StageSpec
		for i := range 10 {
			stages = append(stages, stage(fmt.Sprint("s", i)).Do("busy").OnFailure(stabilize.ContinueOnFailure))
		}
		r.finish(stages...)
		together := map[time.Time]bool{}
		for id, at := range tries {
			if len(at) != 4 {
				t.Fatalf("%d tries", len(at))
			}
			for n := 1; n < len(at); n++ {
				want := policy.Delay(id, n)
				if gap := at[n].Sub(at[n-1]); gap < want || gap > want+time.Second {
					t.Errorf("try %d came %s after the one before, want %s", n+1, gap, want)
				}
			}
			together[at[1].Truncate(time.Second)] = true
		}
		// Ten draws of 30 seconds: three or fewer different ones is one in a million.
		if len(together) < 4 {
			t.Errorf("10 tasks came back at %d different seconds", len(together))
		}
	})
}
