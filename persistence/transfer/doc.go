// Package transfer moves workflows from one store to another, of whatever kind:
// Export writes them as lines of JSON, Import reads them into a store, Copy does
// both at once.
//
// A workflow is moved as it stands, under way or finished: its header, stages and
// tasks, the messages that are stored for it, with their due times, and its places
// under concurrency limits. It goes on in the other store where it was. What does
// not come along: how often a message had been delivered, dead letters, which are
// replayed or discarded before (see Options), and events: their positions mean nothing
// in another store, and they can be read in the one that is left.
//
// Stop the workers on the store that is left before, and start those on the other
// after; Export refuses to go on while a worker holds a message. An import that
// was cut short is run again: what is there already is left alone.
//
// It may import persistence, queue and stabilize, and no database. Where to start
// reading: Export.
package transfer
