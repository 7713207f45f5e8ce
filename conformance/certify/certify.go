package certify

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/controltest"
	"github.com/stabilize-dev/go-stabilize/conformance/difftest"
	"github.com/stabilize-dev/go-stabilize/conformance/eventtest"
	"github.com/stabilize-dev/go-stabilize/conformance/patterns"
	"github.com/stabilize-dev/go-stabilize/conformance/queuetest"
	"github.com/stabilize-dev/go-stabilize/conformance/storetest"
)

// suites are run in this order: what says in words what is broken comes first.
func suites() []suite {
	return []suite{
		{"storetest", false, storetest.Run},
		{"eventtest", false, eventtest.Run},
		{"queuetest", false, runQueue},
		{"controltest", true, controltest.Run},
		{"difftest", true, difftest.Run},
		{"patterns", true, patterns.Run},
	}
}

type suite struct {
	name string
	// builds: it is run only on a store that holds every clause of the suites that
	// do not build on others. On another it would say the same in more words, or
	// not return: an engine relies on what it was promised.
	builds bool
	run    func(t *testing.T, newHarness func(t *testing.T) conformance.Harness, opts ...conformance.Option)
}

func runQueue(t *testing.T, newHarness func(t *testing.T) conformance.Harness, opts ...conformance.Option) {
	queuetest.Run(t, func(t *testing.T) conformance.QueueHarness { return conformance.AsQueue(newHarness(t)) }, opts...)
}

// Run runs every suite on a store, in seconds, fewer under go test -short. It
// calls newHarness for each clause, and in difftest and patterns often. The last
// three suites build on storetest and queuetest: they are run only if no clause of
// those failed, and the certificate says so.
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
	report := conformance.ReportOf(opts)
	var failed []string
	for _, s := range suites() {
		ok := t.Run(s.name, func(t *testing.T) {
			if s.builds && len(failed) > 0 {
				leaveOut(t, report, s.name, failed)
				return
			}
			s.run(t, newHarness, opts...)
		})
		if ok {
			continue
		}
		if !s.builds {
			failed = append(failed, s.name)
		}
		// At once, and not into the log: that is lost if the process dies later on.
		if first, found := report.First(); found && first.Suite == s.name {
			fmt.Fprintf(os.Stderr, "%s failed. Begin with %s: %s\n", s.name, first.ID, first.Detail)
		}
	}
}

// leaveOut says why a suite is not run.
func leaveOut(t *testing.T, report *conformance.Report, suite string, failed []string) {
	why := fmt.Sprintf("not run, and so not certified, because %s failed: mend that first", strings.Join(failed, " and "))
	t.Log(why)
	report.Results = append(report.Results, conformance.Result{
		Suite: suite, ID: "all", Group: "all", Sentence: "Every clause of " + suite + ".", Verdict: conformance.LeftOut, Detail: why,
	})
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
