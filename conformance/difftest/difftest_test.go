package difftest

import (
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func newMemory() *memory {
	m := &memory{data: memstore.NewData(), clock: stabilize.NewManualClock(time.Date(2025, 5, 6, 7, 8, 9, 0, time.UTC))}
	m.Reopen()
	return m
}

// What the two stores are is the same, so nothing may differ: neither by the
// order of anything nor by the names of what they choose.
func TestMemory(t *testing.T) {
	Run(t, func(*testing.T) conformance.Harness { return newMemory() }, Seeds(100))
}

func TestMemoryWithFaults(t *testing.T) {
	Run(t, func(*testing.T) conformance.Harness { return newMemory() }, Seeds(100), WithFaults())
}
