package storetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// optimistic is the group OC: optimistic concurrency.
func optimistic() []check {
	return []check{
		clause("OC-01", "A created workflow has version 1 and each commit raises it by exactly 1; a stage carries the version of the commit that last changed it.", oc01),
		clause("OC-02", "A commit expecting a stale version returns ErrConflict and changes nothing: not the workflow, a stage, a task, a message, an admission, nor the handled message.", oc02),
		clause("OC-03", "In a batch, a commit that conflicts leaves the other commits of the batch applied in full, whatever its position.", oc03),
		clause("OC-04", "After a refused commit the caller's in-memory versions are what they were before the call.", oc04),
		clause("OC-05", "After a successful commit the workflow is at the expected version plus 1, so the caller goes on without a re-read.", oc05),
		clause("OC-06", "Of two commits of one batch for the same workflow from the same version exactly one applies: the first.", oc06),
		clauseFor(conformance.CanRefresh, "OC-07", "A refresh since version v returns exactly the stages changed after v, by position, none when nothing changed, and all of them, said to be whole, when one was removed in between or when v is above the version, because the id was deleted and created anew.", oc07),
		clause("OC-08", "Of N concurrent commits from the same version (N = 2, 16, 64, over two handles) exactly one succeeds and N-1 return ErrConflict.", oc08),
		clause("OC-09", "ErrConflict carries workflow id, expected version and actual version, reachable with errors.As.", oc09),
		clause("OC-10", "A stale status update cannot clear a cancel request made in between.", oc10),
		clause("OC-11", "A cancel request and a status update made at the same time both survive, in either order.", oc11),
		clause("OC-12", "Goroutines on two handles, each adding 20 to a counter in a stage's context with a retry loop, lose no addition.", oc12),
		clause("OC-13", "A commit from a version never read from the store (forged) returns ErrConflict.", oc13),
		clauseFor(conformance.CanSetVersion, "OC-14", "Versions beyond 2^31 and 2^53 work.", oc14),
		clause("OC-15", "A commit that names a workflow raises its version also without changes of state; one that names none raises none.", oc15),
		clause("OC-16", "Two commits of one batch for the same workflow apply in turn if the second expects the first's version; if the first is refused, so is the second.", oc16),
	}
}

func oc01(e *env) {
	w := e.create("w", "s1", "s2")
	if w.Version != 1 || w.Stages[0].Version != 1 || w.Stages[1].Version != 1 {
		e.Errorf("a new workflow is at version %d, its stages at %d and %d", w.Version, w.Stages[0].Version, w.Stages[1].Version)
	}
	for v := int64(1); v < 6; v++ {
		c := kit.Update(e.load(e.a, "w"), fmt.Sprint(v), "s2")
		c.Expect = v
		e.commit(e.a, c)
		w = e.load(e.b, "w")
		if w.Version != v+1 {
			e.Fatalf("after a commit from version %d the workflow is at version %d", v, w.Version)
		}
		if w.Stages[0].Version != 1 || w.Stages[1].Version != v+1 {
			e.Errorf("after a commit from version %d that changed s2, s1 is at version %d and s2 at %d, want 1 and %d", v, w.Stages[0].Version, w.Stages[1].Version, v+1)
		}
		if h := e.summary(e.b, "w"); h.Version != v+1 {
			e.Errorf("after a commit from version %d the header alone says version %d", v, h.Version)
		}
	}
}

// rich is a commit with an item of every kind, on the workflow w; handled was
// claimed, doomed lies in the queue.
func rich(w *stabilize.Workflow, handled queue.Receipt, doomed string) *persistence.Commit {
	c := kit.Update(w, "rich", "s1", "s2")
	c.Header.Status = stabilize.Paused
	c.Stages[0].Tasks[0].Status = stabilize.Running
	c.Stages = append(c.Stages, kit.Stage(w.ID, "added", 10))
	c.Removed = []string{w.StageByRef("s3").ID}
	c.Handled = []queue.Receipt{handled}
	c.Discard = []string{doomed}
	c.Messages = []queue.Outgoing{about(w.ID, "rich-1"), about(w.ID, "rich-2"), kit.Send("rich-3")}
	c.Admission = &persistence.Admission{Op: persistence.TakePlace, Key: "limit", Limit: 1}
	return c
}

// richScene stores a workflow with three stages and two messages, one of which
// it claims, and returns the commit on it that changes all there is.
func (e *env) richScene(id string) (*stabilize.Workflow, *persistence.Commit) {
	e.Helper()
	w := e.create(id, "s1", "s2", "s3")
	e.Push(e.a, about(id, id+"-handled"))
	d := e.ClaimOne(e.a, "worker-"+id)
	e.Push(e.a, about(id, id+"-doomed"))
	return w, rich(w, d.Receipt(), id+"-doomed")
}

func oc02(e *env) {
	w, c := e.richScene("w")
	e.commit(e.b, kit.Update(w, "meanwhile", "s2"))
	same := e.unchanged("w", "limit")
	e.Want(stabilize.ErrConflict, e.one(e.a, c), "committing from version 1 at version 2")
	same("after the refused commit")
	c.Expect = 2
	if err := e.one(e.a, c); err != nil {
		e.Errorf("the same commit decided on the present version, with the same handled message: %v", err)
	}
}

func oc03(e *env) {
	for bad := range 3 {
		ids := kit.Numbered(fmt.Sprintf("w%d-%%d", bad), 3)
		e.createAll(ids, nil, "s")
		var cs []*persistence.Commit
		for i, id := range ids {
			c := kit.Update(e.load(e.a, id), "batch", "s")
			c.Messages = []queue.Outgoing{about(id, id+"-message")}
			if i == bad {
				c.Expect = 7
			}
			cs = append(cs, c)
		}
		errs := e.a.CommitBatch(e.Ctx(), cs)
		if len(errs) != 3 {
			e.Fatalf("%d errors for 3 commits", len(errs))
		}
		for i, id := range ids {
			w := e.load(e.b, id)
			applied := w.Version == 2 && w.Reason == "batch" && kit.Says(w.Stages[0]) == "batch" && len(e.Pending(e.b, id)) == 1
			nothing := w.Version == 1 && w.Reason == "" && kit.Says(w.Stages[0]) == "" && len(e.Pending(e.b, id)) == 0
			switch {
			case i == bad && (!errors.Is(errs[i], stabilize.ErrConflict) || !nothing):
				e.Errorf("commit %d of the batch is stale: it returned %s, nothing of it applied: %t", i, kit.Quote(errs[i]), nothing)
			case i != bad && (errs[i] != nil || !applied):
				e.Errorf("commit %d of the batch beside a stale commit %d: it returned %s, all of it applied: %t", i, bad, kit.Quote(errs[i]), applied)
			}
		}
	}
}

func oc04(e *env) {
	w := e.create("w", "s1", "s2")
	e.commit(e.b, kit.Update(w, "meanwhile", "s1"))
	c := kit.Update(w, "stale", "s1", "s2")
	e.Want(stabilize.ErrConflict, e.one(e.a, c), "committing from a stale version")
	if c.Expect != 1 || c.Header.Version != 1 || c.Stages[0].Version != 1 || c.Stages[1].Version != 1 {
		e.Errorf("the refused commit now expects version %d, its header is at %d, its stages at %d and %d; all were 1",
			c.Expect, c.Header.Version, c.Stages[0].Version, c.Stages[1].Version)
	}
}

func oc05(e *env) {
	w := e.create("w", "s")
	for i := range 20 {
		c := kit.Update(w, fmt.Sprint(i), "s")
		c.Expect = int64(i) + 1 // never read again
		if err := e.one(e.both(i), c); err != nil {
			e.Fatalf("commit %d, expecting the version that the one before left: %v", i, err)
		}
	}
	if got := e.load(e.a, "w").Version; got != 21 {
		e.Errorf("after 20 commits the workflow is at version %d, want 21", got)
	}
}

func oc06(e *env) {
	w := e.create("w", "s")
	errs := e.a.CommitBatch(e.Ctx(), []*persistence.Commit{kit.Update(w, "first", "s"), kit.Update(w, "second", "s")})
	if len(errs) != 2 || errs[0] != nil || !errors.Is(errs[1], stabilize.ErrConflict) {
		e.Errorf("two commits from version 1 in one batch returned %v, want none and a conflict", errs)
	}
	if got := e.load(e.b, "w"); got.Version != 2 || got.Reason != "first" || kit.Says(got.Stages[0]) != "first" {
		e.Errorf("afterwards the workflow is at version %d and says %q and %q, want 2 and the first commit's", got.Version, got.Reason, kit.Says(got.Stages[0]))
	}
	created := kit.Creation(kit.Workflow("new", e.Now(), "s"))
	errs = e.a.CommitBatch(e.Ctx(), []*persistence.Commit{created, created})
	if len(errs) != 2 || errs[0] != nil || !errors.Is(errs[1], stabilize.ErrExists) {
		e.Errorf("creating one workflow twice in one batch returned %v, want none and ErrExists", errs)
	}
}

func oc07(e *env) {
	refresh := func(since int64) *persistence.Delta {
		d, err := e.b.(persistence.Refresher).Refresh(e.Ctx(), "w", since)
		e.Must(err, "refreshing since version %d", since)
		return d
	}
	check := func(since int64, whole bool, refs ...string) {
		d, now := refresh(since), e.load(e.b, "w")
		var got []string
		for _, s := range d.Stages {
			got = append(got, s.Ref)
			e.Same(now.Stage(s.ID), s, "stage %q of the refresh since version %d", s.Ref, since)
		}
		e.List(refs, got, "the stages of the refresh since version %d", since)
		e.Same(now.Header, d.Header, "the header of the refresh since version %d", since)
		if d.Whole != whole {
			e.Errorf("the refresh since version %d says whole: %t, want %t", since, d.Whole, whole)
		}
	}
	w := e.create("w", "s1", "s2", "s3")
	check(1, false)
	e.commit(e.a, kit.Update(w, "two", "s3", "s2")) // 2, listed against the order of position
	check(1, false, "s2", "s3")
	check(2, false)
	c := kit.Update(e.load(e.a, "w"), "three", "s2")
	c.Stages = append(c.Stages, kit.Stage("w", "s4", 3))
	e.commit(e.a, c) // 3
	check(2, false, "s2", "s4")
	check(1, false, "s2", "s3", "s4")
	e.commit(e.a, &persistence.Commit{WorkflowID: "w", Expect: 3, Removed: []string{"w/s1"}}) // 4
	check(3, true, "s2", "s3", "s4")
	check(1, true, "s2", "s3", "s4")
	check(4, false)
	e.commit(e.a, kit.Update(e.load(e.a, "w"), "five", "s4")) // 5
	check(4, false, "s4")
	check(3, true, "s2", "s3", "s4")
	check(6, true, "s2", "s3", "s4") // of another workflow that had this id
	e.Must(e.a.Delete(e.Ctx(), "w"), "deleting")
	e.Clock.Advance(time.Second)
	e.create("w", "anew")
	check(5, true, "anew")
	check(1, false)
	_, err := e.a.(persistence.Refresher).Refresh(e.Ctx(), "w", -1)
	e.Want(stabilize.ErrInvalid, err, "refreshing since version -1")
	_, err = e.a.(persistence.Refresher).Refresh(e.Ctx(), "unknown", 1)
	e.Want(stabilize.ErrNotFound, err, "refreshing an unknown workflow")
}

func oc08(e *env) {
	w := e.create("w", "s")
	version := w.Version
	for _, n := range []int{2, 16, 64} {
		for round := range e.Effort.Of(10, 2) {
			w.Version = version
			errs := kit.Race(n, func(i int) error {
				return e.one(e.both(i), kit.Update(w, fmt.Sprintf("%d", i), "s"))
			})
			won := 0
			for _, err := range errs {
				if err == nil {
					won++
				} else if !errors.Is(err, stabilize.ErrConflict) {
					e.Fatalf("one of %d concurrent commits from version %d returned %v, want none or a conflict", n, version, err)
				}
			}
			got := e.load(e.a, "w")
			if won != 1 || got.Version != version+1 {
				e.Fatalf("round %d: of %d concurrent commits from version %d %d succeeded, and the workflow is at version %d", round, n, version, won, got.Version)
			}
			if winner := slices.Index(errs, nil); got.Reason != fmt.Sprint(winner) || kit.Says(got.Stages[0]) != fmt.Sprint(winner) {
				e.Fatalf("round %d: commit %d succeeded, but the header says %q and the stage %q", round, winner, got.Reason, kit.Says(got.Stages[0]))
			}
			version = got.Version
		}
	}
}

func oc09(e *env) {
	w := e.create("w", "s")
	e.commit(e.b, kit.Update(w, "2", "s"))
	w.Version = 2
	e.commit(e.b, kit.Update(w, "3", "s"))
	for _, expect := range []int64{1, 2, 9} {
		c := kit.Update(w, "refused", "s")
		c.Expect = expect
		err := e.one(e.a, c)
		if conflict, ok := errors.AsType[*stabilize.ConflictError](err); !ok {
			e.Errorf("a commit from version %d at version 3 returned %s, which is no ConflictError", expect, kit.Quote(err))
		} else if *conflict != (stabilize.ConflictError{WorkflowID: "w", Expected: expect, Actual: 3}) {
			e.Errorf("a commit on w from version %d at version 3 returned %+v", expect, *conflict)
		}
	}
}

func canceling(w *stabilize.Workflow) *persistence.Commit {
	h := w.Header.Clone()
	h.Cancel = &stabilize.Cancellation{By: "someone", Reason: "enough"}
	return &persistence.Commit{WorkflowID: w.ID, Expect: w.Version, Header: h}
}

func pausing(w *stabilize.Workflow) *persistence.Commit {
	h := w.Header.Clone()
	h.Status = stabilize.Paused
	return &persistence.Commit{WorkflowID: w.ID, Expect: w.Version, Header: h}
}

func oc10(e *env) {
	w := e.create("w", "s")
	e.commit(e.b, canceling(w))
	e.Want(stabilize.ErrConflict, e.one(e.a, pausing(w)), "a status update decided before the cancel request")
	if h := e.summary(e.a, "w"); h.Cancel == nil || h.Cancel.By != "someone" || h.Status != stabilize.Running {
		e.Errorf("afterwards the workflow is %s and its cancel request is %+v", h.Status, h.Cancel)
	}
}

func oc11(e *env) {
	for round := range e.Effort.Of(20, 2) {
		id := fmt.Sprintf("w%d", round)
		e.create(id, "s")
		errs := kit.Race(2, func(i int) error {
			change := []func(*stabilize.Workflow) *persistence.Commit{canceling, pausing}[(i+round)%2]
			return e.retry(e.Ctx(), e.both(i), id, change)
		})
		e.Must(kit.First(errs), "round %d: canceling and pausing at the same time", round)
		if h := e.summary(e.b, id); h.Cancel == nil || h.Status != stabilize.Paused || h.Version != 3 {
			e.Fatalf("round %d: afterwards the workflow is %s at version %d and its cancel request is %+v", round, h.Status, h.Version, h.Cancel)
		}
	}
}

func oc12(e *env) {
	e.create("w", "s")
	count := func(w *stabilize.Workflow) int {
		n, err := stabilize.Get[int](w.Stages[0].Context, "n")
		if err != nil {
			return 0
		}
		return n
	}
	workers := e.Effort.Size(12, 2)
	errs := kit.Race(workers, func(i int) error {
		for range 20 {
			err := e.retry(e.Ctx(), e.both(i), "w", func(w *stabilize.Workflow) *persistence.Commit {
				s := w.Stages[0].Clone()
				s.Context = stabilize.Values{"n": fmt.Appendf(nil, "%d", count(w)+1)}
				return &persistence.Commit{WorkflowID: "w", Expect: w.Version, Stages: []*stabilize.Stage{s}}
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	e.Must(kit.First(errs), "counting")
	w := e.load(e.b, "w")
	if got := count(w); got != 20*workers || w.Version != int64(20*workers)+1 {
		e.Errorf("%d goroutines added 20 each: the counter is %d at version %d", workers, got, w.Version)
	}
}

func oc13(e *env) {
	w := e.create("w", "s")
	same := e.unchanged("w")
	for _, forged := range []int64{2, 3, 1000, 1<<32 + 1, 1<<53 + 1, 1<<63 - 1} {
		c := kit.Update(w, "forged", "s")
		c.Expect = forged
		e.Want(stabilize.ErrConflict, e.one(e.a, c), "committing from version %d at version 1", forged)
		same("after a commit from the forged version %d", forged)
	}
}

func oc14(e *env) {
	e.create("w", "s")
	for _, v := range []int64{1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 53, 1<<53 + 1, 1<<62 + 1} {
		e.Must(power[conformance.VersionSetter](e).SetVersion(e.Ctx(), "w", v), "setting the version to %d", v)
		h := e.h.Reopen()
		w := e.load(h, "w")
		if w.Version != v || w.Stages[0].Version != v {
			e.Errorf("set to version %d, the workflow is at %d and its stage at %d", v, w.Version, w.Stages[0].Version)
		}
		c := kit.Update(w, "large", "s")
		c.Expect = v - 1
		e.Want(stabilize.ErrConflict, e.one(h, c), "committing from version %d at version %d", c.Expect, v)
		c.Expect = v
		e.commit(h, c)
		if got := e.summary(h, "w").Version; got != v+1 {
			e.Errorf("a commit from version %d left version %d", v, got)
		}
	}
}

func oc15(e *env) {
	e.create("w", "s")
	version := func(want int64, after string) {
		e.Helper()
		if got := e.summary(e.b, "w").Version; got != want {
			e.Errorf("after %s the workflow is at version %d, want %d", after, got, want)
		}
	}
	e.commit(e.a, &persistence.Commit{WorkflowID: "w", Expect: 1})
	version(2, "an empty commit that names it")
	e.commit(e.a, &persistence.Commit{WorkflowID: "w", Expect: 2, Messages: []queue.Outgoing{about("w", "m1")}})
	version(3, "a commit of a message that names it")
	d := e.ClaimOne(e.a, "worker")
	e.commit(e.a, &persistence.Commit{WorkflowID: "w", Expect: 3, Handled: []queue.Receipt{d.Receipt()}})
	version(4, "a commit of an acknowledgement that names it")
	e.commit(e.a, &persistence.Commit{Messages: []queue.Outgoing{about("w", "m2")}})
	version(4, "a commit of a message that names no workflow")
	d = e.ClaimOne(e.a, "worker")
	e.commit(e.a, &persistence.Commit{Handled: []queue.Receipt{d.Receipt()}})
	version(4, "a commit of an acknowledgement that names no workflow")
	if got := e.load(e.b, "w").Stages[0].Version; got != 1 {
		e.Errorf("no commit changed the stage, but it is at version %d", got)
	}
}

func oc16(e *env) {
	chain := func(w *stabilize.Workflow) []*persistence.Commit {
		first, second := kit.Update(w, "first", "s1"), kit.Update(w, "second", "s2")
		second.Expect++
		return []*persistence.Commit{first, second}
	}
	w := e.create("w", "s1", "s2")
	e.commitAll(e.a, chain(w))
	got := e.load(e.b, "w")
	if got.Version != 3 || got.Reason != "second" || kit.Says(got.Stages[0]) != "first" || kit.Says(got.Stages[1]) != "second" {
		e.Errorf("two commits in turn left version %d, %q, %q and %q", got.Version, got.Reason, kit.Says(got.Stages[0]), kit.Says(got.Stages[1]))
	}
	if got.Stages[0].Version != 2 || got.Stages[1].Version != 3 {
		e.Errorf("two commits in turn left the stages at versions %d and %d, want 2 and 3", got.Stages[0].Version, got.Stages[1].Version)
	}
	create, next := kit.Workflow("new", e.Now(), "s1", "s2"), kit.Workflow("new", e.Now(), "s1", "s2")
	next.Version = 1
	e.commitAll(e.a, []*persistence.Commit{kit.Creation(create), kit.Update(next, "next", "s1")})
	if got := e.load(e.b, "new"); got.Version != 2 || got.Reason != "next" {
		e.Errorf("creating and changing in one batch left version %d and %q", got.Version, got.Reason)
	}
	same := e.unchanged("w")
	refused := chain(got)
	refused[0].Handled = []queue.Receipt{{ID: "unknown", Token: "unknown"}}
	errs := e.a.CommitBatch(e.Ctx(), refused)
	if len(errs) != 2 || !errors.Is(errs[0], stabilize.ErrLeaseLost) || !errors.Is(errs[1], stabilize.ErrConflict) {
		e.Errorf("two commits in turn whose first is refused returned %v, want a lost lease and a conflict", errs)
	}
	same("after two commits in turn whose first was refused")
}
