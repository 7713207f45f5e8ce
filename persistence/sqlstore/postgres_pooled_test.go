//go:build !race

package sqlstore_test

import (
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/controltest"
	"github.com/stabilize-dev/go-stabilize/conformance/queuetest"
	"github.com/stabilize-dev/go-stabilize/conformance/sqlharness"
	"github.com/stabilize-dev/go-stabilize/conformance/storetest"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
)

// The suites through a pooler of transactions, with one connection for each handle.
// Not under the race detector, which has nothing new to see here.

func newPooledHarness(t *testing.T) conformance.Harness {
	return sqlharness.NewPostgres(t, sqlharness.PostgresConfig{
		DSN: server.DSN(t), Pooler: newPooler(t, 2).dsn(), Connections: 1, InUse: sqlstore.InUse,
	})
}

func TestPostgresPooledStore(t *testing.T) { storetest.Run(t, newPooledHarness) }

func TestPostgresPooledQueue(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) conformance.QueueHarness { return conformance.AsQueue(newPooledHarness(t)) })
}

func TestPostgresPooledControl(t *testing.T) { controltest.Run(t, newPooledHarness) }
