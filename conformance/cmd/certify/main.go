package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/queuetest"
	"github.com/stabilize-dev/go-stabilize/conformance/storetest"
)

func main() { certify(openBackend) }

// childDSN is where the processes that a clause starts, of this very program,
// find the data source name. They print no certificate.
const childDSN = "CERTIFY_DSN"

// last is the name of the test that prints the certificate: a second one, so that
// what the first logs is printed before.
const last = "Certificate"

// certify is the program; it does not return. The suites are written for package
// testing, so it is a test's main program.
func certify(open func(dsn string) (*backend, error)) {
	child := os.Getenv(childDSN) != ""
	dsn := flag.String("dsn", os.Getenv(childDSN), "data `source name`: memory: or sqlite://PATH; a folder beside PATH is used, PATH is not")
	file := flag.String("json", "", "write the report to a `file`")
	stress := flag.Bool("stress", false, "many more rounds of every race: minutes, not seconds")
	run := flag.String("run", "", "run some clauses only, as go test -run: Certify/storetest/OC-01")
	verbose := flag.Bool("v", false, "tell of each clause as it ends")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: certify -dsn DSN [-json FILE] [-stress] [-run REGEXP] [-v]")
		for _, name := range []string{"dsn", "json", "run", "stress", "v"} {
			fmt.Fprintf(flag.CommandLine.Output(), "  -%-7s %s\n", name, flag.Lookup(name).Usage)
		}
	}
	testing.Init()
	flag.Parse()
	if *dsn == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	check(os.Setenv(childDSN, *dsn))
	if *run != "" {
		check(flag.Set("test.run", *run))
	}
	if *verbose {
		check(flag.Set("test.v", "true"))
	}
	b, err := open(*dsn)
	check(err)
	report := &conformance.Report{Backend: b.name}
	tests := []testing.InternalTest{{Name: "Certify", F: func(t *testing.T) { b.test(t, report, *stress) }}}
	if !child {
		tests = append(tests, testing.InternalTest{Name: last, F: func(t *testing.T) { finish(t, os.Stdout, report, *file) }})
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
		fmt.Fprintln(os.Stderr, "certify:", err)
		os.Exit(2)
	}
}

// test runs the suites one after the other.
func (b *backend) test(t *testing.T, report *conformance.Report, stress bool) {
	newHarness := b.prepare(t)
	opts := []conformance.Option{conformance.Into(report), conformance.Command("go run ./conformance/cmd/certify -dsn DSN -run")}
	if stress {
		opts = append(opts, conformance.At(conformance.Stress))
	}
	t.Run("storetest", func(t *testing.T) {
		storetest.Run(t, newHarness, opts...)
	})
	t.Run("queuetest", func(t *testing.T) {
		queuetest.Run(t, func(t *testing.T) conformance.QueueHarness { return conformance.AsQueue(newHarness(t)) }, opts...)
	})
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
