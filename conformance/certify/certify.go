package certify

import (
	"slices"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/controltest"
	"github.com/stabilize-dev/go-stabilize/conformance/difftest"
	"github.com/stabilize-dev/go-stabilize/conformance/patterns"
	"github.com/stabilize-dev/go-stabilize/conformance/queuetest"
	"github.com/stabilize-dev/go-stabilize/conformance/storetest"
)

// suites are run in this order: what says in words what is broken comes first.
func suites() []suite {
	return []suite{
		{"storetest", storetest.Run},
		{"queuetest", runQueue},
		{"controltest", controltest.Run},
		{"difftest", difftest.Run},
		{"patterns", patterns.Run},
	}
}

type suite struct {
	name string
	run  func(t *testing.T, newHarness func(t *testing.T) conformance.Harness, opts ...conformance.Option)
}

func runQueue(t *testing.T, newHarness func(t *testing.T) conformance.Harness, opts ...conformance.Option) {
	queuetest.Run(t, func(t *testing.T) conformance.QueueHarness { return conformance.AsQueue(newHarness(t)) }, opts...)
}

// Run runs every suite on a store, in seconds, fewer under go test -short. It
// calls newHarness for each clause, and in difftest and patterns often.
func Run(t *testing.T, newHarness func(t *testing.T) conformance.Harness, opts ...conformance.Option) {
	t.Helper()
	report := conformance.ReportOf(opts)
	if report == nil {
		report = &conformance.Report{Backend: t.Name()}
		opts = append(slices.Clip(opts), conformance.Into(report))
	}
	runSuites(t, newHarness, opts)
	var table strings.Builder
	if err := report.WriteTable(&table); err != nil {
		t.Error(err)
	}
	t.Log("\n" + table.String())
}

func runSuites(t *testing.T, newHarness func(t *testing.T) conformance.Harness, opts []conformance.Option) {
	for _, s := range suites() {
		t.Run(s.name, func(t *testing.T) { s.run(t, newHarness, opts...) })
	}
}

// RunStress is Run with many more rounds of everything, in minutes. It does not
// heed go test -short; the -timeout may have to be raised.
func RunStress(t *testing.T, newHarness func(t *testing.T) conformance.Harness, opts ...conformance.Option) {
	t.Helper()
	Run(t, newHarness, slices.Concat([]conformance.Option{conformance.At(conformance.Stress)}, opts)...)
}

// RunDifferential is Run with as many random sequences as a night has room for.
// The -timeout has to be raised.
func RunDifferential(t *testing.T, newHarness func(t *testing.T) conformance.Harness, opts ...conformance.Option) {
	t.Helper()
	Run(t, newHarness, slices.Concat([]conformance.Option{conformance.At(conformance.Differential)}, opts)...)
}
