package stabilize_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// on makes a stage after others.
func on(ref string, requisites ...string) *stabilize.StageSpec {
	return stabilize.NewStage(ref).After(requisites...)
}

// merge makes a stage with a join of that type.
func merge(join stabilize.JoinType, ref string, requisites ...string) *stabilize.StageSpec {
	return on(ref, requisites...).Joining(join, 0)
}

// oneOf makes an exclusive split whose last branch is the default.
func oneOf(spec *stabilize.StageSpec, refs ...string) *stabilize.StageSpec {
	last := len(refs) - 1
	for _, ref := range refs[:last] {
		spec.ChooseOne(stabilize.To(ref, "x == \""+ref+"\""))
	}
	return spec.ChooseOne(stabilize.Otherwise(refs[last]))
}

// someOf makes an OR split whose last branch is the default too.
func someOf(spec *stabilize.StageSpec, refs ...string) *stabilize.StageSpec {
	last := len(refs) - 1
	for _, ref := range refs[:last] {
		spec.ChooseAll(stabilize.To(ref, "has"+ref))
	}
	return spec.ChooseAll(stabilize.Otherwise(refs[last]))
}

func workflowOf(tb testing.TB, stages ...*stabilize.StageSpec) *stabilize.Workflow {
	tb.Helper()
	w, err := stabilize.NewWorkflow("", "w").Add(stages...).Build(newIDs(), noon())
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

// brief is code, severity and path of findings.
func brief(findings []stabilize.Finding) []string {
	out := []string{}
	for _, f := range findings {
		out = append(out, fmt.Sprintf("%s %s %s", f.Severity, f.Code, strings.Join(f.Path, " ")))
	}
	return out
}

const (
	exclusive     = stabilize.JoinExclusive
	multi         = stabilize.JoinMulti
	orJoin        = stabilize.JoinOr
	discriminator = stabilize.JoinDiscriminator
)

// TestUnsoundNets: the classic mistakes of the literature on workflow nets, in
// the words of this engine, and those that its own rules make possible.
func TestUnsoundNets(t *testing.T) {
	type specs = []*stabilize.StageSpec
	for _, c := range []struct {
		name   string
		stages specs
		want   []string
	}{
		{"1 deadlock: exclusive split, AND join", specs{
			oneOf(on("a"), "b", "c"), on("b", "a"), on("c", "a"), on("j", "b", "c"), on("k", "j"),
		}, []string{"REFUSED NEVER_FIRES a b j"}},
		{"2 lack of synchronisation: AND split, exclusive join", specs{
			on("a"), on("b", "a"), on("c", "a"), merge(exclusive, "j", "b", "c"),
		}, []string{"REFUSED UNSAFE_MERGE a b j"}},
		{"3 OR split, exclusive join", specs{
			someOf(on("a"), "b", "c", "d"), on("b", "a"), on("c", "a"), on("d", "a"), merge(exclusive, "j", "b", "c", "d"),
		}, []string{"WARNING UNSAFE_MERGE a b j"}},
		{"4 dead transition: a quorum of branches that exclude each other", specs{
			oneOf(on("a"), "b", "c", "d"), on("b", "a"), on("c", "a"), on("d", "a"), on("j", "b", "c", "d").AnyOf(2),
		}, []string{"REFUSED NEVER_FIRES a b j"}},
		{"5 AND split in one branch of an exclusive one, all joined by AND", specs{
			oneOf(on("a"), "b", "c"), on("b", "a"), on("c", "a"), on("d", "b"), on("e", "b"), on("j", "c", "d", "e"),
		}, []string{"REFUSED NEVER_FIRES a c j"}},
		{"6 livelock: a loop without an exit", specs{
			on("a").While("true", 0).Body(on("x")), on("b", "a").RepeatUntil("false", 3).Body(on("x")),
		}, []string{"WARNING NO_EXIT a", "WARNING NO_EXIT b"}},
		{"7 improper completion: a multi-merge beside a sibling, joined by AND", specs{
			on("a"), on("b", "a"), on("c", "a"), on("d", "a"), merge(multi, "m", "b", "c"), on("j", "d", "m"),
		}, []string{"WARNING LEFTOVER_TOKENS j"}},
		{"8 starvation: fewer threads than are merged", specs{
			on("a").Threads(2), on("b", "a"), on("c", "b").Joining(stabilize.JoinMerge, 3), on("d", "c"),
		}, []string{"REFUSED NEVER_FIRES b c"}},
		{"9 tokens left: threads that do not divide", specs{
			on("a").Threads(5), on("b", "a").Joining(stabilize.JoinMerge, 2),
		}, []string{"WARNING INCOMPLETE_MERGE b"}},
		{"10 no way out: an exclusive split without a default", specs{
			on("a").ChooseOne(stabilize.To("b", "x")).ChooseOne(stabilize.To("c", "y")), on("b", "a"), on("c", "a"),
		}, []string{"WARNING NO_DEFAULT a"}},
		{"11 a stage after the end", specs{
			on("a"), on("end", "a").EndsWorkflow(), on("b", "a"), on("j", "b", "end"),
		}, []string{"REFUSED NEVER_FIRES end j"}},
		{"12 a circle of waits", specs{
			on("a").Milestone("c", ""), on("b", "a"), on("c", "b"),
		}, []string{"REFUSED DEADLOCK a b c"}},

		{"branches that part before the split's own", specs{
			on("a"), oneOf(on("b", "a"), "d", "e"), on("c", "a"), on("d", "b"), on("e", "b"), merge(exclusive, "j", "c", "d", "e"),
		}, []string{"REFUSED UNSAFE_MERGE a c j"}},
		{"an edge past the split", specs{
			on("a"), on("b", "a"), merge(exclusive, "j", "a", "b"),
		}, []string{"REFUSED UNSAFE_MERGE a j"}},
		{"two beginnings", specs{on("a"), on("b"), merge(exclusive, "j", "a", "b")}, []string{"REFUSED UNSAFE_MERGE a j"}},
		{"a failure that is tolerated saves it", specs{
			on("a"), on("b", "a").OnFailure(stabilize.TolerateFailure), on("c", "a"), merge(exclusive, "j", "b", "c"),
		}, []string{"WARNING UNSAFE_MERGE a b j"}},
		{"an end that may come first", specs{
			on("a"), on("b", "a"), on("c", "a"), merge(exclusive, "j", "b", "c"), on("e", "a").EndsWorkflow(),
		}, []string{"WARNING UNSAFE_MERGE a b j"}},
		{"what runs twice is counted once further down", specs{
			on("a"), on("b", "a"), on("c", "a"), merge(exclusive, "j", "b", "c"), on("k", "j"), merge(exclusive, "l", "j", "k"),
		}, []string{"REFUSED UNSAFE_MERGE a b j", "REFUSED UNSAFE_MERGE j l"}},
		{"a deferred choice joined by AND", specs{
			on("a"), on("b", "a").Choice("k"), on("c", "a").Choice("k"), on("j", "b", "c"),
		}, []string{"REFUSED NEVER_FIRES b j"}},
		{"a choice of one", specs{on("a").Choice("k")}, []string{"WARNING EMPTY_CHOICE a"}},
		{"a milestone that has passed", specs{
			on("a"), on("b", "a"), on("c", "b").Milestone("a", "b"),
		}, []string{"REFUSED MILESTONE_PASSED b c"}},
		{"a milestone that may have passed", specs{
			on("a"), on("b", "a").When("x"), on("c", "b").Milestone("a", "b"),
		}, []string{"WARNING MILESTONE_PASSED b c"}},
		{"a milestone of no length", specs{
			on("a"), on("b", "a").Milestone("a", "a"),
		}, []string{"REFUSED MILESTONE_PASSED a b"}},
		{"milestones that wait for each other", specs{
			on("a").Milestone("b", ""), on("b").Milestone("a", ""),
		}, []string{"REFUSED DEADLOCK a b", "REFUSED DEADLOCK b a"}},
		{"a branch that leads nowhere", specs{
			on("a").ChooseOne(stabilize.To("b", "x"), stabilize.Otherwise("c")), on("b", "a"), on("c", "b"),
		}, []string{"REFUSED DEAD_BRANCH a c"}},
		{"the default of an OR split, joined by AND", specs{
			someOf(on("a"), "b", "c", "d"), on("b", "a"), on("c", "a"), on("d", "a"), on("j", "b", "d"),
		}, []string{"REFUSED NEVER_FIRES a b j"}},
		{"a quorum fires as often as enough branches allow", specs{
			on("s"), on("b", "s").Threads(3), on("c", "s"), merge(discriminator, "m", "b", "c"), on("n", "m").Joining(stabilize.JoinMerge, 3),
		}, []string{"WARNING LEFTOVER_TOKENS m"}},
		{"a milestone that may pass saves it", specs{
			on("a"), on("u", "a"), on("p", "a"), on("b", "a").Milestone("p", "u"), on("c", "a"), merge(exclusive, "j", "b", "c"),
		}, []string{"WARNING UNSAFE_MERGE a b j"}},
		{"threads that part, in an order not followed", specs{
			oneOf(on("s").Threads(2), "t", "u"), oneOf(on("t", "s"), "b", "c"), on("u", "s"), on("b", "t"), on("c", "t"),
			on("d", "b", "c").AnyOf(2), on("n", "d").Joining(stabilize.JoinMerge, 2),
		}, []string{"WARNING NEVER_FIRES d n"}},
		{"its only branch leads nowhere", specs{
			on("a").ChooseOne(stabilize.Otherwise("c")), on("b").Threads(2), on("c", "b"),
		}, []string{"REFUSED DEAD_BRANCH a c"}},
		{"a branch after one that is always true", specs{
			on("a").ChooseOne(stabilize.To("b", "true"), stabilize.To("c", "x")), on("b", "a"), on("c", "a"),
		}, []string{"WARNING DEAD_BRANCH a c", "WARNING NEVER_FIRES a c"}},
		{"a branch switched off", specs{
			on("a").ChooseAll(stabilize.To("b", " false "), stabilize.Otherwise("c")), on("b", "a"), on("c", "a"), on("j", "b", "c"),
		}, []string{"WARNING DEAD_BRANCH a b", "WARNING NEVER_FIRES a b"}},
		{"the cancel of nothing", specs{on("a"), on("b").OnCancelOf("r")}, []string{"REFUSED UNREACHABLE r b"}},
		{"the cancel of what a type may plan", specs{on("a").OfType("t"), on("b").OnCancelOf("r")}, []string{"WARNING UNREACHABLE r b"}},
		{"a section around a stage that needs it", specs{
			on("a1").Section("k"), on("b").Section("k"), on("x", "b"), on("a2", "a1", "x").Section("k"),
		}, []string{"WARNING DEADLOCK b x a2"}},
		{"in a body of a body", specs{
			on("a").While("x", 0).Body(on("b").Instances(stabilize.Multi{Count: 2}).Body(
				on("a"), on("b", "a"), on("c", "a"), merge(exclusive, "j", "b", "c"))),
		}, []string{"REFUSED UNSAFE_MERGE a/b/a a/b/b a/b/j"}},
	} {
		w := workflowOf(t, c.stages...)
		got := w.Soundness()
		if !slices.Equal(brief(got), c.want) {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
			continue
		}
		for _, f := range got {
			if f.Stage == "" || f.Message == "" || !slices.Contains(f.Path, f.Stage) {
				t.Errorf("%s: finding %+v does not name its stage on its path, or says nothing", c.name, f)
			}
		}
		refused := slices.ContainsFunc(got, func(f stabilize.Finding) bool { return f.Severity == stabilize.Refused })
		err := w.CheckSound()
		var unsound *stabilize.UnsoundError
		switch {
		case refused != (err != nil):
			t.Errorf("%s: CheckSound = %v", c.name, err)
		case refused && (!errors.Is(err, stabilize.ErrInvalid) || !errors.As(err, &unsound) || len(unsound.Findings) == 0 || !strings.Contains(err.Error(), unsound.Findings[0].Message)):
			t.Errorf("%s: CheckSound = %v, which is no UnsoundError of its class with its findings", c.name, err)
		}
	}
}

func TestARequisiteThatIsNoStage(t *testing.T) {
	w := flow("a", "b<a,gone", "c<a,gone", "d<a,gone")
	w.Stages[2].Join = stabilize.JoinDiscriminator
	w.Stages[3].Join, w.Stages[3].Threshold = stabilize.JoinNOfM, 2
	want := []string{"REFUSED UNREACHABLE gone b", "WARNING UNREACHABLE gone c", "REFUSED UNREACHABLE gone d"}
	if got := brief(w.Soundness()); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestSoundNets: what must start without a word.
func TestSoundNets(t *testing.T) {
	type specs = []*stabilize.StageSpec
	token := func(ref string) *stabilize.StageSpec { return on(ref, "s") }
	for name, stages := range map[string]specs{
		"1 sequence":      {on("a"), on("b", "a"), on("c", "b")},
		"2, 3 parallel":   {on("a"), on("b", "a"), on("c", "a"), on("d", "b", "c")},
		"4, 5 exclusive":  {oneOf(on("r"), "b", "c", "d"), on("b", "r"), on("b2", "b"), on("c", "r"), on("c2", "c"), on("d", "r"), merge(exclusive, "m", "b2", "c2", "d")},
		"6, 7 OR":         {someOf(on("r"), "b", "c", "d"), on("b", "r"), on("c", "r"), on("c2", "c"), on("d", "r"), merge(orJoin, "j", "b", "c2", "d")},
		"8 multi-merge":   {on("a"), on("b", "a"), on("c", "a"), on("d", "a"), merge(multi, "m", "b", "c", "d"), on("n", "m")},
		"9 discriminator": {on("a"), on("b", "a"), on("c", "a"), on("d", "a"), merge(discriminator, "m", "b", "c", "d"), on("n", "m")},
		"28 blocking":     {on("s").Threads(2), token("b"), token("c"), merge(discriminator, "m", "b", "c")},
		"29 cancelling":   {on("a"), on("b", "a"), on("c", "a"), merge(discriminator, "m", "b", "c").CancelRest()},
		"30 partial":      {on("a"), on("b", "a"), on("c", "a"), on("d", "a"), on("m", "b", "c", "d").AnyOf(2)},
		"31 blocking":     {on("s").Threads(2), token("b"), token("c"), token("d"), on("m", "b", "c", "d").AnyOf(2)},
		"32 cancelling":   {on("a"), on("b", "a"), on("c", "a"), on("d", "a"), on("m", "b", "c", "d").AnyOf(2).CancelRest()},
		"33 generalized":  {on("s").Threads(2), token("b"), token("c"), on("m", "b", "c")},
		"37 acyclic": {
			someOf(on("r"), "b", "c", "d"), on("b", "r"), on("c", "r"), on("d", "r"),
			merge(orJoin, "j1", "b", "c"), merge(orJoin, "j2", "c", "d"), merge(orJoin, "j3", "j1", "j2"),
		},
		"41, 42 threads":  {on("a").Threads(3), on("w", "a"), on("n", "w"), on("e", "n").Joining(stabilize.JoinMerge, 3)},
		"16 choice":       {on("a"), on("b", "a").Choice("k"), on("c", "a").Choice("k"), on("d", "a").Choice("k"), merge(exclusive, "m", "b", "c", "d")},
		"18 milestone":    {on("r"), on("m", "r"), on("w", "m"), on("x", "w"), on("p", "r"), on("g", "p").Milestone("m", "x")},
		"21 loops":        {on("a").While("false", 0).Body(on("x")), on("b", "a").RepeatUntil("true", 0).Body(on("x")), on("c", "b").While("i < 3", 0).Body(on("x"))},
		"25 region":       {on("r"), on("e1", "r").InRegion("z"), on("e2", "r").InRegion("z"), on("k").OnCancelOf("z"), on("v", "r")},
		"26 cancelled":    {on("a").Instances(stabilize.Multi{Count: 5}), on("j", "a"), on("k").OnCancelOf("a"), merge(orJoin, "l", "j", "k")},
		"39 sections":     {on("a1").Section("k"), on("a2", "a1").Section("k"), on("b1").Section("k"), on("b2", "b1").Section("k"), on("x")},
		"43 end":          {on("a"), on("b", "a"), on("end", "b").EndsWorkflow(), on("c", "a"), on("d", "a")},
		"AND under OR":    {someOf(on("a"), "b", "c", "d"), on("b", "a"), on("c", "a"), on("d", "a"), on("j", "b", "c")},
		"AND of one path": {oneOf(on("a"), "b", "c"), on("b", "a"), on("c", "a"), on("d", "b"), on("e", "b"), on("j", "d", "e"), merge(exclusive, "k", "c", "j")},
		"nested": {
			on("s"), oneOf(on("a", "s"), "b", "c"), on("b", "a"), on("c", "a"), merge(exclusive, "j", "b", "c"),
			someOf(on("d", "s"), "e", "f"), on("e", "d"), on("f", "d"), merge(orJoin, "k", "e", "f"), on("z", "j", "k"),
		},
		"choices that follow": {
			oneOf(on("a"), "b", "c"), on("b", "a"), on("c", "a"), merge(exclusive, "m", "b", "c"),
			oneOf(on("d", "m"), "e", "f"), on("e", "d"), on("f", "d"), on("j", "b", "e"),
		},
		"each thread of a multi-merge chooses": {
			on("a"), on("b", "a"), on("c", "a"), oneOf(merge(multi, "m", "b", "c"), "d", "e"), on("d", "m"), on("e", "m"), merge(exclusive, "j", "d", "e"),
		},
		"two threads may take both branches": {
			oneOf(on("s").Threads(2), "t", "u"), oneOf(on("t", "s"), "b", "c"), on("u", "s"), on("b", "t"), on("c", "t"), on("j", "b", "c"),
		},
		"a skip takes every branch": {
			oneOf(on("a"), "b", "c").When("x"), on("b", "a"), on("c", "a"), on("j", "b", "c"),
		},
		"an end that may fail":            {on("a").EndsWorkflow().OnFailure(stabilize.ContinueOnFailure), on("b", "a")},
		"a milestone until its own stage": {on("a"), on("b", "a").Milestone("a", "b")},
		"a milestone beside":              {on("a"), merge(discriminator, "d", "a", "s"), on("s").Milestone("d", "")},
		"nothing":                         {},
	} {
		if got := workflowOf(t, stages...).Soundness(); len(got) > 0 {
			t.Errorf("%s: %q", name, got)
		}
	}
	// A join that some choice of threads leaves with too many is told of, and starts.
	surplus := workflowOf(t, on("s"), on("b", "s").Threads(3), on("c", "s").Threads(2), on("m", "b", "c"))
	if got := brief(surplus.Soundness()); !slices.Equal(got, []string{"WARNING LEFTOVER_TOKENS m"}) || surplus.CheckSound() != nil {
		t.Errorf("33 with a surplus: %q", got)
	}
}

func TestASoundGraphIsNotTooMuch(t *testing.T) {
	const width = 40 // as many splits beside each other, in two orders
	for _, interleaved := range []bool{false, true} {
		specs := []*stabilize.StageSpec{on("s")}
		part := func(i, k int) *stabilize.StageSpec {
			a, b, c, j := fmt.Sprint("a", i), fmt.Sprint("b", i), fmt.Sprint("c", i), fmt.Sprint("j", i)
			return [...]*stabilize.StageSpec{oneOf(on(a, "s"), b, c), on(b, a), on(c, a), merge(exclusive, j, b, c)}[k]
		}
		all := []string{}
		for n := range 4 * width {
			if interleaved {
				specs = append(specs, part(n%width, n/width))
			} else {
				specs = append(specs, part(n/4, n%4))
			}
		}
		for i := range width {
			all = append(all, fmt.Sprint("j", i))
		}
		specs = append(specs, on("end", all...), on("again", "end", "s"), merge(exclusive, "twice", "again", "s"))
		got := brief(workflowOf(t, specs...).Soundness())
		if want := []string{"REFUSED UNSAFE_MERGE s twice"}; len(got) != 1 || !strings.HasPrefix(got[0], "REFUSED UNSAFE_MERGE s ") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestAGraphWithTooManyChoicesIsNotRefused(t *testing.T) {
	const width = 60 // independent exclusive splits whose branches meet only at the end
	specs, ends := []*stabilize.StageSpec{on("s"), on("p", "s"), on("q", "s")}, []string{}
	for i := range width {
		a, b, c := fmt.Sprint("a", i), fmt.Sprint("b", i), fmt.Sprint("c", i)
		specs = append(specs, oneOf(on(a, "s"), b, c), on(b, a), on(c, a))
		ends = append(ends, b, c)
	}
	specs = append(specs, merge(orJoin, "end", ends...), merge(exclusive, "j", "p", "q"))
	got := brief(workflowOf(t, specs...).Soundness())
	if want := []string{"WARNING UNSAFE_MERGE s p j"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
