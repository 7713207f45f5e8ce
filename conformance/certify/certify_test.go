package certify_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/certify"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// asProgram makes the test's binary a program: the value says which.
const asProgram = "CERTIFY_AS_PROGRAM"

func TestMain(m *testing.M) {
	switch os.Getenv(asProgram) {
	case "sound":
		certify.Main("my store", newHarness)
	case "broken":
		certify.Main("my store", newBroken, conformance.Command("go run . -run"))
	case "never":
		certify.Main("my store", func(t *testing.T) conformance.Harness { t.Fatal("the database is down"); return nil })
	case "late":
		late := true
		certify.Main("my store", func(t *testing.T) conformance.Harness {
			if late {
				late = false
				t.Fatal("the database is not up yet")
			}
			return newHarness(t)
		})
	case "greedy":
		certify.Main("my store", newGreedy)
	case "panics":
		certify.Main("my store", newPanicking)
	case "forgetful":
		certify.Main("my store", newForgetful)
	}
	os.Exit(m.Run())
}

// broken is a store that takes acknowledgements and does nothing.
type broken struct{ persistence.Store }

func (broken) Ack(ctx context.Context, _ ...queue.Receipt) error { return ctx.Err() }

type brokenHarness struct{ conformance.Harness }

func (h brokenHarness) Store() persistence.Store  { return broken{h.Harness.Store()} }
func (h brokenHarness) Second() persistence.Store { return broken{h.Harness.Second()} }
func (h brokenHarness) Reopen() persistence.Store { return broken{h.Harness.Reopen()} }
func (h brokenHarness) Lacks() []conformance.Power {
	return append(h.Harness.(*harness).Lacks(), conformance.CanRefresh, conformance.CanListWaiting, conformance.CanWatch, conformance.CanLogEvents, conformance.CanNotify)
}

func newBroken(t *testing.T) conformance.Harness { return brokenHarness{newHarness(t)} }

// forgetful loses the messages of every commit after the first.
type forgetful struct {
	persistence.Store
	commits *atomic.Int64
}

func (f forgetful) CommitBatch(ctx context.Context, commits []*persistence.Commit) []error {
	for i, c := range commits {
		if f.commits.Add(1) > 1 {
			lossy := *c
			lossy.Messages = nil
			commits[i] = &lossy
		}
	}
	return f.Store.CommitBatch(ctx, commits)
}

type forgetfulHarness struct {
	brokenHarness
	commits atomic.Int64
}

func (h *forgetfulHarness) Store() persistence.Store {
	return forgetful{h.Harness.Store(), &h.commits}
}

func (h *forgetfulHarness) Second() persistence.Store {
	return forgetful{h.Harness.Second(), &h.commits}
}

func newForgetful(t *testing.T) conformance.Harness {
	return &forgetfulHarness{brokenHarness: brokenHarness{newHarness(t)}}
}

// program runs the program and returns what it says, its report and exit code.
func program(t *testing.T, which string, args ...string) (out string, report conformance.Report, code int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.json")
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"-json", file}, args...)...)
	cmd.Env = append(os.Environ(), asProgram+"="+which)
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v:\n%s", err, b)
	}
	if content, err := os.ReadFile(file); err == nil {
		if err := json.Unmarshal(content, &report); err != nil {
			t.Error(err)
		}
	}
	return string(b), report, cmd.ProcessState.ExitCode()
}

// TestRun: one line runs every suite, and the report has each.
func TestRun(t *testing.T) {
	report := &conformance.Report{Backend: "mine"}
	certify.Run(t, newHarness, conformance.Into(report), conformance.At(conformance.Least))
	if strings.Contains(flag.Lookup("test.run").Value.String(), "VL-0") {
		return // this is a process of VL-06
	}
	suites := map[string]int{}
	for _, r := range report.Results {
		suites[r.Suite]++
	}
	if !report.Certified() || suites["storetest"] < 100 || suites["queuetest"] < 50 || suites["controltest"] == 0 || suites["difftest"] != 4 || suites["patterns"] != 43 {
		t.Errorf("%d failed; clauses by suite: %v", report.Count(conformance.Failed), suites)
	}
}

func TestProgramCertifies(t *testing.T) {
	out, report, code := program(t, "sound", "-run", "Certify/.*/^(OC-01|VL-06|DX-3|WCP-02)$")
	if code != 0 || !strings.Contains(out, "# Certificate: my store\n\nSpeed: run. ") || strings.Contains(out, "not asked for") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if report.Count(conformance.Passed) != 4 || report.Speed != "run" || report.Backend != "my store" {
		t.Errorf("the report has %d clauses that passed, speed %q, of %q", report.Count(conformance.Passed), report.Speed, report.Backend)
	}
}

// TestSpeeds: more is asked, and each sequence still has its name.
func TestSpeeds(t *testing.T) {
	for speed, id := range map[string]string{"stress": "DF-200", "differential": "DX-5000"} {
		out, report, code := program(t, "sound", "-speed", speed, "-run", "Certify/difftest/^"+id+"$")
		if code != 0 || report.Count(conformance.Passed) != 1 || report.Speed != speed {
			t.Errorf("%s: exit code %d, %d passed:\n%s", speed, code, report.Count(conformance.Passed), out)
		}
	}
}

// TestProgramRefuses: the certificate of a broken store names what is broken, and
// says what to do.
func TestProgramRefuses(t *testing.T) {
	out, report, code := program(t, "broken", "-run", "Certify/(queuetest|difftest|patterns)/^(VL-09|DF-.*)$")
	_, certificate, _ := strings.Cut(out, "# Certificate: my store\n")
	if code != 1 || report.Certified() {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	for _, part := range []string{
		"\n## Failed\n", "| queuetest `VL-09` |", "Begin with queuetest `VL-09`", "queue.DeadLetters (go doc)", "docs/contract.md",
	} {
		if !strings.Contains(certificate, part) {
			t.Errorf("the certificate does not say %q:\n%s", part, certificate)
		}
	}
	if again := "go run . -run '^Certify$/^queuetest$/^VL-09$'"; !strings.Contains(out, again) {
		t.Errorf("it does not say how to run it again, %s:\n%s", again, out)
	}
	first, ok := report.First()
	if !ok || first.ID != "VL-09" || !strings.Contains(first.Detail, "Seen: ") {
		t.Errorf("the report begins with %s: %s", first.ID, first.Detail)
	}
	// What builds on it was not run, and says why; what is wrong is said at once.
	for _, part := range []string{"| difftest `all` |", "| patterns `all` |", "not run, and so not certified, because queuetest failed"} {
		if !strings.Contains(certificate, part) {
			t.Errorf("the certificate does not say %q:\n%s", part, certificate)
		}
	}
	if !strings.Contains(out, "queuetest failed. Begin with VL-09: VL-09 is broken.") {
		t.Errorf("it does not say where to begin when a suite has failed:\n%s", out)
	}
}

// TestSequencesRefuse: a random sequence finds a broken store, and tells it short.
func TestSequencesRefuse(t *testing.T) {
	_, report, code := program(t, "broken", "-run", "Certify/difftest/^DF-")
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	found := false
	for _, r := range report.Results {
		found = found || r.Suite == "difftest" && r.Verdict == conformance.Failed && strings.Contains(r.Detail, ">>>")
	}
	if !found {
		t.Error("no random sequence found it")
	}
}

// TestPatternsRefuse: a pattern that fails says in which scenario and cell, and
// what was seen there.
func TestPatternsRefuse(t *testing.T) {
	out, report, code := program(t, "forgetful", "-run", "Certify/patterns/^WCP-01$")
	first, ok := report.First()
	if code != 1 || !ok || first.Suite != "patterns" || first.ID != "WCP-01" {
		t.Fatalf("exit code %d, the report begins with %+v:\n%s", code, first, out)
	}
	for _, part := range []string{"WCP-01 is broken. Promised: Sequence: ", "Seen: scenario ", "in cell cascade-1, ", "still does not hold that the workflow has ended"} {
		if !strings.Contains(first.Detail, part) {
			t.Errorf("it does not say %q:\n%s", part, first.Detail)
		}
	}
}

// TestNoHarness: a harness that cannot be made, or not the first time, is no suite
// less in the certificate.
func TestNoHarness(t *testing.T) {
	for _, which := range []string{"never", "late"} {
		out, report, code := program(t, which)
		first, ok := report.First()
		if code != 1 || !ok || report.Certified() || first.Suite != "storetest" || first.ID != "harness" ||
			!strings.Contains(out, "Begin with storetest `harness`") || !strings.Contains(out, "| patterns `all` |") {
			t.Errorf("%s: exit code %d, the report begins with %+v:\n%s", which, code, first, out)
		}
	}
}

// panicking is a store that cannot load.
type panicking struct{ persistence.Store }

func (panicking) Load(context.Context, string) (*stabilize.Workflow, error) { panic("no such page") }

type panickingHarness struct{ brokenHarness }

func (h panickingHarness) Store() persistence.Store  { return panicking{h.Harness.Store()} }
func (h panickingHarness) Second() persistence.Store { return panicking{h.Harness.Second()} }
func (h panickingHarness) Reopen() persistence.Store { return panicking{h.Harness.Reopen()} }

func newPanicking(t *testing.T) conformance.Harness {
	return panickingHarness{brokenHarness{newHarness(t)}}
}

// TestPanicsAreSurvived: a panic of the store within an engine fails a clause with
// the stack, and the certificate is printed.
func TestPanicsAreSurvived(t *testing.T) {
	for _, pattern := range []string{"Certify/storetest/^RT-0", "Certify/controltest", "Certify/patterns/^WCP-0[1-4]$"} {
		out, report, code := program(t, "panics", "-run", pattern)
		first, ok := report.First()
		if code != 1 || !ok || !strings.Contains(out, "# Certificate: my store\n") {
			t.Errorf("%s: exit code %d, the report begins with %+v:\n%s", pattern, code, first, out)
			continue
		}
		if !strings.Contains(first.Detail, "no such page") || !strings.Contains(first.Detail, "panicking") {
			t.Errorf("%s: the report begins with %s: %s", pattern, first.ID, first.Detail)
		}
	}
}

// greedy is a store that delivers one message more than there is room for.
type greedy struct{ persistence.Store }

func (g greedy) Claim(ctx context.Context, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
	if room.Work > 0 {
		room.Work++
	}
	return g.Store.Claim(ctx, w, room)
}

type greedyHarness struct{ brokenHarness }

func (h greedyHarness) Store() persistence.Store  { return greedy{h.Harness.Store()} }
func (h greedyHarness) Second() persistence.Store { return greedy{h.Harness.Second()} }
func (h greedyHarness) Reopen() persistence.Store { return greedy{h.Harness.Reopen()} }

func newGreedy(t *testing.T) conformance.Harness { return greedyHarness{brokenHarness{newHarness(t)}} }

// TestTooMuchIsSurvived: an engine that is given more than it has room for goes on.
func TestTooMuchIsSurvived(t *testing.T) {
	for _, pattern := range []string{"Certify/queuetest/^VL-31$", "Certify/patterns"} {
		out, report, code := program(t, "greedy", "-run", pattern)
		if first, ok := report.First(); !strings.Contains(out, "# Certificate: my store\n") || ok != (first.ID == "VL-31") || (code == 0) == ok {
			t.Errorf("%s: exit code %d, the report begins with %+v:\n%s", pattern, code, first, out)
		}
	}
}

func TestBadFlagsAreTwo(t *testing.T) {
	for _, args := range [][]string{{"-speed", "fast"}, {"more"}, {"-nonsense"}} {
		if out, _, code := program(t, "sound", args...); code != 2 || !strings.Contains(out, "-speed") {
			t.Errorf("%v: exit code %d:\n%s", args, code, out)
		}
	}
}
