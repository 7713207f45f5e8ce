// Package controltest certifies that the engine's control operations hold on a
// store: what is delivered twice, late or out of order, cancel, pause, resume,
// restart, recovery, signals, and the times that these leave. Every promise is
// one named sub-test, as in packages storetest and queuetest, and an engine with
// the handlers of this module works on the harness's handles.
//
// To run it on a store of one's own, write one test, with the harness that
// storetest has:
//
//	func TestControl(t *testing.T) {
//		controltest.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t) })
//	}
//
// A store that passes storetest and queuetest and fails here has broken a
// promise that the other suites do not know: add a clause there.
//
// Time is the harness's clock and stands still while engines work: see process.go.
// A store whose own package the engine imports tests itself from outside of it.
//
// It may import the standard library and this module but contrib, no database.
//
// Where to start reading: suite.go, then process.go, then a group: control.go,
// terminal.go, delivery.go, recovery.go, signals.go, times.go.
package controltest
