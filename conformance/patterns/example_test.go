package patterns_test

import (
	"fmt"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance/patterns"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
)

// In a test file of one's own store this is TestPatterns.
func ExampleRun() {
	test := func(t *testing.T) {
		patterns.Run(t, func(testing.TB) patterns.Backend {
			data := memstore.NewData() // the database
			return patterns.BackendFunc(func() persistence.Store { return memstore.Open(data, memstore.Config{}) })
		}, patterns.WithDepth(patterns.Brief))
	}
	_ = test
}

// The patterns are data.
func ExampleAll() {
	for _, p := range patterns.All()[:3] {
		fmt.Println(p.ID, p.Name)
	}
	// Output:
	// WCP-01 Sequence
	// WCP-02 Parallel Split
	// WCP-03 Synchronization
}
