// Package events holds what happened: the Event, and the Recorder that is told
// of events once the commit they belong to is durable.
//
// A Log is the events that a store keeps with its commits, to be read in order;
// persistence.EventKeeper says which stores have one.
//
// It may import stabilize, and knows nothing of handlers.
//
// Where to start reading: event.go, then log.go.
package events
