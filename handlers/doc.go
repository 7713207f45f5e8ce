// Package handlers decides what each message does to its workflow.
//
// A handler looks at a snapshot and decides; it performs no I/O. There is one
// file per message, named after it, each beginning with the promise it keeps.
// Base makes a handler of a function on a typed message; Decision is what that
// function may look at and change; Runner takes the snapshot, lets the handlers
// of everything that waits in one mailbox decide, commits once, and starts the
// task runs that came of it.
//
// It may import stabilize, resilience, events, queue and persistence, and knows
// nothing of which store runs underneath.
//
// Where to start reading: start_workflow.go, then follow the messages it
// pushes; flow.go for what happens when a stage ends, arrive.go for what joins
// do, halt.go for ending from outside; runner.go for the life of a decision.
package handlers
