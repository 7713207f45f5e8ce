package stabilize_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// A new round is the stage as it was declared: nothing of what became of the
// round before, nor of what its tasks wrote into the context, is in it.
func TestOpenRoundIsFresh(t *testing.T) {
	spec := stabilize.NewStage("a").After("p", "q").Do("one", "two").With("given", 1).Named("A").OfType("typ").
		Joining(stabilize.JoinNOfM, 1).OnFailure(stabilize.StopBranch).Disabled().AllowSiblings().Timeout(5).When("true").
		Threads(2).CancelRest().Mutex("key").InRegion("r")
	makes := newIDs()
	declared, err := spec.Build(makes)
	if err != nil {
		t.Fatal(err)
	}
	w := flow("p", "q")
	declared.Position = 2
	w.Stages = append(w.Stages, declared)
	d := stabilize.NewDraft(w)
	s := d.Stage(declared.ID)
	s.WriteContext(stabilize.Values{"given": []byte("2"), "more": []byte("3")})
	s.WriteContext(stabilize.Values{"more": []byte("4")})
	if string(s.Context["given"]) != "2" || string(s.Context["more"]) != "4" || len(*s.State.Initial) != 1 || string((*s.State.Initial)["given"]) != "1" {
		t.Fatalf("written: %s over %s", s.Context, *s.State.Initial)
	}
	s.Status, s.Reason, s.Ending = stabilize.Terminal, "why", stabilize.Terminal
	s.Failure = &stabilize.Failure{Code: "X"}
	s.Outputs, s.Tokens = text("out"), stabilize.Tokens{Kind: stabilize.TokenDead}
	s.BeforePlanned, s.AfterPlanned, s.FailurePlanned = true, true, true
	s.StartedAt, s.EndedAt, s.StartExpiry = noon(), noon(), noon()
	s.State.Consumed, s.State.Bypass, s.State.Chosen = []stabilize.Token{{Ref: "p"}}, true, true
	s.Tasks[0].Status, s.Tasks[0].Failures, s.Tasks[0].LastError = stabilize.Terminal, 3, "busy"
	s.Tasks = append([]*stabilize.Task{{ID: "planned", Type: "extra", Planned: true}}, s.Tasks...)
	d.Supersede(s.ID)
	origin := stabilize.Origin{Kind: stabilize.OriginRestart, By: "ann", At: noon(), Failure: &stabilize.Failure{Code: "X"}}
	got := d.OpenRound("a", makes, origin)

	want := declared.Clone()
	want.ID, want.Round, want.Position = got.ID, 1, 3
	want.State = &stabilize.StageState{Origin: &origin}
	for i, task := range want.Tasks {
		if got.Tasks[i].ID == task.ID || got.Tasks[i].ID == "" {
			t.Errorf("task %d of the new round has the id %q of the old", i, got.Tasks[i].ID)
		}
		task.ID = got.Tasks[i].ID
	}
	if !reflect.DeepEqual(got, want) || got.ID == declared.ID {
		t.Errorf("the new round is\n%+v, want\n%+v", got, want)
	}
	if w.StageByRef("a") != got || !w.StageInRound("a", 0).Superseded || len(w.Rounds("a")) != 2 || !slices.Equal(w.Executions("a"), []*stabilize.Stage{got}) {
		t.Error("the new round is not the one that counts, or the old one is gone")
	}
	got.Rules.Regions[0] = "changed"
	if declared.Rules.Regions[0] != "r" {
		t.Error("the rounds share their rules")
	}

	d.Rollback()
	if len(w.Stages) != 3 || w.StageByRef("a") != declared || declared.Superseded || len(w.Rounds("a")) != 1 || len(w.Executions("a")) != 1 {
		t.Error("the round was not taken back")
	}
}

func TestWritingNothingNotesNothing(t *testing.T) {
	s := &stabilize.Stage{Context: text("x")}
	s.WriteContext(nil)
	if s.State != nil {
		t.Errorf("the state is %+v", s.State)
	}
}

func TestReopen(t *testing.T) {
	w := flow("a")
	d := stabilize.NewDraft(w)
	if err := d.Reopen(); !errors.Is(err, stabilize.ErrInvalidTransition) || d.Changed() {
		t.Errorf("a workflow that has not ended: %v", err)
	}
	w.Header = stabilize.Header{
		ID: "w", Name: "n", Status: stabilize.Terminal, Reason: "r", Failure: &stabilize.Failure{Code: "X"}, Cancel: &stabilize.Cancellation{By: "me"},
		Done: true, StartedAt: noon(), EndedAt: noon(), StartExpiry: noon(), Leftover: []stabilize.Token{{Ref: "a"}}, Jumps: 2,
	}
	before := w.Header.Clone()
	if err := d.Reopen(); err != nil {
		t.Fatal(err)
	}
	want := stabilize.Header{ID: "w", Name: "n", StartedAt: noon(), Jumps: 2}
	if !reflect.DeepEqual(w.Header, want) || w.Halting() {
		t.Errorf("reopened as %+v, halting %t", w.Header, w.Halting())
	}
	d.Rollback()
	if !reflect.DeepEqual(&w.Header, before) {
		t.Errorf("taken back to %+v", w.Header)
	}
}

// What was superseded halts nothing any more, and taking that back lets it.
func TestSupersedeLetsGo(t *testing.T) {
	w := flow("a")
	w.Stages[0].Status = stabilize.Terminal
	d := stabilize.NewDraft(w)
	if !w.Halting() {
		t.Fatal("a failed stage does not halt")
	}
	d.Supersede("id-0")
	d.Supersede("id-0")
	d.Supersede("nowhere")
	if w.Halting() {
		t.Error("history halts the workflow")
	}
	d.Rollback()
	if !w.Halting() || w.Stages[0].Superseded {
		t.Error("it was not taken back")
	}
}

func TestRoundsAreFound(t *testing.T) {
	w := flow("a", "b<a", "c<b", "x", "a", "b<a", "d<c,x")
	w.Stages[4].Round, w.Stages[5].Round = 1, 1
	w.Stages[0].Superseded = true
	w.Stages[5].State = &stabilize.StageState{Consumed: []stabilize.Token{{Ref: "a"}}} // of the round that is history now
	for what, got := range map[string][]*stabilize.Stage{
		"id-4":      w.Executions("a"),
		"id-1 id-5": w.Executions("b"),
		"id-0 id-4": w.Rounds("a"),
		"id-2":      w.Rounds("c"),
		"":          w.Rounds("nowhere"),
		" ":         w.Executions("nowhere"),
		"id-0":      w.Sources(w.Stages[5]),
		" id-4":     w.Sources(w.Stages[1]),
		"id-2 id-3": w.Sources(w.Stages[6]),
		" id-1":     w.Sources(w.Stages[2]), // of two that count the first
	} {
		if want := strings.Fields(what); got == nil || !slices.Equal(ids(got), want) {
			t.Errorf("got %v, want %v, not nil", ids(got), want)
		}
	}
	if w.StageInRound("a", 0) != w.Stages[0] || w.StageInRound("a", 1) != w.Stages[4] || w.StageInRound("c", 0) != w.Stages[2] ||
		w.StageInRound("c", 1) != nil || w.StageInRound("a", 2) != nil {
		t.Error("a round is not found by its number")
	}
	for ref, want := range map[string]string{"a": "a b c d", "x": "x d", "d": "d", "c": "c d"} {
		if got := strings.Join(w.Below(ref), " "); got != want {
			t.Errorf("below %s are %q, want %q", ref, got, want)
		}
	}
}

func TestOnlyToward(t *testing.T) {
	// b leads to m only; c leads to m by way of c2; d leads elsewhere too.
	w := flow("start", "b<start", "c<start", "c2<c", "d<start", "m<b,c2,d", "e<d")
	w.Stages[0].Status = stabilize.Succeeded
	if got := strings.Join(ids(w.OnlyToward(w.Stages[5])), " "); got != "id-1 id-2 id-3" {
		t.Errorf("only toward m lead %s", got)
	}
	w.Stages[1].Status = stabilize.Succeeded
	if got := strings.Join(ids(w.OnlyToward(w.Stages[5])), " "); got != "id-2 id-3" {
		t.Errorf("with b ended only toward m lead %s", got)
	}
}

func TestNamesInRules(t *testing.T) {
	w := flow("a", "b", "c", "b")
	w.Stages[1].Superseded, w.Stages[3].Round = true, 1
	for _, s := range w.Stages[1:] {
		s.Rules = &stabilize.Rules{
			Regions: []string{"r", "r2"}, Choice: "ch", Exclusion: &stabilize.Exclusion{Key: "k"},
			Milestone: &stabilize.Milestone{Reached: "a", Until: "u"}, OnCancelOf: "z",
		}
	}
	for what, got := range map[string][]*stabilize.Stage{
		"region": w.Region("r"), "region 2": w.Region("r2"), "choice": w.Choice("ch"), "excluding": w.Excluding("k"),
		"reached": w.Watching("a"), "until": w.Watching("u"), "on cancel": w.Watching("z"),
	} {
		if !slices.Equal(ids(got), []string{"id-2", "id-3"}) {
			t.Errorf("%s: %v", what, ids(got))
		}
	}
	if got := append(append(w.Region("a"), w.Choice("r")...), w.Watching("r")...); len(got) > 0 {
		t.Errorf("under a name of another kind: %v", ids(got))
	}
}

func TestMilestoneState(t *testing.T) {
	w := flow("m", "x<m", "g")
	g := w.Stages[2]
	want := func(what string, state stabilize.Readiness) {
		t.Helper()
		if got := w.MilestoneState(g); got != state {
			t.Errorf("%s: %d, want %d", what, got, state)
		}
	}
	want("without one", stabilize.Ready)
	g.Rules = &stabilize.Rules{Milestone: &stabilize.Milestone{Reached: "m", Until: "x"}}
	want("not reached", stabilize.Waiting)
	w.Stages[0].Tokens.Kind = stabilize.TokenLive
	want("reached", stabilize.Ready)
	w.Stages[1].StartedAt = noon()
	want("passed", stabilize.Dead)
	g.Rules.Milestone.Until = ""
	want("that never passes", stabilize.Ready)
	w.Stages[0].Tokens.Kind = stabilize.TokenDead
	want("that cannot be reached any more", stabilize.Dead)
}
