package memstore_test

import (
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance/patterns"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
)

func TestPatterns(t *testing.T) {
	patterns.Run(t, func(testing.TB) patterns.Backend {
		d := memstore.NewData()
		return patterns.BackendFunc(func() persistence.Store { return memstore.Open(d, memstore.Config{}) })
	})
}
