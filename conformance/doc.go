// Package conformance is the contract of stores and queues as tests that anyone
// can run against a backend of their own. This package holds what the suites
// share: what a clause is, what a harness must give, how clauses are run.
//
// The suites:
//
//   - storetest: persistence.Store, workflows and the commits that change them.
//   - eventtest: persistence.EventKeeper, the events that a store keeps with commits.
//   - queuetest: queue.Queue, messages, leases, dead letters.
//   - controltest: an engine's control operations on a store: cancel, pause, resume,
//     restart, recovery, signals, and messages twice, late and out of order.
//   - difftest: a store compared with the memory store, in sequences that nobody
//     thought of, a sub-test for each seed.
//   - patterns: the workflow control-flow patterns, run by engines on a store.
//
// Package certify runs all of them on one harness, and cmd/certify does for the
// stores of this module by data source name. Package enginebench measures a store
// under the engine. Package faults, for these and for anybody's tests, makes any store hostile.
// Package sqlharness has what a harness of a store on database/sql needs to make
// its database hostile, and the harnesses of SQLite and PostgreSQL; mongoharness has that
// of MongoDB.
//
// Each promise is a Clause, data with an id and a sentence, and one sub-test
// named by the id, so that -run finds it. docs/contract.md lists them all, and
// those left out, with the reason; it is written from the data by clausedoc.
//
// There are three speeds: Run takes seconds and belongs into a store's own tests;
// RunStress makes many more rounds of everything and takes minutes; RunDifferential,
// of certify and difftest, takes a night. What they find out is a Report, for people
// and machines (Into).
//
// It may import the standard library and this module but contrib and the stores that
// need a driver: whoever runs it links no database but his own.
//
// Where to start reading: clause.go, then harness.go and powers.go, then run.go,
// then the group of interest in storetest, eventtest, queuetest or controltest (one file for
// each).
package conformance
