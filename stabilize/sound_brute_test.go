package stabilize_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// tokenGame plays a workflow for every choice, token by token, as the comments
// at the joins and splits say it. It shares nothing with Soundness.
type tokenGame struct {
	w      *stabilize.Workflow
	single bool // a stage runs once at most and puts out one token
	after  func(runs map[string]int, arrived map[string]int)
	moves  int
}

const tooManyMoves = 200_000

func (g *tokenGame) play() (ok bool) {
	g.next(0, map[string]int{}, map[string]int{}, map[string]int{}, map[string]string{})
	return g.moves < tooManyMoves
}

// next lets the i-th stage run. Tokens are live tokens by edge, "from>to"; every
// stage stands after those that it requires.
func (g *tokenGame) next(i int, tokens, runs, arrived map[string]int, chosen map[string]string) {
	if g.moves++; g.moves >= tooManyMoves {
		return
	}
	if i == len(g.w.Stages) {
		g.after(runs, arrived)
		return
	}
	s := g.w.Stages[i]
	here, came := map[string]int{}, 0
	for _, ref := range s.Requisites {
		here[ref] = tokens[ref+">"+s.Ref]
		came += here[ref]
	}
	n := g.fire(s, here)
	arrived, runs = maps.Clone(arrived), maps.Clone(runs)
	arrived[s.Ref] = came
	name := s.Declared().Choice
	play := func(n int, chosen map[string]string) {
		runs := maps.Clone(runs)
		runs[s.Ref] = n
		g.executions(i, n, tokens, runs, arrived, chosen)
	}
	switch {
	case name == "" || n == 0:
		play(n, chosen)
	case chosen[name] == "":
		mine := maps.Clone(chosen)
		mine[name] = s.Ref
		play(n, mine)
		if g.anotherCanCome(i, name) {
			play(0, chosen)
		}
	default:
		play(0, chosen)
	}
}

// anotherCanCome is generous: it makes games in which nobody is chosen, which
// are less than those in which somebody is.
func (g *tokenGame) anotherCanCome(i int, name string) bool {
	return slices.ContainsFunc(g.w.Stages[i+1:], func(s *stabilize.Stage) bool { return s.Declared().Choice == name })
}

// fire takes tokens off the edges as long as the join has enough.
func (g *tokenGame) fire(s *stabilize.Stage, here map[string]int) int {
	if len(s.Requisites) == 0 {
		return 1
	}
	total, fired := 0, 0
	for _, n := range here {
		total += n
	}
	switch s.Join {
	case stabilize.JoinExclusive, stabilize.JoinMulti:
		fired = total
	case stabilize.JoinMerge:
		for threads := s.Threshold; total >= threads; total -= threads {
			fired++
		}
		if g.single && total > 0 {
			fired = 1 // the threads were made one
		}
	default:
		need := map[stabilize.JoinType]int{
			stabilize.JoinAnd: len(s.Requisites), stabilize.JoinOr: 1, stabilize.JoinDiscriminator: 1, stabilize.JoinNOfM: s.Threshold,
		}[s.Join]
		for {
			live := 0
			for ref, n := range here {
				if n > 0 {
					live++
					here[ref]--
				}
			}
			if live < need {
				break
			}
			fired++
		}
	}
	if g.single {
		fired = min(fired, 1)
	}
	return fired
}

// executions plays the executions of a stage one by one, each with every set of
// edges that it may choose.
func (g *tokenGame) executions(i, n int, tokens, runs, arrived map[string]int, chosen map[string]string) {
	if g.moves++; g.moves >= tooManyMoves {
		return
	}
	if n == 0 {
		g.next(i+1, tokens, runs, arrived, chosen)
		return
	}
	s := g.w.Stages[i]
	for _, live := range g.ends(s) {
		put := maps.Clone(tokens)
		for _, to := range live {
			k := max(1, s.Declared().Threads)
			if g.single {
				k = 1
			}
			put[s.Ref+">"+to] += k
		}
		g.executions(i, n-1, put, runs, arrived, chosen)
	}
}

// ends are the sets of stages that may get a token when s ends.
func (g *tokenGame) ends(s *stabilize.Stage) (sets [][]string) {
	if s.OnFailure == stabilize.StopBranch {
		sets = append(sets, nil)
	}
	r, down := s.Declared(), []string{}
	for _, t := range g.w.Stages {
		if slices.Contains(t.Requisites, s.Ref) && !slices.ContainsFunc(r.Branches, func(b stabilize.Branch) bool { return b.To == t.Ref }) {
			down = append(down, t.Ref)
		}
	}
	if r.Ends {
		return append(sets, nil)
	}
	if r.Split == stabilize.SplitAnd {
		return append(sets, down)
	}
	// Every way in which the conditions may turn out.
	for truths := range 1 << len(r.Branches) {
		set, any, otherwise := slices.Clone(down), false, []string{}
		possible := true
		for k, b := range r.Branches {
			truth := truths>>k&1 == 1
			switch {
			case b.Default:
				otherwise = append(otherwise, b.To)
			case b.When == "true" && !truth, b.When == "false" && truth:
				possible = false
			case truth && (r.Split == stabilize.SplitOr || !any):
				set, any = append(set, b.To), true
			}
		}
		if !any && len(otherwise) > 0 {
			set, any = append(set, otherwise...), true
		}
		if any && possible {
			sets = append(sets, set)
		}
	}
	if len(sets) == 0 { // it always fails; the rest is looked at all the same
		sets = [][]string{nil}
	}
	return sets
}

// drawWorkflow makes a small graph of any joins and splits.
func drawWorkflow(t *rapid.T) *stabilize.Workflow {
	n := rapid.IntRange(2, 7).Draw(t, "stages")
	w := &stabilize.Workflow{Header: stabilize.Header{ID: "w"}}
	for i := range n {
		s := &stabilize.Stage{ID: fmt.Sprint("id", i), Ref: fmt.Sprint("s", i), Position: i, Rules: &stabilize.Rules{}}
		for j := range i {
			if rapid.IntRange(0, 9).Draw(t, "edge") < 4 {
				s.Requisites = append(s.Requisites, fmt.Sprint("s", j))
			}
		}
		s.Join = rapid.SampledFrom([]stabilize.JoinType{
			stabilize.JoinAnd, stabilize.JoinAnd, stabilize.JoinExclusive, stabilize.JoinExclusive, stabilize.JoinOr,
			stabilize.JoinDiscriminator, stabilize.JoinNOfM, stabilize.JoinMulti, stabilize.JoinMerge,
		}).Draw(t, "join")
		switch {
		case s.Join == stabilize.JoinNOfM && len(s.Requisites) == 0:
			s.Join = stabilize.JoinAnd
		case s.Join == stabilize.JoinNOfM:
			s.Threshold = rapid.IntRange(1, len(s.Requisites)).Draw(t, "threshold")
		case s.Join == stabilize.JoinMerge:
			s.Threshold = rapid.IntRange(1, 3).Draw(t, "threshold")
		}
		switch rapid.IntRange(0, 19).Draw(t, "rule") {
		case 0, 1:
			s.Rules.Threads = 2
		case 2:
			s.OnFailure = stabilize.StopBranch
		case 3, 4:
			s.Rules.Choice = rapid.SampledFrom([]string{"k", "l"}).Draw(t, "choice")
		case 5:
			s.Rules.Ends = true
		}
		w.Stages = append(w.Stages, s)
	}
	for _, s := range w.Stages {
		drawSplit(t, w, s)
	}
	if err := w.Validate(); err != nil {
		t.Fatal(err)
	}
	return w
}

func drawSplit(t *rapid.T, w *stabilize.Workflow, s *stabilize.Stage) {
	split := rapid.SampledFrom([]stabilize.SplitType{
		stabilize.SplitAnd, stabilize.SplitOr, stabilize.SplitExclusive, stabilize.SplitExclusive,
	}).Draw(t, "split")
	if split == stabilize.SplitAnd {
		return
	}
	for _, down := range w.Stages {
		if !slices.Contains(down.Requisites, s.Ref) || rapid.IntRange(0, 7).Draw(t, "unconditional") == 0 {
			continue
		}
		b := stabilize.Branch{To: down.Ref, When: rapid.SampledFrom([]string{"x", "x", "x", "x", "true", "false", ""}).Draw(t, "when")}
		if b.When == "" {
			defaults := slices.ContainsFunc(s.Rules.Branches, func(b stabilize.Branch) bool { return b.Default })
			if b.Default = split == stabilize.SplitOr || !defaults; !b.Default {
				b.When = "x"
			}
		}
		s.Rules.Branches = append(s.Rules.Branches, b)
	}
	if len(s.Rules.Branches) > 0 {
		s.Rules.Split = split
	}
}

// TestSoundnessAgreesWithEveryGame: on any small graph the joins said never to
// fire are those that no game lets fire, and the exclusive joins said to be
// unsafe those that two tokens reach in some game; refused are those that two
// reach in every game.
func TestSoundnessAgreesWithEveryGame(t *testing.T) {
	never, may, always := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorkflow(t)
		runs, arrived, fewest := map[string]int{}, map[string]int{}, map[string]int{}
		every := &tokenGame{w: w, after: func(r, _ map[string]int) {
			for ref, n := range r {
				runs[ref] = max(runs[ref], n)
			}
		}}
		games := 0
		single := &tokenGame{w: w, single: true, after: func(_, a map[string]int) {
			for ref, n := range a {
				arrived[ref] = max(arrived[ref], n)
				if games == 0 || n < fewest[ref] {
					fewest[ref] = n
				}
			}
			games++
		}}
		if !every.play() || !single.play() {
			return // too many games
		}
		choices, ends, merges := false, false, false
		for _, s := range w.Stages {
			choices = choices || s.Declared().Choice != ""
			ends = ends || s.Declared().Ends
			merges = merges || s.Join == stabilize.JoinMerge
		}
		found := map[string]stabilize.Severity{}
		for _, f := range w.Soundness() {
			found[f.Stage+" "+string(f.Code)] = f.Severity
		}
		for _, s := range w.Stages {
			// The first of those that never fire is named, not what follows it.
			dead := runs[s.Ref] == 0 && len(s.Requisites) > 0 &&
				!slices.ContainsFunc(s.Requisites, func(ref string) bool { return runs[ref] == 0 })
			if _, said := found[s.Ref+" NEVER_FIRES"]; said != dead {
				t.Errorf("stage %q of %s: said never to fire %t, in the games %t", s.Ref, describe(w), said, dead)
			}
			if dead {
				never++
			}
			unsafe := s.Join == stabilize.JoinExclusive && arrived[s.Ref] > 1
			severity, said := found[s.Ref+" UNSAFE_MERGE"]
			if said != unsafe {
				t.Errorf("stage %q of %s: said to be unsafe %t, in the games %t", s.Ref, describe(w), said, unsafe)
			}
			sure := games > 0 && fewest[s.Ref] > 1
			switch {
			case severity == stabilize.Refused && !sure:
				t.Errorf("stage %q of %s is refused, but safe in some game", s.Ref, describe(w))
			case unsafe && sure && severity != stabilize.Refused && !choices && !ends && !merges:
				t.Errorf("stage %q of %s is unsafe in every game, but not refused", s.Ref, describe(w))
			}
			if unsafe {
				may++
			}
			if severity == stabilize.Refused {
				always++
			}
		}
	})
	if never == 0 || may == 0 || always == 0 {
		t.Errorf("%d stages that never fire, %d unsafe and %d refused were drawn; each must be", never, may, always)
	}
}

func describe(w *stabilize.Workflow) string {
	out := ""
	for _, s := range w.Stages {
		r := s.Declared()
		out += fmt.Sprintf("\n\t%s<%v %s(%d) %s%v threads %d choice %q ends %t %s", s.Ref, s.Requisites, s.Join, s.Threshold, r.Split, r.Branches, r.Threads, r.Choice, r.Ends, s.OnFailure)
	}
	return out
}
