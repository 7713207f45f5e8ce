// Package faults makes a store hostile in ways that can be repeated: its process
// dies before or after a chosen commit, replies get lost, calls are refused for a
// while, messages come twice and in another order. It is for the suites of this
// module and for anybody's own tests of tasks, handlers and stores.
//
// Everything it does the contracts of packages persistence and queue allow, so
// whatever works on a store must work on the wrapped one. What is drawn is drawn
// from the plan's seed: the fate of the n-th commit depends on the seed and on n
// alone, not on what goes on beside it. Nothing sleeps, nothing runs by itself.
//
//	for crash := range faults.CrashPoints(n) {
//		first := faults.Wrap(open(), faults.Plan{Crash: crash})
//		… run an engine on it until first.Died() …
//		… stop it, run another on open(), and look at the end …
//	}
//
// It may import the standard library, stabilize, events, queue and persistence.
//
// Where to start reading: plan.go, then store.go.
package faults
