// Package storetest certifies a persistence.Store: every promise of the contract
// about workflows and the commits that change them is one named sub-test, and a
// failure says in words which promise was broken.
//
// To run it on a store of one's own, write one test:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t) })
//	}
//
// newHarness opens an empty backend with two handles on it, both on one
// stabilize.ManualClock, and closes them in t.Cleanup; see conformance.Harness,
// and persistence/memstore/conformance_test.go for a whole one. Run one clause
// with go test -run TestStore/OC-08, fewer rounds with -short, and all of it with
// -race. RunStress has many more rounds. The store's queue has a suite of its own,
// queuetest; package certify runs both and the others.
//
// It may import the standard library and this module but contrib, no database.
//
// Where to start reading: suite.go, then a group: oc.go, ac.go, cl.go, …
package storetest
