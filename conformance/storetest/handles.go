package storetest

import (
	"context"
	"errors"
	"strings"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// handles are clauses about how handles are opened and what they share.
func handles() []check {
	return []check{
		clauseFor(conformance.CanOpenNarrow, "IS-06", "A handle with one connection serves every method, and many callers at once: no call waits for a connection while it holds one.", is06),
		clauseFor(conformance.CanIntercept, "IS-07", "A read that goes on for long does not keep a writer on another handle waiting without end, nor a write under way a reader: each is served, or refused as ErrTransient.", is07),
		clauseFor(conformance.CanOpenTenant, "IS-08", "Two stores in one database, told apart by prefix or schema, never see each other's data.", is08),
		clauseFor(conformance.CanOpenTenant, "BI-07", "A hostile prefix or schema name is ErrInvalid when the store is opened, and does nothing.", bi07),
		clauseFor(conformance.CanOpenGiven, "CB-07", "Closing a handle leaves the database handle that it was given usable, and closes one that it opened itself.", cb07),
	}
}

func is06(e *env) {
	s, err := power[conformance.NarrowOpener](e).OpenNarrow(e.Ctx())
	e.Must(err, "opening a handle with one connection")
	ctx, cancel := context.WithTimeout(e.Ctx(), e.Bound())
	defer cancel()
	for name, call := range e.calls() {
		if err := call(ctx, s); errors.Is(err, context.DeadlineExceeded) {
			e.Fatalf("%s did not return: %v", name, err)
		}
	}
	e.crowd(ctx, s, 8)
	e.Must(s.Close(), "closing")
}

func is07(e *env) {
	i := power[conformance.Interceptor](e)
	e.create("w", "s")
	write := func(s persistence.Store, says string) func(context.Context) error {
		return func(ctx context.Context) error {
			w, err := s.Load(ctx, "w")
			if err != nil {
				return err
			}
			return e.oneIn(ctx, s, kit.Update(w, says, "s"))
		}
	}
	read := func(s persistence.Store) func(context.Context) error {
		return func(ctx context.Context) error { _, err := s.Load(ctx, "w"); return err }
	}
	served := func(what string, err error) {
		e.Helper()
		if err != nil && !errors.Is(err, stabilize.ErrTransient) {
			e.Errorf("%s: %s", what, kit.Quote(err))
		}
	}
	held, other := e.Hold(i, 1, read(e.a), write(e.b, "beside a reader"))
	e.Must(held, "reading for long")
	served("writing while another handle reads", other)

	e.Must(write(e.a, "first")(e.Ctx()), "writing")
	n := e.Count(i, func() { e.Must(write(e.a, "counted")(e.Ctx()), "writing") })
	held, other = e.Hold(i, n-2, write(e.a, "held"), read(e.b))
	e.Must(held, "writing for long")
	served("reading while another handle writes", other)
	if got := e.load(e.b, "w"); got.Reason != "held" || kit.Says(got.Stages[0]) != "held" {
		e.Errorf("after a write that took long the header says %q and the stage %q", got.Reason, kit.Says(got.Stages[0]))
	}
}

func is08(e *env) {
	opener := power[conformance.TenantOpener](e)
	open := func(name string) persistence.Store {
		e.Helper()
		s, err := opener.OpenTenant(e.Ctx(), name)
		e.Must(err, "opening the store %q", name)
		return s
	}
	one, two := open("one_"), open("two_")
	for i, s := range []persistence.Store{one, two} {
		w := kit.Workflow("w", e.Now(), kit.Numbered("s%d", i+1)...)
		c := kit.Creation(w)
		c.Messages = []queue.Outgoing{about("w", "m")}
		c.Admission = place(persistence.TakePlace, "k", 1)
		e.commit(s, c)
		e.KillMessage(s, queue.Outgoing{ID: "dead", Message: kit.Note("dead"), MaxAttempts: 1})
		_, err := s.Heartbeat(e.Ctx(), kit.Worker("worker"))
		e.Must(err, "a heartbeat")
	}
	e.absent(e.a, "w", "it is in other stores of the database")
	e.List(nil, e.query(persistence.Query{}), "what is listed beside two other stores")
	if d := e.Depth(e.a); d != (queue.Depth{}) {
		e.Errorf("beside two other stores the queue holds %+v", d)
	}
	// What is done in one leaves the other as it is, the lease and the place too.
	e.Must(one.Retire(e.Ctx(), "worker"), "retiring")
	e.Must(one.DiscardDead(e.Ctx(), "dead"), "discarding")
	before := e.see(two, "w", []string{"k"})
	e.commit(one, kit.Update(e.load(one, "w"), "changed", "s0"))
	e.Must(one.Delete(e.Ctx(), "w"), "deleting")
	e.Same(before, e.see(two, "w", []string{"k"}), "a store after another in its database was changed")
	e.List([]string{"dead"}, e.DeadIDs(two), "the dead letters of a store after those of another were discarded")
	if got := e.load(two, "w"); len(got.Stages) != 2 {
		e.Errorf("the workflow of one store has %d stages, want the 2 that it was given there", len(got.Stages))
	}
	again := open("two_")
	e.Same(before, e.see(again, "w", []string{"k"}), "a store opened anew by its name")
	for _, s := range []persistence.Store{one, two, again} {
		e.Must(s.Close(), "closing")
	}
}

func bi07(e *env) {
	e.create("w", "s")
	same := e.unchanged("w")
	for _, name := range []string{
		`x"; DROP TABLE workflows; --`, "x'; DELETE FROM workflows; --", "`x`", "[x]", "x y", "x;", "x\x00", "x\n", `x\`, "../x", "x/y",
		"{{.Prefix}}", "$x", "%", "x--", "\xff", strings.Repeat("x", 1000),
	} {
		s, err := power[conformance.TenantOpener](e).OpenTenant(e.Ctx(), name)
		e.Want(stabilize.ErrInvalid, err, "opening a store by the name %.40q", name)
		if err == nil {
			_ = s.Close() // what matters is that it was opened
		}
		same("after opening a store by the name %.40q", name)
	}
}

func cb07(e *env) {
	e.create("w", "s")
	for _, given := range []bool{true, false} {
		s, usable, err := power[conformance.GivenOpener](e).OpenGiven(e.Ctx(), given)
		e.Must(err, "opening a handle, its database handle given: %t", given)
		e.commit(s, kit.Update(e.load(s, "w"), "through it", "s"))
		if !usable(e.Ctx()) {
			e.Errorf("the database handle, given: %t, cannot be used while the store is open", given)
		}
		e.Must(s.Close(), "closing")
		if got := usable(e.Ctx()); got != given {
			e.Errorf("after Close the database handle, given: %t, can be used: %t", given, got)
		}
	}
}
