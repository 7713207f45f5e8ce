package enginebench

import (
	"slices"
	"testing"
	"time"
)

func TestQuantiles(t *testing.T) {
	var sorted []time.Duration
	for i := range 20 {
		sorted = append(sorted, time.Duration(i+1))
	}
	for _, c := range []struct {
		of   []time.Duration
		q    float64
		want time.Duration
	}{
		{nil, 0.5, 0},
		{sorted[:1], 0.5, 1},
		{sorted[:1], 0.95, 1},
		{sorted[:3], 0.5, 2},
		{sorted, 0.5, 10},
		{sorted, 0.95, 19},
		{sorted, 1, 20},
	} {
		if got := quantile(c.of, c.q); got != c.want {
			t.Errorf("quantile %v of %d values is %d, want %d", c.q, len(c.of), got, c.want)
		}
	}
}

func TestMedianOfEachNumber(t *testing.T) {
	runs := []result{
		{Scenario: "B6", Steps: 3, P50: 10, sizeResult: &sizeResult{Ratio: 5}},
		{Scenario: "B6", Steps: 1, P50: 30, sizeResult: &sizeResult{Ratio: 9}},
		{Scenario: "B6", Steps: 2, P50: 20, sizeResult: &sizeResult{Ratio: 1}},
		{Scenario: "B6", Steps: 9, P50: 20, sizeResult: &sizeResult{Ratio: 3}},
	}
	m := median(slices.Clone(runs[:3]))
	if m.Scenario != "B6" || m.Steps != 2 || m.P50 != 20 || m.Ratio != 5 {
		t.Errorf("median of three: %+v %+v", m, m.sizeResult)
	}
	if m = median(slices.Clone(runs)); m.Steps != 2.5 || m.Ratio != 4 {
		t.Errorf("median of four: %+v %+v", m, m.sizeResult)
	}
	if runs[0].Ratio != 5 {
		t.Error("a run was changed")
	}
}

// A use counts once, however it is measured in parts.
func TestUsageOfAMeterIsWhatCameBetween(t *testing.T) {
	var sum usage
	sum.add(usage{wall: 1, steps: 2, commits: 3, batches: 4, claims: 5, trips: 9, writes: 10, bytes: 6, allocs: 7, cpu: 8})
	sum.add(usage{wall: 10, steps: 20, commits: 30, batches: 40, claims: 50, trips: 90, writes: 100, bytes: 60, allocs: 70, cpu: 80})
	if want := (usage{wall: 11, steps: 22, commits: 33, batches: 44, claims: 55, trips: 99, writes: 110, bytes: 66, allocs: 77, cpu: 88}); sum != want {
		t.Errorf("%+v, want %+v", sum, want)
	}
}
