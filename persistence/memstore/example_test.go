package memstore_test

import (
	"context"
	"fmt"
	"time"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// A reader follows what happens by a position of its own, which it keeps with what it
// has made of the events.
func ExampleStore_EventLog() {
	ctx := context.Background()
	store := memstore.New(memstore.Config{})
	defer store.Close()

	// An engine does this, with engine.WithEventLog.
	now := time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)
	w := stabilize.Header{ID: "order-7", Status: stabilize.Running, CreatedAt: now}
	c := &persistence.Commit{WorkflowID: w.ID, Header: &w, Events: []events.Event{
		{Type: events.WorkflowCreated, At: now}, {Type: events.WorkflowStarted, To: stabilize.Running, At: now},
	}}
	events.Stamp(c.Events, w.ID, w.CreatedAt, c.Expect+1)
	if err := store.CommitBatch(ctx, []*persistence.Commit{c})[0]; err != nil {
		fmt.Println(err)
	}

	log := persistence.EventLogOf(store)
	var q events.Query
	for {
		page, err := log.Read(ctx, q)
		if err != nil || len(page.Events) == 0 {
			break
		}
		for _, e := range page.Events {
			fmt.Println(e.ID, e.Type, e.To)
		}
		q.After = page.Next
	}
	// Output:
	// order-7/h3a9k5wdvk/1/0 workflow.created NOT_STARTED
	// order-7/h3a9k5wdvk/1/1 workflow.started RUNNING
}
