package storetest

import (
	"context"
	"errors"
	"slices"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// trying are clauses about batches that do not wait for what somebody else holds.
func trying() []check {
	return []check{
		clauseFor(conformance.CanHold, "AC-20", "TryBatch of what nobody holds is CommitBatch: the same is refused, with the same errors, and the rest is applied.", ac20),
		clauseFor(conformance.CanHold, "AC-21", "TryBatch does not wait until somebody else's transaction lets go of a workflow: the commits about it are refused as a BlockedError, which names it and matches ErrTransient, with nothing of them visible, and the others are applied, in their order; afterwards the refused apply.", ac21),
	}
}

// tryAll tries commits and fails if that takes for ever.
func (e *env) tryAll(s persistence.Store, commits ...*persistence.Commit) []error {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.Ctx(), e.Bound())
	defer cancel()
	errs := s.(persistence.Trier).TryBatch(ctx, commits)
	if len(errs) != len(commits) {
		e.Fatalf("TryBatch of %d commits returned %d errors", len(commits), len(errs))
	}
	if ctx.Err() != nil {
		e.Fatalf("TryBatch did not return: %v", errors.Join(errs...))
	}
	return errs
}

func ac20(e *env) {
	e.hold("holder", "k", 1)
	e.createAll([]string{"a", "b", "c"}, nil)
	e.Push(e.a, kit.Send("m"))
	got := e.ClaimOne(e.a, "worker")
	lost := queue.Receipt{ID: got.ID, Token: got.Token + "x"}
	touch := func(id string, version int64) *persistence.Commit {
		return &persistence.Commit{WorkflowID: id, Expect: version, Messages: []queue.Outgoing{about(id, "")}}
	}
	handles, seat := touch("b", 1), touch("b", 1)
	handles.Handled, seat.Admission = []queue.Receipt{lost}, place(persistence.TakePlace, "k", 1)
	want := []error{nil, stabilize.ErrConflict, nil, stabilize.ErrLeaseLost, stabilize.ErrNoPlace, stabilize.ErrNotFound, nil, stabilize.ErrExists, stabilize.ErrInvalid}
	for i, err := range e.tryAll(e.a, touch("a", 1), touch("b", 7), touch("a", 2), handles, seat, touch("nobody", 1),
		kit.Creation(kit.Workflow("new", e.Now(), "s")), kit.Creation(kit.Workflow("c", e.Now(), "s")), nil) {
		if want[i] == nil {
			e.Must(err, "trying commit %d", i)
			continue
		}
		e.Want(want[i], err, "trying commit %d", i)
		if _, blocked := errors.AsType[*persistence.BlockedError](err); blocked {
			e.Errorf("commit %d is said to be blocked, and nobody holds anything", i)
		}
	}
	if got := e.summary(e.b, "a").Version; got != 3 {
		e.Errorf("after two commits in turn the workflow is at version %d", got)
	}
	e.summary(e.b, "new")
	if n := len(e.Pending(e.b, "b")) + len(e.Pending(e.b, "nobody")); n != 0 {
		e.Errorf("%d messages of refused commits are there", n)
	}
	if errs := e.tryAll(e.a); len(errs) != 0 {
		e.Errorf("an empty batch returned %v", errs)
	}
}

func ac21(e *env) {
	e.createAll([]string{"a", "held", "b", "too"}, nil)
	var release []func() error
	for _, id := range []string{"held", "too"} {
		f, err := power[conformance.Holder](e).Hold(e.Ctx(), id)
		e.Must(err, "holding %q", id)
		release = append(release, f)
	}
	send := func(id string, version int64, message string) *persistence.Commit {
		return &persistence.Commit{WorkflowID: id, Expect: version, Messages: []queue.Outgoing{about(id, message)}}
	}
	round := func(s persistence.Store, why string, blocked []int, commits ...*persistence.Commit) {
		e.Helper()
		for i, err := range e.tryAll(s, commits...) {
			var b *persistence.BlockedError
			switch {
			case !slices.Contains(blocked, i):
				e.Must(err, "%s: commit %d, which nobody is in the way of", why, i)
			case !errors.As(err, &b) || b.WorkflowID != commits[i].WorkflowID || !errors.Is(err, stabilize.ErrTransient):
				e.Errorf("%s: commit %d about %q, which is held, returned %v", why, i, commits[i].WorkflowID, err)
			}
		}
	}
	round(e.a, "a batch", []int{0, 3}, send("held", 1, "never"), send("a", 1, "a1"), send("b", 1, "b1"), send("too", 1, "nor this"))
	round(e.b, "commits in turn", []int{1, 3}, send("a", 2, "a2"), send("held", 1, "never"), send("a", 3, "a3"), send("held", 2, "after it"))
	round(e.a, "one alone", []int{0}, send("held", 1, "never"))
	for i, f := range release {
		e.Must(f(), "letting go of the workflow %d", i)
	}
	if got := e.Pending(e.b, "a"); !slices.Equal(got, []string{"a1", "a2", "a3"}) {
		e.Errorf("the messages of what nobody held are %v", got)
	}
	for _, id := range []string{"held", "too"} {
		if got, n := e.Pending(e.b, id), e.summary(e.b, id).Version; len(got) != 0 || n != 1 {
			e.Errorf("after refused commits %q is at version %d and has the messages %v", id, n, got)
		}
	}
	round(e.b, "afterwards", nil, send("held", 1, "h1"), send("too", 1, "t1"))
}
