package difftest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/persistence"
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
	RunStress(t, func(*testing.T) conformance.Harness { return newMemory() })
}

// plain is a store without optional powers.
type plain struct{ persistence.Store }

type plainHarness struct{ *memory }

func (h plainHarness) Store() persistence.Store  { return plain{h.memory.Store()} }
func (h plainHarness) Second() persistence.Store { return plain{h.memory.Second()} }
func (h plainHarness) Reopen() persistence.Store { return plain{h.memory.Reopen()} }

// A store is not blamed for a power that it lacks.
func TestWithoutPowers(t *testing.T) {
	Run(t, func(*testing.T) conformance.Harness { return plainHarness{newMemory()} })
}

// TestSpeeds: each speed has its sequences, and From moves them.
func TestSpeeds(t *testing.T) {
	for e, want := range map[conformance.Effort]int{
		conformance.Least: 4, conformance.Short: 10, conformance.Full: 40, conformance.Stress: 400, conformance.Differential: 10_000,
	} {
		if got := checks(1, e); len(got) != want || got[0].ID != "DF-1" || got[want-1].ID != fmt.Sprint("DX-", want/2) {
			t.Errorf("effort %d: %d sequences, %s to %s; want %d", e, len(got), got[0].ID, got[len(got)-1].ID, want)
		}
	}
	report := &conformance.Report{}
	Run(t, func(*testing.T) conformance.Harness { return newMemory() }, From(17), conformance.At(conformance.Least), conformance.Into(report))
	var ids []string
	for _, r := range report.Results {
		ids = append(ids, r.Suite+" "+r.ID)
	}
	if want := []string{"difftest DF-17", "difftest DF-18", "difftest DX-17", "difftest DX-18"}; !slices.Equal(ids, want) || !report.Certified() {
		t.Errorf("from 17 on are %v, want %v", ids, want)
	}
}
