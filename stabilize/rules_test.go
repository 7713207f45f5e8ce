package stabilize_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func TestRulesNameTheMistake(t *testing.T) {
	s := func() *stabilize.StageSpec { return stabilize.NewStage("s").Do("x") }
	multi := func(m stabilize.Multi) *stabilize.StageSpec { return s().Instances(m) }
	for want, spec := range map[string]*stabilize.StageSpec{
		`branches: the split has none`:                              s().ChooseOne(),
		`branches: one leads nowhere`:                               s().ChooseAll(stabilize.To("", "true")),
		`branches: "a" is listed twice`:                             s().ChooseAll(stabilize.To("a", "true"), stabilize.To("a", "true")),
		`branches: "a" needs a condition, or to be the default`:     s().ChooseOne(stabilize.To("a", "")),
		`branches: "b" is a second default`:                         s().ChooseOne(stabilize.Otherwise("a"), stabilize.Otherwise("b")),
		`threads: -1 is negative`:                                   s().Threads(-1),
		`join: only a discriminator or N-of-M join cancels`:         s().CancelRest(),
		`loop: the stage has instances already`:                     s().Instances(stabilize.Multi{Count: 1}).While("true", 1),
		`loop: needs either a while or an until condition`:          s().While("", 1),
		`a maximum that is not negative`:                            s().RepeatUntil("true", -1),
		`timeout: is missing`:                                       s().SucceedOnTimeout(),
		`milestone: names no stage`:                                 s().Milestone("", "x"),
		`exclusion key: is empty`:                                   s().Mutex(""),
		`region: is empty`:                                          s().InRegion("a", ""),
		`the stage has no mutex and no section`:                     s().AcrossWorkflows(),
		`reduction: names no output or no reducer`:                  s().Reduce("k", ""),
		`verification: "text" is no type`:                           s().Verify(stabilize.Verification{Types: []stabilize.TypeRule{{Key: "k", Type: "text"}}}),
		`instances: a count, limit or need is negative`:             multi(stabilize.Multi{Count: -1}),
		`instances: are counted in more than one way`:               multi(stabilize.Multi{Count: 1, Over: "list"}),
		`instances: are not counted, and none can be added`:         multi(stabilize.Multi{}),
		`instances: 3 of 2 can never end well`:                      multi(stabilize.Multi{Count: 2, Need: 3}),
		`instances: are not waited for, so they cannot complete`:    multi(stabilize.Multi{Count: 2, Detached: true, Need: 1}),
		`body of stage "s": invalid stage "x" requisites: no stage`: s().Body(stabilize.NewStage("x").After("y")),
		`body of stage "s"`:                                         s().Body(stabilize.NewStage("x"), stabilize.NewStage("x")),
	} {
		_, err := spec.Build(newIDs())
		if !errors.Is(err, stabilize.ErrInvalid) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"s"`) {
			t.Errorf("%v, want ErrInvalid with %q and the stage", err, want)
		}
	}
	in := func(spec *stabilize.StageSpec) error {
		_, err := stabilize.NewWorkflow("app", "wf").Add(spec, stabilize.NewStage("a")).Build(newIDs(), noon())
		return err
	}
	for want, err := range map[string]error{
		`stage "s" branches: no stage has the ref "b"`:  in(s().ChooseOne(stabilize.To("a", "true"), stabilize.Otherwise("b"))),
		`stage "s" milestone: no stage has the ref "b"`: in(s().Milestone("b", "")),
		`stage "s" milestone: no stage has the ref "c"`: in(s().Milestone("a", "c")),
	} {
		if !errors.Is(err, stabilize.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want ErrInvalid with %q", err, want)
		}
	}
}

func TestRulesAreBuiltAsDeclared(t *testing.T) {
	verify := stabilize.Verification{Required: []string{"b", "a"}, Types: []stabilize.TypeRule{{Key: "k", Type: "null"}}, With: "v", Retry: true}
	spec := stabilize.NewStage("s").After("p").AnyOf(1).CancelRest().
		When("x > 1").ChooseAll(stabilize.To("a", "y"), stabilize.Otherwise("b")).Threads(3).Reduce("k", "sum").
		Choice("ch").Milestone("p", "q").Section("key").AcrossWorkflows().InRegion("r2", "r1").OnCancelOf("p").
		Instances(stabilize.Multi{Count: 2}).Body(stabilize.NewStage("in").Do("x")).EndsWorkflow().Verify(verify).
		Timeout(time.Minute).SucceedOnTimeout()
	got, err := spec.Build(newIDs())
	if err != nil {
		t.Fatal(err)
	}
	body := got.Rules.Body
	got.Rules.Body = nil
	verify.Required = []string{"a", "b"}
	want := &stabilize.Rules{
		If: "x > 1", Split: stabilize.SplitOr, Branches: []stabilize.Branch{{To: "a", When: "y"}, {To: "b", Default: true}}, Threads: 3,
		Cancelling: true, Reduce: []stabilize.Reduction{{Key: "k", With: "sum"}}, Choice: "ch", Milestone: &stabilize.Milestone{Reached: "p", Until: "q"},
		Exclusion: &stabilize.Exclusion{Key: "key", Section: true, Global: true}, Regions: []string{"r1", "r2"}, OnCancelOf: "p",
		Multi: &stabilize.Multi{Count: 2}, Ends: true, Verify: &verify, SucceedOnTimeout: true,
	}
	if !reflect.DeepEqual(got.Rules, want) || got.Join != stabilize.JoinNOfM || got.Threshold != 1 {
		t.Errorf("built\n%+v, want\n%+v", got.Rules, want)
	}
	if len(body) != 1 || body[0].Ref != "in" || body[0].ID == "" || body[0].Tasks[0].ID == "" {
		t.Errorf("the body is %+v", body)
	}
	first, err := stabilize.NewStage("s").First().RepeatUntil("done", 0).Build(newIDs())
	if err != nil || first.Join != stabilize.JoinDiscriminator || *first.Rules.Loop != (stabilize.Loop{Until: "done"}) {
		t.Errorf("%+v, %v", first, err)
	}
	w, err := stabilize.NewWorkflow("app", "wf").MaxJumps(3).Timeout(time.Hour).StrictTokens().Build(newIDs(), noon())
	if err != nil || w.MaxJumps != 3 || w.Timeout != time.Hour || !w.StrictTokens {
		t.Errorf("%+v, %v", w.Header, err)
	}
	plain, err := stabilize.NewStage("s").Do("x").Build(newIDs())
	if err != nil || plain.Rules != nil || plain.IsBodied() || !got.IsBodied() || !first.IsBodied() {
		t.Errorf("a plain stage has the rules %+v (%v)", plain.Rules, err)
	}
}

// What is stored of a stage inside a stage is text too.
func TestBodiesHoldText(t *testing.T) {
	for what, change := range map[string]func(s *stabilize.Stage){
		"ref":     func(s *stabilize.Stage) { s.Ref = "\xff" },
		"failure": func(s *stabilize.Stage) { s.Failure = &stabilize.Failure{Code: "\xff"} },
		"tokens":  func(s *stabilize.Stage) { s.Tokens.Except = []string{"\xff"} },
		"context": func(s *stabilize.Stage) { s.Context = stabilize.Values{"k": nil} },
		"outputs": func(s *stabilize.Stage) { s.Outputs = stabilize.Values{"k": nil} },
		"state":   func(s *stabilize.Stage) { s.State = &stabilize.StageState{Timer: "\xff"} },
		"rules":   func(s *stabilize.Stage) { s.Rules = &stabilize.Rules{If: "\xff"} },
		"body":    func(s *stabilize.Stage) { s.Rules = &stabilize.Rules{Body: []*stabilize.Stage{nil}} },
	} {
		w := flow("a")
		inside := &stabilize.Stage{ID: "in", Ref: "in"}
		w.Stages[0].Rules = &stabilize.Rules{Body: []*stabilize.Stage{inside}}
		if err := w.Validate(); err != nil {
			t.Fatal(err)
		}
		if change(inside); !errors.Is(w.Validate(), stabilize.ErrInvalid) {
			t.Errorf("a bad %s: %v", what, w.Validate())
		}
	}
}
