package stabilize_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

type plainStage struct{}

func (plainStage) Tasks(*stabilize.Plan) ([]stabilize.TaskSpec, error) { return nil, nil }

type plainTask struct{}

func (plainTask) Execute(context.Context, *stabilize.Execution) (stabilize.Result, error) {
	return stabilize.Result{}, nil
}
func (plainTask) Timeout() time.Duration { return time.Minute }

func fullRegistry(t *testing.T) *stabilize.Registry {
	t.Helper()
	r := stabilize.NewRegistry()
	for _, err := range []error{
		r.AddTask("task", plainTask{}), r.AddStage("stage", plainStage{}),
		r.AddReducer("reducer", func([]json.RawMessage) (json.RawMessage, error) { return nil, nil }),
		r.AddVerifier("verifier", func(context.Context, *stabilize.Execution, stabilize.Values) error { return nil }),
		r.AliasTask("task alias", "task"), r.AliasStage("stage alias", "stage"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func TestRegistryNames(t *testing.T) {
	r := fullRegistry(t)
	task, powers, err := r.Task("task alias")
	if err != nil || task != (plainTask{}) || powers.Timeout != time.Minute {
		t.Errorf("the alias is %v with %+v (%v)", task, powers, err)
	}
	if s, err := r.Stage("stage alias"); err != nil || s != (plainStage{}) {
		t.Errorf("the alias is %v (%v)", s, err)
	}
	if f, err := r.Reducer("reducer"); err != nil || f == nil {
		t.Errorf("the reducer is not there: %v", err)
	}
	if f, err := r.Verifier("verifier"); err != nil || f == nil {
		t.Errorf("the verifier is not there: %v", err)
	}
	_, _, noTask := r.Task("x")
	_, noStage := r.Stage("x")
	_, noReducer := r.Reducer("x")
	_, noVerifier := r.Verifier("sum")
	reducer := func([]json.RawMessage) (json.RawMessage, error) { return nil, nil }
	verifier := func(context.Context, *stabilize.Execution, stabilize.Values) error { return nil }
	for what, c := range map[string]struct{ err, class error }{
		"unknown task": {noTask, stabilize.ErrNotFound}, "unknown stage": {noStage, stabilize.ErrNotFound},
		"unknown reducer": {noReducer, stabilize.ErrNotFound}, "unknown verifier": {noVerifier, stabilize.ErrNotFound},
		"task twice":       {r.AddTask("task", plainTask{}), stabilize.ErrExists},
		"task as alias":    {r.AddTask("task alias", plainTask{}), stabilize.ErrExists},
		"nil task":         {r.AddTask("y", nil), stabilize.ErrInvalid},
		"stage twice":      {r.AddStage("stage", plainStage{}), stabilize.ErrExists},
		"nil stage":        {r.AddStage("y", nil), stabilize.ErrInvalid},
		"reducer twice":    {r.AddReducer("reducer", reducer), stabilize.ErrExists},
		"built-in reducer": {r.AddReducer("sum", reducer), stabilize.ErrExists},
		"nil reducer":      {r.AddReducer("y", nil), stabilize.ErrInvalid},
		"nameless reducer": {r.AddReducer("", reducer), stabilize.ErrInvalid},
		"verifier twice":   {r.AddVerifier("verifier", verifier), stabilize.ErrExists},
		"nil verifier":     {r.AddVerifier("y", nil), stabilize.ErrInvalid},
		"alias of none":    {r.AliasTask("y", "x"), stabilize.ErrNotFound},
		"alias in use":     {r.AliasTask("task", "task alias"), stabilize.ErrExists},
		"nameless alias":   {r.AliasTask("", "task"), stabilize.ErrInvalid},
		"stage of none":    {r.AliasStage("y", ""), stabilize.ErrNotFound},
		"stage in use":     {r.AliasStage("stage alias", "stage"), stabilize.ErrExists},
	} {
		if !errors.Is(c.err, c.class) {
			t.Errorf("%s: %v, want %v", what, c.err, c.class)
		}
	}
}

// Each rule that names what is unknown, or holds a wrong expression, is found,
// in the stage itself and in bodies however deep.
func TestRegistryCheckRules(t *testing.T) {
	r := fullRegistry(t)
	good := func() *stabilize.Stage {
		return &stabilize.Stage{
			Ref: "s", Type: "stage alias", Tasks: []*stabilize.Task{{Name: "t", Type: "task alias"}},
			Rules: &stabilize.Rules{
				If: "a > 1", Branches: []stabilize.Branch{{To: "b", When: "a == 1"}, {To: "c", Default: true}},
				Reduce: []stabilize.Reduction{{Key: "k", With: "sum"}, {Key: "l", With: "reducer"}},
				Verify: &stabilize.Verification{With: "verifier"},
				Multi:  &stabilize.Multi{CountOf: "n", Over: "l", Until: "done > 3"}, Loop: &stabilize.Loop{While: "a", Until: "b"},
			},
		}
	}
	for name, c := range map[string]struct {
		field string
		spoil func(s *stabilize.Stage)
	}{
		"nothing":        {"", func(*stabilize.Stage) {}},
		"no rules":       {"", func(s *stabilize.Stage) { s.Rules = nil }},
		"no verifier":    {"", func(s *stabilize.Stage) { s.Rules.Verify.With = "" }},
		"stage type":     {"type", func(s *stabilize.Stage) { s.Type = "x" }},
		"task type":      {"task t", func(s *stabilize.Stage) { s.Tasks[0].Type = "x" }},
		"reducer":        {`reduction of "l"`, func(s *stabilize.Stage) { s.Rules.Reduce[1].With = "x" }},
		"verifier":       {"verification", func(s *stabilize.Stage) { s.Rules.Verify.With = "x" }},
		"condition":      {"condition", func(s *stabilize.Stage) { s.Rules.If = "a >" }},
		"clock":          {"condition", func(s *stabilize.Stage) { s.Rules.If = "now() > a" }},
		"branch":         {`branch "b"`, func(s *stabilize.Stage) { s.Rules.Branches[0].When = "(" }},
		"instance count": {"instance count", func(s *stabilize.Stage) { s.Rules.Multi.CountOf = "(" }},
		"instance list":  {"instance list", func(s *stabilize.Stage) { s.Rules.Multi.Over = "(" }},
		"until":          {"instances until", func(s *stabilize.Stage) { s.Rules.Multi.Until = "(" }},
		"loop while":     {"loop while", func(s *stabilize.Stage) { s.Rules.Loop.While = "(" }},
		"loop until":     {"loop until", func(s *stabilize.Stage) { s.Rules.Loop.Until = "(" }},
	} {
		s := good()
		c.spoil(s)
		inner := &stabilize.Stage{Ref: "inner", Rules: &stabilize.Rules{Body: []*stabilize.Stage{{Ref: "plain"}, s}}}
		deep := &stabilize.Stage{Ref: "outer", Rules: &stabilize.Rules{Body: []*stabilize.Stage{inner}}}
		for place, err := range map[string]error{
			"itself": r.CheckStage(s), "a body": r.CheckStage(deep),
			"a workflow": r.Check(&stabilize.Workflow{Stages: []*stabilize.Stage{{Ref: "plain"}, s}}),
		} {
			if c.field == "" {
				if err != nil {
					t.Errorf("%s, in %s: %v", name, place, err)
				}
				continue
			}
			e, ok := errors.AsType[*stabilize.InvalidError](err)
			if !ok || !errors.Is(err, stabilize.ErrInvalid) || e.Field != `stage "s" `+c.field {
				t.Errorf("%s, in %s: %v, want the field %q", name, place, err, c.field)
			} else if place == "a body" && !strings.Contains(err.Error(), `body of stage "outer": body of stage "inner"`) {
				t.Errorf("%s: the error reads %v", name, err)
			}
		}
	}
}
