package conformance_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
)

// bad is a harness that has something in use, and may have it for ever.
type bad struct {
	mu    sync.Mutex
	inUse int
}

func (b *bad) Lacks() []conformance.Power { return []conformance.Power{conformance.CanTamper} }

func (b *bad) InUse(context.Context) (map[string]int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return map[string]int{"connections": b.inUse, "cursors": 3}, nil
}

func (b *bad) open(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inUse += n
}

type badCheck = conformance.Check[*bad]

func badClause(id string, needs conformance.Power, run func(conformance.T, *bad)) badCheck {
	return badCheck{
		Clause: conformance.Clause{ID: id, Group: id[:2], Sentence: "It holds.", Needs: needs},
		Run:    func(t conformance.T, b *bad, _ conformance.Effort) { run(t, b) },
	}
}

// badChecks is a suite with everything that can go wrong.
func badChecks(forEver <-chan struct{}, spoke chan<- struct{}) []badCheck {
	return []badCheck{
		badClause("RT-01", "", func(conformance.T, *bad) {}),
		badClause("OC-01", "", func(t conformance.T, _ *bad) { t.Errorf("first"); t.Errorf("second") }),
		badClause("OC-02", "", func(t conformance.T, _ *bad) { t.Fatalf("the end"); t.Errorf("after the end") }),
		badClause("OC-03", "", func(conformance.T, *bad) { panic("the horror") }),
		badClause("CB-01", "", func(conformance.T, *bad) { go func() { <-forEver }() }),
		badClause("CB-02", "", func(_ conformance.T, b *bad) { b.open(1) }),
		badClause("CB-03", "", func(t conformance.T, _ *bad) { <-forEver; t.Errorf("too late"); close(spoke) }),
		badClause("CB-04", "", func(_ conformance.T, b *bad) { b.open(1); go b.open(-1) }),
		badClause("BI-01", conformance.CanTamper, func(t conformance.T, _ *bad) { t.Errorf("ran") }),
		badClause("BI-02", conformance.CanExplain, func(t conformance.T, _ *bad) { t.Errorf("ran") }),
		badClause("VL-01", "", func(conformance.T, *bad) {}),
	}
}

// TestBroken runs the suite of badChecks in a process of its own, where it may
// fail, and looks at what it says.
func TestBroken(t *testing.T) {
	t.Parallel() // most of it is waiting
	if path := os.Getenv("CONFORMANCE_BROKEN"); path != "" {
		forEver, spoke := make(chan struct{}), make(chan struct{})
		report := &conformance.Report{Backend: "broken"}
		conformance.Run(t, badChecks(forEver, spoke), func(*testing.T) *bad { return &bad{} }, func(b *bad) any { return b },
			conformance.Into(report), conformance.InSuite("suite"), conformance.Within(10*time.Second))
		close(forEver)
		<-spoke // what was given up may speak, and nobody listens: package testing would panic
		file, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := report.WriteJSON(file); err != nil {
			t.Error(err)
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
		return
	}
	path := filepath.Join(t.TempDir(), "report.json")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBroken$/^[A-U]", "-test.parallel=4", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), "CONFORMANCE_BROKEN="+path)
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("a suite with broken clauses passed:\n%s", out)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	var report conformance.Report
	if err := json.Unmarshal(content, &report); err != nil {
		t.Fatal(err)
	}
	const promise = "It holds."
	for i, want := range []struct {
		id      string
		verdict conformance.Verdict
		detail  []string
	}{
		{"Lacks-Explain", conformance.Failed, []string{"does not declare", "Explain", "not run because of it: BI-02"}},
		{"RT-01", conformance.Passed, nil},
		{"OC-01", conformance.Failed, []string{"OC-01 is broken. Promised: It holds.\nSeen: first"}},
		{"OC-02", conformance.Failed, []string{"Seen: the end"}},
		{"OC-03", conformance.Failed, []string{"the horror", "broken_test.go"}},
		{"CB-01", conformance.Failed, []string{"CB-01 is broken", "goroutines were left running", "badChecks"}},
		{"CB-02", conformance.Failed, []string{"CB-02 is broken", "1 connections, 0 before"}},
		{"CB-03", conformance.Failed, []string{"CB-03 is broken", "did not end within 10s", "badChecks"}},
		{"CB-04", conformance.Passed, nil},
		{"BI-01", conformance.LeftOut, []string{"declares that the backend lacks Tamper"}},
		{"BI-02", conformance.LeftOut, []string{"see Lacks-Explain"}},
		{"VL-01", conformance.LeftOut, []string{"not asked for"}},
	} {
		got := report.Results[i]
		if got.ID != want.id || got.Verdict != want.verdict || got.Suite != "suite" || i > 0 && (got.Sentence != promise || got.Group != want.id[:2]) {
			t.Errorf("result %d is %+v, want %s %s", i, got, want.id, want.verdict)
		}
		if len(want.detail) == 0 && got.Detail != "" {
			t.Errorf("%s passed, and has the detail %q", want.id, got.Detail)
		}
		for _, part := range want.detail {
			if !strings.Contains(got.Detail, part) {
				t.Errorf("%s has the detail %q, want %q in it", want.id, got.Detail, part)
			}
		}
	}
	for _, part := range []string{
		"second",                                       // failures after the first are in the log
		"CB-03 hangs; all goroutines:",                 // and the goroutines of what hangs
		"9 of 11 clauses are run",                      // how many,
		"Begin with Lacks-Explain",                     // what to do,
		"go test -run '^TestBroken$/^Lacks-Explain$'",  // how to see it again,
		"conformance.Lacking (go doc)", "contract.md.", // and where it is written
	} {
		if !strings.Contains(string(out), part) {
			t.Errorf("the log does not say %q:\n%s", part, out)
		}
	}
	if strings.Contains(string(out), "after the end") || strings.Contains(string(out), "too late") {
		t.Errorf("a clause spoke after its end:\n%s", out)
	}
}

// TestClausesRunAtOnce: each of these ends only when the other has begun.
func TestClausesRunAtOnce(t *testing.T) {
	var met sync.WaitGroup
	met.Add(2)
	meet := func(conformance.T, *bad) { met.Done(); met.Wait() }
	begun := make(chan struct{})
	alone := func(t conformance.T, _ *bad) {
		select {
		case <-begun:
			t.Errorf("two clauses run at once")
		case <-time.After(100 * time.Millisecond): // long enough for the second to begin, if it could
		}
	}
	second := func(conformance.T, *bad) { close(begun) }
	harness := func(*testing.T) *bad { return &bad{} }
	handle := func(b *bad) any { return b }
	conformance.Run(t, []badCheck{badClause("RT-01", "", alone), badClause("RT-02", "", second)}, harness, handle, conformance.OneAtATime())
	conformance.Run(t, []badCheck{badClause("RT-03", "", meet), badClause("RT-04", "", meet)}, harness, handle, conformance.AtOnce(2))
}

// TestHarnessIsClosedBeforeLeaksAreLookedFor: what a harness closes itself is no
// leak, and neither are goroutines that are shared by name.
func TestHarnessIsClosedBeforeLeaksAreLookedFor(t *testing.T) {
	forEver := make(chan struct{})
	defer close(forEver)
	conformance.Run(t, []badCheck{badClause("RT-01", "", func(conformance.T, *bad) { go waitShared(forEver) })},
		func(t *testing.T) *bad {
			done := make(chan struct{})
			go func() { <-done }()
			db := sql.OpenDB(nil) // starts a goroutine that Close ends
			t.Cleanup(func() {
				close(done)
				_ = db.Close()
			})
			return &bad{}
		}, func(b *bad) any { return b }, conformance.SharedGoroutines("waitShared"))
}

func waitShared(c <-chan struct{}) { <-c }

func TestEffortTurnsTheNumbers(t *testing.T) {
	for _, c := range []struct {
		effort       conformance.Effort
		rounds, size int
	}{
		{conformance.Full, 20, 20}, {conformance.Short, 3, 3}, {conformance.Least, 3, 3}, {conformance.Stress, 200, 80},
	} {
		if rounds, size := c.effort.Of(20, 3), c.effort.Size(20, 3); rounds != c.rounds || size != c.size {
			t.Errorf("effort %d makes %d rounds and size %d of 20, want %d and %d", c.effort, rounds, size, c.rounds, c.size)
		}
	}
	saw := conformance.Least
	checks := []badCheck{{Clause: conformance.Clause{ID: "RT-01", Group: "RT"}, Run: func(_ conformance.T, _ *bad, e conformance.Effort) { saw = e }}}
	conformance.Run(t, checks, func(*testing.T) *bad { return &bad{} }, func(b *bad) any { return b }, conformance.At(conformance.Stress))
	if saw != conformance.Stress {
		t.Errorf("a clause under Stress was given effort %d", saw)
	}
}
