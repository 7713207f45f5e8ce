package enginebench

import (
	"encoding/json"
	"io"
	"slices"
	"time"
)

// result is one line of the output.
//
//nolint:tagliatelle // the names of the output are an interface of its own
type result struct {
	Scenario       string  `json:"scenario"`
	Workers        float64 `json:"workers,omitempty"` // processes beside the one that measures
	Workflows      float64 `json:"workflows_per_s"`
	Steps          float64 `json:"steps_per_s"`
	P50            float64 `json:"p50_ms"`
	P95            float64 `json:"p95_ms"`
	RawSingle      float64 `json:"raw_single_per_s,omitempty"`
	RawGrouped     float64 `json:"raw_grouped_per_s,omitempty"` // absent without a raw limit
	RawCrowded     float64 `json:"raw_crowded_per_s,omitempty"` // absent where one writes at a time
	CommitsPerStep float64 `json:"commits_per_step"`
	TripsPerStep   float64 `json:"round_trips_per_step,omitempty"` // absent where they are not counted
	WritesPerStep  float64 `json:"workflow_writes_per_step,omitempty"`
	BytesPerStep   float64 `json:"bytes_per_step"`
	AllocsPerStep  float64 `json:"allocs_per_step"`
	CPUPerStep     float64 `json:"cpu_ms_per_step"`
	WaitP50        float64 `json:"wait_p50_ms,omitempty"` // B4 with worker processes: by Engine.Wait
	*sizeResult            // B6 only

	// In the table only.
	batchesPerStep, claimsPerStep, rawCPUPerStep, repeated float64
}

// sizeResult is what B6 adds; times in milliseconds.
//
//nolint:tagliatelle // as above
type sizeResult struct {
	ShortStages  float64 `json:"short_stages"`
	LongStages   float64 `json:"long_stages"`
	ShortMessage float64 `json:"short_ms_per_message"` // creating and loading included
	LongMessage  float64 `json:"long_ms_per_message"`
	Ratio        float64 `json:"ratio"`
	ShortStep    float64 `json:"short_ms_per_step"` // without
	LongStep     float64 `json:"long_ms_per_step"`
	StepRatio    float64 `json:"step_ratio"`
	LongCreate   float64 `json:"long_create_ms"`
	LongLoad     float64 `json:"long_load_ms"`
}

func newResult(name string, workflows int, used usage, latencies []time.Duration) result {
	steps := float64(max(used.steps, 1))
	slices.Sort(latencies)
	return result{
		Scenario:  name,
		Workflows: perSecond(workflows, used.wall), Steps: perSecond(int(used.steps), used.wall),
		P50: milliseconds(quantile(latencies, 0.50)), P95: milliseconds(quantile(latencies, 0.95)),
		CommitsPerStep: float64(used.commits) / steps,
		TripsPerStep:   float64(used.trips) / steps,
		WritesPerStep:  float64(used.writes) / steps,
		BytesPerStep:   float64(used.bytes) / steps,
		AllocsPerStep:  float64(used.allocs) / steps,
		CPUPerStep:     milliseconds(used.cpu) / steps,
		batchesPerStep: float64(used.batches) / steps,
		claimsPerStep:  float64(used.claims) / steps,
	}
}

func perSecond(n int, d time.Duration) float64 {
	return float64(n) / max(d, time.Microsecond).Seconds() // the precision of the clock
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// quantile of sorted values: the smallest that is not below q of them.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := int(q*float64(len(sorted)) + 0.999999)
	return sorted[min(max(i, 1), len(sorted))-1]
}

// numbers are all of a result that medians are taken of.
func (r *result) numbers() []*float64 {
	list := []*float64{
		&r.Workflows, &r.Steps, &r.P50, &r.P95, &r.RawSingle, &r.RawGrouped, &r.RawCrowded,
		&r.CommitsPerStep, &r.TripsPerStep, &r.WritesPerStep, &r.BytesPerStep, &r.AllocsPerStep, &r.CPUPerStep,
		&r.Workers, &r.WaitP50, &r.batchesPerStep, &r.claimsPerStep, &r.rawCPUPerStep, &r.repeated,
	}
	if s := r.sizeResult; s != nil {
		list = append(list, &s.ShortStages, &s.LongStages, &s.ShortMessage, &s.LongMessage, &s.Ratio,
			&s.ShortStep, &s.LongStep, &s.StepRatio, &s.LongCreate, &s.LongLoad)
	}
	return list
}

// median takes the median of each number on its own, over runs of one scenario.
func median(runs []result) result {
	m := runs[0]
	if m.sizeResult != nil {
		size := *m.sizeResult
		m.sizeResult = &size
	}
	for i, to := range m.numbers() {
		values := make([]float64, len(runs))
		for j := range runs {
			values[j] = *runs[j].numbers()[i]
		}
		slices.Sort(values)
		mid := len(values) / 2
		if *to = values[mid]; len(values)%2 == 0 {
			*to = (values[mid-1] + values[mid]) / 2
		}
	}
	return m
}

func writeJSON(w io.Writer, results []result) error {
	return json.NewEncoder(w).Encode(struct {
		Results []result `json:"results"`
	}{results})
}
