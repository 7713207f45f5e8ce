package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

func TestJoinsDecideByTokens(t *testing.T) {
	or := func(ref string, after ...string) *stabilize.StageSpec {
		return stage(ref, after...).Joining(stabilize.JoinOr, 0)
	}
	stop := func(ref string, after ...string) *stabilize.StageSpec {
		return stage(ref, after...).OnFailure(stabilize.StopBranch)
	}
	type end struct {
		ref    string
		status stabilize.Status
		reason string
	}
	ok := func(refs ...string) (out []end) {
		for _, ref := range refs {
			out = append(out, end{ref, stabilize.Succeeded, ""})
		}
		return out
	}
	dead := func(refs ...string) (out []end) {
		for _, ref := range refs {
			out = append(out, end{ref, stabilize.Skipped, stabilize.ReasonDeadPath})
		}
		return out
	}
	for _, c := range []struct {
		name   string
		stages []*stabilize.StageSpec
		want   stabilize.Status
		ends   [][]end
	}{
		{"and waits for all", []*stabilize.StageSpec{stage("a").Do("ok"), stage("b", "a").Do("ok"), stage("c", "a").Do("slow"), stage("d", "b", "c").Do("ok")},
			stabilize.Succeeded, [][]end{ok("a", "b", "c", "d")}},
		{"a dead branch kills an and-join and what follows", []*stabilize.StageSpec{stop("a").Do("fail"), stage("b").Do("ok"), stage("c", "a", "b").Do("ok"), stage("d", "c").Do("ok")},
			stabilize.Succeeded, [][]end{{{"a", stabilize.Stopped, ""}}, ok("b"), dead("c", "d")}},
		{"an or-join does without a dead branch several stages long", []*stabilize.StageSpec{stop("a").Do("fail"), stage("a2", "a").Do("ok"), stage("a3", "a2").Do("ok"), stage("b").Do("slow"), or("c", "a3", "b").Do("ok")},
			stabilize.Succeeded, [][]end{{{"a", stabilize.Stopped, ""}}, dead("a2", "a3"), ok("b", "c")}},
		{"an or-join with only dead branches is dead", []*stabilize.StageSpec{stop("a").Do("fail"), stop("b").Do("fail"), or("c", "a", "b").Do("ok")},
			stabilize.Succeeded, [][]end{dead("c")}},
		{"a discriminator fires once, on the first", []*stabilize.StageSpec{stage("a").Do("ok"), stage("b").Do("slow"), stage("c", "a", "b").Joining(stabilize.JoinDiscriminator, 0).Do("ok"), stage("d", "c").Do("ok")},
			stabilize.Succeeded, [][]end{ok("a", "b", "c", "d")}},
		{"two of three are enough", []*stabilize.StageSpec{stage("a").Do("ok"), stop("b").Do("fail"), stage("c").Do("slow"), stage("d", "a", "b", "c").Joining(stabilize.JoinNOfM, 2).Do("ok")},
			stabilize.Succeeded, [][]end{ok("a", "c", "d")}},
		{"two of three cannot be met", []*stabilize.StageSpec{stop("a").Do("fail"), stop("b").Do("fail"), stage("c").Do("slow"), stage("d", "a", "b", "c").Joining(stabilize.JoinNOfM, 2).Do("ok")},
			stabilize.Succeeded, [][]end{ok("c"), dead("d")}},
		{"a disabled stage lets its branch go on", []*stabilize.StageSpec{stage("a").Do("ok").Disabled(), stage("b", "a").Do("ok")},
			stabilize.Succeeded, [][]end{{{"a", stabilize.Skipped, stabilize.ReasonDisabled}}, ok("b")}},
		{"fail after others", []*stabilize.StageSpec{stage("a").Do("fail").OnFailure(stabilize.FailAfterOthers), stage("b").Do("slow"), stage("c", "b").Do("ok")},
			stabilize.Terminal, [][]end{{{"a", stabilize.Stopped, ""}}, ok("b", "c")}},
		{"continue on failure", []*stabilize.StageSpec{stage("a").Do("fail").OnFailure(stabilize.ContinueOnFailure), stage("b", "a").Do("ok")},
			stabilize.Succeeded, [][]end{{{"a", stabilize.FailedContinue, ""}}, ok("b")}},
		{"a failure cancels what is under way", []*stabilize.StageSpec{stage("a").Do("fail"), stage("b").Do("slow"), stage("c", "b").Do("ok")},
			stabilize.Terminal, [][]end{{{"a", stabilize.Terminal, ""}, {"b", stabilize.Canceled, stabilize.ReasonFailed}, {"c", stabilize.Skipped, stabilize.ReasonUpstreamHalted}}}},
		{"nothing to do", []*stabilize.StageSpec{stage("a"), stage("b", "a").Do("ok")},
			stabilize.Succeeded, [][]end{{{"a", stabilize.Skipped, stabilize.ReasonNothingToDo}}, ok("b")}},
		{"a start that came too late", []*stabilize.StageSpec{stage("a").Do("slow"), stage("b", "a").Do("ok").StartBefore(time.Date(2000, 1, 1, 0, 0, 30, 0, time.UTC))},
			stabilize.Succeeded, [][]end{ok("a"), {{"b", stabilize.Skipped, stabilize.ReasonStartExpired}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(r *rig) {
				r.task("slow", func(ctx context.Context, _ *stabilize.Execution) (stabilize.Result, error) {
					select {
					case <-ctx.Done():
						return stabilize.Result{}, ctx.Err()
					case <-time.After(time.Minute):
						return stabilize.Success(), nil
					}
				})
				w := r.finish(c.stages...)
				r.wantStatus(w, c.want)
				for _, group := range c.ends {
					for _, e := range group {
						r.wantStage(w, e.ref, e.status, e.reason)
					}
				}
				for _, s := range w.Stages {
					ran := strings.Count(fmt.Sprint(r.logged()), s.Ref+".")
					if s.Status == stabilize.Succeeded && ran != 1 {
						t.Errorf("stage %s ran %d times", s.Ref, ran)
					}
				}
			})
		})
	}
}

func TestADeadlockIsNamed(t *testing.T) {
	both(t, func(r *rig) {
		// The builder refuses a requisite that names no stage; a stored workflow
		// may hold one all the same.
		spec := stabilize.NewWorkflow("app", "wf").Add(stage("a").Do("ok"), stage("b", "a").Do("ok"))
		w, err := spec.Build(stabilize.NewIDs(stabilize.SystemClock{}, nil), time.Now())
		r.must(err)
		w.Stages[1].Requisites = []string{"a", "nowhere"}
		r.create(w)
		got := r.wait(w.ID)
		r.wantStatus(got, stabilize.Terminal)
		if got.Failure == nil || got.Failure.Code != stabilize.CodeDeadlock || !strings.Contains(got.Failure.Message, "b") {
			t.Errorf("the failure is %+v", got.Failure)
		}
		r.wantStage(got, "a", stabilize.Succeeded, "")
	})
}

func TestSyntheticStagesRunAroundTheTasks(t *testing.T) {
	both(t, func(r *rig) {
		r.must(r.RegisterStage("good", familyType{before: []string{"ok", "ok"}, tasks: []string{"ok", "ok"}, after: []string{"ok"}, onFailure: []string{"ok"}}))
		r.must(r.RegisterStage("bad", familyType{before: []string{"ok"}, tasks: []string{"fail"}, after: []string{"ok"}, onFailure: []string{"ok", "fail"}}))
		r.must(r.RegisterStage("badBefore", familyType{before: []string{"fail", "ok"}, tasks: []string{"ok"}}))
		r.must(r.RegisterStage("badAfter", familyType{tasks: []string{"ok"}, after: []string{"fail", "ok"}}))
		w := r.finish(stage("g").OfType("good"), stage("z", "g").Do("ok"))
		r.wantStatus(w, stabilize.Succeeded)
		r.wantLog("g<s0.ok", "g<s1.ok", "g.ok", "g.ok", "g>s0.ok", "z.ok")

		r.log = nil
		w = r.finish(stage("b").OfType("bad").OnFailure(stabilize.StopBranch))
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "b", stabilize.Stopped, "")
		r.wantLog("b<s0.ok", "b.fail", "b!s0.ok", "b!s1.fail")

		r.log = nil
		w = r.finish(stage("c").OfType("badBefore"))
		r.wantStatus(w, stabilize.Terminal)
		r.wantStage(w, "c<s1", stabilize.Skipped, stabilize.ReasonStageEnded)
		r.wantLog("c<s0.fail")

		r.log = nil
		w = r.finish(stage("d").OfType("badAfter"))
		r.wantStatus(w, stabilize.Terminal)
		r.wantLog("d.ok", "d>s0.fail")
	})
}

func TestTaskAnswers(t *testing.T) {
	both(t, func(r *rig) {
		r.task("poll", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			n, _ := stabilize.Get[int](x.Context, "n")
			if x.Polls != n || x.Attempt != 1 {
				t.Errorf("poll %d sees %d polls, attempt %d", n, x.Polls, x.Attempt)
			}
			if n < 20 { // more polls than a message has attempts
				return stabilize.StillRunning(time.Minute).WithContext("n", n+1), nil
			}
			return stabilize.Success().WithOutput("polled", n), nil
		})
		r.task("skip", func(context.Context, *stabilize.Execution) (stabilize.Result, error) { return stabilize.Skip(), nil })
		r.task("stop", func(context.Context, *stabilize.Execution) (stabilize.Result, error) { return stabilize.Stop(), nil })
		r.task("cancel", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.CancelStage(), nil
		})
		r.task("nonsense", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.Result{Status: stabilize.Buffered}, nil
		})
		r.task("unencodable", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.Success().WithOutput("c", make(chan int)), nil
		})
		r.task("brokenJSON", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.Success().WithOutputs(stabilize.Values{"x": []byte("{")}), nil
		})
		r.task("panic", func(context.Context, *stabilize.Execution) (stabilize.Result, error) { panic("oh no") })
		r.task("error", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.Result{}, errors.New("just no")
		})
		r.task("permanent", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.Result{}, &stabilize.PermanentError{Cause: errors.New("gone"), Code: "GONE"}
		})
		r.task("unverified", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.Result{}, &stabilize.VerificationError{Problem: "too short"}
		})
		passes := 0
		r.task("again", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			if passes++; passes < 3 {
				return stabilize.RedirectTask(), nil
			}
			return stabilize.Success(), nil
		})
		for _, c := range []struct {
			task  string
			want  stabilize.Status
			stage stabilize.Status
			code  string
		}{
			{"poll", stabilize.Succeeded, stabilize.Succeeded, ""},
			{"skip", stabilize.Succeeded, stabilize.Succeeded, ""},
			{"again", stabilize.Succeeded, stabilize.Succeeded, ""},
			{"stop", stabilize.Succeeded, stabilize.Stopped, ""},
			{"cancel", stabilize.Canceled, stabilize.Canceled, ""},
			{"nonsense", stabilize.Terminal, stabilize.Terminal, stabilize.CodeInvalidResult},
			{"unencodable", stabilize.Terminal, stabilize.Terminal, stabilize.CodeInvalidResult},
			{"brokenJSON", stabilize.Terminal, stabilize.Terminal, stabilize.CodeInvalidResult},
			{"panic", stabilize.Terminal, stabilize.Terminal, stabilize.CodePanic},
			{"error", stabilize.Terminal, stabilize.Terminal, stabilize.CodeTaskFailed},
			{"permanent", stabilize.Terminal, stabilize.Terminal, "GONE"},
			{"unverified", stabilize.Terminal, stabilize.Terminal, stabilize.CodeVerification},
		} {
			w := r.finish(stage("a").Do("ok", c.task))
			r.wantStatus(w, c.want)
			if got := w.StageByRef("a").Status; got != c.stage {
				t.Errorf("%s: the stage is %s, want %s", c.task, got, c.stage)
			}
			if code := codeOf(w); code != c.code {
				t.Errorf("%s: the failure is %+v, want the code %q", c.task, w.Failure, c.code)
			}
		}
		if passes != 3 {
			t.Errorf("the redirected tasks ran %d times", passes)
		}
		r.wantStatus(r.finish(stage("still alive").Do("ok")), stabilize.Succeeded)
	})
}

func codeOf(w *stabilize.Workflow) string {
	if w.Failure == nil {
		return ""
	}
	return w.Failure.Code
}

func TestUndecodableInputNamesTheValue(t *testing.T) {
	both(t, func(r *rig) {
		r.must(r.RegisterTask("typed", stabilize.Func(func(_ context.Context, in struct{ Count int }) (struct{}, error) {
			t.Errorf("it ran with %+v", in)
			return struct{}{}, nil
		})))
		w := r.finish(stage("a").Do("typed").With("Count", "many"))
		r.wantStatus(w, stabilize.Terminal)
		if w.Failure == nil || !strings.Contains(w.Failure.Message, "Count") || w.Failure.Stage != "a" {
			t.Errorf("the failure is %+v", w.Failure)
		}
	})
}

func TestHooksOfTasks(t *testing.T) {
	both(t, func(r *rig) {
		r.task("patient", func(ctx context.Context, _ *stabilize.Execution) (stabilize.Result, error) {
			<-ctx.Done()
			return stabilize.Result{}, ctx.Err()
		}, stabilize.WithTimeout(time.Minute), stabilize.OnTimeout(func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.FailAndContinue("took too long").WithOutput("partial", 1), nil
		}), stabilize.WithCleanup(func(_ context.Context, x *stabilize.Execution) error {
			r.logf("cleanup %s", x.Task.Status)
			return errors.New("ignored")
		}))
		r.task("off", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			t.Error("a disabled task ran")
			return stabilize.Success(), nil
		}, stabilize.EnabledIf(func(x *stabilize.Execution) (bool, error) { return x.Context.Has("enabled"), nil }))
		r.task("unsure", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			t.Error("a task that could not say whether it is enabled ran")
			return stabilize.Success(), nil
		}, stabilize.EnabledIf(func(*stabilize.Execution) (bool, error) { return false, errors.New("who knows") }))
		w := r.finish(stage("a").Do("off", "patient"), stage("b", "a").Do("ok"))
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "a", stabilize.FailedContinue, "")
		r.wantLog("a.patient", "cleanup FAILED_CONTINUE", "b.ok")
		if n, err := stabilize.Get[int](w.StageByRef("a").Outputs, "partial"); n != 1 || err != nil {
			t.Errorf("the on-timeout hook's output is %d, %v", n, err)
		}
		w = r.finish(stage("c").Do("unsure"))
		r.wantStatus(w, stabilize.Terminal)
	})
}

func TestStartIsIdempotentByKey(t *testing.T) {
	both(t, func(r *rig) {
		spec := stabilize.NewWorkflow("app", "wf").Add(stage("a").Do("ok"))
		first, err := r.Start(r.Context(), spec, engine.WithKey("k"))
		r.must(err)
		r.wait(first)
		again, err := r.Start(r.Context(), spec, engine.WithKey("k"))
		r.must(err)
		other, err := r.Start(r.Context(), spec, engine.WithKey("k2"))
		r.must(err)
		r.wait(other)
		if first != again || first == other {
			t.Errorf("key k gave %s and %s, key k2 %s", first, again, other)
		}
		r.wantLog("a.ok", "a.ok")
	})
}

func TestStopIsGracefulAndThenHard(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		r := newRig(t, d)
		r.task("minute", func(ctx context.Context, _ *stabilize.Execution) (stabilize.Result, error) {
			select {
			case <-ctx.Done():
				return stabilize.Result{}, ctx.Err()
			case <-time.After(time.Minute):
				return stabilize.Success(), nil
			}
		})
		r.start()
		graceful := r.begin(stage("a").Do("minute"), stage("b", "a").Do("minute"))
		synctest.Wait()
		r.Stop(r.Context())
		w, err := r.Get(r.Context(), graceful)
		r.must(err)
		r.wantStage(w, "a", stabilize.Succeeded, "") // what ran was let finish
		depth, err := r.Store().Depth(r.Context())
		r.must(err)
		if depth.Ready != 1 || depth.Leased != 0 {
			t.Errorf("after a graceful stop the queue holds %+v, want one message ready", depth)
		}
		r.stop()

		r.start()
		synctest.Wait()
		gone, cancel := context.WithCancel(r.Context())
		cancel()
		before := time.Now()
		r.Stop(gone)
		if took := time.Since(before); took > 0 {
			t.Errorf("a hard stop took %s", took)
		}
		r.stop()
		pending, err := r.Store().Pending(r.Context(), graceful)
		r.must(err)
		if len(pending) != 1 || pending[0].Leased || pending[0].Attempts != 0 {
			t.Errorf("after a hard stop: %+v, want the run's message back, its attempt not counted", pending)
		}
		r.start()
		r.wantStatus(r.wait(graceful), stabilize.Succeeded)
		r.close()
	})
}

// unhurried takes a second for a batch of commits, so that what arrives
// meanwhile is decided together.
type unhurried struct{ persistence.Store }

func (u unhurried) CommitBatch(ctx context.Context, commits []*persistence.Commit) []error {
	time.Sleep(time.Second)
	return u.Store.CommitBatch(ctx, commits)
}

func TestAPollDecidedTogetherWithACancelLeavesNoMessage(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		r := newRigOn(t, unhurried{d()})
		r.task("poll", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			time.Sleep(200 * time.Millisecond)
			return stabilize.StillRunning(time.Hour), nil
		})
		r.start()
		id := r.begin(stage("a").Do("ok"), stage("b").Do("poll"))
		// The commit of a's answer is in flight when b answers and the cancel comes.
		time.Sleep(500 * time.Millisecond)
		r.must(r.Cancel(r.Context(), id, "", ""))
		r.wantStatus(r.wait(id), stabilize.Canceled)
		r.close()
	})
}
