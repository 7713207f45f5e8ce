package storetest

import (
	"context"
	"errors"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// env is what a clause works with: two handles on one fresh backend.
type env struct {
	*kit.Env
	h    conformance.Harness
	a, b persistence.Store
}

type check = conformance.Check[conformance.Harness]

// clause pairs a sentence with its test.
func clause(id, sentence string, run func(*env)) check { return clauseFor("", id, sentence, run) }

// clauseFor is clause for backends that have a power.
func clauseFor(needs conformance.Power, id, sentence string, run func(*env)) check {
	return check{
		Clause: conformance.Clause{ID: id, Group: id[:2], Sentence: sentence, Needs: needs},
		Run: func(t conformance.T, h conformance.Harness, effort conformance.Effort) {
			run(&env{Env: &kit.Env{T: t, Clock: h.Clock(), Effort: effort}, h: h, a: h.Store(), b: h.Second()})
		},
	}
}

// both returns handle i of a race: the first and the second in turn.
func (e *env) both(i int) persistence.Store {
	if i%2 == 0 {
		return e.a
	}
	return e.b
}

// power returns a power of the harness that the runner has made sure of.
func power[P any](e *env) P {
	p, _ := conformance.Find[P](e.h)
	return p
}

// one commits one commit.
func (e *env) one(s persistence.Store, c *persistence.Commit) error { return e.oneIn(e.Ctx(), s, c) }

// oneIn is one within a context.
func (e *env) oneIn(ctx context.Context, s persistence.Store, c *persistence.Commit) error {
	errs := s.CommitBatch(ctx, []*persistence.Commit{c})
	if len(errs) != 1 {
		return stabilize.Invalid("CommitBatch", "%d errors for 1 commit", len(errs))
	}
	return errs[0]
}

// commit ends the clause unless the commit applies.
func (e *env) commit(s persistence.Store, c *persistence.Commit) {
	e.Helper()
	e.Must(e.one(s, c), "committing workflow %q from version %d", c.WorkflowID, c.Expect)
}

// commitAll ends the clause unless every commit applies.
func (e *env) commitAll(s persistence.Store, cs []*persistence.Commit) {
	e.Helper()
	errs := s.CommitBatch(e.Ctx(), cs)
	if len(errs) != len(cs) {
		e.Fatalf("CommitBatch gave %d errors for %d commits", len(errs), len(cs))
	}
	for i, err := range errs {
		e.Must(err, "committing workflow %q from version %d", cs[i].WorkflowID, cs[i].Expect)
	}
}

// create stores a workflow of the given stages and returns it as loaded.
func (e *env) create(id string, refs ...string) *stabilize.Workflow {
	e.Helper()
	e.commit(e.a, kit.Creation(kit.Workflow(id, e.Now(), refs...)))
	return e.load(e.a, id)
}

// createAll stores workflows made by kit.Workflow, after change had a look.
func (e *env) createAll(ids []string, change func(*stabilize.Workflow), refs ...string) {
	e.Helper()
	cs := make([]*persistence.Commit, len(ids))
	for i, id := range ids {
		w := kit.Workflow(id, e.Now(), refs...)
		if change != nil {
			change(w)
		}
		cs[i] = kit.Creation(w)
	}
	e.commitAll(e.a, cs)
}

func (e *env) load(s persistence.Store, id string) *stabilize.Workflow {
	e.Helper()
	w, err := s.Load(e.Ctx(), id)
	e.Must(err, "loading workflow %q", id)
	return w
}

func (e *env) summary(s persistence.Store, id string) *stabilize.Header {
	e.Helper()
	h, err := s.Summary(e.Ctx(), id)
	e.Must(err, "reading the header of workflow %q", id)
	return h
}

// absent fails if the workflow can be seen.
func (e *env) absent(s persistence.Store, id, why string) {
	e.Helper()
	if _, err := s.Load(e.Ctx(), id); !errors.Is(err, stabilize.ErrNotFound) {
		e.Errorf("loading workflow %q gave %s, although %s", id, kit.Quote(err), why)
	}
}

func (e *env) admissions(s persistence.Store, key string) persistence.Admissions {
	e.Helper()
	a, err := s.Admissions(e.Ctx(), key)
	e.Must(err, "reading the admissions under %q", key)
	return a
}

// unchanged remembers all that can be seen of a workflow and of the queue, and
// returns a function that fails if any of it changed, seen from both handles.
func (e *env) unchanged(id string, keys ...string) func(why string, args ...any) {
	e.Helper()
	before := e.see(e.a, id, keys)
	return func(why string, args ...any) {
		e.Helper()
		e.Same(before, e.see(e.a, id, keys), why, args...)
		e.Same(before, e.see(e.b, id, keys), why+", seen from the second handle", args...)
	}
}

type sight struct {
	Workflow   *stabilize.Workflow
	Pending    []queue.Stored
	Loose      []queue.Stored
	Depth      queue.Depth
	Admissions map[string]persistence.Admissions
}

func (e *env) see(s persistence.Store, id string, keys []string) sight {
	e.Helper()
	var out sight
	w, err := s.Load(e.Ctx(), id)
	if err == nil {
		out.Workflow = w
	} else if !errors.Is(err, stabilize.ErrNotFound) {
		e.Must(err, "loading workflow %q", id)
	}
	out.Pending, err = s.Pending(e.Ctx(), id)
	e.Must(err, "listing what is pending for %q", id)
	out.Loose, err = s.Pending(e.Ctx(), "")
	e.Must(err, "listing what is pending for no workflow")
	out.Depth = e.Depth(s)
	out.Admissions = map[string]persistence.Admissions{}
	for _, k := range keys {
		out.Admissions[k] = e.admissions(s, k)
	}
	return out
}

// retry changes a workflow until the version does not move in between. It is
// safe in a race: it fails nothing and returns the error.
func (e *env) retry(ctx context.Context, s persistence.Store, id string, change func(*stabilize.Workflow) *persistence.Commit) error {
	for range kit.Tries {
		w, err := s.Load(ctx, id)
		if err != nil {
			return err
		}
		err = e.oneIn(ctx, s, change(w))
		if !errors.Is(err, stabilize.ErrConflict) && !errors.Is(err, stabilize.ErrTransient) {
			return err
		}
	}
	return stabilize.ErrConflict
}

// about makes a message that belongs to a workflow.
func about(workflowID, text string) queue.Outgoing {
	return queue.Outgoing{ID: text, Message: queue.CancelRegion{OfWorkflow: queue.ToWorkflow(workflowID), Region: text}}
}
