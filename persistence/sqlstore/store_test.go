package sqlstore_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// One workflow from its creation to its deletion, with everything a commit can
// hold.
func TestLifeOfAWorkflow(t *testing.T) {
	ctx := t.Context()
	s := open(t, tempFile(t))
	create := creation("w")
	create.Messages = []queue.Outgoing{message("m1", "w")}
	commit(t, s, create)

	got := claim(t, s, "worker", 5)
	if len(got) != 1 || got[0].ID != "m1" || got[0].Attempts != 1 {
		t.Fatalf("claimed %+v", got)
	}
	w, err := s.Load(ctx, "w")
	if err != nil {
		t.Fatal(err)
	}
	if w.Version != 1 || len(w.Stages) != 2 || w.Stages[1].Version != 1 || w.StageByRef("b") == nil {
		t.Fatalf("loaded %+v", w)
	}

	next := w.Stages[1].Clone()
	next.Status = stabilize.Running
	added := &stabilize.Stage{ID: "w-s2", Ref: "c", Position: 2}
	commit(t, s, &persistence.Commit{
		WorkflowID: "w", Expect: 1, Stages: []*stabilize.Stage{next, added},
		Handled:   []queue.Receipt{got[0].Receipt()},
		Messages:  []queue.Outgoing{message("m2", "w"), {ID: "m3", Message: queue.RunTask{OfTask: queue.ToTask("w", "s", "t")}, Lease: &queue.Lease{Worker: "worker", Token: "tok"}}},
		Admission: &persistence.Admission{Op: persistence.TakePlace, Key: "k", Limit: 1},
	})
	d, err := s.Refresh(ctx, "w", 1)
	if err != nil || d.Whole || len(d.Stages) != 2 || d.Stages[0].ID != next.ID || d.Stages[1].Version != 2 || d.Header.Version != 2 {
		t.Fatalf("refreshed %+v, %v", d, err)
	}
	if a, err := s.Admissions(ctx, "k"); err != nil || len(a.Holding) != 1 {
		t.Fatalf("admissions %+v, %v", a, err)
	}
	leases, err := s.Heartbeat(ctx, queue.Worker{ID: "worker", TTL: 1e9})
	if err != nil || len(leases.Held) != 1 || leases.Held[0] != (queue.Receipt{ID: "m3", Token: "tok"}) {
		t.Fatalf("leases %+v, %v", leases, err)
	}
	pending, err := s.Pending(ctx, "w")
	if err != nil || len(pending) != 2 || pending[0].ID != "m2" || pending[0].Leased || !pending[1].Leased || pending[1].Message == nil {
		t.Fatalf("pending %+v, %v", pending, err)
	}
	if depth, err := s.Depth(ctx); err != nil || depth.Ready != 1 || depth.Leased != 1 || depth.Live() != 2 {
		t.Fatalf("depth %+v, %v", depth, err)
	}

	commit(t, s, &persistence.Commit{WorkflowID: "w", Expect: 2, Removed: []string{"w-s2"}})
	if d, err := s.Refresh(ctx, "w", 2); err != nil || !d.Whole || len(d.Stages) != 2 {
		t.Fatalf("refreshed %+v, %v", d, err)
	}
	page, err := s.Query(ctx, persistence.Query{Application: "app", Statuses: []stabilize.Status{stabilize.Running}})
	if err != nil || len(page.Workflows) != 1 || page.Workflows[0].Version != 3 || page.Next != "" {
		t.Fatalf("page %+v, %v", page, err)
	}
	if err := s.Delete(ctx, "w", "unknown"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(ctx, "w"); !errors.Is(err, stabilize.ErrNotFound) {
		t.Fatalf("loaded a deleted workflow: %v", err)
	}
	if depth, err := s.Depth(ctx); err != nil || depth.Live() != 0 {
		t.Fatalf("depth %+v, %v", depth, err)
	}
}

// A stage that became another is found out while writing. The commit leaves
// nothing, the others of its batch are applied, whatever their position.
func TestLateRefusal(t *testing.T) {
	ctx := t.Context()
	s := open(t, tempFile(t))
	commit(t, s, creation("a"), creation("b"), creation("c"), creation("d"))
	moved := workflow("b").Stages[0]
	moved.Position = 7
	errs := s.CommitBatch(ctx, []*persistence.Commit{
		{WorkflowID: "a", Expect: 1, Messages: []queue.Outgoing{message("ma", "a")}},
		{WorkflowID: "b", Expect: 1, Stages: []*stabilize.Stage{moved}, Messages: []queue.Outgoing{message("mb", "b")}},
		{WorkflowID: "c", Expect: 1, Removed: []string{"unknown"}},
		{WorkflowID: "d", Expect: 1, Messages: []queue.Outgoing{message("mb", "d")}},
	})
	for i, want := range []error{nil, stabilize.ErrInvalid, stabilize.ErrInvalid, nil} {
		if !errors.Is(errs[i], want) || (want == nil) != (errs[i] == nil) {
			t.Errorf("commit %d: %v", i, errs[i])
		}
	}
	for id, want := range map[string]int64{"a": 2, "b": 1, "c": 1, "d": 2} {
		if h, err := s.Summary(ctx, id); err != nil || h.Version != want {
			t.Errorf("workflow %s: %+v, %v, want version %d", id, h, err, want)
		}
	}
	if got := claim(t, s, "w", 9); len(got) != 2 || got[0].ID != "ma" || got[1].ID != "mb" {
		t.Errorf("claimed %+v", got)
	}
}

// Of many stages in one statement the one that became another is found, and
// only its commit refused.
func TestLateRefusalAmongMany(t *testing.T) {
	s := open(t, tempFile(t))
	wide := func(id string) *persistence.Commit {
		w := workflow(id)
		w.Stages = nil
		for i := range 30 {
			w.Stages = append(w.Stages, &stabilize.Stage{ID: fmt.Sprint(id, i), Ref: fmt.Sprint(i), Position: i})
		}
		return &persistence.Commit{WorkflowID: id, Header: &w.Header, Stages: w.Stages}
	}
	var next []*persistence.Commit
	for _, id := range []string{"a", "b", "c"} {
		c := wide(id)
		commit(t, s, c)
		next = append(next, &persistence.Commit{WorkflowID: id, Expect: 1, Stages: c.Stages})
	}
	moved := next[1].Stages[17].Clone()
	moved.Round = 4
	next[1].Stages[17] = moved
	errs := s.CommitBatch(t.Context(), next)
	if errs[0] != nil || !errors.Is(errs[1], stabilize.ErrInvalid) || !strings.Contains(errs[1].Error(), "b17") || errs[2] != nil {
		t.Errorf("got %v", errs)
	}
	for id, want := range map[string]int64{"a": 2, "b": 1, "c": 2} {
		w, err := s.Load(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		for _, st := range append(w.Stages, &stabilize.Stage{Version: w.Version}) {
			if st.Version != want {
				t.Errorf("workflow %s, stage %q: version %d, want %d", id, st.ID, st.Version, want)
			}
		}
	}
}

// What a batch writes together happens in the order of its commits.
func TestOrderWithinBatch(t *testing.T) {
	ctx := t.Context()
	s := open(t, tempFile(t))
	commit(t, s, creation("w"), &persistence.Commit{Messages: []queue.Outgoing{message("m", "w")}})
	held := claim(t, s, "worker", 1)[0]
	added := &stabilize.Stage{ID: "new", Ref: "new", Position: 2}
	again := &stabilize.Stage{ID: "new", Ref: "newer", Position: 3}
	lease := &queue.Lease{Worker: "worker", Token: "second"}
	commit(t, s,
		// The id of a message handled is free for the next.
		&persistence.Commit{WorkflowID: "w", Expect: 1, Stages: []*stabilize.Stage{added}, Handled: []queue.Receipt{held.Receipt()},
			Messages: []queue.Outgoing{{ID: "m", Message: queue.StartWorkflow{OfWorkflow: queue.ToWorkflow("w")}, Lease: lease}}},
		// A message and a stage of the same batch are there for the commits behind.
		&persistence.Commit{WorkflowID: "w", Expect: 2, Removed: []string{"new"}, Handled: []queue.Receipt{{ID: "m", Token: "second"}},
			Messages: []queue.Outgoing{message("x", "w"), message("y", "w")}},
		&persistence.Commit{WorkflowID: "w", Expect: 3, Stages: []*stabilize.Stage{again}, Discard: []string{"x", "unknown"}},
		&persistence.Commit{WorkflowID: "w", Expect: 4, Messages: []queue.Outgoing{message("x", "w")}},
	)
	w, err := s.Load(ctx, "w")
	if err != nil {
		t.Fatal(err)
	}
	if st := w.Stage("new"); w.Version != 5 || st == nil || st.Ref != "newer" || st.Version != 4 {
		t.Errorf("loaded %+v, stage %+v", w.Header, st)
	}
	got := claim(t, s, "worker", 9)
	if len(got) != 2 || got[0].ID != "y" || got[1].ID != "x" {
		t.Errorf("claimed %+v", got)
	}
	if d, err := s.Refresh(ctx, "w", 2); err != nil || !d.Whole {
		t.Errorf("refresh since before the removal: %+v, %v", d, err)
	}
	if d, err := s.Refresh(ctx, "w", 3); err != nil || d.Whole || len(d.Stages) != 1 {
		t.Errorf("refresh since the removal: %+v, %v", d, err)
	}
}

// An idle claim does not write, so that idle workers stand in nobody's way; it
// does in time to keep the lease.
func TestIdleClaim(t *testing.T) {
	path := tempFile(t)
	clock := stabilize.NewManualClock(start)
	s := open(t, path, onClock(clock), func(c *sqlstore.Config) { c.BusyTimeout = time.Millisecond })
	claim(t, s, "worker", 1) // for a minute
	release := lock(t, path)
	clock.Advance(20 * time.Second)
	if _, err := s.Claim(t.Context(), queue.Worker{ID: "worker", TTL: time.Minute}, queue.Room{Control: 1}); err != nil {
		t.Errorf("with two thirds of its time left: %v", err)
	}
	clock.Advance(time.Second)
	if _, err := s.Claim(t.Context(), queue.Worker{ID: "worker", TTL: time.Minute}, queue.Room{Control: 1}); !errors.Is(err, stabilize.ErrTransient) {
		t.Errorf("with less it must write: %v", err)
	}
	release()
	claim(t, s, "worker", 1)
	clock.Advance(59 * time.Second)
	before, err := s.Heartbeat(t.Context(), queue.Worker{ID: "worker", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	clock.Advance(60 * time.Second)
	after, err := s.Heartbeat(t.Context(), queue.Worker{ID: "worker", TTL: time.Minute})
	if err != nil || before.Fence != 1 || after.Fence != 2 {
		t.Errorf("fences %d and %d, want 1 while it lived and 2 after it lapsed; %v", before.Fence, after.Fence, err)
	}
}
