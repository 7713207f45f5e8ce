// Package queue holds what travels: the message types and their registry, the
// envelope they are delivered in, the Queue contract that every store's queue
// keeps, dead letters, and the Processor that claims messages and hands each to
// the mailbox of its workflow.
//
// It may import stabilize, resilience and events, and knows nothing of what a
// handler does or where messages are stored.
//
// Where to start reading: queue.go for the contract, message.go for the
// messages, processor.go for the life of a delivery.
package queue
