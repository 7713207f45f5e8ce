package main

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stabilize-dev/go-stabilize/persistence/stores"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// The test binary is the program too, when it is told so: real processes that
// can be killed, without a second build.
func TestMain(m *testing.M) {
	if os.Getenv("QUICKSTART_PROGRAM") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), "QUICKSTART_PROGRAM=1", "GOWORK=off", "GOFLAGS=", "GOCOVERDIR="+t.TempDir())
	cmd.Dir = t.TempDir()
	return cmd
}

// run runs the program to its end.
func run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, complaints bytes.Buffer
	cmd := program(t, args...)
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return out.String(), complaints.String(), cmd.ProcessState.ExitCode()
}

// writeTree makes a small module.
func writeTree(t *testing.T, files map[string]string) string {
	t.Helper()
	tree := t.TempDir()
	files["go.mod"] = "module example.org/tiny\n\ngo 1.26\n"
	for name, content := range files {
		path := filepath.Join(tree, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func tinyTree(t *testing.T) string {
	return writeTree(t, map[string]string{
		"main.go":         "package main\n\nfunc main() {}\n",
		"greet/greet.go":  "// Package greet greets.\npackage greet\n\n// Hello greets.\nfunc Hello() string { return \"hello\" }\n",
		"greet/g_test.go": "package greet\n\nimport \"testing\"\n\nfunc TestHello(t *testing.T) { t.Fatal(\"tests are compiled, not run\") }\n",
	})
}

func lastLineOf(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// runID finds the id in the last line, which also has to name the status.
func runID(t *testing.T, stdout, status string) string {
	t.Helper()
	m := regexp.MustCompile(`^run (\S+): (\S+)`).FindStringSubmatch(lastLineOf(stdout))
	if m == nil || m[2] != status {
		t.Fatalf("the last line is not that of a run that ended %s:\n%s", status, stdout)
	}
	return m[1]
}

// checkLedger holds the journal against the database, independently of what the
// program says: each task of the run has one committed result, and it is that of
// exactly one of its executions. It returns the number of executions by stage.
func checkLedger(t *testing.T, db, id string) map[string]int {
	t.Helper()
	entries, err := readJournal(options{db: db}.journal())
	if err != nil {
		t.Fatal(err)
	}
	eng, err := engine.Open(t.Context(), stores.DSN(dsn(db)))
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	w, err := eng.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	executions := map[string]int{}
	for _, s := range w.Stages {
		found, err := stabilize.Get[finding](s.Outputs, s.Ref)
		if err != nil {
			t.Errorf("stage %s (%s) has no result: %v", s.Ref, s.Status, err)
			continue
		}
		committed := 0
		for _, e := range entries {
			if e.Workflow != id || e.Key != s.Tasks[0].ID {
				continue
			}
			executions[s.Ref]++
			if e.Run == found.Run {
				committed++
			}
		}
		if committed != 1 {
			t.Errorf("%d executions of %s gave the result that was committed, want exactly 1", committed, s.Ref)
		}
	}
	return executions
}

func TestRunsToItsEnd(t *testing.T) {
	tree := tinyTree(t)
	db := filepath.Join(t.TempDir(), "a folder with space", "run.db")
	stdout, stderr, code := run(t, "-plain", "-dir", tree, "-db", db)
	if code != exitSucceeded {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	executions := checkLedger(t, db, runID(t, stdout, "SUCCEEDED"))
	if len(executions) != 6 {
		t.Errorf("%d stages ran, want 6: list, vet, tests, count, sum, report", len(executions))
	}
	for ref, n := range executions {
		if n != 1 {
			t.Errorf("%s ran %d times in a run that was not disturbed", ref, n)
		}
	}
	report, err := os.ReadFile(options{db: db}.report())
	if err != nil {
		t.Fatal(err)
	}
	if want := "2 packages, 3 files, 13 lines, 3 funcs, 0 problems"; !strings.Contains(string(report), want) {
		t.Errorf("the report does not say %q:\n%s", want, report)
	}
	for _, name := range []string{db, options{db: db}.report(), "ran once: 6 tasks", "ran more than once: 0 tasks"} {
		if !strings.Contains(stdout, name) {
			t.Errorf("the output does not say %q:\n%s", name, stdout)
		}
	}

	again, _, code := run(t, "-plain", "-dir", tree, "-db", db)
	if code != exitSucceeded || runID(t, again, "SUCCEEDED") == runID(t, stdout, "SUCCEEDED") {
		t.Errorf("a finished run is followed by a new one, exit code %d:\n%s", code, again)
	}
}

func TestProblemsOfTheTreeAreResults(t *testing.T) {
	tree := writeTree(t, map[string]string{
		"vet/vet.go":       "package vet\n\nimport \"fmt\"\n\nfunc F() { fmt.Printf(\"%d\\n\", \"text\") }\n",
		"tests/a_test.go":  "package tests\n\nfunc f() { undefinedName() }\n",
		"tests/a.go":       "package tests\n",
		"syntax/syntax.go": "package syntax\n\nfunc {\n",
	})
	db := filepath.Join(t.TempDir(), "run.db")
	stdout, stderr, code := run(t, "-plain", "-dir", tree, "-db", db)
	if code != exitSucceeded {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	checkLedger(t, db, runID(t, stdout, "SUCCEEDED"))
	for _, ref := range []string{"vet-1", "tests-1", "count-1"} {
		if !regexp.MustCompile(`(?m)^` + ref + ` +FAILED_CONTINUE`).MatchString(stdout) {
			t.Errorf("%s did not end FAILED_CONTINUE:\n%s", ref, stdout)
		}
	}
	report, err := os.ReadFile(options{db: db}.report())
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range []string{"wrong type string", "undefinedName", "syntax.go:3"} {
		if !strings.Contains(string(report), problem) {
			t.Errorf("the report does not name %q:\n%s", problem, report)
		}
	}
}

func TestKillAfter(t *testing.T) {
	tree, db := tinyTree(t), filepath.Join(t.TempDir(), "run.db")
	stdout, _, code := run(t, "-kill-after", "2", "-dir", tree, "-db", db)
	if code != -1 || !strings.Contains(lastLineOf(stdout), "kill -9 after 2 finished tasks") {
		t.Fatalf("the program was not killed: exit code %d\n%s", code, stdout)
	}
	before, err := readJournal(options{db: db}.journal())
	if err != nil || len(before) < 2 {
		t.Fatalf("2 tasks had finished, the journal has %d lines, %v", len(before), err)
	}

	stdout, stderr, code := run(t, "-plain", "-dir", tree, "-db", db)
	if code != exitSucceeded {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	id := runID(t, stdout, "SUCCEEDED")
	if before[0].Workflow != id || !strings.Contains(stdout, "run "+id+" goes on") {
		t.Errorf("run %s was not continued:\n%s", before[0].Workflow, stdout)
	}
	once, more := 0, 0
	for _, n := range checkLedger(t, db, id) {
		if n == 1 {
			once++
		} else {
			more++
		}
	}
	for _, line := range []string{"ran once: " + counted(once, "task"), "ran more than once: " + counted(more, "task"), "each has exactly one committed result"} {
		if !strings.Contains(stdout, line+"\n") {
			t.Errorf("the output does not say %q:\n%s", line, stdout)
		}
	}
}

// gate is a tree whose tests, when they are started, call the test that runs
// them and wait: so a task can be cut off while it surely runs.
type gate struct {
	tree  string
	calls net.Listener
}

func newGate(t *testing.T) *gate {
	t.Helper()
	calls, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { calls.Close() })
	return &gate{calls: calls, tree: writeTree(t, map[string]string{
		"a.go": "package a\n",
		"a_test.go": `package a

import (
	"io"
	"net"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if c, err := net.Dial("tcp", "` + calls.Addr().String() + `"); err == nil {
		io.ReadAll(c)
	}
	os.Exit(m.Run())
}
`,
	})}
}

// waiting starts the program and returns when its task waits at the gate; if
// the program ends before, the test fails.
func (g *gate) waiting(t *testing.T, cmd *exec.Cmd) (task net.Conn, exited <-chan struct{}) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done, called := make(chan struct{}), make(chan net.Conn)
	go func() {
		defer close(done)
		cmd.Wait() // the exit code is looked at
	}()
	go func() {
		if c, err := g.calls.Accept(); err == nil {
			called <- c
		}
	}()
	select {
	case c := <-called:
		t.Cleanup(func() { c.Close() })
		return c, done
	case <-done:
		t.Fatalf("the program ended before its task ran: exit code %d\n%s", cmd.ProcessState.ExitCode(), cmd.Stdout)
		return nil, nil
	}
}

// interrupt starts the program, and once its task waits at the gate, sends a
// signal. It returns what the program printed and its exit code.
func (g *gate) interrupt(t *testing.T, db string, sig os.Signal) (stdout string, code int) {
	t.Helper()
	cmd := program(t, "-plain", "-dir", g.tree, "-db", db)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	task, exited := g.waiting(t, cmd)
	if err := cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	<-exited
	task.Close()
	return out.String(), cmd.ProcessState.ExitCode()
}

// open lets everything pass from now on.
func (g *gate) open() {
	go func() {
		for {
			c, err := g.calls.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
}

func TestKilledWhileATaskRuns(t *testing.T) {
	g, db := newGate(t), filepath.Join(t.TempDir(), "run.db")
	if _, code := g.interrupt(t, db, os.Kill); code != -1 {
		t.Fatalf("exit code %d after SIGKILL", code)
	}
	g.open()
	stdout, stderr, code := run(t, "-plain", "-dir", g.tree, "-db", db)
	if code != exitSucceeded {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	executions := checkLedger(t, db, runID(t, stdout, "SUCCEEDED"))
	if executions["tests-1"] != 2 {
		t.Errorf("tests-1 ran %d times, want 2: it was cut off once", executions["tests-1"])
	}
	if executions["list"] != 1 {
		t.Errorf("list ran %d times, want 1: it had ended before the kill", executions["list"])
	}
	if !regexp.MustCompile(`tests-1: attempt 1 in process \d+ cut off; attempt 2 in process \d+ committed;`).MatchString(stdout) {
		t.Errorf("the output does not tell the two executions of tests-1 apart:\n%s", stdout)
	}
}

func TestInterrupted(t *testing.T) {
	g, db := newGate(t), filepath.Join(t.TempDir(), "run.db")
	stdout, code := g.interrupt(t, db, syscall.SIGINT)
	if code != exitFailed {
		t.Fatalf("exit code %d after SIGINT, want %d\n%s", code, exitFailed, stdout)
	}
	id := runID(t, stdout, "RUNNING")
	g.open()
	stdout, stderr, code := run(t, "-plain", "-dir", g.tree, "-db", db)
	if code != exitSucceeded {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if runID(t, stdout, "SUCCEEDED") != id {
		t.Errorf("run %s was not continued:\n%s", id, stdout)
	}
	checkLedger(t, db, id)
}

func TestBadInputs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tree := tinyTree(t)
	cases := map[string]struct {
		args []string
		says string
	}{
		"unknown flag":     {[]string{"-frobnicate"}, "-frobnicate"},
		"not a number":     {[]string{"-kill-after", "soon"}, "-kill-after"},
		"negative number":  {[]string{"-kill-after", "-1"}, "-kill-after"},
		"argument":         {[]string{"tree"}, `unexpected argument "tree"`},
		"missing dir":      {[]string{"-dir", filepath.Join(tree, "nowhere")}, "no such file"},
		"dir is a file":    {[]string{"-dir", file}, "not a directory"},
		"dir not a module": {[]string{"-dir", t.TempDir()}, "no go.mod"},
		"no Go files":      {[]string{"-dir", writeTree(t, map[string]string{})}, "no Go packages"},
		"db is a dir":      {[]string{"-dir", tree, "-db", tree}, "is a directory"},
		"db below a file":  {[]string{"-dir", tree, "-db", filepath.Join(file, "run.db")}, "not a directory"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, code := run(t, c.args...)
			if code != exitUsage {
				t.Errorf("exit code %d, want %d", code, exitUsage)
			}
			if stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, c.says) {
				t.Errorf("want one line of error that says %q, got stdout %q, stderr %q", c.says, stdout, stderr)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	stdout, stderr, code := run(t, "-h")
	if code != exitSucceeded || stderr != "" || !strings.HasPrefix(stdout, "Usage: quickstart") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

// TestNotADatabase: what is found out after the flags are read is exit code 1.
func TestNotADatabase(t *testing.T) {
	db := filepath.Join(t.TempDir(), "run.db")
	if err := os.WriteFile(db, bytes.Repeat([]byte("no database\n"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := run(t, "-plain", "-dir", tinyTree(t), "-db", db)
	if code != exitFailed || strings.Count(stderr, "\n") != 1 || stdout != "" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

// TestLinesComeAsItGoes reads the lines while a task still waits.
func TestLinesComeAsItGoes(t *testing.T) {
	g, db := newGate(t), filepath.Join(t.TempDir(), "run.db")
	cmd := program(t, "-plain", "-dir", g.tree, "-db", db)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = write
	task, exited := g.waiting(t, cmd)
	write.Close()
	lines := bufio.NewScanner(read)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "list  ") {
	}
	if !strings.Contains(lines.Text(), "SUCCEEDED") {
		t.Error("no line of list while a later task waits")
	}
	task.Close()
	g.open()
	for lines.Scan() {
	}
	<-exited
	if code := cmd.ProcessState.ExitCode(); code != exitSucceeded {
		t.Errorf("exit code %d", code)
	}
}
