package queuetest

import (
	"slices"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
)

// Run tests a queue, in seconds: one sub-test per clause, named by its id, each
// on a harness of its own, several at once. What the backend lacks is declared by
// the harness (conformance.Lacking), and logged.
func Run(t *testing.T, newHarness func(t *testing.T) conformance.QueueHarness, opts ...conformance.Option) {
	t.Helper()
	opts = slices.Concat([]conformance.Option{conformance.InSuite("queuetest")}, opts)
	conformance.Run(t, checks(), newHarness, func(h conformance.QueueHarness) any { return h.Queue() }, opts...)
}

// RunStress is Run with many more rounds of every race, and larger counts, in
// minutes: for a queue that is new, or changed where races are decided. It does
// not heed go test -short; the -timeout may have to be raised.
func RunStress(t *testing.T, newHarness func(t *testing.T) conformance.QueueHarness, opts ...conformance.Option) {
	t.Helper()
	Run(t, newHarness, slices.Concat([]conformance.Option{conformance.At(conformance.Stress)}, opts)...)
}

// Clauses lists what Run tests.
func Clauses() []conformance.Clause { return conformance.ClausesOf(checks()) }

func checks() []check {
	return slices.Concat(visibility(), leases(), givenBack(), counts(), dying(), deadLetters(), order(), times(), values(), isolation(), crashes())
}
