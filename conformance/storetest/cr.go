package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// crashes are the group CR and what else needs a hostile database.
func crashes() []check {
	return []check{
		clauseFor(conformance.CanIntercept, "CR-01", "When the connection breaks before or after any call that a commit makes, all of the commit is applied or nothing, as its error says (nil, ErrTransient) or leaves open (ErrUnknownOutcome), and repeating it ends in the same state.", cr01),
		clause("CR-04", "A message that a commit acknowledged is not delivered again, also when the handle is gone right after it and the lease has lapsed.", cr04),
		clauseFor(conformance.CanIntercept, "CR-07", "A connection that breaks in the middle of reading is an error, never a short list.", cr07),
		clauseFor(conformance.CanRestart, "CR-08", "When the database restarts under load the handles that are open go on: calls are refused as ErrTransient or ErrUnknownOutcome meanwhile, and nothing is lost.", cr08),
		clauseFor(conformance.CanIntercept, "CR-10", "When the connection breaks before or after any call that deleting several workflows makes, all of them are there, with their messages, or none, as the error says or leaves open, and deleting again removes them.", cr10),
		clauseFor(conformance.CanFreeze, "CX-02", "Every method with a deadline of 200 ms returns from a frozen database soon after it, and the handle can be used when it is thawed.", cx02),
		clauseFor(conformance.CanIntercept, "CX-04", "A commit whose context ends in the middle is applied in full or not at all, and its error says which, or ErrUnknownOutcome.", cx04),
	}
}

// rich makes a workflow that holds a message, and the commit that changes all
// there is to change of it; plain: all but places, which a store may do in another
// way.
func (e *env) rich(id string, plain bool) *persistence.Commit {
	e.Helper()
	e.create(id, "s", "t")
	e.Push(e.a, about(id, "in-"+id))
	ds := e.Claim(e.a, "worker")
	i := slices.IndexFunc(ds, func(d queue.Delivery) bool { return d.ID == "in-"+id })
	if i < 0 {
		e.Fatalf("the message of %s was not delivered: %v", id, kit.IDs(ds))
	}
	c := kit.Update(e.load(e.a, id), "changed", "s", "t")
	c.Handled = []queue.Receipt{ds[i].Receipt()}
	c.Messages = []queue.Outgoing{about(id, "out-"+id)}
	if !plain {
		c.Admission = place(persistence.TakePlace, "key of "+id, 1)
	}
	return c
}

// applied reports whether the commit of rich was, and fails if it was in part.
func (e *env) applied(id string, plain bool, when string) bool {
	e.Helper()
	w, pending, holding := e.load(e.b, id), e.Pending(e.b, id), e.admissions(e.b, "key of "+id).Holding
	says := []string{w.Reason, kit.Says(w.StageByRef("s")), kit.Says(w.StageByRef("t"))}
	switch {
	case w.Version == 1 && slices.Equal(says, []string{"", "", ""}) && slices.Equal(pending, []string{"in-" + id}) && len(holding) == 0:
		return false
	case w.Version == 2 && slices.Equal(says, []string{"changed", "changed", "changed"}) && slices.Equal(pending, []string{"out-" + id}) &&
		(slices.Equal(holding, []string{id}) || plain && len(holding) == 0):
		return true
	}
	e.Errorf("%s the workflow is at version %d and says %q, %q is pending and %q hold a place", when, w.Version, says, pending, holding)
	return false
}

// outcome fails unless the error of a commit tells what became of it; refused is
// the class of those that were not applied.
func (e *env) outcome(id string, plain bool, err, refused error, when string) {
	e.Helper()
	applied := e.applied(id, plain, when)
	switch {
	case errors.Is(err, stabilize.ErrUnknownOutcome):
	case err == nil && !applied:
		e.Errorf("%s a commit succeeded, and was not applied", when)
	case err != nil && applied:
		e.Errorf("%s a commit returned %s, and was applied", when, kit.Quote(err))
	case err != nil:
		e.Want(refused, err, "a commit, %s", when)
	}
}

func cr01(e *env) {
	cr01Of(e, false)
	cr01Of(e, true)
}

func cr01Of(e *env, plain bool) {
	i := power[conformance.Interceptor](e)
	e.EachMoment(i, kit.Breaks, func(n int, act func(func())) {
		id, when := fmt.Sprintf("w%d-%t", n, plain), fmt.Sprintf("when the connection broke at moment %d", n)
		c := e.rich(id, plain)
		var err error
		act(func() { err = e.one(e.a, c) })
		e.outcome(id, plain, err, stabilize.ErrTransient, when)
		for range kit.Tries {
			if err = e.one(e.a, c); !errors.Is(err, stabilize.ErrTransient) && !errors.Is(err, stabilize.ErrUnknownOutcome) {
				break
			}
		}
		if err != nil && !errors.Is(err, stabilize.ErrConflict) {
			e.Errorf("%s repeating the commit returned %v", when, err)
		}
		if !e.applied(id, plain, when+", after repeating the commit,") {
			e.Errorf("%s repeating the commit did not apply it", when)
		}
	})
}

func cr04(e *env) {
	c := e.rich("w", false)
	e.commit(e.a, c)
	e.a = e.h.Reopen()
	e.b = e.h.Second()
	e.Lapse()
	e.List([]string{"out-w"}, kit.IDs(e.Claim(e.a, "next")), "what is delivered after the commit, the handle and the lease gone")
	e.applied("w", false, "after reopening")
}

func cr07(e *env) {
	const n = 8
	ids := kit.Numbered("w%d", n)
	waits := func(id string) bool { return slices.Index(ids, id) >= n/2 }
	e.createAll(ids, func(w *stabilize.Workflow) {
		if waits(w.ID) {
			w.Status = stabilize.NotStarted
		}
	}, kit.Numbered("s%d", n)...)
	for _, id := range ids {
		op := persistence.TakePlace
		if waits(id) {
			op = persistence.WaitForPlace
		}
		e.Must(e.ask(e.a, id, op, "k", n/2), "asking for a place")
	}
	for name, list := range map[string]func() (any, error){
		"Query":      func() (any, error) { return e.a.Query(e.Ctx(), persistence.Query{Limit: n + 1}) },
		"Load":       func() (any, error) { return e.a.Load(e.Ctx(), "w0") },
		"Admissions": func() (any, error) { return e.a.Admissions(e.Ctx(), "k") },
		"Refresh": func() (any, error) {
			if r, ok := e.a.(persistence.Refresher); ok {
				return r.Refresh(e.Ctx(), "w0", 0)
			}
			return nil, nil
		},
		"Unfinished": func() (any, error) {
			if l, ok := e.a.(persistence.Watcher); ok {
				got, err := l.Unfinished(e.Ctx(), ids...)
				slices.Sort(got)
				return got, err
			}
			return nil, nil
		},
		"WaitingKeys": func() (any, error) {
			if k, ok := e.a.(persistence.WaitingKeys); ok {
				return k.WaitingKeys(e.Ctx())
			}
			return nil, nil
		},
	} {
		want, err := list()
		e.Must(err, "%s", name)
		e.EachMoment(power[conformance.Interceptor](e), kit.Breaks, func(n int, act func(func())) {
			var got any
			act(func() { got, err = list() })
			switch {
			case err == nil:
				e.Same(want, got, "%s, when the connection broke at moment %d", name, n)
			case !errors.Is(err, stabilize.ErrTransient):
				e.Errorf("%s, when the connection broke at moment %d: %v, want ErrTransient", name, n, err)
			}
		})
	}
}

func cr08(e *env) {
	const workers = 6
	rounds := e.Effort.Of(24, 8)
	ids := kit.Numbered("w%d", workers)
	e.createAll(ids, nil, "s")
	steps := make(chan struct{}, workers*rounds) // done or given up
	errs := kit.Race(workers+1, func(i int) error {
		if i == workers {
			for n := range workers * rounds {
				<-steps
				if n%(workers*rounds/4) == workers {
					if err := power[conformance.Restarter](e).Restart(e.Ctx()); err != nil {
						return fmt.Errorf("restarting: %w", err)
					}
				}
			}
			return nil
		}
		var failed error
		for n := range rounds {
			if failed == nil {
				failed = e.insist(e.both(i), ids[i], int64(n+1))
			}
			steps <- struct{}{}
		}
		return failed
	})
	e.Must(kit.First(errs), "committing while the database restarts")
	for _, s := range []persistence.Store{e.a, e.b} {
		for _, id := range ids {
			h, err := s.Summary(e.Ctx(), id)
			for range kit.Tries { // the last restart may have come after the last commit
				if !errors.Is(err, stabilize.ErrTransient) {
					break
				}
				h, err = s.Summary(e.Ctx(), id)
			}
			e.Must(err, "reading %s after the restarts", id)
			if h.Version != int64(rounds)+1 {
				e.Errorf("%s is at version %d after %d commits and some restarts", id, h.Version, rounds)
			}
		}
	}
}

// insist commits on a version until it is applied. It is safe in a race.
func (e *env) insist(s persistence.Store, id string, version int64) error {
	w := kit.Workflow(id, e.Now(), "s")
	w.Version = version
	c := kit.Update(w, fmt.Sprint("restarted ", version), "s")
	maybe := false // an earlier try may have been applied
	var err error
	for range kit.Tries {
		err = e.one(s, c)
		switch {
		case err == nil, maybe && errors.Is(err, stabilize.ErrConflict):
			return nil
		case errors.Is(err, stabilize.ErrUnknownOutcome):
			maybe = true
		case !errors.Is(err, stabilize.ErrTransient):
			return err
		}
	}
	return fmt.Errorf("refused %d times: %w", kit.Tries, err)
}

func cr10(e *env) {
	e.EachMoment(power[conformance.Interceptor](e), kit.Breaks, func(n int, act func(func())) {
		ids, when := kit.Numbered(fmt.Sprintf("w%d-%%d", n), 3), fmt.Sprintf("when the connection broke at moment %d of deleting", n)
		e.createAll(ids, nil, "s")
		for _, id := range ids {
			e.Push(e.b, about(id, id+"-message"))
		}
		var err error
		act(func() { err = e.a.Delete(e.Ctx(), ids...) })
		there, pending := 0, 0
		for _, id := range ids {
			if _, err := e.b.Summary(e.Ctx(), id); err == nil {
				there++
			} else {
				e.Want(stabilize.ErrNotFound, err, "reading %s", id)
			}
			pending += len(e.Pending(e.b, id))
		}
		switch {
		case there != pending || there != 0 && there != len(ids):
			e.Errorf("%s %d of %d workflows are there, and %d messages", when, there, len(ids), pending)
		case errors.Is(err, stabilize.ErrUnknownOutcome):
		case (err == nil) != (there == 0):
			e.Errorf("%s it returned %s, and %d of %d workflows are there", when, kit.Quote(err), there, len(ids))
		case err != nil:
			e.Want(stabilize.ErrTransient, err, "deleting, %s", when)
		}
		e.Must(e.a.Delete(e.Ctx(), ids...), "deleting again")
		for _, id := range ids {
			e.absent(e.b, id, "it was deleted again")
		}
	})
}

func cx02(e *env) {
	e.create("w", "s")
	calls := map[string]func(context.Context) error{}
	for name, call := range e.calls() {
		calls[name] = func(ctx context.Context) error { return call(ctx, e.a) }
	}
	e.Frozen(power[conformance.Freezer](e), calls)
	e.commit(e.a, kit.Creation(kit.Workflow("after", e.Now(), "s")))
	e.load(e.b, "after")
}

func cx04(e *env) {
	cx04Of(e, false)
	cx04Of(e, true)
}

func cx04Of(e *env, plain bool) {
	var cancel context.CancelFunc
	hit := func(bool) bool { cancel(); return false }
	e.EachMoment(power[conformance.Interceptor](e), hit, func(n int, act func(func())) {
		id := fmt.Sprintf("w%d-%t", n, plain)
		c := e.rich(id, plain)
		var ctx context.Context
		ctx, cancel = context.WithCancel(e.Ctx())
		defer cancel()
		var err error
		act(func() { err = e.oneIn(ctx, e.a, c) })
		e.outcome(id, plain, err, context.Canceled, fmt.Sprintf("when its context ended at moment %d", n))
	})
}
