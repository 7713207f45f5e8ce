package engine_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// The reference's run_task/verification.py: what a stage says it did is looked
// at before it may have succeeded.
func TestOutputsAreVerified(t *testing.T) {
	both(t, func(r *rig) {
		tries := map[string]int{}
		r.task("give", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			r.mu.Lock()
			tries[x.Stage.Ref]++
			n := tries[x.Stage.Ref]
			r.mu.Unlock()
			return stabilize.Success().WithOutputs(stabilize.Values{"n": json.RawMessage(strconv.Itoa(n))}), nil
		}, stabilize.WithRetry(stabilize.RetryPolicy{MaxFailures: 5}))
		r.must(r.RegisterVerifier("two", func(_ context.Context, x *stabilize.Execution, outputs stabilize.Values) error {
			n, err := stabilize.Get[int](outputs, "n")
			if err != nil {
				return err
			}
			if x.Stage.Ref == "final" && n < 3 {
				return &stabilize.VerificationError{Problem: "never mind", Retry: false}
			}
			if n < 2 {
				return errors.New("fewer than two")
			}
			return nil
		}))
		for _, c := range []struct {
			ref    string
			verify stabilize.Verification
			tries  int
			says   string // empty: it succeeds
			code   string // of the failure; empty: VERIFICATION
		}{
			{"here", stabilize.Verification{Required: []string{"n"}, Types: []stabilize.TypeRule{{Key: "n", Type: "integer"}}}, 1, "", ""},
			{"missing", stabilize.Verification{Required: []string{"m"}}, 1, `output "m" is missing`, ""},
			{"missing again", stabilize.Verification{Required: []string{"m"}, Retry: true}, 5, `output "m" is missing`, stabilize.CodeRetriesExhausted},
			{"type", stabilize.Verification{Types: []stabilize.TypeRule{{Key: "n", Type: "string"}}}, 1, "not of type string", ""},
			{"asked", stabilize.Verification{With: "two"}, 1, "fewer than two", ""},
			{"asked again", stabilize.Verification{With: "two", Retry: true}, 2, "", ""},
			{"final", stabilize.Verification{With: "two", Retry: true}, 1, "never mind", ""},
			{"rules first", stabilize.Verification{Required: []string{"m"}, With: "two"}, 1, `output "m" is missing`, ""},
		} {
			w := r.finish(stage(c.ref).Do("give").Verify(c.verify), stage("next", c.ref).Do("ok"))
			if got := tries[c.ref]; got != c.tries {
				t.Errorf("%s: %d tries, want %d", c.ref, got, c.tries)
			}
			if c.says == "" {
				r.wantStatus(w, stabilize.Succeeded)
				continue
			}
			r.wantStatus(w, stabilize.Terminal)
			r.wantFailure(w.Failure, cmp.Or(c.code, stabilize.CodeVerification), c.ref)
			if w.Failure != nil && !strings.Contains(w.Failure.Message, c.says) {
				t.Errorf("%s: the failure says %q", c.ref, w.Failure.Message)
			}
			r.wantStage(w, "next", stabilize.Skipped, stabilize.ReasonUpstreamHalted)
		}
		_, err := r.Start(r.Context(), stabilize.NewWorkflow("app", "wf").Add(stage("a").Do("ok").Verify(stabilize.Verification{With: "unknown"})))
		if !errors.Is(err, stabilize.ErrInvalid) || !strings.Contains(err.Error(), "unknown") {
			t.Errorf("a verifier nobody registered: %v", err)
		}
	})
}

// Only the last task's word ends a stage: what comes before is not verified.
func TestOutputsAreVerifiedOnceAtTheEnd(t *testing.T) {
	both(t, func(r *rig) {
		r.task("half", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.Success().WithOutputs(stabilize.Values{x.Task.Name: json.RawMessage("1")}), nil
		})
		asked := 0
		r.must(r.RegisterVerifier("count", func(context.Context, *stabilize.Execution, stabilize.Values) error { asked++; return nil }))
		r.must(r.AliasTask("old half", "half"))
		w := r.finish(stage("a").Do("half", "old half").Verify(stabilize.Verification{Required: []string{"half", "old half"}, With: "count"}))
		r.wantStatus(w, stabilize.Succeeded)
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
	})
}

// A registered reducer makes one value of those that branches bring.
func TestARegisteredReducer(t *testing.T) {
	both(t, func(r *rig) {
		r.must(r.RegisterReducer("longest", func(values []json.RawMessage) (json.RawMessage, error) {
			return slices.MaxFunc(values, func(a, b json.RawMessage) int { return cmp.Compare(len(a), len(b)) }), nil
		}))
		r.task("name", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			return stabilize.Success().WithOutputs(stabilize.Values{"name": json.RawMessage(strconv.Quote(x.Stage.Ref))}), nil
		})
		w := r.finish(stage("a").Do("name"), stage("bbb").Do("name"), stage("cc").Do("name"),
			stage("j", "a", "bbb", "cc").Do("ok").Reduce("name", "longest"))
		r.wantStatus(w, stabilize.Succeeded)
		got, err := stabilize.Get[string](w.StageByRef("j").Context, "name")
		if err != nil || got != "bbb" {
			t.Errorf("the join saw %q, %v", got, err)
		}
	})
}
