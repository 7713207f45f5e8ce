package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// A retried workflow takes its place under the limit like any other: it waits.
func TestRetryUnderAConcurrencyLimit(t *testing.T) {
	both(t, func(r *rig) {
		r.sleeps()
		start := func(minutes int) string {
			id, err := r.Start(r.Context(), stabilize.NewWorkflow("app", "wf").LimitConcurrent("cfg", 1).
				Add(stage("a").Do("ok"), stage("b", "a").Do("sleep").With("minutes", minutes)))
			r.must(err)
			synctest.Wait()
			return id
		}
		first := start(5)
		r.must(r.Cancel(r.Context(), first, "ann", ""))
		r.wantStatus(r.wait(first), stabilize.Canceled)
		second := start(10)
		r.forget()
		r.must(r.Retry(r.Context(), first, "bob"))
		if s := r.status(first); s != stabilize.Buffered {
			t.Errorf("beside another under a limit of one it is %s", s)
		}
		r.wantStatus(r.wait(second), stabilize.Succeeded)
		w := r.wait(first)
		r.wantStatus(w, stabilize.Succeeded)
		b := w.StageByRef("b")
		if w.Cancel != nil || w.StageByRef("a").Round != 0 || b.Round != 1 || b.State.Origin.By != "bob" {
			t.Errorf("it went on as %+v with %+v", w.Header, b)
		}
	}, patient())
}

func TestTimeouts(t *testing.T) {
	both(t, func(r *rig) {
		told := r.blocks()
		for _, c := range []struct {
			s      *stabilize.StageSpec
			stage  stabilize.Status
			reason string
			whole  stabilize.Status
		}{
			{stage("a"), stabilize.Terminal, "", stabilize.Terminal},
			{stage("a").SucceedOnTimeout(), stabilize.Succeeded, stabilize.ReasonTimeout, stabilize.Succeeded},
			{stage("a").OnFailure(stabilize.ContinueOnFailure), stabilize.FailedContinue, "", stabilize.Succeeded},
		} {
			began := time.Now()
			w := r.finish(c.s.Do("block", "ok").Timeout(time.Minute), stage("b", "a").Do("ok"))
			r.about("the stage", time.Since(began), time.Minute)
			r.wantStatus(w, c.whole)
			r.wantStage(w, "a", c.stage, c.reason)
			if cause := <-told; !errors.Is(cause, stabilize.ErrTimeout) {
				t.Errorf("the running code was told %v", cause)
			}
			if c.reason == "" {
				r.wantFailure(w.StageByRef("a").Failure, stabilize.CodeTimeout, "a")
			}
		}
	}, patient())
}

func TestJumpFromOutside(t *testing.T) {
	both(t, func(r *rig) {
		r.gates()
		r.task("see", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			r.logf("sees %s", x.Context["k"])
			return stabilize.Success(), nil
		})
		id := r.begin(stage("a").Do("see"), stage("b", "a").Do("gate"), stage("c", "b").Do("ok"))
		synctest.Wait()
		r.must(r.Jump(r.Context(), id, "b", "a", stabilize.Values{"k": []byte("1")}))
		synctest.Wait()
		r.signal(id, "b", "1")
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantRan(map[string]int{"sees ": 1, "sees 1": 1, "c.ok": 1})
		if o := w.StageByRef("a").State.Origin; w.StageByRef("b").Round != 1 || o.Kind != stabilize.OriginJump || o.From != "b" {
			t.Errorf("b is in round %d, a is of %+v", w.StageByRef("b").Round, o)
		}
	}, patient())
}

// Restarting what a choice did not fall on would be withdrawn again at once; what
// it fell on can be restarted, and so can all of it, by what came before.
func TestRestartingTheLoserOfAChoiceIsRefused(t *testing.T) {
	both(t, func(r *rig) {
		r.gates()
		id := r.begin(stage("a").Do("ok"), stage("b", "a").Do("gate").Choice("k"), stage("c", "a").Do("gate").Choice("k"))
		settle()
		r.signal(id, "b", "1")
		w := r.wait(id)
		r.wantStage(w, "c", stabilize.Canceled, stabilize.ReasonWithdrawn)
		err := r.Restart(r.Context(), id, "c", "u")
		if !errors.Is(err, stabilize.ErrInvalidTransition) || !strings.Contains(err.Error(), "stage b") {
			t.Errorf("restarting c: %v", err)
		}
		if got := r.get(id); got.Version != w.Version {
			t.Errorf("the refused restart made version %d of %d", got.Version, w.Version)
		}
		r.forget()
		r.must(r.Restart(r.Context(), id, "b", "u"))
		settle()
		r.signal(id, "b", "1")
		r.wantStatus(r.wait(id), stabilize.Succeeded)
		r.forget()
		r.must(r.Restart(r.Context(), id, "a", "u"))
		settle()
		r.signal(id, "c", "1")
		w = r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "b", stabilize.Canceled, stabilize.ReasonWithdrawn)
	}, patient())
}
