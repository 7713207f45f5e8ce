package enginebench

import (
	"errors"
	"runtime"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// usage is what something cost.
type usage struct {
	wall    time.Duration
	steps   int64
	commits int64
	batches int64
	claims  int64
	trips   int64 // round trips, where they are counted
	writes  int64 // documents of workflows written, where they are counted
	bytes   int64
	allocs  uint64
	cpu     time.Duration
}

func (u *usage) add(v usage) {
	u.wall += v.wall
	u.steps += v.steps
	u.commits += v.commits
	u.batches += v.batches
	u.claims += v.claims
	u.trips += v.trips
	u.writes += v.writes
	u.bytes += v.bytes
	u.allocs += v.allocs
	u.cpu += v.cpu
}

// meter reads the counters of one engine under load, or of two on one store.
type meter struct {
	b       *bench
	store   *counted
	engines []*engine.Engine
	steps   func() int64
	others  func() (counts, error) // of worker processes; nil: there are none
	err     error                  // of others
}

// reading is where the counters stood.
type reading struct {
	at    time.Time
	usage usage
}

func (m *meter) begin() reading {
	r := m.read()
	r.at = m.b.clock.Now() // last: reading takes time
	return r
}

// end returns what was used since from.
func (m *meter) end(from reading) usage {
	wall := m.b.clock.Now().Sub(from.at) // first
	u := m.read().usage
	return usage{
		wall: wall, steps: u.steps - from.usage.steps,
		commits: u.commits - from.usage.commits, batches: u.batches - from.usage.batches, claims: u.claims - from.usage.claims,
		trips: u.trips - from.usage.trips, writes: u.writes - from.usage.writes,
		bytes: u.bytes - from.usage.bytes, allocs: u.allocs - from.usage.allocs, cpu: u.cpu - from.usage.cpu,
	}
}

func (m *meter) read() reading {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	u := usage{
		steps: m.steps(), claims: m.store.claims.Load(), bytes: m.b.site.written(),
		allocs: mem.Mallocs, cpu: processCPU(),
	}
	if c, ok := m.b.site.(counting); ok {
		u.trips, u.writes = c.sent()
	}
	for _, e := range m.engines {
		batches, commits := e.Commits()
		u.batches += batches
		u.commits += commits
	}
	if m.others != nil {
		n, err := m.others()
		if err != nil {
			m.err = errors.Join(m.err, err)
		}
		u.add(usage{
			steps: n.Steps, commits: n.Commits, batches: n.Batches, claims: n.Claims,
			trips: n.Trips, writes: n.Writes,
			bytes: n.Bytes, allocs: n.Allocs, cpu: time.Duration(n.CPU),
		})
	}
	return reading{usage: u}
}
