package faults_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/stabilize-dev/go-stabilize/conformance/faults"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// A process that stores a message in each of two commits is killed at every
// point. What it did durably is what a new handle on the same data finds.
func Example() {
	ctx := context.Background()
	for crash := range faults.CrashPoints(2) {
		data := memstore.NewData()
		process := faults.Wrap(memstore.Open(data, memstore.Config{}), faults.Plan{Crash: crash})
		var err error
		for range 2 {
			note := queue.Outgoing{Message: queue.StartWaitingWorkflows{Key: "k", Limit: 1}}
			err = errors.Join(process.CommitBatch(ctx, []*persistence.Commit{{Messages: []queue.Outgoing{note}}})...)
		}
		<-process.Died()
		left, _ := memstore.Open(data, memstore.Config{}).Pending(ctx, "")
		fmt.Println(crash, "-", len(left), "stored,", errors.Is(err, stabilize.ErrClosed))
	}
	// Output:
	// before commit 1 - 0 stored, true
	// after commit 1 - 1 stored, true
	// before commit 2 - 1 stored, true
	// after commit 2 - 2 stored, true
}
