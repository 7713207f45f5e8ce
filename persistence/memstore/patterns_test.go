package memstore_test

import (
	"os"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance/patterns"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
)

// TestPatterns runs the whole matrix, every crash point and fifty seeds, if
// STABILIZE_TEST_FULL is set.
func TestPatterns(t *testing.T) {
	depth := patterns.Normal
	if os.Getenv("STABILIZE_TEST_FULL") != "" {
		depth = patterns.Full
	}
	patterns.Run(t, func(testing.TB) patterns.Backend {
		d := memstore.NewData()
		return patterns.BackendFunc(func() persistence.Store { return memstore.Open(d, memstore.Config{}) })
	}, patterns.WithDepth(depth))
}
