package storetest

import (
	"slices"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
)

// Run tests a store, in seconds: one sub-test per clause, named by its id, each
// on a harness of its own, several at once. What the backend lacks is declared by
// the harness (conformance.Lacking), and logged.
func Run(t *testing.T, newHarness func(t *testing.T) conformance.Harness, opts ...conformance.Option) {
	t.Helper()
	opts = slices.Concat([]conformance.Option{conformance.InSuite("storetest")}, opts)
	conformance.Run(t, checks(), newHarness, func(h conformance.Harness) any { return h.Store() }, opts...)
}

// RunStress is Run with many more rounds of every race, and larger counts, in
// minutes: for a store that is new, or changed where races are decided. It does
// not heed go test -short; the -timeout may have to be raised.
func RunStress(t *testing.T, newHarness func(t *testing.T) conformance.Harness, opts ...conformance.Option) {
	t.Helper()
	Run(t, newHarness, slices.Concat([]conformance.Option{conformance.At(conformance.Stress)}, opts)...)
}

// Clauses lists what Run tests.
func Clauses() []conformance.Clause { return conformance.ClausesOf(checks()) }

func checks() []check {
	return slices.Concat(roundTrips(), prunes(), optimistic(), atomicity(), trying(), claims(), once(), pages(), times(), values(), badInput(), isolation(), handles(), crashes(), migrations(), ends())
}
