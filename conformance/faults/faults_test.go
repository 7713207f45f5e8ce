package faults_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/faults"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func start() time.Time { return time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC) }

// bench is a hostile handle, and a plain one on the same data to look with.
type bench struct {
	*testing.T
	clock *stabilize.ManualClock
	look  *memstore.Store
	faults.Store
}

func newBench(t *testing.T, plan faults.Plan) *bench {
	clock := stabilize.NewManualClock(start())
	data := memstore.NewData()
	plan.Clock = clock
	return &bench{
		T: t, clock: clock, look: memstore.Open(data, memstore.Config{Clock: clock}),
		Store: faults.Wrap(memstore.Open(data, memstore.Config{Clock: clock}), plan),
	}
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// batch is n commits, each creating a workflow named by its number.
func (b *bench) batch(from, n int) []*persistence.Commit {
	var commits []*persistence.Commit
	for i := range n {
		commits = append(commits, kit.Creation(kit.Workflow(fmt.Sprint(from+i), b.clock.Now(), "a")))
	}
	return commits
}

// applied is which of the workflows 1 to n are in the store.
func (b *bench) applied(n int) []int {
	var ids []int
	for i := 1; i <= n; i++ {
		if _, err := b.look.Summary(b.Context(), fmt.Sprint(i)); err == nil {
			ids = append(ids, i)
		}
	}
	return ids
}

func (b *bench) died() bool {
	select {
	case <-b.Died():
		return true
	default:
		return false
	}
}

func TestCrashPoints(t *testing.T) {
	for _, c := range []struct {
		crash   faults.Crash
		applied []int
	}{
		{faults.Before(1), nil},
		{faults.After(1), []int{1}},
		{faults.Before(2), []int{1}},
		{faults.After(2), []int{1, 2}},
		{faults.Before(3), []int{1, 2}}, // in the middle of a batch
		{faults.After(3), []int{1, 2, 3}},
		{faults.Before(4), []int{1, 2, 3}},
		{faults.After(4), []int{1, 2, 3, 4}},
	} {
		t.Run(c.crash.String(), func(t *testing.T) {
			b := newBench(t, faults.Plan{Crash: c.crash})
			seen := 0
			for _, size := range []int{1, 3, 1} {
				errs := b.CommitBatch(t.Context(), b.batch(seen+1, size))
				seen += size
				dead := c.crash.Commit <= seen
				if b.died() != dead || len(errs) != size {
					t.Fatalf("after %d commits: died %v, %d answers", seen, b.died(), len(errs))
				}
				for i, err := range errs {
					if dead != errors.Is(err, stabilize.ErrClosed) || !dead && err != nil {
						t.Errorf("commit %d of %d: %v", i+1, size, err)
					}
				}
			}
			if got := b.applied(5); !slices.Equal(got, c.applied) {
				t.Errorf("the store has %v, want %v", got, c.applied)
			}
			if b.Commits() != c.crash.Commit {
				t.Errorf("it counted %d commits", b.Commits())
			}
		})
	}
}

func TestCrashPointsAreAll(t *testing.T) {
	got := slices.Collect(faults.CrashPoints(2))
	want := []faults.Crash{faults.Before(1), faults.After(1), faults.Before(2), faults.After(2)}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	for range faults.CrashPoints(2) {
		break
	}
}

// TestTheDeadDoNothing: nothing gets through a killed handle, and what its
// worker held comes back when the lease lapses, not before.
func TestTheDeadDoNothing(t *testing.T) {
	ctx := t.Context()
	b := newBench(t, faults.Plan{})
	b.must(b.Push(ctx, kit.Send("m")))
	got, err := b.Claim(ctx, kit.Worker("w"), kit.Plenty())
	b.must(err)
	b.Kill()
	b.Kill() // no more than dead
	if !b.died() {
		t.Fatal("killed and not dead")
	}
	r := got[0].Receipt()
	calls := map[string]func() error{
		"CommitBatch": func() error { return b.CommitBatch(ctx, b.batch(1, 1))[0] },
		"Load":        func() error { _, err := b.Load(ctx, "1"); return err },
		"Summary":     func() error { _, err := b.Summary(ctx, "1"); return err },
		"Query":       func() error { _, err := b.Query(ctx, persistence.Query{}); return err },
		"Delete":      func() error { return b.Delete(ctx, "1") },
		"Prune":       func() error { _, err := b.Prune(ctx); return err },
		"Admissions":  func() error { _, err := b.Admissions(ctx, "k"); return err },
		"Push":        func() error { return b.Push(ctx, kit.Send("n")) },
		"Claim":       func() error { _, err := b.Claim(ctx, kit.Worker("w"), kit.Plenty()); return err },
		"Ack":         func() error { return b.Ack(ctx, r) },
		"Release":     func() error { return b.Release(ctx, r, time.Time{}, nil) },
		"Heartbeat":   func() error { _, err := b.Heartbeat(ctx, kit.Worker("w")); return err },
		"Pending":     func() error { _, err := b.Pending(ctx, ""); return err },
		"Depth":       func() error { _, err := b.Depth(ctx); return err },
		"ListDead":    func() error { _, err := b.ListDead(ctx, "", 1); return err },
		"ReplayDead":  func() error { return b.ReplayDead(ctx, "m") },
		"DiscardDead": func() error { return b.DiscardDead(ctx, "m") },
		"Refresh":     func() error { _, err := b.Store.(persistence.Refresher).Refresh(ctx, "1", 1); return err },
		"Unfinished":  func() error { _, err := b.Store.(persistence.Watcher).Unfinished(ctx, "1"); return err },
		"WaitingKeys": func() error { _, err := b.Store.(persistence.WaitingKeys).WaitingKeys(ctx); return err },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, stabilize.ErrClosed) {
			t.Errorf("%s of the dead: %v", name, err)
		}
	}
	b.must(b.Return(ctx, r))
	b.must(b.Retire(ctx, "w"))
	claimed := func() int {
		got, err := b.look.Claim(ctx, kit.Worker("x"), kit.Plenty())
		b.must(err)
		return len(got)
	}
	if n := claimed(); n > 0 || b.Commits() > 0 {
		t.Errorf("%d messages came back while the lease lived, %d commits counted", n, b.Commits())
	}
	b.clock.Advance(kit.TTL)
	if n := claimed(); n != 1 {
		t.Errorf("%d messages came back when the lease had lapsed", n)
	}
	b.must(b.Close())
}

// during is a store that lets something happen while a call is under way.
type during struct {
	*memstore.Store
	what func()
}

func (d *during) Claim(ctx context.Context, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
	defer d.what()
	return d.Store.Claim(ctx, w, room)
}

func (d *during) CommitBatch(ctx context.Context, commits []*persistence.Commit) []error {
	defer d.what()
	return d.Store.CommitBatch(ctx, commits)
}

func TestRepliesUnderWayAtDeathAreLost(t *testing.T) {
	for name, call := range map[string]func(context.Context, faults.Store) error{
		"claim": func(ctx context.Context, s faults.Store) error {
			_, err := s.Claim(ctx, kit.Worker("w"), kit.Plenty())
			return err
		},
		"commit": func(ctx context.Context, s faults.Store) error {
			return s.CommitBatch(ctx, []*persistence.Commit{{Messages: []queue.Outgoing{kit.Send("m")}}})[0]
		},
	} {
		under := &during{Store: memstore.Open(memstore.NewData(), memstore.Config{})}
		s := faults.Wrap(under, faults.Plan{})
		under.what = s.Kill
		if err := call(t.Context(), s); !errors.Is(err, stabilize.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNothingGetsPastACrash: a commit that comes while the last one is being
// applied is not.
func TestNothingGetsPastACrash(t *testing.T) {
	under := &during{Store: memstore.Open(memstore.NewData(), memstore.Config{})}
	s := faults.Wrap(under, faults.Plan{Crash: faults.After(1)})
	var late error
	under.what = func() {
		late = s.CommitBatch(t.Context(), []*persistence.Commit{{Messages: []queue.Outgoing{kit.Send("late")}}})[0]
		select {
		case <-s.Died():
			t.Error("it has died before its last commit was applied")
		default:
		}
	}
	_ = s.CommitBatch(t.Context(), []*persistence.Commit{{Messages: []queue.Outgoing{kit.Send("last")}}})
	left, err := under.Pending(t.Context(), "")
	if err != nil || len(left) != 1 || left[0].ID != "last" || !errors.Is(late, stabilize.ErrClosed) {
		t.Errorf("the store has %+v, %v; the late commit: %v", left, err, late)
	}
}

func TestLostAndRefusedCommits(t *testing.T) {
	const n = 60
	fates := func(plan faults.Plan, sizes int) (lost, refused []int) {
		b := newBench(t, plan)
		var applied []int
		for i := 1; i <= n; i += sizes {
			for j, err := range b.CommitBatch(t.Context(), b.batch(i, sizes)) {
				switch {
				case errors.Is(err, stabilize.ErrUnknownOutcome):
					lost = append(lost, i+j)
				case errors.Is(err, stabilize.ErrTransient):
					refused = append(refused, i+j)
					continue
				case err != nil:
					t.Fatal(err)
				}
				applied = append(applied, i+j)
			}
		}
		if got := b.applied(n); !slices.Equal(got, applied) || b.Commits() != n {
			t.Errorf("the store has %v of %d, want %v", got, b.Commits(), applied)
		}
		return lost, refused
	}
	if lost, refused := fates(faults.Plan{LostReply: 7}, 3); !slices.Equal(lost, []int{7}) || refused != nil {
		t.Errorf("lost %v, refused %v", lost, refused)
	}
	plan := faults.Plan{Seed: 3, LostReplies: 0.3, Refused: 0.3}
	lost, refused := fates(plan, 1)
	if len(lost) < n/10 || len(refused) < n/6 || len(lost)+len(refused) > n*3/4 {
		t.Errorf("lost %v, refused %v", lost, refused)
	}
	if l, r := fates(plan, 4); !slices.Equal(l, lost) || !slices.Equal(r, refused) {
		t.Errorf("the same seed, in batches: lost %v, then %v; refused %v, then %v", lost, l, refused, r)
	}
	plan.Seed++
	if l, _ := fates(plan, 1); slices.Equal(l, lost) {
		t.Errorf("another seed draws the same: %v", l)
	}
}

func TestRefusedCalls(t *testing.T) {
	b := newBench(t, faults.Plan{RefusedCalls: 1})
	ctx := t.Context()
	for name, err := range map[string]error{
		"Push":    b.Push(ctx, kit.Send("m")),
		"Delete":  b.Delete(ctx, "w"),
		"Ack":     b.Ack(ctx, queue.Receipt{ID: "m", Token: "t"}),
		"Release": b.Release(ctx, queue.Receipt{ID: "m", Token: "t"}, time.Time{}, nil),
		"Return":  b.Return(ctx, queue.Receipt{ID: "m", Token: "t"}),
	} {
		if !errors.Is(err, stabilize.ErrTransient) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := b.Heartbeat(ctx, kit.Worker("w")); err != nil {
		t.Error(err)
	}
	b.must(b.CommitBatch(ctx, b.batch(1, 1))[0])
	b.must(b.Retire(ctx, "w"))
	if left, err := b.Pending(ctx, ""); err != nil || len(left) > 0 {
		t.Errorf("a refused message was stored: %+v, %v", left, err)
	}
}

// panics is a store that panics in some calls of each kind.
type panics struct{ persistence.Store }

func (panics) CommitBatch(context.Context, []*persistence.Commit) []error { panic("commit") }
func (panics) Load(context.Context, string) (*stabilize.Workflow, error)  { panic("load") }
func (panics) Retire(context.Context, string) error                       { panic("retire") }
func (panics) Close() error                                               { panic("close") }
func (panics) Push(context.Context, ...queue.Outgoing) error              { panic("push") }

// A panic is told with its stack, and the caller goes on with an error.
func TestPanicsAreTold(t *testing.T) {
	var told []string
	s := faults.Wrap(panics{memstore.Open(memstore.NewData(), memstore.Config{})}, faults.Plan{Panicked: func(value any, stack []byte) {
		if !strings.Contains(string(stack), "panics") {
			t.Errorf("the stack of %v is %s", value, stack)
		}
		told = append(told, fmt.Sprint(value))
	}})
	ctx := t.Context()
	_, loaded := s.Load(ctx, "w")
	errs := s.CommitBatch(ctx, []*persistence.Commit{{WorkflowID: "a"}, {WorkflowID: "b"}})
	for i, err := range append(errs, loaded, s.Push(ctx), s.Retire(ctx, "worker"), s.Close()) {
		if err == nil {
			t.Errorf("call %d, which panicked, returned no error", i)
		}
	}
	if want := []string{"load", "commit", "push", "retire", "close"}; len(errs) != 2 || !slices.Equal(told, want) {
		t.Errorf("told of %q, want %q; %d errors of 2 commits", told, want, len(errs))
	}
}
