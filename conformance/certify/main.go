package certify

import (
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
)

// Main is the main function of a program that certifies one store, named in the
// certificate:
//
//	func main() { certify.Main("my store", newHarness) }
//
// It does not return. Some clauses start the program again, without arguments, so
// it is a program of its own and not a subcommand. The exit code is 0 if every
// clause passed that was not left out, 1 if not, and 2 if nothing could be tested.
// Its flags are those of Flags.
func Main(name string, newHarness func(t *testing.T) conformance.Harness, opts ...conformance.Option) {
	p := Flags()
	flag.Parse()
	p.Main(name, func(*testing.T) func(t *testing.T) conformance.Harness { return newHarness }, opts...)
}

// Program is Main in parts, for programs that have flags of their own.
type Program struct {
	speed, json, run *string
	verbose          *bool
}

// Flags declares the flags, on flag.CommandLine beside the caller's, who parses
// them:
//
//	-speed run|stress|differential  seconds, minutes, or a night
//	-json FILE                      writes the report for machines
//	-run REGEXP                     runs some clauses only, as go test -run
//	-v                              tells of each clause as it ends
func Flags() *Program {
	testing.Init()
	p := &Program{
		speed:   flag.String("speed", "run", "run, stress or differential: seconds, minutes, or a night"),
		json:    flag.String("json", "", "write the report to a `file`"),
		run:     flag.String("run", "", "run some clauses only, as go test -run: Certify/storetest/OC-01"),
		verbose: flag.Bool("v", false, "tell of each clause as it ends"),
	}
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "Tests a store against the contract and prints its certificate. The flags:")
		flag.VisitAll(func(f *flag.Flag) {
			if value, usage := flag.UnquoteUsage(f); !strings.HasPrefix(f.Name, "test.") {
				fmt.Fprintf(flag.CommandLine.Output(), "  -%s %s\n\t%s\n", f.Name, value, usage)
			}
		})
	}
	return p
}

const (
	// child is set where the program runs as a process that a clause starts, which
	// prints no certificate.
	child = "STABILIZE_CERTIFY_CHILD"
	// last is the name of the test that prints the certificate: a second one, so
	// that what the first logs is printed before.
	last = "Certificate"
)

// Fail ends the program with exit code 2: nothing could be tested.
func Fail(err error) {
	fmt.Fprintln(os.Stderr, "certify:", err)
	os.Exit(2)
}

// Main runs the suites, prints the certificate and ends the program, as the
// function of that name. Prepare makes what the harnesses share, until t ends. The
// program must do the same when a clause starts it again, then without arguments of
// its own and with the same environment.
func (p *Program) Main(name string, prepare func(t *testing.T) func(t *testing.T) conformance.Harness, opts ...conformance.Option) {
	isChild := os.Getenv(child) != ""
	effort, known := map[string]conformance.Effort{
		"run": conformance.Full, "stress": conformance.Stress, "differential": conformance.Differential,
	}[*p.speed]
	if !known || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	check(os.Setenv(child, "1"))
	if *p.run != "" {
		check(flag.Set("test.run", *p.run))
	}
	if *p.verbose {
		check(flag.Set("test.v", "true"))
	}
	report := &conformance.Report{Backend: name, Speed: *p.speed}
	opts = slices.Concat(
		[]conformance.Option{conformance.At(effort), conformance.Command("the same program -run")}, opts,
		[]conformance.Option{conformance.Into(report)})
	tests := []testing.InternalTest{{Name: "Certify", F: func(t *testing.T) { runSuites(t, prepare(t), opts) }}}
	if !isChild {
		tests = append(tests, testing.InternalTest{Name: last, F: func(t *testing.T) { finish(t, os.Stdout, report, *p.json) }})
	}
	testing.Main(func(pattern, name string) (bool, error) {
		if name == last {
			return true, nil
		}
		return regexp.MatchString(pattern, name)
	}, tests, nil, nil)
}

func check(err error) {
	if err != nil {
		Fail(err)
	}
}

// finish prints the certificate and writes the report.
func finish(t *testing.T, stdout io.Writer, report *conformance.Report, file string) {
	if err := report.WriteTable(stdout); err != nil {
		t.Error(err)
	}
	if !report.Certified() {
		t.Error("this store is not certified")
	}
	if file == "" {
		return
	}
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := report.WriteJSON(f); err != nil {
		t.Errorf("writing the report: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Errorf("writing the report: %v", err)
	}
}
