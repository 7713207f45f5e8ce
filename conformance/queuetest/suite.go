package queuetest

import (
	"slices"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
)

// Run tests a queue: one sub-test per clause, named by its id, each on a harness
// of its own. What the backend lacks is declared by the harness
// (conformance.Lacking), and logged.
func Run(t *testing.T, newHarness func(t *testing.T) conformance.QueueHarness) {
	conformance.Run(t, checks(), newHarness, func(h conformance.QueueHarness) any { return h.Queue() })
}

// Clauses lists what Run tests.
func Clauses() []conformance.Clause { return conformance.ClausesOf(checks()) }

func checks() []check {
	return slices.Concat(visibility(), deadLetters(), order(), times(), values(), isolation())
}
