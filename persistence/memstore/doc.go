// Package memstore is the store in memory: for tests, for simulations, for
// programs that need no durability, and the oracle that other stores are
// compared with. It implements persistence.Store and the optional powers
// persistence.Refresher, persistence.WaitingKeys, persistence.Watcher,
// persistence.EventKeeper and queue.Notifier.
//
// It keeps every promise but durability. What is stored is never changed in
// place: stages and headers are cloned on the way in, replaced as a whole, and
// cloned again on the way out, so that reading holds the one lock only while
// pointers are copied. Values and messages are not encoded; their bytes and
// fields are shared, as both are never changed after they were made. A message
// that holds more than an address, or a type from outside package queue, might
// differ from its stored form elsewhere: it goes through its JSON.
//
// It may import stabilize, events, queue and persistence.
//
// Where to start reading: data.go for what is kept, commit.go for the one way
// to change a workflow, queue.go for messages.
package memstore
