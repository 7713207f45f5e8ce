// Package eventtest certifies the events that a store keeps with its commits
// (persistence.EventKeeper): each promise of events.Log is one named sub-test, as in
// package storetest, and is run on the same harness:
//
//	func TestEvents(t *testing.T) {
//		eventtest.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t) })
//	}
//
// A store that keeps none declares so (conformance.CanLogEvents), and no clause is run.
//
// It may import the standard library and this module but contrib, no database.
//
// Where to start reading: suite.go, then stored.go.
package eventtest
