// Package persistence is the contract between decisions and databases: what a
// Commit holds, what a WorkflowStore promises about it, and what stands once above
// all stores: the stored form of the domain (codec.go, encode.go), what a commit and
// a query are checked for (check.go, place.go), how a handle closes (gate.go), the
// class of a database's error (failure.go), group commit (group.go, courtesy.go), the
// events of commits and how a log of them is read (events.go, eventread.go).
// docs/custom-stores.md tells how to write a store with it.
//
// It may import stabilize, resilience, events and queue. The stores live in the
// packages below; each implements WorkflowStore and queue.Queue on the same
// data, because they commit together.
//
// Where to start reading: store.go.
package persistence
