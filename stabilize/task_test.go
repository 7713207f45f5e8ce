package stabilize_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func TestResultCheck(t *testing.T) {
	with := func(r stabilize.Result, change func(*stabilize.Result)) stabilize.Result { change(&r); return r }
	for _, c := range []struct {
		name string
		r    stabilize.Result
		want stabilize.Status // of a good one
		bad  string
	}{
		{"Success", stabilize.Success(), stabilize.Succeeded, ""},
		{"StillRunning", stabilize.StillRunning(time.Second), stabilize.Running, ""},
		{"Fail", stabilize.Fail("no %s", "luck"), stabilize.Terminal, ""},
		{"FailAndContinue", stabilize.FailAndContinue("x"), stabilize.FailedContinue, ""},
		{"Skip", stabilize.Skip(), stabilize.Skipped, ""},
		{"CancelStage", stabilize.CancelStage(), stabilize.Canceled, ""},
		{"Stop", stabilize.Stop(), stabilize.Stopped, ""},
		{"Suspend", stabilize.Suspend("approved"), stabilize.Suspended, ""},
		{"RedirectTask", stabilize.RedirectTask(), stabilize.Redirect, ""},
		{"JumpTo", stabilize.JumpTo("start"), stabilize.Redirect, ""},
		{"outputs", stabilize.Success().WithOutput("k", 1).WithContext("k", nil), stabilize.Succeeded, ""},
		{"nothing", stabilize.Result{}, 0, "a task cannot answer NOT_STARTED"},
		{"paused", stabilize.Result{Status: stabilize.Paused}, 0, "a task cannot answer PAUSED"},
		{"buffered", stabilize.Result{Status: stabilize.Buffered}, 0, "a task cannot answer BUFFERED"},
		{"no status", stabilize.Result{Status: 99}, 0, "result status"},
		{"a negative delay", stabilize.StillRunning(-1), 0, "result delay"},
		{"a wait without a name", stabilize.Suspend(""), 0, "result signal"},
		{"a target without a jump", with(stabilize.Success(), func(r *stabilize.Result) { r.Target = "x" }), 0, "result target"},
		{"a bad output", stabilize.Success().WithOutput("k", math.NaN()).WithOutput("l", 1), 0, `value "k"`},
		{"a bad context", stabilize.Success().WithContext("k", func() {}), 0, `value "k"`},
		{"a raw output", stabilize.Success().WithOutputs(stabilize.Values{"k": []byte("{")}), 0, `result outputs value "k"`},
		{"a raw context", with(stabilize.Success(), func(r *stabilize.Result) { r.Context = stabilize.Values{"k": nil} }), 0, `result context value "k"`},
	} {
		err := c.r.Check()
		switch {
		case c.bad == "" && (err != nil || c.r.Status != c.want):
			t.Errorf("%s: %s, %v", c.name, c.r.Status, err)
		case c.bad != "" && (!errors.Is(err, stabilize.ErrInvalid) || !strings.Contains(err.Error(), c.bad)):
			t.Errorf("%s: %v, want ErrInvalid with %q", c.name, err, c.bad)
		}
	}
	if f := stabilize.Fail("no %s", "luck").Failure; f.Code != stabilize.CodeTaskFailed || f.Message != "no luck" {
		t.Errorf("the failure is %+v", f)
	}
}

// Adding to a result leaves the one it was made of as it was.
func TestResultsAreValues(t *testing.T) {
	base := stabilize.Success().WithOutput("a", 1)
	x, y := base.WithOutput("b", 2), base.WithOutputs(stabilize.Values{"a": []byte("3")})
	_ = base.WithContext("c", 1)
	if len(base.Outputs) != 1 || string(base.Outputs["a"]) != "1" || len(x.Outputs) != 2 || string(y.Outputs["a"]) != "3" || base.Context != nil {
		t.Errorf("base %s, x %s, y %s", base.Outputs, x.Outputs, y.Outputs)
	}
}

type input struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

func run(t *testing.T, typ stabilize.TaskType, in stabilize.Values) (stabilize.Result, error) {
	t.Helper()
	return typ.Execute(t.Context(), &stabilize.Execution{Context: in, Task: &stabilize.Task{ID: "key"}})
}

func TestFunc(t *testing.T) {
	in := stabilize.Values{"name": []byte(`"x"`), "count": []byte(`3`), "other": []byte(`[]`)}
	failed := errors.New("failed")
	for _, c := range []struct {
		name string
		typ  stabilize.TaskType
		want stabilize.Result
	}{
		{
			"a struct becomes its fields",
			stabilize.Func(func(_ context.Context, in input) (input, error) { in.Count++; return in, nil }),
			stabilize.Success().WithOutput("name", "x").WithOutput("count", 4),
		},
		{
			"a pointer to a struct too",
			stabilize.Func(func(_ context.Context, in *input) (*input, error) { return in, nil }),
			stabilize.Success().WithOutput("name", "x").WithOutput("count", 3),
		},
		{
			"a map becomes its entries",
			stabilize.Func(func(_ context.Context, in map[string]any) (map[string]any, error) {
				return map[string]any{"n": len(in)}, nil
			}),
			stabilize.Success().WithOutput("n", 3),
		},
		{
			"a number becomes the result",
			stabilize.Func(func(_ context.Context, in struct{ Count int64 }) (int64, error) { return in.Count * 2, nil }),
			stabilize.Success().WithOutput("result", 6),
		},
		{
			"a list becomes the result",
			stabilize.Func(func(context.Context, struct{}) ([]string, error) { return nil, nil }),
			stabilize.Success().WithOutput("result", nil),
		},
		{
			"nothing becomes nothing",
			stabilize.Func(func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil }),
			stabilize.Success(),
		},
		{
			"a Result is the answer",
			stabilize.Func(func(context.Context, input) (stabilize.Result, error) { return stabilize.Skip(), nil }),
			stabilize.Skip(),
		},
		{
			"a nil pointer becomes nothing",
			stabilize.Func(func(context.Context, struct{}) (*input, error) { return nil, nil }),
			stabilize.Success(),
		},
		{
			"Values stay as they are",
			stabilize.Func(func(_ context.Context, in stabilize.Values) (stabilize.Values, error) { return in, nil }),
			stabilize.Success().WithOutputs(in),
		},
	} {
		got, err := run(t, c.typ, in)
		if err != nil || got.Status != c.want.Status || !got.Outputs.Equal(c.want.Outputs) {
			t.Errorf("%s: %s %s (%v), want %s", c.name, got.Status, got.Outputs, err, c.want.Outputs)
		}
	}
	for _, c := range []struct {
		name string
		typ  stabilize.TaskType
		code string
		want string
	}{
		{"its own error", stabilize.Func(func(context.Context, struct{}) (input, error) { return input{}, failed }), "", "failed"},
		{"input of another shape", stabilize.Func(func(context.Context, struct{ Name int }) (struct{}, error) { return struct{}{}, nil }), "INVALID_INPUT", `value "name"`},
		{"output that cannot be stored", stabilize.Func(func(context.Context, struct{}) (float64, error) { return math.NaN(), nil }), stabilize.CodeInvalidResult, `value "result"`},
		{"output that is no object", stabilize.Func(func(context.Context, struct{}) (any, error) { return 5, nil }), stabilize.CodeInvalidResult, "JSON object"},
	} {
		_, err := run(t, c.typ, in)
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if p, ok := errors.AsType[*stabilize.PermanentError](err); ok != (c.code != "") || ok && (p.Code != c.code || !errors.Is(err, stabilize.ErrPermanent)) {
			t.Errorf("%s: the error is %#v, want the code %q", c.name, err, c.code)
		}
	}
	// What takes nothing does not look at its context.
	blind := stabilize.Func(func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil })
	if _, err := run(t, blind, stabilize.Values{"k": []byte("{")}); err != nil {
		t.Errorf("a function that takes nothing: %v", err)
	}
}

func TestExecutionFrom(t *testing.T) {
	x := &stabilize.Execution{Task: &stabilize.Task{ID: "key"}}
	ctx := stabilize.WithExecution(t.Context(), x)
	if stabilize.ExecutionFrom(ctx) != x || x.IdempotencyKey() != "key" || stabilize.ExecutionFrom(t.Context()) != nil {
		t.Error("the execution is carried by its context, and by no other")
	}
}

type bare struct{}

func (bare) Execute(context.Context, *stabilize.Execution) (stabilize.Result, error) {
	return stabilize.Success(), nil
}

type able struct{ bare }

func (able) RetryPolicy() stabilize.RetryPolicy { return stabilize.RetryPolicy{MaxFailures: 2} }
func (able) Bulkhead() int                      { return 3 }
func (able) Breaker() stabilize.BreakerPolicy   { return stabilize.BreakerPolicy{Failures: 4} }
func (able) RateLimit() stabilize.RateLimit     { return stabilize.RateLimit{Runs: 5} }
func (able) Timeout() time.Duration             { return time.Minute }
func (able) PollDelay(polls int) time.Duration  { return time.Duration(polls) * time.Second }
func (able) Enabled(*stabilize.Execution) (bool, error) {
	return true, nil
}
func (able) OnCancel(context.Context, *stabilize.Execution) (stabilize.Result, error) {
	return stabilize.Skip(), nil
}
func (able) OnTimeout(context.Context, *stabilize.Execution) (stabilize.Result, error) {
	return stabilize.Stop(), nil
}
func (able) Cleanup(context.Context, *stabilize.Execution) error { return errors.New("cleanup") }

// The powers of a type and those of a Func with the same options are the same.
func TestPowers(t *testing.T) {
	a := able{}
	fn := stabilize.Func(func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil },
		stabilize.WithRetry(a.RetryPolicy()), stabilize.WithBulkhead(a.Bulkhead()), stabilize.WithBreaker(a.Breaker()),
		stabilize.WithRateLimit(a.RateLimit()), stabilize.WithTimeout(time.Minute), stabilize.WithPoll(2*time.Second),
		stabilize.EnabledIf(a.Enabled), stabilize.OnCancel(a.OnCancel), stabilize.OnTimeout(a.OnTimeout), stabilize.WithCleanup(a.Cleanup))
	for name, typ := range map[string]stabilize.TaskType{"a type": a, "a Func": fn} {
		p := stabilize.PowersOf(typ)
		on, _ := p.Enabled(nil)
		canceled, _ := p.OnCancel(t.Context(), nil)
		late, _ := p.OnTimeout(t.Context(), nil)
		if p.Retry.Limit() != 2 || p.Bulkhead != 3 || p.Breaker == nil || p.Breaker.Failures != 4 || p.RateLimit.Runs != 5 || p.Timeout != time.Minute || p.PollDelay(2) != 2*time.Second || !on ||
			canceled.Status != stabilize.Skipped || late.Status != stabilize.Stopped || p.Cleanup(t.Context(), nil) == nil {
			t.Errorf("%s has the powers %+v", name, p)
		}
	}
	plain := stabilize.Func(func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil })
	for name, typ := range map[string]stabilize.TaskType{"a type": bare{}, "a Func": plain} {
		p := stabilize.PowersOf(typ)
		if p.Retry.Limit() != 10 || p.Bulkhead != 0 || p.Breaker != nil || p.RateLimit.Runs != 0 || p.Timeout != 0 || p.PollDelay != nil || p.Enabled != nil || p.OnCancel != nil || p.OnTimeout != nil || p.Cleanup != nil {
			t.Errorf("%s that can do nothing has the powers %+v", name, p)
		}
	}
}
