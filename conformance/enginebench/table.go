package enginebench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// column is one of the table: what it is called and how its number is written.
type column struct {
	name  string
	write func(r *result) string
}

func columns() []column {
	number := func(format string, of func(*result) float64) func(*result) string {
		return func(r *result) string { return fmt.Sprintf(format, of(r)) }
	}
	raw := func(format string, of func(*result) float64) func(*result) string {
		return func(r *result) string {
			if r.RawGrouped == 0 {
				return "–"
			}
			return fmt.Sprintf(format, of(r))
		}
	}
	crowded := func(format string, of func(*result) float64) func(*result) string {
		return func(r *result) string {
			if r.RawCrowded == 0 {
				return "–"
			}
			return fmt.Sprintf(format, of(r))
		}
	}
	counted := func(of func(*result) float64) func(*result) string {
		return func(r *result) string {
			if r.TripsPerStep == 0 {
				return "–"
			}
			return fmt.Sprintf("%.2f", of(r))
		}
	}
	return []column{
		{"", func(r *result) string { return turn{r.Scenario, int(r.Workers)}.String() }},
		{"workflows/s", number("%.0f", func(r *result) float64 { return r.Workflows })},
		{"steps/s", number("%.0f", func(r *result) float64 { return r.Steps })},
		{"p50 ms", number("%.2f", func(r *result) float64 { return r.P50 })},
		{"p95 ms", number("%.2f", func(r *result) float64 { return r.P95 })},
		{"raw single/s", raw("%.0f", func(r *result) float64 { return r.RawSingle })},
		{"raw grouped/s", raw("%.0f", func(r *result) float64 { return r.RawGrouped })},
		{"steps/raw grouped", raw("%.3f", func(r *result) float64 { return r.Steps / r.RawGrouped })},
		{"raw single×10/s", crowded("%.0f", func(r *result) float64 { return r.RawCrowded })},
		{"steps/raw single×10", crowded("%.2f", func(r *result) float64 { return r.Steps / r.RawCrowded })},
		{"steps/raw single", raw("%.2f", func(r *result) float64 { return r.Steps / r.RawSingle })},
		{"p50×raw single", raw("%.2f", func(r *result) float64 { return r.P50 * r.RawSingle / 1000 })},
		{"commits/step", number("%.2f", func(r *result) float64 { return r.CommitsPerStep })},
		{"batches/step", number("%.3f", func(r *result) float64 { return r.batchesPerStep })},
		{"claims/step", number("%.3f", func(r *result) float64 { return r.claimsPerStep })},
		{"round trips/step", counted(func(r *result) float64 { return r.TripsPerStep })},
		{"workflow writes/step", counted(func(r *result) float64 { return r.WritesPerStep })},
		{"bytes/step", number("%.0f", func(r *result) float64 { return r.BytesPerStep })},
		{"allocs/step", number("%.0f", func(r *result) float64 { return r.AllocsPerStep })},
		{"CPU ms/step", number("%.3f", func(r *result) float64 { return r.CPUPerStep })},
		{"raw grouped CPU", raw("%.3f", func(r *result) float64 { return r.rawCPUPerStep })},
	}
}

// writeTable writes the results for a reader, with the ratios that the
// scenarios are there for.
func writeTable(w io.Writer, o *options, results []result) error {
	fmt.Fprintf(w, "concurrency %d, GOGC %d, %d starting goroutines, median of %d runs\n\n", o.concurrency, o.gogc, o.starters, o.runs)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, c := range columns() {
		fmt.Fprint(tw, c.name, "\t")
	}
	fmt.Fprintln(tw)
	byName := map[string]*result{} // with the first number of workers
	for i := range results {
		r := &results[i]
		if byName[r.Scenario] == nil {
			byName[r.Scenario] = r
		}
		for _, c := range columns() {
			fmt.Fprint(tw, c.write(r), "\t")
		}
		fmt.Fprintln(tw)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if b1, b5 := byName["B1"], byName["B5"]; b1 != nil && b5 != nil {
		fmt.Fprintf(w, "B5 runs at %.2f of B1.\n", b5.Workflows/b1.Workflows)
	}
	if b6 := byName["B6"]; b6 != nil {
		fmt.Fprintf(w, "B6, ms per message, creating and loading included: %.3f of %.0f stages, %.3f of %.0f; ratio %.2f.\n",
			b6.LongMessage, b6.LongStages, b6.ShortMessage, b6.ShortStages, b6.Ratio)
		fmt.Fprintf(w, "B6, ms per step without: %.3f and %.3f; ratio %.2f. The long chain is created in %.1f ms, loaded in %.1f ms.\n",
			b6.LongStep, b6.ShortStep, b6.StepRatio, b6.LongCreate, b6.LongLoad)
	}
	for i := range results {
		r, first := &results[i], byName[results[i].Scenario]
		if r == first {
			continue
		}
		fmt.Fprintf(w, "%s: %.2f times the steps/s of %.0f, %.2f times its p50.\n",
			turn{r.Scenario, int(r.Workers)}, r.Steps/first.Steps, first.Workers, r.P50/first.P50)
	}
	for i := range results {
		if r := &results[i]; r.WaitP50 > 0 {
			fmt.Fprintf(w, "%s: Wait in the process that starts, which has to look, returns after p50 %.2f ms.\n", turn{r.Scenario, int(r.Workers)}, r.WaitP50)
		}
	}
	for i := range results {
		if n := results[i].repeated; n > 0 {
			fmt.Fprintf(w, "%s: %.0f tasks ran again after a lease was lost.\n", results[i].Scenario, n)
		}
	}
	return nil
}
