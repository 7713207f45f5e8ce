// Package persistence is the contract between decisions and databases: what a
// Commit holds, what a WorkflowStore promises about it, and the two things that
// stand once above all stores, the stored form of the domain (codec.go) and
// group commit (group.go).
//
// It may import stabilize, resilience, events and queue. The stores live in the
// packages below; each implements WorkflowStore and queue.Queue on the same
// data, because they commit together.
//
// Where to start reading: store.go.
package persistence
