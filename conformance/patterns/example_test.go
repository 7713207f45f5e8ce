package patterns_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/patterns"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// harness is that of one's own store: here on the memory store.
type harness struct {
	data          *memstore.Data // the database
	clock         *stabilize.ManualClock
	first, second persistence.Store
}

func newHarness(*testing.T) conformance.Harness {
	h := &harness{data: memstore.NewData(), clock: stabilize.NewManualClock(time.Unix(1_700_000_000, 0))}
	h.first, h.second = h.Open(), h.Open()
	return h
}

func (h *harness) Store() persistence.Store      { return h.first }
func (h *harness) Second() persistence.Store     { return h.second }
func (h *harness) Clock() *stabilize.ManualClock { return h.clock }

func (h *harness) Reopen() persistence.Store {
	_, _ = h.first.Close(), h.second.Close() // of a memory store: never an error
	h.first, h.second = h.Open(), h.Open()
	return h.first
}

// Open implements patterns.Opener: one who dies is followed by one who knows
// nothing.
func (h *harness) Open() persistence.Store {
	return memstore.Open(h.data, memstore.Config{Clock: h.clock})
}

// In a test file of one's own store this is TestPatterns.
func ExampleRun() {
	_ = func(t *testing.T) { patterns.Run(t, newHarness) }
	_ = func(t *testing.T) { patterns.Run(t, newHarness, patterns.WithDepth(patterns.Normal)) }
}

// twoHandles is a harness that has no more than it must.
type twoHandles struct{ conformance.Harness }

// TestHarness: the patterns run on any harness, and the report tells of each.
func TestHarness(t *testing.T) {
	for name, newHarness := range map[string]func(t *testing.T) conformance.Harness{
		"many handles": newHarness,
		"two handles":  func(t *testing.T) conformance.Harness { return twoHandles{newHarness(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			report := &conformance.Report{}
			patterns.Run(t, newHarness, conformance.Into(report), patterns.WithDepth(patterns.Brief))
			if got := report.Count(conformance.Passed); got != 43 || report.Results[6].ID != "WCP-07" || report.Results[6].Suite != "patterns" {
				t.Errorf("%d patterns passed", got)
			}
		})
	}
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
