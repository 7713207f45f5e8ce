package memstore_test

import (
	"os"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/patterns"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// TestPatterns runs the whole matrix, every crash point and fifty seeds, if
// STABILIZE_TEST_FULL is set.
func TestPatterns(t *testing.T) {
	depth := patterns.Normal
	if os.Getenv("STABILIZE_TEST_FULL") != "" {
		depth = patterns.Full
	}
	patterns.Run(t, newDatabase, patterns.WithDepth(depth))
}

// database is a harness from outside of the package, which the engine's tests
// need: the engine imports it.
type database struct {
	data          *memstore.Data
	clock         *stabilize.ManualClock
	first, second persistence.Store
}

func newDatabase(*testing.T) conformance.Harness {
	d := &database{data: memstore.NewData(), clock: stabilize.NewManualClock(time.Unix(1_700_000_000, 0))}
	d.Reopen()
	return d
}

func (d *database) Open() persistence.Store {
	return memstore.Open(d.data, memstore.Config{Clock: d.clock})
}

func (d *database) Reopen() persistence.Store {
	d.first, d.second = d.Open(), d.Open()
	return d.first
}

func (d *database) Store() persistence.Store      { return d.first }
func (d *database) Second() persistence.Store     { return d.second }
func (d *database) Clock() *stabilize.ManualClock { return d.clock }
