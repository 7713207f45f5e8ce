// Package events holds what happened: the Event, and the Recorder that is told
// of events once the commit they belong to is durable.
//
// It may import stabilize, and knows nothing of handlers.
//
// Where to start reading: event.go.
package events
