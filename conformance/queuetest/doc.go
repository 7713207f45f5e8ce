// Package queuetest certifies a queue.Queue: every promise of the contract about
// messages, leases and dead letters is one named sub-test, and a failure says in
// words which promise was broken.
//
// To run it on a queue of one's own, write one test:
//
//	func TestQueue(t *testing.T) {
//		queuetest.Run(t, func(t *testing.T) conformance.QueueHarness { return newHarness(t) })
//	}
//
// newHarness opens an empty queue with two handles on it, both on one
// stabilize.ManualClock, and closes them in t.Cleanup; see
// conformance.QueueHarness. One who has a whole store wraps its harness with
// conformance.AsQueue. Run one clause with go test -run TestQueue/VL-10, fewer
// rounds with -short, and all of it with -race. RunStress has many more rounds.
//
// It may import the standard library and this module but contrib, no database.
//
// Where to start reading: suite.go, then a group: vl.go, leases.go, returns.go, counts.go,
// dead.go, deadletters.go, or.go, …
package queuetest
