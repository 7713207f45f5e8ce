//go:build !race

package sqlstore_test

import (
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/controltest"
	"github.com/stabilize-dev/go-stabilize/conformance/queuetest"
	"github.com/stabilize-dev/go-stabilize/conformance/storetest"
)

// The suites with databases given by the caller, of one connection each and
// without a write-ahead log. Not under the race detector, which makes SQLite in
// Go twenty times slower and has nothing new to see here.

func TestStoreGivenDatabase(t *testing.T) {
	storetest.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t, true) })
}

func TestQueueGivenDatabase(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) conformance.QueueHarness { return conformance.AsQueue(newHarness(t, true)) })
}

func TestControlGivenDatabase(t *testing.T) {
	controltest.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t, true) })
}
