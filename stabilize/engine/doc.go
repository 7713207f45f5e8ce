// Package engine is the facade: it works on a store, registers task and stage
// types, starts workflows, runs workers, waits, looks and cancels. It wires the
// parts of the other packages together with defaults and adds no rule of its
// own; whoever needs other wiring uses the parts.
//
// It may import stabilize, resilience, events, queue, persistence and handlers, and
// no store: whoever uses it links the database he chose.
//
// Where to start reading: example_test.go, then engine.go.
package engine
