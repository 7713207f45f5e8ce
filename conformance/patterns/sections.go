package patterns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// One at a time: 17, 39, 40.
func sections() []pattern {
	return []pattern{{
		id: 17, name: "Interleaved Parallel Routing", built: "`Mutex(\"k\")` on stages with an order of their own",
		sentence: "Each stage runs once, one at a time, in any order that keeps theirs.",
		scenarios: []scenario{{
			name: "two and two", varies: true,
			play: interleave(map[string]string{"B": "A", "D": "C"}, "ABCD", "ACBD", "ACDB", "CABD", "CADB", "CDAB"),
		}},
	}, {
		id: 40, name: "Interleaved Routing", built: "`Mutex(\"k\")`",
		sentence: "Each stage runs once, one at a time, in any order.",
		scenarios: []scenario{{
			name: "three", varies: true,
			play: interleave(nil, "ABC", "ACB", "BAC", "BCA", "CAB", "CBA"),
		}},
	}, {
		id: 39, name: "Critical Section", built: "`Section(\"k\")`; `AcrossWorkflows()`",
		sentence: "Parts of a workflow, or of several, are never active together.",
		scenarios: []scenario{
			{name: "two parts", play: section},
			{name: "between its stages", play: sectionBetween},
			{name: "a worker dies in it", play: sectionDies, least: 2},
			{name: "canceled at its begin", play: sectionCanceled("a1")},
			{name: "canceled at its end", play: sectionCanceled("a2")},
			{name: "across workflows", play: sectionAcross(5)},
			{name: "across a hundred workflows", play: sectionAcross(100), long: true},
			{name: "the holder is canceled", play: sectionHolderCanceled},
		},
	}}
}

// interval is when a group of stages was active: places in the journal.
type interval struct {
	refs       []string
	begin, end int
	from, to   time.Time
}

// active returns when stages were active, from the first begin of any to the last
// end of any.
func (r *run) active(refs ...string) interval {
	r.Helper()
	i := interval{refs: refs, begin: -1}
	for at, e := range r.entries() {
		if !slices.Contains(refs, e.ref) {
			continue
		}
		if i.begin < 0 {
			i.begin, i.from = at, e.at
		}
		i.end, i.to = at, e.at
	}
	if i.begin < 0 {
		r.Errorf("%v never ran", refs)
	}
	return i
}

// apart checks that groups of stages were never active together, and returns them
// in the order in which they were.
func (r *run) apart(groups ...[]string) []interval {
	r.Helper()
	all := make([]interval, len(groups))
	for i, refs := range groups {
		all[i] = r.active(refs...)
	}
	slices.SortFunc(all, func(a, b interval) int { return a.begin - b.begin })
	for i := 1; i < len(all); i++ {
		if all[i].begin < all[i-1].end {
			r.Errorf("%v began before %v had ended", all[i].refs, all[i-1].refs)
		}
	}
	return all
}

// interleave runs workflows of stages that share a mutex, and E after them all. In
// a cell where any message may be held back it goes on until every order was
// seen that there can be; in no cell is there another.
func interleave(after map[string]string, orders ...string) func(r *run) {
	const most = 500
	return func(r *run) {
		refs := strings.Split(orders[0], "")
		shuffled, atOnce := r.at.plan.HeldBack > 0 && !r.at.cascade, 1
		if shuffled {
			atOnce = 5
		}
		seen := map[string]bool{}
		for n := 0; n == 0 || shuffled && len(seen) < len(orders) && n < most; n += atOnce {
			var ids []string
			for k := range atOnce {
				named := func(ref string) string { return fmt.Sprintf("%s.%d", ref, n+k) }
				var stages []*stabilize.StageSpec
				last := ok(named("E"))
				for _, ref := range refs {
					s := ok(named(ref)).Mutex("k")
					if up, ok := after[ref]; ok {
						s.After(named(up))
					}
					stages = append(stages, s)
					last.After(named(ref))
				}
				ids = append(ids, r.start(append(stages, last)...))
			}
			for k, id := range ids {
				seen[r.interleaved(id, fmt.Sprintf(".%d", n+k), refs)] = true
			}
		}
		for order := range seen {
			if !slices.Contains(orders, order) {
				r.Errorf("they ran in the order %s", order)
			}
		}
		if shuffled && len(seen) < len(orders) {
			r.Errorf("in %d runs only these orders were seen: %v", r.starts, seen)
		}
	}
}

// interleaved checks one workflow and returns the order in which its stages ran.
func (r *run) interleaved(id, suffix string, refs []string) string {
	r.Helper()
	var groups [][]string
	var all []string
	for _, ref := range refs {
		groups = append(groups, []string{ref + suffix})
		all = append(all, ref+suffix)
	}
	r.succeeds(id, ran(all...), ran("E"+suffix))
	order := ""
	intervals := r.apart(append(groups, []string{"E" + suffix})...)
	for i, v := range intervals {
		order += strings.TrimSuffix(v.refs[0], suffix)
		if i > 0 {
			r.promptly(intervals[i-1].to, v.from)
		}
	}
	order, last := order[:len(order)-1], order[len(order)-1:]
	if last != "E" {
		r.Errorf("E was not the last: %s%s", order, last)
	}
	return order
}

// promptly checks, where nothing goes wrong, that what waited for a key got it with
// the next messages, which is long before anybody looks again.
func (r *run) promptly(free, taken time.Time) {
	r.Helper()
	if gap := taken.Sub(free); !r.real && r.at.trouble == "" && gap > 10*time.Millisecond {
		r.Errorf("a key was free for %s until it was taken", gap)
	}
}

func section(r *run) {
	id := r.start(gate("x"), ok("R"),
		ok("a1", "R").Section("k"), ok("a2", "a1").Section("k"),
		ok("b1", "R").Section("k"), ok("b2", "b1").Section("k"), ok("E", "a2", "b2"))
	r.waits(id, "x")
	r.hasRun(id, "E")
	r.open(id, "x")
	r.succeeds(id, ran("x", "R", "a1", "a2", "b1", "b2", "E"))
	both := r.apart([]string{"a1", "a2"}, []string{"b1", "b2"})
	r.promptly(both[0].to, both[1].from)
	if x := r.active("x"); x.end < both[1].end {
		r.Errorf("x, which is outside, ended before the sections had")
	}
}

// sectionBetween: nothing of a section is under way, but it has not ended.
func sectionBetween(r *run) {
	id := r.start(gate("R"), gate("x"),
		ok("a1").Section("k"), ok("a2", "a1", "x").Section("k"),
		ok("b1", "R").Section("k"), ok("b2", "b1").Section("k"))
	r.hasRun(id, "a1")
	r.open(id, "R")
	r.still(id, "b1")
	r.open(id, "x")
	r.succeeds(id, ran("R", "x", "a1", "a2", "b1", "b2"))
	r.order("a1", "a2", "b1", "b2")
}

// sectionDies: the process dies that runs a1; no other gets in before a2 has
// ended.
func sectionDies(r *run) {
	var begun, killed atomic.Bool
	r.task("deadly", func(ctx context.Context, _ *stabilize.Execution) (stabilize.Result, error) {
		begun.Store(true)
		if killed.Load() {
			return stabilize.Success(), nil
		}
		<-ctx.Done()
		return stabilize.Result{}, context.Cause(ctx)
	})
	id := r.start(gate("R"),
		doing("deadly", "a1").Section("k"), ok("a2", "a1").Section("k"),
		ok("b1", "R").Section("k"), ok("b2", "b1").Section("k"))
	r.until(id, "a1 runs", func(*stabilize.Workflow) bool { return begun.Load() })
	r.open(id, "R")
	r.still(id, "b1")
	killed.Store(true)
	r.engines().kill(r.at.plan)
	r.succeeds(id, ran("R", "a1", "a2", "b1", "b2"))
	r.apart([]string{"a1", "a2"}, []string{"b1", "b2"})
	r.order("a1", "a2", "b1", "b2")
}

// sectionCanceled: what is withdrawn of one section lets the other in.
func sectionCanceled(ref string) func(r *run) {
	return func(r *run) {
		a1, a2 := gate("a1"), ok("a2", "a1")
		want := slices.Concat(withdrawn("a1"), dead("a2"))
		if ref == "a2" {
			a1, a2 = ok("a1"), gate("a2", "a1")
			want = slices.Concat(ran("a1"), withdrawn("a2"))
		}
		id := r.start(gate("R"), a1.Section("k"), a2.Section("k"), ok("b1", "R").Section("k"), ok("b2", "b1").Section("k"))
		r.waits(id, ref)
		r.open(id, "R")
		r.still(id, "b1")
		r.act(func(ctx context.Context, e *engine.Engine) error { return e.Withdraw(ctx, id, ref) })
		w := r.succeeds(id, ran("R", "b1", "b2"), want)
		r.order("b1", "b2")
		r.promptly(w.StageByRef(ref).EndedAt, r.active("b1").from)
	}
}

// across starts the n-th workflow with a section that all share, and something
// else after it, and returns when it stands in line.
func (r *run) across(n int, first *stabilize.StageSpec) string {
	r.Helper()
	id := r.start(first.Section("k").AcrossWorkflows(),
		ok(fmt.Sprintf("a2.%d", n), fmt.Sprintf("a1.%d", n)).Section("k").AcrossWorkflows(),
		gate("z", fmt.Sprintf("a2.%d", n)))
	r.until(id, "it stands in line", func(*stabilize.Workflow) bool { return slices.Contains(r.lineFor("k"), id) })
	return id
}

// sectionAcross: the first holds the section until the others stand in line. Each
// gives it back long before it ends.
func sectionAcross(n int) func(r *run) {
	return func(r *run) {
		ids := []string{r.across(0, gate("a1.0"))}
		r.waits(ids[0], "a1.0")
		for i := 1; i < n; i++ {
			ids = append(ids, r.across(i, ok(fmt.Sprintf("a1.%d", i))))
		}
		r.rest()
		r.signal(ids[0], "a1.0")
		var groups [][]string
		for i, id := range ids {
			refs := []string{fmt.Sprintf("a1.%d", i), fmt.Sprintf("a2.%d", i)}
			groups = append(groups, refs)
			r.hasRun(id, refs...)
		}
		for i, id := range ids {
			r.open(id, "z")
			r.succeeds(id, ran(groups[i]...), ran("z"))
		}
		for i, v := range r.apart(groups...) {
			if v.refs[0] != groups[i][0] {
				r.Errorf("%v had its turn in place %d: it is not first in, first out", v.refs, i)
			}
		}
	}
}

// sectionHolderCanceled: the first that waits is canceled, then the one that holds
// the section; the last in line gets it.
func sectionHolderCanceled(r *run) {
	cancel := func(id string) {
		r.act(func(ctx context.Context, e *engine.Engine) error { return e.Cancel(ctx, id, "ann", "not needed") })
	}
	holder := r.across(0, gate("a1.0"))
	r.waits(holder, "a1.0")
	waiting := r.across(1, ok("a1.1"))
	last := r.across(2, ok("a1.2"))
	cancel(waiting)
	r.ends(waiting, stabilize.Canceled, ended(0, stabilize.Canceled, stabilize.ReasonCanceled, "a1.1", "a2.1", "z"))
	r.still(last, "a1.2")
	cancel(holder)
	r.ends(holder, stabilize.Canceled, ended(0, stabilize.Canceled, stabilize.ReasonCanceled, "a1.0", "a2.0", "z"))
	r.open(last, "z")
	r.succeeds(last, ran("a1.2", "a2.2", "z"))
}

// lineFor returns the ids of the workflows that hold and wait for a key that all
// workflows share, the holder first.
func (r *run) lineFor(key string) []string {
	r.Helper()
	w, err := r.look.Load(r.Context(), queue.LockID(key))
	if errors.Is(err, stabilize.ErrNotFound) {
		return nil
	}
	r.must(err)
	line, err := stabilize.Get[[]queue.LockPlace](w.Context, queue.LockLine)
	r.must(err)
	ids := make([]string, len(line))
	for i, place := range line {
		ids[i] = place.For
	}
	return ids
}
