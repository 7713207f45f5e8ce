package patterns

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/faults"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// played runs a scenario in a bubble on a backend and returns what it complained
// about.
func played(t *testing.T, s scenario, c cell, open func(*testing.T) backend) (complaints string, out outcome) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		got := conformance.Record(t.Context(), "scenario", conformance.Check[backend]{
			Clause: conformance.Clause{ID: "WCP-00"},
			Run:    func(t conformance.T, b backend, _ conformance.Effort) { out = s.once(t, b, config{}, c) },
		}, b, nil, conformance.Least)
		complaints = strings.Join(got.Failures, "\n")
	})
	return complaints, out
}

func plainly() cell { return mode{cascade: true, workers: 1}.plain() }

// TestComplains: a scenario that ends otherwise than it says, or leaves
// something behind, is seen.
func TestComplains(t *testing.T) {
	const nothing = ""
	for name, c := range map[string]struct {
		play func(r *run)
		want string
	}{
		"as it says": {func(r *run) { r.succeeds(r.start(ok("A"), ok("B", "A")), ran("A", "B")); r.order("A", "B") }, nothing},
		"another status": {func(r *run) { r.succeeds(r.start(fail("A")), failed("TASK_FAILED", "A")) },
			"the workflow is TERMINAL, want SUCCEEDED"},
		"another code":     {func(r *run) { r.fails(r.start(fail("A")), "OTHER", failed("TASK_FAILED", "A")) }, "want OTHER"},
		"another reason":   {func(r *run) { r.succeeds(r.start(ok("A").Disabled()), dead("A")) }, "has 0 of 1 executions that ended SKIPPED"},
		"too few commits":  {func(r *run) { r.succeeds(r.start(ok("A")), commits(2, "A")) }, "has 1 committed task executions, want 2"},
		"too few rounds":   {func(r *run) { r.succeeds(r.start(ok("A")), times(2, "A")) }, "want 2"},
		"too many rounds":  {func(r *run) { r.succeeds(r.start(ok("A").Threads(2), ok("B", "A")), ran("A", "B")) }, "want 1"},
		"a missing stage":  {func(r *run) { r.succeeds(r.start(ok("A")), ran("A", "B")) }, "stage B is not there"},
		"a surplus stage":  {func(r *run) { r.succeeds(r.start(ok("A"), ok("B")), ran("A")) }, "does not say how stage B ends"},
		"the wrong order":  {func(r *run) { r.succeeds(r.start(ok("A"), ok("B", "A")), ran("A", "B")); r.order("B", "A") }, "began before"},
		"it never happens": {func(r *run) { r.waits(r.start(ok("A")), "A") }, "still does not hold"},
		"it still runs":    {func(r *run) { r.waits(r.start(gate("A")), "A") }, "has not ended, and no message is left"},
		"it runs no more":  {func(r *run) { r.still(r.start(ok("A"))) }, "has ended already"},
		"an earlier run":   {func(r *run) { r.still(r.start(ok("A"), gate("B")), "A") }, "by now, want 0"},
		"a signal is left": {func(r *run) {
			id := r.start(gate("A"))
			r.signal(id, "other")
			r.open(id, "A")
			r.succeeds(id, ran("A"))
		}, "1 signals are left, want 0"},
		"a message is left": {func(r *run) {
			id := r.start(ok("A"))
			r.succeeds(id, ran("A"))
			r.must(r.look.Push(r.Context(), queue.Outgoing{Message: queue.StartWorkflow{OfWorkflow: queue.ToWorkflow(id)}, At: r.clock.Now().Add(time.Hour)}))
		}, "messages are left"},
		"no legal move": {func(r *run) {
			id := r.start(ok("A"))
			r.succeeds(id, ran("A"))
			r.record(r.Context(), []events.Event{{Type: events.StageStarted, WorkflowID: id, From: stabilize.Succeeded, To: stabilize.Running}})
		}, "is no legal move"},
		"a second end": {func(r *run) {
			id := r.start(ok("A"))
			r.succeeds(id, ran("A"))
			r.record(r.Context(), []events.Event{{Type: events.WorkflowCompleted, WorkflowID: id, From: stabilize.Running, To: stabilize.Succeeded}})
		}, "was recorded 2 times"},
		"not refused":        {func(r *run) { r.refused("one stage", ok("A")) }, "is not refused"},
		"refused for others": {func(r *run) { r.unsound(stabilize.FindingDeadlock, doing("nothing", "A")) }, "is not refused with DEADLOCK"},
	} {
		t.Run(name, func(t *testing.T) {
			got, _ := played(t, scenario{play: c.play}, plainly(), inMemory)
			if c.want == nothing && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("it says:\n%s\nwant: %s", got, c.want)
			}
		})
	}
}

// TestDeaths: whatever a scenario asks for is asked again of another process,
// and a task that ran in the dead one is committed once.
func TestDeaths(t *testing.T) {
	s := scenario{play: func(r *run) {
		id := r.start(ok("A"), gate("B", "A"))
		r.open(id, "B")
		r.succeeds(id, ran("A", "B"))
	}}
	_, plain := played(t, s, plainly(), inMemory)
	if plain.commits < 4 {
		t.Fatalf("%d commits", plain.commits)
	}
	for crash := range faults.CrashPoints(plain.commits) {
		c := plainly()
		c.plan.Crash = crash
		complaints, got := played(t, s, c, inMemory)
		if complaints != "" || got.digest != plain.digest {
			t.Errorf("%s: %s\n%s", crash, complaints, kit.Difference(plain.digest, got.digest))
		}
		if got.commits != crash.Commit {
			t.Errorf("%s: the first process died after %d commits", crash, got.commits)
		}
	}
}

// forgetful loses the messages of every third commit.
type forgetful struct {
	persistence.Store
	commits *int
}

func (f forgetful) CommitBatch(ctx context.Context, commits []*persistence.Commit) []error {
	for i, c := range commits {
		if *f.commits++; *f.commits%3 == 0 {
			lossy := *c
			lossy.Messages = nil
			commits[i] = &lossy
		}
	}
	return f.Store.CommitBatch(ctx, commits)
}

// TestBrokenStore: a store that loses messages is found out.
func TestBrokenStore(t *testing.T) {
	got, _ := played(t, scenario{play: sequence}, plainly(), func(t *testing.T) backend {
		under, n := inMemory(t), new(int)
		return opened{openerFunc(func() persistence.Store { return forgetful{under.Open(), n} })}
	})
	if !strings.Contains(got, "it still does not hold that the workflow has ended") {
		t.Errorf("it says: %q", got)
	}
}

// TestCells: the crash points of a mode are spread, and all of them in one.
func TestCells(t *testing.T) {
	crashes := func(m mode, d Depth, n int) int {
		at := map[faults.Crash]bool{}
		for _, c := range m.cells(d, n) {
			if !c.exact() {
				at[c.plan.Crash] = true
			}
		}
		return len(at)
	}
	for _, c := range []struct {
		mode  mode
		depth Depth
		want  int
	}{
		{mode{true, 1}, Normal, 20},
		{mode{false, 8}, Normal, 4},
		{mode{true, 1}, Brief, 2},
		{mode{false, 8}, Brief, 2},
		{mode{false, 8}, Full, 20},
		{mode{true, 1}, Single, 0},
		{mode{true, 1}, Sample, 0},
	} {
		if got := crashes(c.mode, c.depth, 10); got != c.want {
			t.Errorf("%s, depth %d: %d crash points, want %d", c.mode, c.depth, got, c.want)
		}
	}
}

// TestRealTime: outside of a bubble a month is seconds, and a dead process is
// replaced all the same.
func TestRealTime(t *testing.T) {
	for _, p := range all() {
		if p.id == 3 {
			t.Run(p.label(), func(t *testing.T) {
				t.Parallel()
				s := p.scenarios[0]
				plain := s.cell(t, inMemory, config{real: true}, conformance.Clause{}, plainly(), untold)
				c := plainly()
				c.plan.Crash = faults.After(plain.commits / 2)
				if got := s.cell(t, inMemory, config{real: true}, conformance.Clause{}, c, untold); got.digest != plain.digest {
					t.Errorf("it ends otherwise: %s", kit.Difference(plain.digest, got.digest))
				}
			})
		}
	}
}
