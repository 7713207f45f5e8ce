// Package difftest compares a store with the memory store: the same operations,
// drawn from a seed, go to both under equal clocks, and whatever can be seen must
// agree: what each call returns, the class of each error, and the state that is
// left. Where they disagree, operations are left out as long as the two still
// disagree, and the seed is printed with the few that remain. Which of the two is
// wrong the comments of the types say; it may be the memory store.
//
//	func TestDifferential(t *testing.T) {
//		difftest.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t) })
//	}
//
// It finds what the clauses of storetest and queuetest did not think of; they say
// in words what is promised, and it does not. Operations are made of small pools
// of ids, so that they meet. They are chosen without a look at the stores, so
// that each can be left out. Tokens and ids that a store chooses are compared by
// what they stand for.
//
// Run takes seconds, RunStress minutes, RunDifferential a night. Each sequence is a
// sub-test: DF-17 is that of seed 17, and DX-17 that of seed 17 with faults, run
// alone with go test -run 'TestDifferential/^DX-17$' as long as the speed and From
// are the same. With faults the candidate is wrapped by package faults: what was
// refused must have done nothing, what has an unknown outcome must have happened
// or not, and nothing between.
//
// Some freedom that the contract leaves is not held against a store: a claim that
// delivers nothing may renew its worker's lease by two thirds of the TTL only, so
// the clock is never left where that matters.
//
// It may import the standard library and this module but contrib, no database.
//
// Where to start reading: suite.go, then play.go, then op.go, readop.go and commit.go.
package difftest
