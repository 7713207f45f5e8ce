package stabilize_test

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func text(s string) stabilize.Values { return stabilize.Values{"k": []byte(`"` + s + `"`)} }

func TestLaterInOrderWins(t *testing.T) {
	// Two branches write k; by Position "right" comes before "left", and the
	// order of requisites and of ids says something else.
	w := flow("start", "right<start", "left<start", "end<left,right")
	w.Stages[1].Outputs, w.Stages[2].Outputs = text("right"), text("left")
	w.Context = stabilize.Values{"k": []byte(`"workflow"`), "only": []byte(`1`)}
	end := w.Stages[3]
	end.Context = stabilize.Values{"own": []byte(`2`)}
	if got := w.Inherited(end); !got.Equal(text("left")) {
		t.Errorf("inherited: %s, want the later branch's", got)
	}
	want := stabilize.Values{"k": []byte(`"left"`), "only": []byte(`1`), "own": []byte(`2`)}
	if got := w.TaskContext(end); !got.Equal(want) {
		t.Errorf("context: %s, want %s", got, want)
	}
	end.Context = text("end")
	if got := w.TaskContext(end); string(got["k"]) != `"end"` {
		t.Errorf("the stage's own context gives way: %s", got)
	}
	if got := w.Inherited(w.Stages[0]); got != nil {
		t.Errorf("a first stage inherits %#v, want nil", got)
	}
	mine := w.Inherited(end)
	mine["k"] = nil
	if got := w.Inherited(end); !got.Equal(text("left")) {
		t.Errorf("changing an answer changed the next: %s", got)
	}
}

// family adds synthetic stages below random stages, some below synthetic ones.
func family(t *rapid.T, w *stabilize.Workflow) {
	backwards := rapid.Bool().Draw(t, "backwards") // siblings wait for later ones
	for i := range rapid.IntRange(0, 5).Draw(t, "children") {
		if len(w.Stages) == 0 {
			return
		}
		parent := rapid.SampledFrom(w.Stages).Draw(t, "parent")
		s := &stabilize.Stage{
			ID: fmt.Sprint("child", i), Ref: fmt.Sprint(parent.Ref, "<", i), Round: parent.Round, Position: len(w.Stages), ParentID: parent.ID,
			Owner: rapid.SampledFrom([]stabilize.Owner{stabilize.OwnerBefore, stabilize.OwnerAfter, stabilize.OwnerFailure}).Draw(t, "owner"),
		}
		for _, sibling := range w.Stages {
			if sibling.ParentID != parent.ID || sibling.Owner != s.Owner || !rapid.Bool().Draw(t, "waits") {
				continue
			}
			if backwards {
				sibling.Requisites = append(sibling.Requisites, s.Ref)
			} else {
				s.Requisites = append(s.Requisites, sibling.Ref)
			}
		}
		w.Stages = append(w.Stages, s)
	}
}

func outputs(t *rapid.T, stages []*stabilize.Stage) {
	for _, s := range stages {
		s.Status = rapid.SampledFrom(stabilize.Statuses()).Draw(t, "status")
		s.Outputs = randomOutputs(t, s.ID)
	}
}

func randomOutputs(t *rapid.T, who string) stabilize.Values {
	var v stabilize.Values
	for _, key := range []string{"a", "b", "c"} {
		if rapid.IntRange(0, 2).Draw(t, "writes") == 0 {
			if err := v.Set(key, fmt.Sprint(who, "#", rapid.IntRange(0, 9).Draw(t, "value"))); err != nil {
				t.Fatal(err)
			}
		}
	}
	return v
}

// naiveInherited is the rule as it is documented, with no memory and no care
// for cost.
func naiveInherited(w *stabilize.Workflow, s *stabilize.Stage) stabilize.Values {
	place := map[*stabilize.Stage]int{}
	for i, u := range naiveOrder(w) {
		place[u] = i
	}
	byPlace := func(a, b *stabilize.Stage) int { return place[a] - place[b] }
	// sources: where the tokens came from that the stage was started with, else
	// of each requisite the first execution that counts (if none does, the latest).
	sources := func(u *stabilize.Stage) []*stabilize.Stage {
		var list []*stabilize.Stage
		if u.State != nil && len(u.State.Consumed) > 0 {
			for _, token := range u.State.Consumed {
				for _, up := range roundsOf(w, token.Ref) {
					if up.Round == token.Round {
						list = append(list, up)
					}
				}
			}
			return list
		}
		for _, ref := range u.Requisites {
			rounds := roundsOf(w, ref)
			if len(rounds) == 0 {
				continue
			}
			counts := rounds[len(rounds)-1]
			for _, up := range slices.Backward(rounds) {
				if !up.Superseded {
					counts = up
				}
			}
			list = append(list, counts)
		}
		return list
	}
	childrenOf := func(u *stabilize.Stage, before bool) []*stabilize.Stage {
		var list []*stabilize.Stage
		for _, c := range w.Stages {
			if c.ParentID == u.ID && (c.Owner == stabilize.OwnerBefore) == before {
				list = append(list, c)
			}
		}
		slices.SortFunc(list, byPlace)
		return list
	}
	var put func(u, except *stabilize.Stage, into stabilize.Values)
	put = func(u, except *stabilize.Stage, into stabilize.Values) {
		if u == except {
			return
		}
		for _, c := range childrenOf(u, true) {
			put(c, except, into)
		}
		maps.Copy(into, u.Outputs)
		for _, c := range childrenOf(u, false) {
			put(c, except, into)
		}
	}
	var above func(u *stabilize.Stage, into stabilize.Values)
	above = func(u *stabilize.Stage, into stabilize.Values) {
		for _, p := range w.Stages {
			if p.ID == u.ParentID {
				above(p, into)
				put(p, u, into)
				return
			}
		}
		ancestors := map[*stabilize.Stage]bool{}
		var collect func(*stabilize.Stage)
		collect = func(u *stabilize.Stage) {
			for _, up := range sources(u) {
				if !ancestors[up] {
					ancestors[up] = true
					collect(up)
				}
			}
		}
		collect(u)
		for _, a := range slices.SortedFunc(maps.Keys(ancestors), byPlace) {
			put(a, nil, into)
		}
	}
	out := stabilize.Values{}
	above(s, out)
	for _, c := range childrenOf(s, true) {
		put(c, nil, out)
	}
	return out
}

// TestInherited compares with the naive rule, asking in random order and more
// than once, so that what is remembered shows.
func TestInherited(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := dag(t, 8)
		family(t, w)
		outputs(t, w.Stages)
		w.Context = randomOutputs(t, "workflow")
		if len(w.Stages) == 0 {
			return
		}
		for range 12 {
			s := rapid.SampledFrom(w.Stages).Draw(t, "asks")
			want := naiveInherited(w, s)
			if got := w.Inherited(s); !got.Equal(want) {
				t.Fatalf("%s inherits %s, want %s", s.ID, got, want)
			}
			context := maps.Clone(w.Context)
			if context == nil {
				context = stabilize.Values{}
			}
			maps.Copy(context, want)
			maps.Copy(context, s.Context)
			if got := w.TaskContext(s); !got.Equal(context) {
				t.Fatalf("%s sees %s, want %s", s.ID, got, context)
			}
		}
	})
}

// TestInheritedWhileDeciding asks between the steps of decisions that are
// sealed or taken back.
func TestInheritedWhileDeciding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := dag(t, 6)
		family(t, w)
		outputs(t, w.Stages)
		if len(w.Stages) == 0 {
			return
		}
		d := stabilize.NewDraft(w)
		ask := func(t *rapid.T) {
			s := rapid.SampledFrom(w.Stages).Draw(t, "asks")
			if got, want := w.Inherited(s), naiveInherited(w, s); !got.Equal(want) {
				t.Fatalf("%s inherits %s, want %s", s.ID, got, want)
			}
		}
		version := int64(0)
		t.Repeat(map[string]func(*rapid.T){
			"": ask,
			"outputs": func(t *rapid.T) {
				s := d.Stage(rapid.SampledFrom(w.Stages).Draw(t, "stage").ID)
				s.Outputs = randomOutputs(t, s.ID)
			},
			"status": func(t *rapid.T) {
				s := rapid.SampledFrom(w.Stages).Draw(t, "stage")
				_ = d.SetStageStatus(s.ID, rapid.SampledFrom(stabilize.Statuses()).Draw(t, "status"), time.Unix(0, 0))
			},
			"seal":     func(*rapid.T) { version++; d.Seal(version) },
			"rollback": func(*rapid.T) { d.Rollback() },
		})
	})
}

// A loaded workflow may be read by several goroutines.
func TestReadingConcurrently(t *testing.T) {
	w := flow("a", "b<a", "c<a", "d<b,c", "e<d", "f<e")
	for _, s := range w.Stages {
		s.Status, s.Outputs = stabilize.Succeeded, text(s.Ref)
	}
	w.Index()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, s := range w.Stages {
				w.TaskContext(s)
				w.TopologicalOrder()
			}
		})
	}
	wg.Wait()
	if got := w.Inherited(w.Stages[5]); !got.Equal(text("e")) {
		t.Errorf("inherited: %s", got)
	}
}

// TestFamilyOfEndedStageGrows: what is remembered of an ended stage does not hide
// a synthetic stage that it gets later.
func TestFamilyOfEndedStageGrows(t *testing.T) {
	w := &stabilize.Workflow{Header: stabilize.Header{ID: "w"}, Stages: []*stabilize.Stage{
		{ID: "a", Ref: "a", Status: stabilize.Succeeded},
		{ID: "b", Ref: "b", Position: 1, Requisites: []string{"a"}},
	}}
	w.Index()
	if got := w.TaskContext(w.Stage("b")); len(got) > 0 {
		t.Fatalf("before, b sees %v", got)
	}
	d := stabilize.NewDraft(w)
	d.AddStage(&stabilize.Stage{
		ID: "c", Ref: "c", ParentID: "a", Owner: stabilize.OwnerAfter, Status: stabilize.Succeeded,
		Outputs: stabilize.Values{"x": []byte("1")},
	})
	if got := string(w.TaskContext(w.Stage("b"))["x"]); got != "1" {
		t.Errorf("b sees %q of what the later stage put out, want 1", got)
	}
}
