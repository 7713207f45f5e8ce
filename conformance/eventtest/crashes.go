package eventtest

import (
	"errors"
	"fmt"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// crashes are the clauses that need a hostile database, and a log in it.
func crashes() []check {
	return []check{
		clauseFor(conformance.CanBreakEvents, "EV-24", "When the connection breaks before or after any call that a commit makes, its events are in the log if it is applied, after a minute at the latest, and none of them if it is not; repeating the commit leaves each once.", ev24),
		clauseFor(conformance.CanBreakEvents, "EV-25", "When the connection breaks before or after any call that reading makes, the page is an error or has what it says that it passed, and afterwards another reader finds every event once.", ev25),
	}
}

func ev24(e *env) {
	i := power[conformance.Interceptor](e)
	e.EachMoment(i, kit.Breaks, func(n int, act func(func())) {
		id, created := fmt.Sprint("w", n), e.Now()
		when := fmt.Sprintf("when the connection broke at moment %d", n)
		ids := e.commit(e.a, e.creation(id, 1))
		c := e.update(id, created, 1, 2)
		var err error
		act(func() { err = e.try(e.Ctx(), e.a, c) })
		h, lost := e.b.Summary(e.Ctx(), id)
		e.Must(lost, "reading the header of %s", id)
		switch {
		case err == nil && h.Version != 2:
			e.Errorf("%s a commit succeeded, and was not applied", when)
		case h.Version == 2:
			ids = append(ids, idsOf(c.Events)...)
		}
		e.Clock.Advance(time.Minute)
		e.List(ids, e.appearedOf(e.b, id, len(ids)), "the events of a workflow at version %d %s", h.Version, when)
		for range kit.Tries {
			if err = e.try(e.Ctx(), e.a, c); !errors.Is(err, stabilize.ErrTransient) && !errors.Is(err, stabilize.ErrUnknownOutcome) {
				break
			}
		}
		if err != nil && !errors.Is(err, stabilize.ErrConflict) {
			e.Errorf("%s repeating the commit returned %v", when, err)
		}
		ids = append(ids[:1:1], idsOf(c.Events)...)
		e.Clock.Advance(time.Minute)
		e.List(ids, e.appearedOf(e.b, id, len(ids)), "the events after the commit was repeated, %s", when)
	})
}

// appearedOf waits until a workflow has so many events in the log, and returns the ids of
// all.
func (e *env) appearedOf(s persistence.Store, id string, n int) (ids []string) {
	e.Helper()
	e.wait(func() bool {
		ids = idsOf(e.read(s, events.Query{WorkflowID: id}).Events)
		return len(ids) >= n
	})
	return ids
}

func ev25(e *env) {
	i := power[conformance.Interceptor](e)
	var last events.Position
	e.EachMoment(i, kit.Breaks, func(n int, act func(func())) {
		id, when := fmt.Sprint("w", n), fmt.Sprintf("when the connection broke at moment %d of reading", n)
		ids := e.commit(e.b, e.creation(id, 3))
		var page events.Page
		var err error
		act(func() { page, err = log(e.a).Read(e.Ctx(), events.Query{After: last}) })
		if err != nil {
			if !errors.Is(err, stabilize.ErrUnknownOutcome) {
				e.Want(stabilize.ErrTransient, err, "reading, %s", when)
			}
			page = events.Page{Next: last}
		}
		got := idsOf(page.Events)
		q := events.Query{After: page.Next}
		e.wait(func() bool {
			rest := e.read(e.b, q)
			got = append(got, idsOf(rest.Events)...)
			q.After = rest.Next
			return len(got) >= len(ids)
		})
		e.List(ids, got, "what was read in all %s", when)
		last = q.After
	})
}
