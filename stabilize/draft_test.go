package stabilize_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func noon() time.Time { return time.Date(2025, 3, 4, 12, 0, 0, 0, time.UTC) }

// seen is all that can be seen of a workflow, its lookups included.
type seen struct {
	Header   stabilize.Header
	Stages   []*stabilize.Stage
	Order    []string
	Active   int
	Halting  bool
	Lookups  map[string][]string
	Contexts []stabilize.Values
}

func see(w *stabilize.Workflow) seen {
	v := seen{
		Header: w.Header, Stages: append([]*stabilize.Stage{}, w.Stages...), Order: ids(w.TopologicalOrder()), Active: w.Active(), Halting: w.Halting(),
		Lookups: map[string][]string{},
	}
	for _, s := range w.Stages {
		v.Lookups["upstream "+s.ID] = ids(w.Upstream(s))
		v.Lookups["downstream "+s.ID] = ids(w.Downstream(s))
		v.Lookups["children "+s.ID] = ids(w.Children(s, stabilize.NoOwner))
		v.Lookups["by id "+s.ID] = ids([]*stabilize.Stage{w.Stage(s.ID)})
		v.Lookups["by ref "+s.Ref] = ids([]*stabilize.Stage{w.StageByRef(s.Ref)})
		v.Contexts = append(v.Contexts, w.TaskContext(s))
	}
	return v
}

// fresh is the same workflow with nothing remembered.
func fresh(w *stabilize.Workflow) *stabilize.Workflow {
	c := w.Clone()
	c.Index()
	return c
}

// recount says again what Active and Halting count as they go.
func recount(w *stabilize.Workflow) (active int, halting bool) {
	halting = w.Cancel != nil || w.Failure != nil || w.Done
	for _, s := range w.Stages {
		if s.Status.IsActive() {
			active++
		}
		failed := s.Status == stabilize.Terminal || s.Status == stabilize.Canceled && s.Reason != stabilize.ReasonWithdrawn
		halting = halting || failed && !s.Superseded && !s.IsSynthetic()
	}
	return active, halting
}

// TestDraft makes random decisions and seals them or takes them back. What a
// draft says it changed is compared with what did change, what it takes back
// with a copy made before, and everything derived with a fresh workflow.
func TestDraft(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := dag(t, 4)
		family(t, w)
		outputs(t, w.Stages)
		for _, s := range w.Stages {
			for i := range rapid.IntRange(0, 2).Draw(t, "tasks") {
				s.Tasks = append(s.Tasks, &stabilize.Task{ID: fmt.Sprint(s.ID, "-t", i), Position: i, Type: "x", Failure: &stabilize.Failure{Code: "OLD"}})
			}
		}
		w.Context = stabilize.Values{"k": []byte(`1`)}
		w.Version = 1
		for _, s := range w.Stages {
			s.Version = 1
		}
		d := stabilize.NewDraft(w)
		before, added := fresh(w), 0
		makes := stabilize.NewIDs(stabilize.NewManualClock(noon()), nil)
		someStage := func(t *rapid.T) *stabilize.Stage { return rapid.SampledFrom(w.Stages).Draw(t, "stage") }
		// withStage is an action on a stage; where there is none it does nothing.
		withStage := func(act func(*rapid.T, *stabilize.Stage)) func(*rapid.T) {
			return func(t *rapid.T) {
				if len(w.Stages) > 0 {
					act(t, someStage(t))
				}
			}
		}
		status := rapid.SampledFrom(stabilize.Statuses())
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				if got, want := see(w), see(fresh(w)); !reflect.DeepEqual(got, want) {
					t.Fatalf("what is remembered differs from what is:\n%+v\n%+v", got, want)
				}
				if active, halting := recount(w); w.Active() != active || w.Halting() != halting {
					t.Fatalf("%d active, halting %t; counted again %d, %t", w.Active(), w.Halting(), active, halting)
				}
				checkChanges(t, d, before)
			},
			"header": func(t *rapid.T) {
				h := d.Header()
				h.Name = rapid.StringN(0, 3, -1).Draw(t, "name")
				if rapid.Bool().Draw(t, "deep") {
					h.Context["k"] = []byte(`2`)
					h.Pause = &stabilize.Pause{By: "me"}
				} else if h.Pause != nil {
					h.Pause.By = "you"
				}
			},
			"workflow status": func(t *rapid.T) {
				_ = d.SetWorkflowStatus(status.Draw(t, "status"), noon())
			},
			"stage": withStage(func(t *rapid.T, some *stabilize.Stage) {
				s := d.Stage(some.ID)
				s.Outputs = randomOutputs(t, s.ID)
				s.Tokens.Except = append(s.Tokens.Except, "x")
				for _, task := range s.Tasks {
					if task.Failure == nil { // of a new round
						task.Failure = &stabilize.Failure{}
					}
					task.Failure.Code = "NEW"
				}
			}),
			"stage status": withStage(func(t *rapid.T, some *stabilize.Stage) {
				s := some
				to := status.Draw(t, "status")
				if to == stabilize.Canceled && s.Status.CanTransition(to) && s.Status != to && rapid.Bool().Draw(t, "withdrawn") {
					d.Stage(s.ID).Reason = stabilize.ReasonWithdrawn
				}
				from := s.Status
				err := d.SetStageStatus(s.ID, to, noon())
				if (err == nil) != from.CanTransition(to) {
					t.Fatalf("from %s to %s: %v", from, to, err)
				}
			}),
			"task status": withStage(func(t *rapid.T, some *stabilize.Stage) {
				if s := some; len(s.Tasks) > 0 {
					_ = d.SetTaskStatus(s.ID, s.Tasks[0].ID, status.Draw(t, "status"), noon())
				}
			}),
			"add": func(t *rapid.T) {
				added++
				s := &stabilize.Stage{ID: fmt.Sprint("added", added), Ref: fmt.Sprint("a", added), Status: status.Draw(t, "status"), Outputs: randomOutputs(t, "new")}
				if len(w.Stages) > 0 {
					switch of := someStage(t); rapid.IntRange(0, 3).Draw(t, "kind") {
					case 0: // a further round
						latest := w.StageByRef(of.Ref)
						s.Ref, s.Round, s.Requisites = of.Ref, latest.Round+1, slices.Clone(latest.Requisites)
					case 1: // a synthetic stage
						s.ParentID, s.Owner = of.ID, stabilize.OwnerAfter
					case 2: // a stage behind another
						s.Requisites = []string{of.Ref}
					}
				}
				d.AddStage(s)
				if n := len(w.Stages); n > 1 && s.Position != w.Stages[n-2].Position+1 {
					t.Fatalf("an added stage stands at %d", s.Position)
				}
			},
			"supersede": withStage(func(t *rapid.T, some *stabilize.Stage) {
				d.Supersede(some.ID)
				if !w.Stage(some.ID).Superseded {
					t.Fatalf("%s still counts", some.ID)
				}
			}),
			"open round": withStage(func(t *rapid.T, some *stabilize.Stage) {
				latest := w.StageByRef(some.Ref)
				s := d.OpenRound(some.Ref, makes, stabilize.Origin{Kind: stabilize.OriginRestart, By: "me"})
				if w.StageByRef(some.Ref) != s || s.Round != latest.Round+1 || s.State.Origin.By != "me" {
					t.Fatalf("the round opened after %d is %+v", latest.Round, s)
				}
			}),
			"reopen": func(t *rapid.T) {
				ended := w.Status.IsComplete()
				if err := d.Reopen(); (err == nil) != ended {
					t.Fatalf("reopening: %v", err)
				}
				if ended && (w.Status != stabilize.NotStarted || w.Failure != nil || w.Cancel != nil || w.Done) {
					t.Fatalf("reopened as %+v", w.Header)
				}
			},
			"remove": withStage(func(t *rapid.T, some *stabilize.Stage) {
				id := some.ID
				d.RemoveStage(id)
				if w.Stage(id) != nil {
					t.Fatalf("%s is still there", id)
				}
			}),
			"seal": func(t *rapid.T) {
				_, changed, _ := d.Changes()
				version := w.Version + 1
				others := fresh(w)
				d.Seal(version)
				for _, s := range w.Stages {
					want := others.Stage(s.ID).Version
					if slices.Contains(changed, s) {
						want = version
					}
					if s.Version != want {
						t.Fatalf("stage %s is at version %d, want %d", s.ID, s.Version, want)
					}
				}
				if w.Version != version || d.Changed() {
					t.Fatalf("the workflow is at version %d, want %d; the draft has changes: %t", w.Version, version, d.Changed())
				}
				before = fresh(w)
			},
			"rollback": func(t *rapid.T) {
				d.Rollback()
				if got, want := see(w), see(before); !reflect.DeepEqual(got, want) {
					t.Fatalf("not everything was taken back:\n%+v\nwas\n%+v", got, want)
				}
				if d.Changed() {
					t.Fatal("the draft says that it has changes")
				}
			},
		})
	})
}

// checkChanges: what a commit would carry, laid over the workflow before, gives
// the workflow now, and it carries nothing that is the same, but for stages
// that were asked for and then left alone.
func checkChanges(t *rapid.T, d *stabilize.Draft, before *stabilize.Workflow) {
	header, changed, removed := d.Changes()
	w := d.Workflow()
	if d.Changed() != (header != nil || len(changed)+len(removed) > 0) {
		t.Fatalf("Changed says %t", d.Changed())
	}
	if header == nil && !reflect.DeepEqual(w.Header, before.Header) {
		t.Fatal("the header changed, but would not be committed")
	}
	if header != nil && header != &w.Header {
		t.Fatal("another header would be committed")
	}
	then := map[string]*stabilize.Stage{}
	for _, s := range before.Stages {
		then[s.ID] = s
	}
	for _, id := range removed {
		if then[id] == nil || w.Stage(id) != nil {
			t.Fatalf("the removal of %s would be committed", id)
		}
		delete(then, id)
	}
	for _, s := range changed {
		if w.Stage(s.ID) != s {
			t.Fatalf("a stage %s that is not of the workflow would be committed", s.ID)
		}
		then[s.ID] = s
	}
	if len(then) != len(w.Stages) {
		t.Fatalf("%d stages would be stored, there are %d", len(then), len(w.Stages))
	}
	for _, s := range w.Stages {
		if !reflect.DeepEqual(then[s.ID], s) {
			t.Fatalf("stage %s changed, but would not be committed", s.ID)
		}
	}
}

func TestDraftRefusesTransitions(t *testing.T) {
	w := flow("a")
	w.Status, w.Stages[0].Status = stabilize.Succeeded, stabilize.Succeeded
	w.Stages[0].Tasks = []*stabilize.Task{{ID: "t", Type: "x", Status: stabilize.Skipped}}
	d := stabilize.NewDraft(w)
	for _, c := range []struct {
		kind, id string
		err      error
	}{
		{"workflow", "w", d.SetWorkflowStatus(stabilize.Running, noon())},
		{"stage", "id-0", d.SetStageStatus("id-0", stabilize.Running, noon())},
		{"task", "t", d.SetTaskStatus("id-0", "t", stabilize.Running, noon())},
	} {
		e, ok := errors.AsType[*stabilize.TransitionError](c.err)
		if !ok || e.Kind != c.kind || e.ID != c.id || e.To != stabilize.Running || !e.From.IsComplete() || !errors.Is(c.err, stabilize.ErrInvalidTransition) {
			t.Errorf("moving a %s out of its end: %v", c.kind, c.err)
		}
	}
	for what, err := range map[string]error{
		"a stage":           d.SetStageStatus("x", stabilize.Running, noon()),
		"a task":            d.SetTaskStatus("id-0", "x", stabilize.Running, noon()),
		"a task of nothing": d.SetTaskStatus("x", "t", stabilize.Running, noon()),
	} {
		if !errors.Is(err, stabilize.ErrNotFound) {
			t.Errorf("%s that does not exist: %v", what, err)
		}
	}
	if d.Stage("x") != nil || d.Task("x", "t") != nil || d.Task("id-0", "x") != nil {
		t.Error("the draft gives out what does not exist")
	}
	d.RemoveStage("x")
	if w.Status != stabilize.Succeeded || w.Stages[0].Status != stabilize.Succeeded {
		t.Error("a refused move changed a status")
	}
}

// Times are set on the first RUNNING only, and at the end only if it had begun.
func TestDraftStampsTimes(t *testing.T) {
	at := func(n int) time.Time { return noon().Add(time.Duration(n) * time.Minute) }
	zone := time.FixedZone("east", 3*3600)
	for _, c := range []struct {
		moves          []stabilize.Status
		started, ended time.Time
	}{
		{[]stabilize.Status{stabilize.Running}, at(0), time.Time{}},
		{[]stabilize.Status{stabilize.Running, stabilize.Paused, stabilize.Running, stabilize.Succeeded}, at(0), at(3)},
		{[]stabilize.Status{stabilize.Running, stabilize.Terminal, stabilize.Terminal}, at(0), at(1)},
		{[]stabilize.Status{stabilize.Buffered, stabilize.Running}, at(1), time.Time{}},
		{[]stabilize.Status{stabilize.Canceled}, time.Time{}, time.Time{}},
		{[]stabilize.Status{stabilize.Skipped}, time.Time{}, time.Time{}},
	} {
		w := flow("a")
		w.Stages[0].Tasks = []*stabilize.Task{{ID: "t", Type: "x"}}
		d := stabilize.NewDraft(w)
		for i, to := range c.moves {
			now := at(i).Add(700 * time.Nanosecond).In(zone) // stores keep microseconds, in UTC
			for _, err := range []error{d.SetWorkflowStatus(to, now), d.SetStageStatus("id-0", to, now), d.SetTaskStatus("id-0", "t", to, now)} {
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		s := w.Stages[0]
		for what, got := range map[string][2]time.Time{
			"workflow": {w.StartedAt, w.EndedAt}, "stage": {s.StartedAt, s.EndedAt}, "task": {s.Tasks[0].StartedAt, s.Tasks[0].EndedAt},
		} {
			if got != [2]time.Time{c.started, c.ended} {
				t.Errorf("%v: the %s ran %v, want %v to %v", c.moves, what, got, c.started, c.ended)
			}
		}
	}
}

// Those who run while the workflow goes on share one copy of its header, and keep
// it when the header changes.
func TestHeaderCopy(t *testing.T) {
	w := &stabilize.Workflow{Header: stabilize.Header{ID: "w", Version: 3, Reason: "before"}}
	first := w.HeaderCopy()
	if first.Version != 0 || first.Reason != "before" {
		t.Fatalf("the copy is %+v", first)
	}
	d := stabilize.NewDraft(w)
	d.Seal(4)
	if w.HeaderCopy() != first {
		t.Error("a commit that left the header alone made another copy")
	}
	d.Header().Reason = "after"
	if second := w.HeaderCopy(); first.Reason != "before" || second.Reason != "after" {
		t.Errorf("the copies have %q and %q", first.Reason, second.Reason)
	}
	d.Rollback()
	if third := w.HeaderCopy(); third.Reason != "before" {
		t.Errorf("after a rollback the copy has %q", third.Reason)
	}
}
