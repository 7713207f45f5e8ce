package eventtest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// env is what a clause works with: two handles on one fresh backend.
type env struct {
	*kit.Env
	h    conformance.Harness
	a, b persistence.Store
}

type check = conformance.Check[conformance.Harness]

func clause(id, sentence string, run func(*env)) check {
	return clauseFor(conformance.CanLogEvents, id, sentence, run)
}

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

// log is the log of a handle.
func log(s persistence.Store) events.Log { return persistence.EventLogOf(s) }

// event is of a stage of a workflow of the suite.
func event(typ events.Type, ref string, at time.Time) events.Event {
	return events.Event{Type: typ, StageRef: ref, To: stabilize.Running, At: at}
}

// with gives a commit events, stamped.
func with(c *persistence.Commit, createdAt time.Time, evs ...events.Event) *persistence.Commit {
	c.Events = evs
	events.Stamp(c.Events, c.WorkflowID, createdAt, c.Expect+1)
	return c
}

// some makes n events that are told apart by their stage's ref.
func (e *env) some(n int) []events.Event {
	evs := make([]events.Event, n)
	for i := range evs {
		evs[i] = event(events.StageStarted, fmt.Sprint("r", i), e.Now())
	}
	return evs
}

// creation is a commit that creates a workflow of one stage with n events.
func (e *env) creation(id string, n int) *persistence.Commit {
	w := kit.Workflow(id, e.Now(), "s")
	return with(kit.Creation(w), w.CreatedAt, e.some(n)...)
}

// update is a commit on a workflow as made by creation, from a version, with n events.
func (e *env) update(id string, createdAt time.Time, from int64, n int) *persistence.Commit {
	w := kit.Workflow(id, createdAt, "s")
	w.Version = from
	w.Index()
	return with(kit.Update(w, fmt.Sprint("from ", from), "s"), createdAt, e.some(n)...)
}

// try commits one commit.
func (e *env) try(ctx context.Context, s persistence.Store, c *persistence.Commit) error {
	errs := s.CommitBatch(ctx, []*persistence.Commit{c})
	if len(errs) != 1 {
		return stabilize.Invalid("CommitBatch", "%d errors for 1 commit", len(errs))
	}
	return errs[0]
}

// commit ends the clause unless all commits apply, and returns their events' ids.
func (e *env) commit(s persistence.Store, cs ...*persistence.Commit) (ids []string) {
	e.Helper()
	errs := s.CommitBatch(e.Ctx(), cs)
	if len(errs) != len(cs) {
		e.Fatalf("CommitBatch gave %d errors for %d commits", len(errs), len(cs))
	}
	for i, err := range errs {
		e.Must(err, "committing workflow %q from version %d", cs[i].WorkflowID, cs[i].Expect)
		ids = append(ids, idsOf(cs[i].Events)...)
	}
	return ids
}

func idsOf(evs []events.Event) []string {
	ids := make([]string, len(evs))
	for i := range evs {
		ids[i] = evs[i].ID
	}
	return ids
}

// patience is how long an event may take to appear: in a database that others use too it
// waits for their transactions.
const patience = 20 * time.Second

// wait calls until done says so; it fails nothing.
func (e *env) wait(done func() bool) {
	limit := patience
	if e.Effort == conformance.Least {
		limit = 50 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(e.Ctx(), limit)
	defer cancel()
	for !done() && ctx.Err() == nil {
		runtime.Gosched()
	}
}

// read returns a page; it ends the clause on an error.
func (e *env) read(s persistence.Store, q events.Query) events.Page {
	e.Helper()
	page, err := log(s).Read(e.Ctx(), q)
	e.Must(err, "reading the log")
	return page
}

// appeared waits until the log has so many events and returns all of them, read in one
// page through a handle.
func (e *env) appeared(s persistence.Store, n int) []events.Event {
	e.Helper()
	var page events.Page
	e.wait(func() bool {
		page = e.read(s, events.Query{Limit: 100_000})
		return len(page.Events) >= n
	})
	return page.Events
}

// feed fails unless the log is exactly the events of these ids, those of each workflow
// in this order, and returns them.
func (e *env) feed(s persistence.Store, ids []string, when string) []events.Event {
	e.Helper()
	got := e.appeared(s, len(ids))
	e.List(byWorkflow(ids), byWorkflow(idsOf(got)), "the log %s", when)
	for i := 1; i < len(got); i++ {
		if got[i].Position <= got[i-1].Position {
			e.Errorf("%s: event %d stands at %q, and the one after it at %q", when, i-1, got[i-1].Position, got[i].Position)
		}
	}
	return got
}

// byWorkflow puts the ids of each workflow together, keeping their order: that of
// workflows that have nothing to do with each other is the store's.
func byWorkflow(ids []string) []string {
	out := slices.Clone(ids)
	of := func(id string) string {
		p, _ := events.ParseID(id)
		return p.WorkflowID
	}
	slices.SortStableFunc(out, func(a, b string) int {
		switch x, y := of(a), of(b); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	return out
}

// power returns a power of the harness that the runner has made sure of.
func power[P any](e *env) P {
	p, _ := conformance.Find[P](e.h)
	return p
}
