// Package patterns runs the 43 workflow control-flow patterns (Russell, ter
// Hofstede, van der Aalst, Mulyar: Workflow Control-Flow Patterns, BPM-06-22) on
// any store, each as a sub-test of its own:
//
//	func TestPatterns(t *testing.T) {
//		patterns.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t) })
//	}
//
//	go test -run 'TestPatterns/WCP-07' ./mystore
//
// Every scenario of a pattern is run in a matrix: with the cascade and without;
// with one worker and with eight on two handles; plainly, with every message
// delivered twice, in shuffled order, and with a crash before and after every
// commit. How much of the matrix is run depends on the speed: Run has each scenario
// once, RunStress a part of the matrix; WithDepth sets it, also to less. In all cells the final
// statuses, the number of committed task executions and the outputs are the same;
// only attempts may be more where something crashed. After each scenario nothing
// may be left: no message, no lock, no place, no signal that was not meant to be.
//
// Time is virtual (testing/synctest), so that thirty days pass at once; a store
// that cannot run in a bubble asks for RealTime, which shrinks them.
//
// It may import the standard library and everything of the module but contrib.
//
// Where to start reading: pattern.go, then a scenario such as basic.go, then
// suite.go.
package patterns
