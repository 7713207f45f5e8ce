package conformance_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// pair is a harness whose parts may be wrong.
type pair struct {
	first, second func() persistence.Store
	clock         *stabilize.ManualClock
	lacks         []conformance.Power
}

func (p *pair) Store() persistence.Store      { return p.first() }
func (p *pair) Second() persistence.Store     { return p.second() }
func (p *pair) Reopen() persistence.Store     { return p.first() }
func (p *pair) Clock() *stabilize.ManualClock { return p.clock }
func (p *pair) Lacks() []conformance.Power    { return p.lacks }

func goodPair() *pair {
	clock, data := stabilize.NewManualClock(time.Unix(1_700_000_000, 0)), memstore.NewData()
	a, b := memstore.Open(data, memstore.Config{Clock: clock}), memstore.Open(data, memstore.Config{Clock: clock})
	return &pair{func() persistence.Store { return a }, func() persistence.Store { return b }, clock, nil}
}

type pairCheck = conformance.Check[conformance.Harness]

func pairClauses(n int, run func(i int)) []pairCheck {
	out := make([]pairCheck, n)
	for i := range out {
		out[i] = pairCheck{
			Clause: conformance.Clause{ID: fmt.Sprintf("RT-%02d", i+1), Group: "RT", Sentence: "It holds."},
			Run:    func(conformance.T, conformance.Harness, conformance.Effort) { run(i) },
		}
	}
	return out
}

// wrongHarnesses are what a suite is given, and what its report must say first.
var wrongHarnesses = map[string]struct {
	id, says string
	make     func(t *testing.T) conformance.Harness
}{
	"fatal": {"harness", "could not be made", func(t *testing.T) conformance.Harness { t.Fatal("the database is down"); return nil }},
	"panic": {"harness", "could not be made", func(*testing.T) conformance.Harness { panic("the database is down") }},
	"nil":   {"harness", "nil harness", func(*testing.T) conformance.Harness { return nil }},
	"nil store": {"harness", "Store() of the harness returned nil", func(*testing.T) conformance.Harness {
		p := goodPair()
		p.first = func() persistence.Store { return nil }
		return p
	}},
	"no clock": {"harness", "Clock() of the harness returned nil", func(*testing.T) conformance.Harness {
		p := goodPair()
		p.clock = nil
		return p
	}},
	"one handle": {"harness", "Second() of the harness returned the same handle as Store()", func(*testing.T) conformance.Harness {
		p := goodPair()
		p.second = p.first
		return p
	}},
	"ever new": {"harness", "another handle when called again", func(*testing.T) conformance.Harness {
		p := goodPair()
		p.first = func() persistence.Store { return goodPair().second() }
		return p
	}},
	"misspelt": {"Lacks-Tampr", `"Tampr", which is no power`, func(*testing.T) conformance.Harness {
		p := goodPair()
		p.lacks = []conformance.Power{"Tampr"}
		return p
	}},
}

// TestWrongHarnesses: what is wrong with the harness is what the report begins
// with, and nothing is certified.
func TestWrongHarnesses(t *testing.T) {
	reports, out := inChild(t, "TestWrongHarnesses", func(t *testing.T, tell func(name string, r *conformance.Report)) {
		for name, c := range wrongHarnesses {
			r := &conformance.Report{Backend: name}
			t.Run(name, func(t *testing.T) {
				conformance.Run(t, pairClauses(2, func(int) {}), c.make, func(h conformance.Harness) any { return h.Store() }, conformance.Into(r))
			})
			tell(name, r)
		}
	})
	if reports == nil {
		return
	}
	for name, want := range wrongHarnesses {
		r := reports[name]
		first, failed := r.First()
		if !failed || r.Certified() || first.ID != want.id || !strings.Contains(first.Detail, want.says) || len(r.Results) != 3 {
			t.Errorf("%s: the report begins with %s: %q, of %d results", name, first.ID, first.Detail, len(r.Results))
		}
		if !strings.Contains(out, "/"+strings.ReplaceAll(name, " ", "_")) {
			t.Errorf("%s: its test did not run", name)
		}
	}
	if !strings.Contains(out, "Begin with harness") || strings.Contains(out, "/^harness$") {
		t.Errorf("the log does not say to begin with the harness, or names a sub-test for it:\n%s", out)
	}
}

// TestPatienceEnds: a store that leaks, or hangs, in every clause fails soon.
func TestPatienceEnds(t *testing.T) {
	t.Parallel() // most of it is waiting
	const clauses = 200
	reports, out := inChild(t, "TestPatienceEnds", func(t *testing.T, tell func(name string, r *conformance.Report)) {
		forEver := make(chan struct{})
		t.Cleanup(func() { close(forEver) })
		for name, c := range map[string]struct {
			run   func(int)
			limit time.Duration
		}{
			"leaks": {func(int) { go func() { <-forEver }() }, 10 * time.Second},
			"hangs": {func(int) { <-forEver }, 50 * time.Millisecond},
		} {
			r := &conformance.Report{Backend: name}
			t.Run(name, func(t *testing.T) {
				conformance.Run(t, pairClauses(clauses, c.run), func(*testing.T) conformance.Harness { return goodPair() },
					func(h conformance.Harness) any { return h.Store() }, conformance.Into(r), conformance.Within(c.limit), conformance.AtOnce(4))
			})
			tell(name, r)
		}
	})
	if reports == nil {
		return
	}
	leaks, hangs := reports["leaks"], reports["hangs"]
	if got := leaks.Count(conformance.Failed); got != clauses {
		t.Errorf("%d of %d clauses that leak failed", got, clauses)
	}
	slow := 0
	for _, c := range leaks.Results {
		if c.Seconds >= 10 {
			slow++
		}
	}
	if slow < 1 || slow > 4 { // those begun before the first had leaked
		t.Errorf("%d clauses that leak had the full grace", slow)
	}
	if got := hangs.Count(conformance.Failed); got < 3 || got > 7 || hangs.Count(conformance.LeftOut) != clauses-got {
		t.Errorf("%d clauses hung before the suite was given up", got)
	}
	if last := hangs.Results[clauses-1]; !strings.Contains(last.Detail, "given up after 3 clauses that hung") || !strings.Contains(out, "the suite was given up after 3 clauses that hung;") {
		t.Errorf("the last clause was left out because %q", last.Detail)
	}
}

// inChild runs a function in a process of its own, where tests may fail, and
// returns the reports that it told and what it said. In that process there is
// nothing to look at: the reports are nil.
func inChild(t *testing.T, name string, run func(t *testing.T, tell func(string, *conformance.Report))) (map[string]*conformance.Report, string) {
	t.Helper()
	reports := map[string]*conformance.Report{}
	if path := os.Getenv("CONFORMANCE_CHILD"); path != "" {
		run(t, func(name string, r *conformance.Report) { reports[name] = r })
		content, err := json.Marshal(reports)
		if err == nil {
			err = os.WriteFile(path, content, 0o600)
		}
		if err != nil {
			t.Error(err)
		}
		return nil, ""
	}
	path := filepath.Join(t.TempDir(), "reports.json")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+name+"$", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), "CONFORMANCE_CHILD="+path)
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("what is broken passed:\n%s", out)
	}
	content, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(content, &reports)
	}
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	return reports, string(out)
}
