package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/eventtest"
	"github.com/stabilize-dev/go-stabilize/conformance/queuetest"
	"github.com/stabilize-dev/go-stabilize/conformance/storetest"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest"
	"github.com/stabilize-dev/go-stabilize/queue"
)

// asProgram makes the test's binary the program: the value says which.
const asProgram = "CERTIFY_AS_PROGRAM"

func TestMain(m *testing.M) {
	switch os.Getenv(asProgram) {
	case "":
		os.Exit(m.Run())
	case "broken":
		run(openBroken)
	default:
		run(openBackend)
	}
}

// openBroken opens a memory store that takes acknowledgements and does nothing.
func openBroken(dsn string) (*backend, error) {
	b, err := openBackend(dsn)
	if err != nil {
		return nil, err
	}
	return &backend{name: "broken", prepare: func(t *testing.T) func(t *testing.T) conformance.Harness {
		good := b.prepare(t)
		return func(t *testing.T) conformance.Harness { return deaf{good(t).(memory)} }
	}}, nil
}

type deaf struct{ memory }

func (d deaf) Store() persistence.Store  { return deafStore{d.memory.Store()} }
func (d deaf) Second() persistence.Store { return deafStore{d.memory.Second()} }
func (d deaf) Reopen() persistence.Store { return deafStore{d.memory.Reopen()} }
func (d deaf) Lacks() []conformance.Power {
	return append(d.memory.Lacks(), conformance.CanRefresh, conformance.CanListWaiting, conformance.CanWatch, conformance.CanLogEvents, conformance.CanNotify)
}

type deafStore struct{ persistence.Store }

func (deafStore) Ack(ctx context.Context, _ ...queue.Receipt) error { return ctx.Err() }

// program runs the program and returns its exit code.
func program(t *testing.T, which string, args ...string) (out string, code int) {
	t.Helper()
	out, ended := process(t, which, args...)
	return out, ended.ExitCode()
}

func process(t *testing.T, which string, args ...string) (out string, ended *os.ProcessState) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"="+which)
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v:\n%s", err, b)
	}
	return string(b), cmd.ProcessState
}

func readReport(t *testing.T, path string) conformance.Report {
	t.Helper()
	var report conformance.Report
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &report); err != nil {
		t.Fatal(err)
	}
	return report
}

// The processes of VL-06 are this program too.
func TestMemoryIsCertified(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	out, code := program(t, "sound", "-dsn", "memory:", "-json", file)
	if code != 0 || strings.Count(out, "# Certificate: memory\n") != 1 || !strings.Contains(out, "\n| queuetest | VL | ") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	lacked := 0
	for _, c := range slices.Concat(storetest.Clauses(), eventtest.Clauses(), queuetest.Clauses()) {
		if slices.Contains(memory{}.Lacks(), c.Needs) {
			lacked++
		}
	}
	report := readReport(t, file)
	if !report.Certified() || report.Count(conformance.LeftOut) != lacked || report.Backend != "memory" || report.Seconds <= 0 || report.Started.IsZero() {
		t.Errorf("the report says %d passed, %d left out", report.Count(conformance.Passed), report.Count(conformance.LeftOut))
	}
	for _, r := range report.Results {
		if (r.ID == "RT-14" || r.ID == "OC-14") && r.Verdict != conformance.Passed {
			t.Errorf("%s, for which the memory store can be looked into, is %s", r.ID, r.Verdict)
		}
		if r.Verdict == conformance.LeftOut && !strings.Contains(r.Detail, "lacks ") {
			t.Errorf("%s is left out because %q", r.ID, r.Detail)
		}
	}
}

// Of SQLite some clauses, those that look into the file among them. The store
// that is named is not touched, and nothing is left beside it.
func TestSQLiteIsCertified(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "a 100%? #1")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	dsn := sqliteDSN(filepath.Join(folder, "precious.db"), "normal")
	file := filepath.Join(t.TempDir(), "report.json")
	out, code := program(t, "sound", "-dsn", dsn, "-json", file, "-v", "-run", "Certify/.*/^(RT-01|RT-13|RT-14|OC-14|BI-06|VL-10|CB-01)$")
	if code != 0 || !strings.Contains(out, "--- PASS: Certify/storetest/RT-14") || !strings.Contains(out, "# Certificate: SQLite, synchronous=normal\n") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	report := readReport(t, file)
	if got := report.Count(conformance.Passed); got != 8 { // CB-01 is of both suites
		t.Errorf("%d clauses passed:\n%s", got, out)
	}
	if left, err := fs.Glob(os.DirFS(folder), "*"); err != nil || len(left) > 0 {
		t.Errorf("beside the store are %v (%v)", left, err)
	}
}

// Of MongoDB some clauses, those that look into the database and those that break its
// links among them. Nothing of it is left on the server, which others may be using.
func TestMongoDBIsCertified(t *testing.T) {
	servers := &mongotest.Servers{}
	t.Cleanup(servers.Stop)
	server := servers.One()
	uri, err := url.Parse(server.URI(t))
	if err != nil {
		t.Fatal(err)
	}
	named := server.Database(t)
	uri.Path = "/" + named
	file := filepath.Join(t.TempDir(), "report.json")
	out, ended := process(t, "sound", "-dsn", uri.String(), "-json", file, "-run", "Certify/.*/^(RT-01|RT-14|VL-10)$")
	if ended.ExitCode() != 0 || !strings.Contains(out, "# Certificate: MongoDB\n") {
		t.Errorf("exit code %d:\n%s", ended.ExitCode(), out)
	}
	report := readReport(t, file)
	if got := report.Count(conformance.Passed); got != 3 {
		t.Errorf("%d clauses passed:\n%s", got, out)
	}
	left, err := server.Client(t).ListDatabaseNames(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range left {
		if name == named || strings.Contains(name, fmt.Sprintf("_%d_", ended.Pid())) {
			t.Errorf("the server has %s", name)
		}
	}
}

func TestBrokenIsNotCertified(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	out, code := program(t, "broken", "-dsn", "memory:", "-json", file, "-run", "Certify/queuetest/^VL-")
	report := readReport(t, file)
	if code != 1 || report.Certified() || !strings.Contains(out, "\n## Failed\n") || !strings.Contains(out, "Begin with VL-") ||
		!strings.Contains(out, "certify -dsn DSN -run '^Certify$/^queuetest$/^VL-") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	for _, r := range report.Results {
		if r.ID == "VL-09" && r.Verdict != conformance.Failed {
			t.Errorf("VL-09, that an acknowledged message is gone, is %q", r.Verdict)
		}
	}
}

func TestNothingAskedIsNothingCertified(t *testing.T) {
	if out, code := program(t, "sound", "-dsn", "memory:", "-run", "Certify/storetest/XX-99"); code != 1 || !strings.Contains(out, "not certified") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

func TestWhatCannotBeTestedIsTwo(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, "-dsn source name"},
		{[]string{"-dsn", "memory:", "more"}, "-dsn source name"},
		{[]string{"-dsn", "mysql://me:secret@host"}, `unknown scheme "mysql"`},
		{[]string{"-dsn", "sqlite:///does/not/exist/work.db"}, "/does/not/exist"},
	} {
		out, code := program(t, "sound", c.args...)
		if code != 2 || !strings.Contains(out, c.says) || strings.Contains(out, "secret") {
			t.Errorf("%v: exit code %d, want 2 and %q:\n%s", c.args, code, c.says, out)
		}
	}
}
