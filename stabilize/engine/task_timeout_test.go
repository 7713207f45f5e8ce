package engine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// The timeout of a task is that of all its runs and the delays between them; seen:
// each run had it anew, so that a task that polled never ended.
func TestTheTimeoutOfATaskIsThatOfAllItsRuns(t *testing.T) {
	polls := func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
		return stabilize.StillRunning(10 * time.Minute), nil
	}
	fails := func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
		return stabilize.Result{}, stabilize.Transient(errors.New("not yet"))
	}
	takes := func(ctx context.Context, _ *stabilize.Execution) (stabilize.Result, error) {
		select {
		case <-ctx.Done():
			return stabilize.Result{}, ctx.Err()
		case <-time.After(9 * time.Minute):
			return stabilize.StillRunning(time.Minute), nil
		}
	}
	hangs := func(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		if x.Polls == 0 {
			return stabilize.StillRunning(10 * time.Minute), nil
		}
		<-ctx.Done()
		return stabilize.Result{}, ctx.Err()
	}
	waits := func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		if x.Signal == nil && x.Polls == 0 {
			return stabilize.Suspend("go"), nil
		}
		return stabilize.StillRunning(10 * time.Minute), nil
	}
	retry := stabilize.WithRetry(stabilize.RetryPolicy{
		MaxFailures: 100, Backoff: stabilize.Backoff{Initial: 10 * time.Minute, Max: 10 * time.Minute, Factor: 1}, When: func(error) bool { return true },
	})
	hook := stabilize.OnTimeout(func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
		return stabilize.FailAndContinue("too long"), nil
	})
	for name, c := range map[string]struct {
		fn     execute
		opts   []stabilize.FuncOption
		during func(r *rig, id string)
		runs   int
		after  time.Duration
		status stabilize.Status
	}{
		"polls":          {polls, nil, nil, 3, 25 * time.Minute, stabilize.Terminal},
		"retries":        {fails, []stabilize.FuncOption{retry}, nil, 3, 25 * time.Minute, stabilize.Terminal},
		"runs":           {takes, nil, nil, 3, 25 * time.Minute, stabilize.Terminal},
		"the last run":   {hangs, []stabilize.FuncOption{retry}, nil, 2, 25 * time.Minute, stabilize.Terminal},
		"an answer then": {polls, []stabilize.FuncOption{hook}, nil, 3, 25 * time.Minute, stabilize.Succeeded},
		"the time paused does not count": {polls, nil, func(r *rig, id string) {
			r.pass(5 * time.Minute)
			r.must(r.Pause(r.Context(), id, "ann"))
			r.pass(65 * time.Minute) // a run was due after 10
			r.must(r.Engine.Resume(r.Context(), id, "ann"))
		}, 3, 85 * time.Minute, stabilize.Terminal},
		"nor the time suspended": {waits, nil, func(r *rig, id string) {
			r.pass(time.Hour)
			r.signal(id, "go", "1")
		}, 4, 85 * time.Minute, stabilize.Terminal},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(r *rig) {
				r.task("slow", c.fn, append(c.opts, stabilize.WithTimeout(25*time.Minute))...)
				began := time.Now()
				id := r.begin(stage("a").Do("slow"))
				if c.during != nil {
					c.during(r, id)
				}
				w := r.wait(id)
				r.wantStatus(w, c.status)
				if c.status == stabilize.Terminal && codeOf(w) != stabilize.CodeTimeout {
					t.Errorf("the failure is %+v", w.Failure)
				}
				took := time.Since(began)
				if n := r.ran("a.slow"); n != c.runs || took < c.after || took > c.after+time.Minute {
					t.Errorf("it ended after %s and %d runs, want %s and %d", took, n, c.after, c.runs)
				}
			}, patient())
		})
	}
}

// The limit of one run leaves time for others.
func TestTheTimeoutOfARunAndOfItsTask(t *testing.T) {
	both(t, func(r *rig) {
		r.task("deaf", func(ctx context.Context, _ *stabilize.Execution) (stabilize.Result, error) {
			<-ctx.Done()
			return stabilize.Result{}, ctx.Err()
		}, stabilize.WithRunTimeout(4*time.Minute), stabilize.WithTimeout(11*time.Minute), stabilize.WithRetry(stabilize.RetryPolicy{
			MaxFailures: 100, Backoff: stabilize.Backoff{Initial: time.Minute, Factor: 1}, When: func(error) bool { return true },
		}))
		began := time.Now()
		w := r.finish(stage("a").Do("deaf"))
		r.wantStatus(w, stabilize.Terminal)
		if took := time.Since(began); codeOf(w) != stabilize.CodeTimeout || r.ran("a.deaf") != 3 || took > 12*time.Minute {
			t.Errorf("it ended after %s and %d runs: %+v", took, r.ran("a.deaf"), w.Failure)
		}
	})
}
