package patterns

import (
	"fmt"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/faults"
)

// mode is how engines are set up: with the cascade or not, and how many tasks
// run at once; several run on two handles.
type mode struct {
	cascade bool
	workers int
}

func (m mode) String() string {
	if m.cascade {
		return fmt.Sprintf("cascade-%d", m.workers)
	}
	return fmt.Sprintf("queue-%d", m.workers)
}

// modes returns the modes of a depth.
func modes(d Depth) []mode {
	switch d {
	case Single, Sample:
		return []mode{{true, 1}}
	case Brief:
		return []mode{{true, 1}, {false, 8}}
	default:
		return []mode{{true, 1}, {true, 8}, {false, 1}, {false, 8}}
	}
}

// cell is one way to run a scenario.
type cell struct {
	mode
	trouble string // what goes wrong; empty: nothing
	plan    faults.Plan
	least   int // of the scenario
}

func (c cell) String() string {
	if c.trouble == "" {
		return c.mode.String()
	}
	return c.mode.String() + " " + c.trouble
}

// exact reports whether nothing dies: then every event is recorded, and every
// answer arrives.
func (c cell) exact() bool { return c.plan.Crash.Commit == 0 }

func (m mode) plain() cell { return cell{mode: m} }

// cells returns the cells of a mode in which something goes wrong, for a
// scenario that has n commits.
func (m mode) cells(d Depth, n int) []cell {
	if d == Single || d == Sample {
		return nil
	}
	var out []cell
	add := func(name string, plan faults.Plan) { out = append(out, cell{mode: m, trouble: name, plan: plan}) }
	first := m.cascade && m.workers == 1
	seeds, points := 3, 4
	switch {
	case d == Full:
		seeds, points = 50, 2*n
	case d == Brief:
		seeds, points = 1, 2
	case first:
		points = 2 * n
	}
	if d != Brief || !first {
		add("twice", faults.Plan{Seed: 1, Copies: 1})
		for seed := range seeds {
			add(fmt.Sprintf("shuffled %d", seed+1), faults.Plan{Seed: uint64(seed + 1), Shuffled: true, HeldBack: 0.3})
		}
		if d != Brief {
			add("late copies", faults.Plan{Seed: 2, Copies: 2, Late: 2 * time.Second, Shuffled: true})
		}
	}
	at := 0
	for crash := range faults.CrashPoints(n) {
		// Spread evenly, and other points in another mode.
		if spread := (at*points + m.workers) % (2 * n); spread < points {
			add("crash "+crash.String(), faults.Plan{Seed: 1, Crash: crash})
		}
		at++
	}
	return out
}
