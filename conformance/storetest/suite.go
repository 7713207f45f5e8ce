package storetest

import (
	"slices"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
)

// Run tests a store: one sub-test per clause, named by its id, each on a harness
// of its own. What the backend lacks is declared by the harness
// (conformance.Lacking), and logged.
func Run(t *testing.T, newHarness func(t *testing.T) conformance.Harness) {
	conformance.Run(t, checks(), newHarness, func(h conformance.Harness) any { return h.Store() })
}

// Clauses lists what Run tests.
func Clauses() []conformance.Clause { return conformance.ClausesOf(checks()) }

func checks() []check {
	return slices.Concat(roundTrips(), optimistic(), atomicity(), claims(), once(), pages(), times(), values(), badInput(), isolation(), ends())
}
