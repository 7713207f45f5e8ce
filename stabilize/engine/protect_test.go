package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// crowd begins n workflows of one task.
func (r *rig) crowd(n int, task string) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = r.begin(stage(fmt.Sprint("s", i)).Do(task))
	}
	return ids
}

// waitCrowd waits for all of them to succeed without a failure or a poll.
func (r *rig) waitCrowd(ids []string) {
	r.Helper()
	for _, id := range ids {
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		if task := w.Stages[0].Tasks[0]; task.Failures+task.Polls > 0 || task.LastError != "" {
			r.Errorf("being put off counted as %d failures and %d polls (%s)", task.Failures, task.Polls, task.LastError)
		}
	}
}

func TestABulkheadBoundsItsTypeAndNoOther(t *testing.T) {
	for _, took := range []time.Duration{50 * time.Millisecond, 4 * time.Second} {
		t.Run(took.String(), func(t *testing.T) {
			both(t, func(r *rig) {
				now, most := 0, 0
				r.task("narrow", func(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
					if x.Attempt != 1 {
						t.Errorf("a run that was put off was told it is attempt %d", x.Attempt)
					}
					r.mu.Lock()
					now++
					most = max(most, now)
					r.mu.Unlock()
					defer func() {
						r.mu.Lock()
						now--
						r.mu.Unlock()
					}()
					return sleepy(took)(ctx, x)
				}, stabilize.WithBulkhead(3))
				const n = 40
				began := time.Now()
				ids := r.crowd(n, "narrow")
				// The worker has ten places, and four of them are nobody else's.
				for range 20 {
					at := time.Now()
					r.wait(r.begin(stage("other").Do("ok")))
					if d := time.Since(at); d > time.Second {
						t.Errorf("another type's task took %s", d)
					}
				}
				r.waitCrowd(ids)
				least := took * n / 3
				if d := time.Since(began); d < least || d > least*3/2+2*time.Second {
					t.Errorf("it took %s, 3 at a time need %s", d, least)
				}
				if most != 3 {
					t.Errorf("%d ran at once, want 3", most)
				}
			}, engine.WithConcurrency(10))
		})
	}
}

// Code that goes on after its time was over keeps its place: what the bulkhead
// protects is still in use.
func TestABulkheadCountsWhatReallyRuns(t *testing.T) {
	both(t, func(r *rig) {
		now, most := 0, 0
		r.task("deaf", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			r.mu.Lock()
			now++
			most = max(most, now)
			r.mu.Unlock()
			time.Sleep(time.Minute)
			r.mu.Lock()
			now--
			r.mu.Unlock()
			return stabilize.Success(), nil
		}, stabilize.WithBulkhead(1), stabilize.WithTimeout(time.Second))
		for _, id := range r.crowd(5, "deaf") {
			w := r.wait(id)
			if codeOf(w) != stabilize.CodeTimeout {
				t.Errorf("it ended %s, %+v", w.Status, w.Failure)
			}
		}
		time.Sleep(time.Minute)
		if most != 1 {
			t.Errorf("%d ran at once", most)
		}
	})
}

func TestWhatIsPutOffCanBeCanceled(t *testing.T) {
	both(t, func(r *rig) {
		// Its hook is not held up by the bulkhead.
		r.task("narrow", sleepy(time.Hour), stabilize.WithBulkhead(1), stabilize.OnCancel(sleepy(0)))
		ids := r.crowd(4, "narrow") // one runs, one waits for its place, two are put off
		time.Sleep(time.Second)
		running := slices.IndexFunc(ids, func(id string) bool {
			w, err := r.Get(r.Context(), id)
			r.must(err)
			return fmt.Sprint(r.logged()) == fmt.Sprintf("[%s.narrow]", w.Stages[0].Ref)
		})
		if running < 0 {
			t.Fatalf("running: %v", r.logged())
		}
		ids = append(append(ids[:running:running], ids[running+1:]...), ids[running])
		for _, id := range ids { // the one that runs at last
			began := time.Now()
			r.must(r.Cancel(r.Context(), id, "", ""))
			r.wantStatus(r.wait(id), stabilize.Canceled)
			if d := time.Since(began); d > 0 {
				t.Errorf("canceling took %s", d)
			}
		}
		if n := len(r.logged()); n != 1 {
			t.Errorf("%d tasks ran, want one", n)
		}
		r.task("after", sleepy(0))
		r.waitCrowd(r.crowd(1, "after"))
	})
}

// An outage of ten minutes costs few tries while the breaker is open, and no
// task its limit.
func TestABreakerPutsRunsOffDuringAnOutage(t *testing.T) {
	for _, c := range []struct {
		name     string
		opts     []stabilize.FuncOption
		finished bool
		calls    int // at most
	}{
		{"without", nil, false, 1000},
		{"with", []stabilize.FuncOption{stabilize.WithBreaker(stabilize.BreakerPolicy{Failures: 3, Delay: time.Minute})}, true, 20 + 10 + 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(r *rig) {
				up := time.Now().Add(10 * time.Minute)
				calls := 0

				r.task("call", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
					r.mu.Lock()
					defer r.mu.Unlock()
					if calls++; time.Now().Before(up) {
						return stabilize.Result{}, stabilize.Transient(errors.New("down"))
					}
					return stabilize.Success(), nil
				}, c.opts...)
				ids := r.crowd(20, "call")
				finished := 0
				for _, id := range ids {
					if w := r.wait(id); w.Status == stabilize.Succeeded {
						finished++
					}
				}
				if (finished == len(ids)) != c.finished || calls > c.calls {
					t.Errorf("%d of %d succeeded with %d calls", finished, len(ids), calls)
				}
				if late := time.Since(up); c.finished && late > 2*time.Minute {
					t.Errorf("the last ended %s after the outage", late)
				}
			})
		})
	}
}

func TestWhatABreakerCounts(t *testing.T) {
	odd := errors.New("odd")
	only := stabilize.BreakerPolicy{Failures: 1, Delay: 10 * time.Minute, Counts: func(err error) bool { return errors.Is(err, odd) }}
	plain := stabilize.BreakerPolicy{Failures: 1, Delay: 10 * time.Minute}
	for _, c := range []struct {
		name   string
		policy stabilize.BreakerPolicy
		run    func(context.Context) (stabilize.Result, error)
		opens  bool
	}{
		{"success", plain, func(context.Context) (stabilize.Result, error) { return stabilize.Success(), nil }, false},
		{"a refusal", plain, func(context.Context) (stabilize.Result, error) { return stabilize.Fail("no"), nil }, false},
		{"a final error", plain, func(context.Context) (stabilize.Result, error) { return stabilize.Result{}, odd }, false},
		{"a transient error", plain, func(context.Context) (stabilize.Result, error) { return stabilize.Result{}, stabilize.Transient(odd) }, true},
		{"a panic", plain, func(context.Context) (stabilize.Result, error) { panic("boom") }, true},
		{"too long", plain, func(ctx context.Context) (stabilize.Result, error) { <-ctx.Done(); return stabilize.Success(), nil }, true},
		{"what the type names", only, func(context.Context) (stabilize.Result, error) { return stabilize.Result{}, odd }, true},
		{"what it does not name", only, func(context.Context) (stabilize.Result, error) {
			return stabilize.Result{}, stabilize.Transient(errors.New("even"))
		}, false},
		{"a counter that panics", stabilize.BreakerPolicy{Failures: 1, Delay: 10 * time.Minute, Counts: func(error) bool { panic("count") }},
			func(context.Context) (stabilize.Result, error) { return stabilize.Result{}, odd }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, inMemory(t))
				r.start()
				defer r.close()
				began := []time.Time{}
				r.task("call", func(ctx context.Context, _ *stabilize.Execution) (stabilize.Result, error) {
					if began = append(began, time.Now()); len(began) == 1 {
						return c.run(ctx)
					}
					return stabilize.Success(), nil
				}, stabilize.WithBreaker(c.policy), stabilize.WithTimeout(time.Minute), stabilize.WithRetry(stabilize.RetryPolicy{MaxFailures: 1}))
				r.wait(r.begin(stage("a").Do("call")))
				r.wait(r.begin(stage("b").Do("call")))
				if opened := began[1].Sub(began[0]) >= 10*time.Minute; opened != c.opens {
					t.Errorf("it was opened: %v; the next ran after %s", opened, began[1].Sub(began[0]))
				}
			})
		})
	}
}

func TestARateLimitSpreadsTheRunsOfItsType(t *testing.T) {
	both(t, func(r *rig) {
		var began []time.Time
		r.task("call", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			began = append(began, time.Now())
			return stabilize.Success(), nil
		}, stabilize.WithRateLimit(stabilize.RateLimit{Runs: 2, Per: time.Second, Burst: 3}))
		const n = 60 // far enough off for turns that cannot be promised yet
		ids := r.crowd(n, "call")
		r.wait(r.begin(stage("other").Do("ok")))
		if len(began) > 3 {
			t.Errorf("%d ran at once, and another type waited for them", len(began))
		}
		r.waitCrowd(ids)
		for i := 3; i < n; i++ {
			if gap := began[i].Sub(began[i-3]); gap < 500*time.Millisecond-2*stabilize.Precision {
				t.Errorf("runs %d to %d began within %s", i-3, i, gap)
			}
		}
		if took := began[n-1].Sub(began[0]); took > 40*time.Second {
			t.Errorf("%d runs took %s, at 2 a second", n, took)
		}
	})
}

// A trial that was canceled tells a breaker nothing: the next is a trial again.
func TestACanceledTrialIsFollowedByAnother(t *testing.T) {
	both(t, func(r *rig) {
		now, most := 0, 0
		r.task("call", func(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			if x.Stage.Ref == "bad" {
				panic("bad")
			}
			r.mu.Lock()
			now++
			most = max(most, now)
			r.mu.Unlock()
			defer func() {
				r.mu.Lock()
				now--
				r.mu.Unlock()
			}()
			return sleepy(time.Minute)(ctx, x)
		}, stabilize.WithBreaker(stabilize.BreakerPolicy{Failures: 1}))
		r.wait(r.begin(stage("bad").Do("call")))
		trial := r.begin(stage("trial").Do("call"))
		time.Sleep(45 * time.Second)
		r.must(r.Cancel(r.Context(), trial, "", ""))
		r.wantStatus(r.wait(trial), stabilize.Canceled)
		ids := r.crowd(3, "call")
		time.Sleep(30 * time.Second)
		r.mu.Lock()
		if most != 1 {
			t.Errorf("%d ran at once before a trial went well", most)
		}
		r.mu.Unlock()
		r.waitCrowd(ids)
		r.wantLog("bad.call", "trial.call", r.logged()[2], r.logged()[3], r.logged()[4])
	})
}

// The deliveries that a run has used up stay counted when it is put off: code
// that kills its worker does not live for ever.
func TestBeingPutOffDoesNotForgetDeliveries(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		r := newRig(t, d)
		r.task("never", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			t.Error("it ran although its deliveries were used up")
			return stabilize.Success(), nil
		})
		id := r.begin(stage("a").Do("never"))
		crash := func() queue.Delivery { // a worker that takes what is due and vanishes
			t.Helper()
			w := queue.Worker{ID: stabilize.NewIDs(stabilize.SystemClock{}, nil).New(), TTL: time.Second}
			got, err := r.Store().Claim(t.Context(), w, queue.Room{Work: 1})
			if err != nil || len(got) != 1 {
				t.Fatalf("claimed %d, %v", len(got), err)
			}
			r.must(r.Store().Retire(t.Context(), w.ID))
			return got[0]
		}
		for range queue.DefaultMaxAttempts - 1 {
			crash()
		}
		first := newRig(t, d)
		first.task("never", sleepy(0))
		first.start()
		synctest.Wait()
		first.close()
		pending, err := r.Store().Pending(t.Context(), id)
		r.must(err)
		if len(pending) != 1 || !pending[0].Due.After(time.Now()) {
			t.Fatalf("the last delivery was not put off: %+v", pending)
		}
		time.Sleep(time.Until(pending[0].Due))
		if last := crash(); last.ID != pending[0].ID || last.MaxAttempts != 1 {
			t.Errorf("claimed %+v, want %s for the last time", last, pending[0].ID)
		}
		r.start()
		if w := r.waitDead(id); codeOf(w) != stabilize.CodeDeadLetter {
			t.Errorf("it ended %s, %+v", w.Status, w.Failure)
		}
		r.close()
	})
}

// Two runs that are always handed out together go apart after both went down
// with two workers.
func TestRunsThatWentDownTogetherGoApart(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		r := newRig(t, d)
		ran := map[string]time.Time{}
		r.task("work", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if ran[x.Workflow.ID] = time.Now(); x.Attempt != 3 {
				t.Errorf("after two crashes it is told it is attempt %d", x.Attempt)
			}
			return stabilize.Success(), nil
		})
		ids := r.crowd(5, "work")
		for i := range 2 {
			w := queue.Worker{ID: fmt.Sprint("w", i), TTL: time.Second}
			got, err := r.Store().Claim(t.Context(), w, queue.Room{Work: 9})
			if err != nil || len(got) != len(ids) {
				t.Fatalf("claimed %d, %v", len(got), err)
			}
			r.must(r.Store().Retire(t.Context(), w.ID))
		}
		began := time.Now()
		r.start()
		r.waitCrowd(ids)
		apart := map[time.Time]bool{}
		for _, at := range ran {
			apart[at] = true
		}
		if len(apart) != len(ids) || time.Since(began) > 3*time.Second {
			t.Errorf("%d ran at %d times within %s", len(ids), len(apart), time.Since(began))
		}
		r.close()
	})
}
