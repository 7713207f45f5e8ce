package eventtest

import (
	"slices"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
)

// Run tests what a store does with events, in seconds: one sub-test per clause, named
// by its id, each on a harness of its own, several at once.
func Run(t *testing.T, newHarness func(t *testing.T) conformance.Harness, opts ...conformance.Option) {
	t.Helper()
	opts = slices.Concat([]conformance.Option{conformance.InSuite("eventtest")}, opts)
	conformance.Run(t, checks(), newHarness, func(h conformance.Harness) any { return h.Store() }, opts...)
}

// RunStress is Run with many more rounds of every race, in minutes. It does not heed
// go test -short; the -timeout may have to be raised.
func RunStress(t *testing.T, newHarness func(t *testing.T) conformance.Harness, opts ...conformance.Option) {
	t.Helper()
	Run(t, newHarness, slices.Concat([]conformance.Option{conformance.At(conformance.Stress)}, opts)...)
}

// Clauses lists what Run tests.
func Clauses() []conformance.Clause { return conformance.ClausesOf(checks()) }

func checks() []check { return slices.Concat(storing(), reading(), crashes(), ends()) }
