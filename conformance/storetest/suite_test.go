package storetest

import (
	"context"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/mutant"
	"github.com/stabilize-dev/go-stabilize/persistence"
)

func TestSound(t *testing.T) { mutant.Sound(t, checks(), harnessOf) }

func TestMutants(t *testing.T) { mutant.Check(t, checks(), mutations(), without(), harnessOf) }

// forgotten is a harness with a table that nothing fills, and a query that
// reads all of one.
type forgotten struct{ *memory }

func (f forgotten) Rows(ctx context.Context) (map[string]int, error) {
	rows, err := f.memory.Rows(ctx)
	rows["forgotten"] = 0
	return rows, err
}

func (f forgotten) FullScans(context.Context, persistence.Query) ([]string, error) {
	return []string{"SCAN workflows"}, nil
}

func TestTablesAreCounted(t *testing.T) { findsForgotten(t, "RT-14") }

func TestScansAreReported(t *testing.T) { findsForgotten(t, "PG-16") }

func findsForgotten(t *testing.T, id string) {
	t.Helper()
	for _, c := range checks() {
		if c.ID == id {
			h := forgotten{newMemory()}
			if out := conformance.Record(t.Context(), t.Name(), c, conformance.Harness(h), h.Store(), conformance.Least); !out.Failed() {
				t.Errorf("%s did not find it", id)
			}
		}
	}
}
