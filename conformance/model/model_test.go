package model_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stabilize-dev/go-stabilize/conformance/model"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// kind is a family of graphs. What would make the outcome a matter of chance is
// left out of each: threads end in the same instant, so where there are threads
// nothing ends the whole workflow.
type kind struct {
	name     string
	joins    []stabilize.JoinType
	policies []stabilize.OnFailure
	splits   bool
	threads  bool
	jumps    bool
	few      bool // stages, none disabled: of several jumps that one end lets go, what comes in between decides
	multi    bool // stages of several instances
	retry    bool // of what did not end well
	outside  bool // gates, withdrawn stages, pauses and cancels
}

func kinds() []kind {
	all := []stabilize.OnFailure{stabilize.FailWorkflow, stabilize.ContinueOnFailure, stabilize.StopBranch, stabilize.FailAfterOthers}
	soft := all[1:]
	return []kind{
		{name: "plain", joins: []stabilize.JoinType{stabilize.JoinAnd, stabilize.JoinOr, stabilize.JoinDiscriminator, stabilize.JoinNOfM},
			policies: all, splits: true, multi: true, outside: true},
		{name: "tolerant", joins: []stabilize.JoinType{stabilize.JoinAnd, stabilize.JoinOr}, policies: append(soft[:3:3], stabilize.TolerateFailure), splits: true, retry: true},
		{name: "retried", joins: []stabilize.JoinType{stabilize.JoinAnd, stabilize.JoinOr, stabilize.JoinDiscriminator, stabilize.JoinNOfM}, policies: all, splits: true, multi: true, retry: true},
		{name: "threads", joins: []stabilize.JoinType{stabilize.JoinAnd, stabilize.JoinAnd, stabilize.JoinExclusive, stabilize.JoinMulti, stabilize.JoinMerge},
			policies: soft, splits: true, threads: true},
		{name: "jumps", joins: []stabilize.JoinType{stabilize.JoinAnd}, policies: all, splits: true, jumps: true, retry: true},
		{name: "jumps and joins", joins: []stabilize.JoinType{stabilize.JoinAnd, stabilize.JoinOr, stabilize.JoinDiscriminator, stabilize.JoinNOfM},
			policies: all, splits: true, jumps: true, few: true},
		{name: "jumps and exclusive joins", joins: []stabilize.JoinType{stabilize.JoinExclusive}, policies: all, splits: true, jumps: true, few: true},
	}
}

// takes is a time that no sum of others is equal to, in all likelihood.
func takes(i int) time.Duration {
	x := uint64(i+1) * 0x9e3779b97f4a7c15
	x ^= x >> 29
	return time.Second + time.Duration(x%20_000_000)*time.Microsecond
}

func draw(t *rapid.T, k kind, most int) model.Graph {
	g := model.Graph{}
	n := rapid.IntRange(1, most).Draw(t, "stages")
	for i := range n {
		s := model.Stage{Ref: fmt.Sprint("s", i), Takes: takes(i)}
		for _, j := range rapid.SliceOfNDistinct(rapid.IntRange(0, max(i-1, 0)), 0, min(i, 4), rapid.ID[int]).Draw(t, "after") {
			s.After = append(s.After, fmt.Sprint("s", j))
		}
		slices.Sort(s.After)
		if m := len(s.After); m > 0 {
			s.Join = rapid.SampledFrom(k.joins).Draw(t, "join")
			switch s.Join {
			case stabilize.JoinNOfM:
				s.N = rapid.IntRange(1, m).Draw(t, "n")
			case stabilize.JoinMerge:
				s.N = rapid.IntRange(1, 3).Draw(t, "n")
			}
		}
		s.Fails = rapid.IntRange(0, 5).Draw(t, "fails") == 0
		s.Recovers = s.Fails && k.retry && rapid.Bool().Draw(t, "recovers")
		s.Policy = rapid.SampledFrom(k.policies).Draw(t, "policy")
		s.Disabled = !k.few && rapid.IntRange(0, 9).Draw(t, "disabled") == 0
		if rapid.IntRange(0, 9).Draw(t, "flaky") == 0 {
			s.Flaky = rapid.IntRange(1, 2).Draw(t, "failures")
		}
		if k.threads && rapid.IntRange(0, 5).Draw(t, "threads") == 0 {
			s.Threads = rapid.IntRange(2, 3).Draw(t, "number")
		}
		if k.multi && !s.Fails && rapid.IntRange(0, 4).Draw(t, "multi") == 0 {
			s.Instances = rapid.IntRange(1, 5).Draw(t, "instances")
			s.Limit = rapid.IntRange(0, 3).Draw(t, "limit")
		}
		g.Stages = append(g.Stages, s)
	}
	g.Retry = k.retry && rapid.Bool().Draw(t, "retry")
	for i := range g.Stages {
		drawRest(t, k, &g, i)
		if s := &g.Stages[i]; k.outside && s.Instances == 0 && rapid.IntRange(0, 7).Draw(t, "gate") == 0 {
			if g.Signal == nil {
				g.Signal = map[string]time.Duration{}
			}
			s.Gate = true
			g.Signal[s.Ref] = takes(3000+i) + time.Duration(rapid.IntRange(0, 3).Draw(t, "opened"))*20*time.Second
		}
	}
	if k.outside && rapid.IntRange(0, 3).Draw(t, "paused") == 0 {
		g.Pause = takes(4000) + time.Duration(rapid.IntRange(0, 2).Draw(t, "later"))*20*time.Second
		g.Resume = g.Pause + takes(5000)
	}
	if k.outside && rapid.IntRange(0, 2).Draw(t, "outside") == 0 {
		g.Withdraw = map[string]time.Duration{}
		for i := range rapid.IntRange(1, 2).Draw(t, "withdrawn") {
			s := rapid.SampledFrom(g.Stages).Draw(t, "stage")
			g.Withdraw[s.Ref] = takes(1000+i) + time.Duration(rapid.IntRange(0, 3).Draw(t, "later"))*20*time.Second
		}
		if rapid.Bool().Draw(t, "canceled") {
			g.Cancel = takes(2000) + time.Duration(rapid.IntRange(0, 3).Draw(t, "later"))*20*time.Second
		}
	}
	return g
}

func drawRest(t *rapid.T, k kind, g *model.Graph, i int) {
	s := &g.Stages[i]
	var below []string
	for _, down := range g.Stages {
		if slices.Contains(down.After, s.Ref) {
			below = append(below, down.Ref)
		}
	}
	if k.splits && len(below) > 0 && rapid.IntRange(0, 3).Draw(t, "split") == 0 {
		s.Split = rapid.SampledFrom([]stabilize.SplitType{stabilize.SplitOr, stabilize.SplitExclusive}).Draw(t, "kind")
		if rapid.Bool().Draw(t, "default") {
			s.Default = rapid.SampledFrom(below).Draw(t, "otherwise")
		}
		for _, ref := range below {
			if ref != s.Default && rapid.Bool().Draw(t, "true") && (s.Split == stabilize.SplitOr || len(s.Chosen) == 0) {
				s.Chosen = append(s.Chosen, ref)
			}
		}
	}
	if s.Disabled && len(s.Chosen) == 0 && s.Split != stabilize.SplitAnd && s.Default == "" {
		s.Default = below[0] // else it would fail in the instant in which others begin
	}
	if k.jumps && !s.Disabled && rapid.IntRange(0, 5).Draw(t, "jump") == 0 {
		s.JumpTo = rapid.SampledFrom(g.Stages).Draw(t, "target").Ref
		s.Jumps = rapid.IntRange(1, 2).Draw(t, "times")
	}
}

// cases is how many graphs of each kind are tried, the same ones each time, so
// that a change is judged by what it did; with STABILIZE_TEST_FULL many more, new
// ones each time. -rapid.checks and -rapid.seed say otherwise.
const (
	cases     = 800
	fullCases = 30_000
	seed      = 43
)

func TestMain(m *testing.M) {
	flag.Parse()
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	unlessGiven := func(name string, value int) {
		if !given[name] {
			if err := flag.Set(name, strconv.Itoa(value)); err != nil {
				panic(err)
			}
		}
	}
	if os.Getenv("STABILIZE_TEST_FULL") != "" {
		unlessGiven("rapid.checks", fullCases)
	} else {
		unlessGiven("rapid.checks", cases)
		unlessGiven("rapid.seed", seed)
	}
	os.Exit(m.Run())
}

// TestEngineAgreesWithTheModel runs random graphs on both, with the cascade and
// without.
func TestEngineAgreesWithTheModel(t *testing.T) {
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				sizes := []int{4, 8, 8, 16, 60}
				if k.few {
					sizes = sizes[:2]
				}
				most := rapid.SampledFrom(sizes).Draw(rt, "size")
				g := draw(rt, k, most)
				want := play(g)
				opts := []engine.Option{}
				if rapid.Bool().Draw(rt, "queue") {
					opts = append(opts, engine.WithoutCascade())
				}
				got, err := onEngine(t, g, opts...)
				if err != nil || got.String() != want.String() {
					rt.Fatalf("%v\n%s\nthe engine: %s\nthe model:  %s", err, g, got, want)
				}
			})
		})
	}
}
