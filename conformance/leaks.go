package conformance

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"runtime/pprof"
	"slices"
	"strings"
	"time"
)

// Goroutines are told apart by a label that each hands on to those it starts, so
// that what one clause leaves behind is found while others run.
const labelKey = "conformance clause"

// label marks the goroutine that calls, and all that it starts from now on.
func label(ctx context.Context, value string) {
	pprof.SetGoroutineLabels(pprof.WithLabels(ctx, pprof.Labels(labelKey, value)))
}

// labelled returns the stacks of the goroutines with a label.
func labelled(value string) []string {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return []string{fmt.Sprintf("the goroutines cannot be listed: %v", err)}
	}
	want := fmt.Sprintf("%q:%q", labelKey, value)
	var out []string
	for block := range strings.SplitSeq(b.String(), "\n\n") {
		if strings.Contains(block, want) {
			out = append(out, block)
		}
	}
	return out
}

// unlabel takes the label off the goroutine that calls.
func unlabel() { pprof.SetGoroutineLabels(context.Background()) }

// eventually asks until the answer is empty or the grace is over, and returns
// the last one. The grace is what something that was told to end may take to do so.
func eventually(grace time.Duration, ask func() string) string {
	answer := ask()
	if answer == "" {
		return ""
	}
	over := time.NewTimer(grace)
	defer over.Stop()
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for {
		select {
		case <-over.C:
			return ask()
		case <-again.C:
			if answer = ask(); answer == "" {
				return ""
			}
		}
	}
}

// leftRunning says which goroutines of a label do not end, but the shared.
func leftRunning(value string, shared []string, grace time.Duration) string {
	return eventually(grace, func() string {
		stacks := slices.DeleteFunc(labelled(value), func(stack string) bool {
			return slices.ContainsFunc(shared, func(s string) bool { return strings.Contains(stack, s) })
		})
		if len(stacks) == 0 {
			return ""
		}
		return fmt.Sprintf("goroutines were left running after the clause, its handles closed, in %d places:\n%s", len(stacks), strings.Join(stacks, "\n\n"))
	})
}

// leftOpen says what is in use that was not before; before is nil if the harness
// cannot tell.
func leftOpen(ctx context.Context, c OpenCounter, before map[string]int, grace time.Duration) string {
	if before == nil {
		return ""
	}
	return eventually(grace, func() string {
		now, err := c.InUse(ctx)
		if err != nil {
			return fmt.Sprintf("what is in use cannot be counted: %v", err)
		}
		var more []string
		for _, name := range slices.Sorted(maps.Keys(now)) {
			if now[name] > before[name] {
				more = append(more, fmt.Sprintf("%d %s, %d before", now[name], name, before[name]))
			}
		}
		if more == nil {
			return ""
		}
		return "still in use after the clause: " + strings.Join(more, "; ")
	})
}
