// Package certify runs all suites on a store, at one of three speeds, and writes
// the certificate: a table of what holds, what does not, and what was left out.
//
// In a test file of one's own store, whose harness is described at
// conformance.Harness:
//
//	func TestContract(t *testing.T) { certify.Run(t, newHarness) }
//
// The speeds, for storetest, eventtest, queuetest, controltest, difftest and patterns alike:
//
//   - Run takes seconds and belongs into every test of a store: each clause, a few
//     random sequences, each scenario of a pattern once.
//   - RunStress takes minutes, for a store that was changed where races are
//     decided: many more rounds and sequences, patterns with crashes and shuffled
//     messages.
//   - RunDifferential takes a night: each clause as in Run, 10,000 random sequences,
//     the patterns in all modes.
//
// The sub-tests are named by suite and clause, so that one of them is run with
// go test -run 'TestContract/storetest/OC-08'. With -v, and when something failed,
// the certificate is in the log. Main makes a program of it, as cmd/certify is for
// the stores of this module.
//
// A harness that is a patterns.Opener too has the patterns' processes on handles of
// their own, as in use.
//
// Options are those of package conformance and of the suites: such as
// patterns.RealTime for a store behind a network, conformance.OneAtATime,
// difftest.From, conformance.Into for the report.
//
// It may import the standard library and this module but contrib, no database.
//
// Where to start reading: certify.go.
package certify
