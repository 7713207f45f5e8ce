package stabilize_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// flow makes a workflow of stages written as "ref<requisite,requisite".
func flow(stages ...string) *stabilize.Workflow {
	w := &stabilize.Workflow{Header: stabilize.Header{ID: "w"}}
	for i, text := range stages {
		ref, requisites, waits := strings.Cut(text, "<")
		s := &stabilize.Stage{ID: fmt.Sprintf("id-%d", i), Ref: ref, Position: i}
		if waits {
			s.Requisites = strings.Split(requisites, ",")
		}
		w.Stages = append(w.Stages, s)
	}
	return w
}

func TestValidateAcceptsSoundWorkflows(t *testing.T) {
	rounds := flow("a", "b<a", "a")
	rounds.Stages[2].Round = 1
	// A later round may wait for what its first one did not.
	rounds.Stages[2].Requisites = []string{"gone"}
	family := flow("a", "a<b")
	family.Stages[1].Requisites, family.Stages[1].Ref = nil, "child"
	family.Stages[1].ParentID, family.Stages[1].Owner = "id-0", stabilize.OwnerBefore
	for name, w := range map[string]*stabilize.Workflow{
		"no stages": flow(), "a chain": flow("a", "b<a", "c<b"), "a diamond": flow("d<b,c", "b<a", "c<a", "a"),
		"a requisite that names no stage": flow("a<nothing"), "rounds": rounds, "a synthetic stage": family,
	} {
		if err := w.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestValidateNamesTheMistake(t *testing.T) {
	long := strings.Repeat("x", stabilize.MaxIDLength+1)
	task := func(s *stabilize.Stage, change func(a, b *stabilize.Task)) {
		s.Tasks = []*stabilize.Task{{ID: "t0", Name: "first", Type: "x"}, {ID: "t1", Name: "second", Type: "x", Position: 1}}
		change(s.Tasks[0], s.Tasks[1])
	}
	for _, c := range []struct {
		name   string
		change func(w *stabilize.Workflow, b *stabilize.Stage) // b is the stage "b" of a, b<a, c<b
		want   string
	}{
		{"a ref used twice", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Ref = "a"; b.Requisites = nil }, `stage "a" ref: is used twice`},
		{"an id used twice", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.ID = "id-0" }, `stage "b" id: "id-0" is used twice`},
		{"a stage that requires itself", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Requisites = []string{"b"} }, `stage "b" requisites: the stage requires itself`},
		{"a requisite listed twice", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Requisites = []string{"a", "x", "a"} }, `stage "b" requisites: "a" is listed twice`},
		{"a requisite without a name", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Requisites = []string{""} }, `stage "b" requisite: is empty`},
		{"a circle", func(w *stabilize.Workflow, _ *stabilize.Stage) { w.Stages[0].Requisites = []string{"c"} }, `requisites: the stages wait for each other: a → c → b → a`},
		{"a position used twice", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Position = 0 }, `stage "b" position: 0 does not follow 0`},
		{"positions out of order", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Position = 7 }, `stage "c" position: 2 does not follow 7`},
		{"a threshold of 0", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Join = stabilize.JoinNOfM }, `stage "b" threshold: 0 of 1 cannot be met`},
		{"a threshold too high", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Join, b.Threshold = stabilize.JoinNOfM, 2 }, `stage "b" threshold: 2 of 1 cannot be met`},
		{"a nil stage", func(w *stabilize.Workflow, _ *stabilize.Stage) { w.Stages[1] = nil }, `stages[1]: is nil`},
		{"no ref", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Ref = "" }, `stage ref: is empty`},
		{"no id", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.ID = "" }, `stage "b" id: is empty`},
		{"an id too long", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.ID = long }, `stage "b" id: is 513 bytes long, the maximum is 512`},
		{"an id with a NUL", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.ID = "a\x00" }, `stage "b" id: "a\x00" holds a NUL`},
		{"a type that is not UTF-8", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Type = "\xff" }, `stage "b" type: is not valid UTF-8`},
		{"a name that is not UTF-8", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Name = "\xff" }, `stage "b" name: is not valid UTF-8`},
		{"a reason that is not UTF-8", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Reason = "\xff" }, `stage "b" reason: is not valid UTF-8`},
		{"a negative round", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Round = -1 }, `stage "b" round: -1 is negative`},
		{"no status", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Status = 12 }, `stage "b" status`},
		{"no ending status", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Ending = 12 }, `stage "b" status`},
		{"no join", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Join = 9 }, `stage "b" join`},
		{"no token", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Tokens.Kind = 9 }, `stage "b" join`},
		{"an owner without a parent", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Owner = stabilize.OwnerAfter }, `stage "b" owner`},
		{"a parent without an owner", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.ParentID = "id-0" }, `stage "b" owner`},
		{"a negative timeout", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Timeout = -time.Second }, `stage "b" timeout: -1s is negative`},
		{"a bad context", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Context = stabilize.Values{"k": []byte("{")} }, `stage "b" context value "k": is not valid JSON`},
		{"a bad output", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Outputs = stabilize.Values{"k": []byte("\"\xff\"")} }, `stage "b" outputs value "k": is not valid UTF-8`},
		{"a nil task", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Tasks = []*stabilize.Task{nil} }, `stage "b" tasks[0]: is nil`},
		{"a task without an id", func(_ *stabilize.Workflow, b *stabilize.Stage) { task(b, func(x, _ *stabilize.Task) { x.ID = "" }) }, `stage "b" tasks[0].id: is empty`},
		{"a task without a type", func(_ *stabilize.Workflow, b *stabilize.Stage) { task(b, func(_, y *stabilize.Task) { y.Type = "" }) }, `stage "b" tasks[1].type: is empty`},
		{"a task id used twice", func(_ *stabilize.Workflow, b *stabilize.Stage) { task(b, func(_, y *stabilize.Task) { y.ID = "t0" }) }, `stage "b" task "second" id: "t0" is used twice`},
		{"task positions", func(_ *stabilize.Workflow, b *stabilize.Stage) {
			task(b, func(_, y *stabilize.Task) { y.Position = 0 })
		}, `stage "b" task "second" position: 0 does not follow 0`},
		{"a task status", func(_ *stabilize.Workflow, b *stabilize.Stage) { task(b, func(_, y *stabilize.Task) { y.Status = 12 }) }, `stage "b" task "second" status`},
		{"a task phase", func(_ *stabilize.Workflow, b *stabilize.Stage) { task(b, func(_, y *stabilize.Task) { y.Phase = 9 }) }, `stage "b" task "second" status`},
		{"a task's error", func(_ *stabilize.Workflow, b *stabilize.Stage) {
			task(b, func(_, y *stabilize.Task) { y.LastError = "\xff" })
		}, `stage "b" tasks[1]: is not valid UTF-8`},
		{"a stage's failure", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Failure = &stabilize.Failure{Message: "\xff"} }, `stage "b" failure: is not valid UTF-8`},
		{"a token's exception", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Tokens.Except = []string{"\xff"} }, `stage "b" tokens: is not valid UTF-8`},
		{"a task's failure", func(_ *stabilize.Workflow, b *stabilize.Stage) {
			task(b, func(_, y *stabilize.Task) { y.Failure = &stabilize.Failure{Task: "\xff"} })
		}, `stage "b" tasks[1]: is not valid UTF-8`},
		{"a task's run", func(_ *stabilize.Workflow, b *stabilize.Stage) {
			task(b, func(_, y *stabilize.Task) { y.Run = "\xff" })
		}, `stage "b" tasks[1]: is not valid UTF-8`},
		{"a requisite listed twice far apart", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Requisites = []string{"p", "q", "z", "a", "y", "q"} }, `stage "b" requisites: "q" is listed twice`},
		{"a requisite listed twice in a row", func(_ *stabilize.Workflow, b *stabilize.Stage) { b.Requisites = []string{"p", "q", "q"} }, `stage "b" requisites: "q" is listed twice`},
		{"a workflow's failure", func(w *stabilize.Workflow, _ *stabilize.Stage) { w.Failure = &stabilize.Failure{Code: "\xff"} }, `workflow failure: is not valid UTF-8`},
		{"who cancels", func(w *stabilize.Workflow, _ *stabilize.Stage) { w.Cancel = &stabilize.Cancellation{Reason: "\xff"} }, `workflow cancel: is not valid UTF-8`},
		{"who pauses", func(w *stabilize.Workflow, _ *stabilize.Stage) { w.Pause = &stabilize.Pause{By: "\xff"} }, `workflow pause: is not valid UTF-8`},
		{"no workflow id", func(w *stabilize.Workflow, _ *stabilize.Stage) { w.ID = "" }, `workflow id: is empty`},
		{"a workflow name", func(w *stabilize.Workflow, _ *stabilize.Stage) { w.Name = "\xff" }, `workflow name: is not valid UTF-8`},
		{"a workflow status", func(w *stabilize.Workflow, _ *stabilize.Stage) { w.Status = 99 }, `workflow status: Status(99) is not one`},
		{"a workflow value", func(w *stabilize.Workflow, _ *stabilize.Stage) { w.Context = stabilize.Values{"k": nil} }, `workflow context value "k": is not valid JSON`},
		{"a trigger value", func(w *stabilize.Workflow, _ *stabilize.Stage) { w.Trigger.Payload = stabilize.Values{"k": nil} }, `trigger payload value "k"`},
		{"an artifact", func(w *stabilize.Workflow, _ *stabilize.Stage) {
			w.Trigger.Artifacts = append(w.Trigger.Artifacts, nil)
		}, `trigger artifact 0: is not valid JSON`},
		{"a limit of nothing", func(w *stabilize.Workflow, _ *stabilize.Stage) { w.LimitConcurrent = true }, `config id: is empty`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := flow("a", "b<a", "c<b")
			c.change(w, w.Stages[1])
			err := w.Validate()
			if !errors.Is(err, stabilize.ErrInvalid) || !strings.HasPrefix(err.Error(), "invalid ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want ErrInvalid with %q", err, c.want)
			}
		})
	}
}

// TestCycles: Validate refuses exactly the graphs whose stages cannot all be
// put in order, and the circle it names is one.
func TestCycles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "stages")
		w := flow()
		for i := range n {
			s := &stabilize.Stage{ID: fmt.Sprint(i), Ref: fmt.Sprint("r", i), Position: i}
			for j := range n {
				if j != i && rapid.IntRange(0, 5).Draw(t, "edge") == 0 {
					s.Requisites = append(s.Requisites, fmt.Sprint("r", j))
				}
			}
			w.Stages = append(w.Stages, s)
		}
		// Take away stages that wait for nothing left, until none goes.
		left := slices.Clone(w.Stages)
		for {
			kept := slices.DeleteFunc(slices.Clone(left), func(s *stabilize.Stage) bool {
				return !slices.ContainsFunc(left, func(u *stabilize.Stage) bool { return slices.Contains(s.Requisites, u.Ref) })
			})
			if len(kept) == len(left) {
				break
			}
			left = kept
		}
		err := w.Validate()
		if (err != nil) != (len(left) > 0) {
			t.Fatalf("%d stages are on or behind a circle: %v", len(left), err)
		}
		if err == nil {
			return
		}
		_, text, ok := strings.Cut(err.Error(), "wait for each other: ")
		circle := strings.Split(text, " → ")
		if !ok || len(circle) < 3 || circle[0] != circle[len(circle)-1] {
			t.Fatalf("no circle in %v", err)
		}
		for i := range circle[1:] {
			waits, waited := w.StageByRef(circle[i]), w.StageByRef(circle[i+1])
			if waits == nil || waited == nil || !slices.Contains(waits.Requisites, waited.Ref) {
				t.Fatalf("%s does not wait for %s, unlike in %v", circle[i], circle[i+1], err)
			}
		}
	})
}

// dag draws a workflow without circles: positions and requisites are unrelated,
// some stages have further rounds, some requisites name no stage.
func dag(t *rapid.T, max int) *stabilize.Workflow {
	n := rapid.IntRange(0, max).Draw(t, "stages")
	rank := rapid.Permutation(upTo(n)).Draw(t, "rank")
	w := flow()
	for i := range n {
		s := &stabilize.Stage{ID: fmt.Sprint("id", i), Ref: fmt.Sprint("r", i), Position: i}
		for j := range n {
			if rank[j] < rank[i] && rapid.IntRange(0, 2).Draw(t, "edge") == 0 {
				s.Requisites = append(s.Requisites, fmt.Sprint("r", j))
			}
		}
		if rapid.IntRange(0, 9).Draw(t, "dangling") == 0 {
			s.Requisites = append(s.Requisites, "nowhere")
		}
		w.Stages = append(w.Stages, s)
	}
	for i := range n {
		for round := 1; rapid.IntRange(0, 5).Draw(t, "round") == 0; round++ {
			again := w.Stages[i].Clone()
			again.ID, again.Round, again.Position = fmt.Sprintf("id%d-%d", i, round), round, len(w.Stages)
			again.Superseded = false
			if rapid.Bool().Draw(t, "superseded") { // else both count
				w.Stages[i].Superseded = true
				for _, s := range w.Stages[n:] {
					s.Superseded = s.Superseded || s.Ref == again.Ref
				}
			}
			w.Stages = append(w.Stages, again)
		}
	}
	return w
}

func upTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// TestTopologicalOrder compares with the definition: of the stages whose
// requisites are all placed, the one with the lowest Position, then all its
// rounds.
func TestTopologicalOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := dag(t, 10)
		want := naiveOrder(w)
		got := w.TopologicalOrder()
		if !slices.Equal(got, want) {
			t.Fatalf("the order is %v, want %v", ids(got), ids(want))
		}
		if again := w.Clone(); !slices.Equal(ids(again.TopologicalOrder()), ids(want)) {
			t.Fatal("a copy has another order")
		}
	})
}

func naiveOrder(w *stabilize.Workflow) []*stabilize.Stage {
	exists, placed, order := map[string]bool{}, map[string]bool{}, []*stabilize.Stage{}
	for _, s := range w.Stages {
		exists[s.Ref] = true
	}
	for len(order) < len(w.Stages) {
		for _, s := range w.Stages { // by Position
			if placed[s.Ref] || slices.ContainsFunc(s.Requisites, func(ref string) bool { return exists[ref] && !placed[ref] }) {
				continue
			}
			placed[s.Ref] = true
			at := len(order)
			for _, u := range w.Stages {
				if u.Ref == s.Ref {
					order = append(order, u)
				}
			}
			slices.SortStableFunc(order[at:], func(a, b *stabilize.Stage) int { return a.Round - b.Round })
			break
		}
	}
	return order
}

func ids(stages []*stabilize.Stage) []string {
	list := make([]string, len(stages))
	for i, s := range stages {
		list[i] = s.ID
	}
	return list
}

func TestTopologicalOrderOfACircle(t *testing.T) {
	w := flow("x<y", "y<x", "a", "b<y")
	if got := ids(w.TopologicalOrder()); !slices.Equal(got, []string{"id-2", "id-0", "id-1", "id-3"}) {
		t.Errorf("the order is %v: stages on a circle come last", got)
	}
}

func TestLookups(t *testing.T) {
	w := flow("b<a,nowhere", "a", "c<a", "a", "p", "q")
	w.Stages[3].Round = 1
	w.Stages[4].ParentID, w.Stages[4].Owner = "id-0", stabilize.OwnerAfter
	w.Stages[5].ParentID, w.Stages[5].Owner = "id-0", stabilize.OwnerBefore
	a := w.Stages[3]
	for what, got := range map[string][]*stabilize.Stage{
		"id-3 ":     w.InitialStages(),
		"id-3":      w.Upstream(w.Stages[0]),
		"id-0 id-2": w.Downstream(a),
		"id-4 id-5": w.Children(w.Stages[0], stabilize.NoOwner),
		"id-5":      w.Children(w.Stages[0], stabilize.OwnerBefore),
		"id-4 ":     append(w.Children(w.Stages[0], stabilize.OwnerAfter), w.Children(w.Stages[0], stabilize.OwnerFailure)...),
		" ":         w.Children(a, stabilize.NoOwner),
		"  ":        w.Upstream(a),
		"    ":      w.Downstream(w.Stages[4]),
	} {
		if want := strings.Fields(what); got == nil || !slices.Equal(ids(got), want) {
			t.Errorf("got %v, want %v, not nil", ids(got), want)
		}
	}
	if w.StageByRef("a") != a || w.Stage("id-1").Round != 0 || w.Stage("nowhere") != nil || w.StageByRef("nowhere") != nil {
		t.Error("a stage is found by id, and by ref in its latest round")
	}
}
