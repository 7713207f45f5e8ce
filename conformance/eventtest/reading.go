package eventtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// reading are the clauses about the feed and what is asked of it.
func reading() []check {
	return []check{
		clause("EV-06", "No late arrivals: once a reader has seen a position, no event appears at or before it, while two handles commit side by side.", ev06),
		clause("EV-08", "A page after a position begins behind it, is in order and has at most as many events as asked for; the pages one after the other are the whole, forwards and backwards, of all workflows and of one.", ev08),
		clause("EV-09", "The last position is that of the last event that a reader sees, empty when there is none; what is read after it is what appears later.", ev09),
		clause("EV-10", "Every filter is exact at its boundary, and one that is not set excludes nothing: workflow, types, stage, task, time from and before, positions after and before.", ev10),
		clause("EV-11", "The count of a query is how many events its pages have, whatever its filters; its limit does not count.", ev11),
		clause("EV-12", "Getting an event by its id returns that event with its position; an id that nobody has, of whatever form, is ErrNotFound.", ev12),
	}
}

func ev06(e *env) {
	rounds := e.Effort.Of(50, 4)
	const writers, batch = 4, 5 // 1,000 commits, in batches
	created := e.Now()
	ids := make([]string, 0, writers*batch)
	for w := range writers {
		for k := range batch {
			ids = append(ids, fmt.Sprintf("w%d-%d", w, k))
		}
	}
	all := make([]*persistence.Commit, len(ids))
	for i, id := range ids {
		all[i] = e.creation(id, 1)
	}
	e.commit(e.a, all...)
	var writing atomic.Int32
	writing.Store(writers)
	over := make(chan struct{}) // closed when all have written
	news := [2]chan struct{}{make(chan struct{}, 1), make(chan struct{}, 1)}
	seen := make([][]string, 2)
	errs := kit.Race(writers+2, func(i int) error {
		if i < writers {
			defer func() {
				if writing.Add(-1) == 0 {
					close(over)
				}
			}()
			for v := range int64(rounds) {
				cs := make([]*persistence.Commit, batch)
				for k := range cs {
					cs[k] = e.update(ids[i*batch+k], created, v+1, 1+k%2)
				}
				for k, err := range e.retried(e.both(i), cs) {
					if err != nil {
						return fmt.Errorf("committing %s: %w", cs[k].WorkflowID, err)
					}
				}
				for _, c := range news { // the others are in the middle of theirs
					select {
					case c <- struct{}{}:
					default:
					}
				}
			}
			return nil
		}
		reader := i - writers
		var q events.Query
		for {
			idle := false
			select {
			case <-over:
				idle = true
			case <-news[reader]:
			}
			page, err := log(e.both(reader)).Read(e.Ctx(), q)
			if errors.Is(err, stabilize.ErrTransient) {
				continue
			}
			if err != nil {
				return err
			}
			seen[reader] = append(seen[reader], idsOf(page.Events)...)
			if q.After = page.Next; idle && len(page.Events) == 0 {
				return nil
			}
		}
	})
	e.Must(kit.First(errs), "reading while others commit")
	want := writers * (batch + rounds*(batch+batch/2))
	whole := idsOf(e.appeared(e.a, want))
	if len(whole) != want {
		e.Fatalf("the log has %d events after all commits, want %d", len(whole), want)
	}
	for reader := range seen {
		// What it had not seen when the writers ended came behind.
		if got := seen[reader]; !slices.Equal(got, whole[:min(len(got), len(whole))]) {
			at := 0
			for at < len(got) && at < len(whole) && got[at] == whole[at] {
				at++
			}
			e.Errorf("a reader went on behind what it had seen, and did not see event %d of the log, %q: it appeared later", at, whole[min(at, len(whole)-1)])
		}
	}
}

// retried commits until none is refused for the moment; the commits are of different
// workflows.
func (e *env) retried(s persistence.Store, cs []*persistence.Commit) []error {
	errs := s.CommitBatch(e.Ctx(), cs)
	for range kit.Tries {
		var again []*persistence.Commit
		var at []int
		for i, err := range errs {
			if errors.Is(err, stabilize.ErrTransient) {
				again, at = append(again, cs[i]), append(at, i)
			}
		}
		if len(again) == 0 {
			break
		}
		for k, err := range s.CommitBatch(e.Ctx(), again) {
			errs[at[k]] = err
		}
	}
	return errs
}

func ev08(e *env) {
	created := e.Now()
	ids := e.commit(e.a, e.creation("w", 3), e.creation("v", 1))
	for v := range int64(4) {
		ids = append(ids, e.commit(e.both(int(v)), e.update("w", created, v+1, 2), e.update("v", created, v+1, 1))...)
	}
	whole := e.feed(e.a, ids, "at first")
	if page := e.read(e.a, events.Query{}); len(page.Events) != len(whole) {
		e.Errorf("a page of a size that is not given has %d events of %d", len(page.Events), len(whole))
	}
	for _, of := range []string{"", "w"} {
		var forwards []string
		for i := range whole {
			if of == "" || whole[i].WorkflowID == of {
				forwards = append(forwards, whole[i].ID)
			}
		}
		backwards := slices.Clone(forwards)
		slices.Reverse(backwards)
		for _, limit := range []int{1, 2, 3, 5, len(forwards) - 1, len(forwards), len(forwards) + 1} {
			e.List(forwards, e.pages(e.b, events.Query{WorkflowID: of, Limit: limit}), "pages of %d events of %q", limit, of)
			e.List(backwards, e.pages(e.b, events.Query{WorkflowID: of, Limit: limit, Descending: true}), "pages of %d events of %q, the last first", limit, of)
		}
	}
	for i := range whole {
		got := idsOf(e.read(e.b, events.Query{After: whole[i].Position}).Events)
		e.List(idsOf(whole[i+1:]), got, "what is behind event %d", i)
	}
	end := e.read(e.b, events.Query{After: whole[len(whole)-1].Position})
	if len(end.Events) > 0 || end.Next != whole[len(whole)-1].Position {
		e.Errorf("at the end a page has %d events and goes on at %q, want none and %q", len(end.Events), end.Next, whole[len(whole)-1].Position)
	}
	// What is not selected is passed all the same.
	if page := e.read(e.b, events.Query{Types: []events.Type{"none"}}); len(page.Events) > 0 || page.Next != whole[len(whole)-1].Position {
		e.Errorf("a page of nothing goes on at %q, want the end of what was looked at, %q", page.Next, whole[len(whole)-1].Position)
	}
}

// pages reads a query page by page.
func (e *env) pages(s persistence.Store, q events.Query) (ids []string) {
	e.Helper()
	for range kit.Tries {
		page := e.read(s, q)
		if len(page.Events) > q.Limit {
			e.Errorf("a page of %d has %d events", q.Limit, len(page.Events))
		}
		ids = append(ids, idsOf(page.Events)...)
		if len(page.Events) < q.Limit {
			return ids
		}
		if q.Descending {
			q.Before = page.Next
		} else {
			q.After = page.Next
		}
	}
	e.Fatalf("the pages do not end")
	return nil
}

func ev09(e *env) {
	last := func(s persistence.Store) events.Position {
		p, err := log(s).Last(e.Ctx())
		e.Must(err, "asking for the last position")
		return p
	}
	if p := last(e.a); p != "" {
		e.Errorf("the last position of an empty log is %q", p)
	}
	created := e.Now()
	ids := e.commit(e.a, e.creation("w", 3))
	for v := range int64(3) {
		got := e.feed(e.b, ids, "before the last position is asked for")
		for _, s := range []persistence.Store{e.a, e.b} {
			if p := last(s); p != got[len(got)-1].Position {
				e.Errorf("the last position is %q, that of the last event %q", p, got[len(got)-1].Position)
			}
		}
		p := last(e.a)
		next := e.commit(e.a, e.update("w", created, v+1, 2))
		ids = append(ids, next...)
		e.feed(e.b, ids, "after a further commit")
		e.List(next, idsOf(e.read(e.b, events.Query{After: p}).Events), "what was read after the last position")
	}
}

// queries are filters, each with the events that it selects of many.
func (e *env) queries() (all []events.Event, queries map[string]queried) {
	at := e.Now()
	created := at
	tick := func(n int) time.Time { return at.Add(time.Duration(n) * kit.Tick) }
	mk := func(typ events.Type, stage, task string, n int) events.Event {
		return events.Event{Type: typ, StageID: stage, TaskID: task, At: tick(n)}
	}
	w, v := kit.Workflow("w", created, "s"), kit.Workflow("v", created, "s")
	evs := func() []events.Event {
		return []events.Event{
			mk(events.WorkflowStarted, "", "", 0), mk(events.StageStarted, "s1", "", 1),
			mk(events.TaskStarted, "s1", "t1", 2), mk(events.TaskCompleted, "s1", "t1", 2),
			mk(events.StageStarted, "s2", "", 3), mk(events.TaskStarted, "s2", "t1", 4), mk(events.TaskStarted, "s2", "t11", 5),
		}
	}
	ids := e.commit(e.a, with(kit.Creation(w), created, evs()...))
	ids = append(ids, e.commit(e.a, with(kit.Creation(v), created, evs()[:4]...))...)
	all = e.feed(e.a, ids, "with what is to be filtered")
	if len(all) < 11 {
		e.Fatalf("the log has %d events, want 11", len(all))
	}
	queries = map[string]queried{}
	add := func(what string, q events.Query, selects func(i int, ev *events.Event) bool) {
		var want []string
		for i := range all {
			if selects(i, &all[i]) {
				want = append(want, all[i].ID)
			}
		}
		queries[what] = queried{q, want}
	}
	add("nothing", events.Query{}, func(int, *events.Event) bool { return true })
	add("a workflow", events.Query{WorkflowID: "w"}, func(_ int, ev *events.Event) bool { return ev.WorkflowID == "w" })
	add("an unknown workflow", events.Query{WorkflowID: "W"}, func(int, *events.Event) bool { return false })
	add("a type", events.Query{Types: []events.Type{events.StageStarted}}, func(_ int, ev *events.Event) bool { return ev.Type == events.StageStarted })
	add("two types", events.Query{Types: []events.Type{events.TaskStarted, events.WorkflowStarted, "none"}}, func(_ int, ev *events.Event) bool {
		return ev.Type == events.TaskStarted || ev.Type == events.WorkflowStarted
	})
	add("a stage", events.Query{StageID: "s1"}, func(_ int, ev *events.Event) bool { return ev.StageID == "s1" })
	add("a task", events.Query{TaskID: "t1"}, func(_ int, ev *events.Event) bool { return ev.TaskID == "t1" })
	add("a task of a stage of a workflow", events.Query{WorkflowID: "w", StageID: "s2", TaskID: "t1"}, func(_ int, ev *events.Event) bool {
		return ev.WorkflowID == "w" && ev.StageID == "s2" && ev.TaskID == "t1"
	})
	for n := range 7 {
		add(fmt.Sprintf("from tick %d", n), events.Query{AtFrom: tick(n)}, func(_ int, ev *events.Event) bool { return !ev.At.Before(tick(n)) })
		add(fmt.Sprintf("before tick %d", n), events.Query{AtBefore: tick(n)}, func(_ int, ev *events.Event) bool { return ev.At.Before(tick(n)) })
	}
	add("one tick", events.Query{AtFrom: tick(2), AtBefore: tick(3)}, func(_ int, ev *events.Event) bool { return ev.At.Equal(tick(2)) })
	add("no tick", events.Query{AtFrom: tick(2), AtBefore: tick(2)}, func(int, *events.Event) bool { return false })
	for at := range all {
		add(fmt.Sprintf("after event %d", at), events.Query{After: all[at].Position}, func(i int, _ *events.Event) bool { return i > at })
		add(fmt.Sprintf("before event %d", at), events.Query{Before: all[at].Position}, func(i int, _ *events.Event) bool { return i < at })
	}
	add("between two", events.Query{After: all[1].Position, Before: all[6].Position, Types: []events.Type{events.TaskStarted}}, func(i int, ev *events.Event) bool {
		return i > 1 && i < 6 && ev.Type == events.TaskStarted
	})
	return all, queries
}

type queried struct {
	q    events.Query
	want []string
}

func ev10(e *env) {
	_, queries := e.queries()
	for what, c := range queries {
		e.List(c.want, idsOf(e.read(e.b, c.q).Events), "the events selected by %s", what)
		c.q.Descending = true
		backwards := slices.Clone(c.want)
		slices.Reverse(backwards)
		e.List(backwards, idsOf(e.read(e.a, c.q).Events), "the events selected by %s, the last first", what)
		c.q.Limit = 2
		e.List(backwards, e.pages(e.a, c.q), "the events selected by %s, the last first, two at a time", what)
		c.q.Descending = false
		e.List(c.want, e.pages(e.a, c.q), "the events selected by %s, two at a time", what)
	}
}

func ev11(e *env) {
	_, queries := e.queries()
	for what, c := range queries {
		for _, limit := range []int{0, 1} {
			c.q.Limit = limit
			n, err := log(e.b).Count(e.Ctx(), c.q)
			e.Must(err, "counting")
			if n != int64(len(c.want)) {
				e.Errorf("%d events are counted for %s, want %d", n, what, len(c.want))
			}
		}
	}
}

func ev12(e *env) {
	created := e.Now()
	ids := e.commit(e.a, e.creation("w/1/2", 2))
	ids = append(ids, e.commit(e.a, e.update("w/1/2", created, 1, 300), e.creation("w/1", 1))...)
	for _, want := range e.feed(e.a, ids, "before its events are asked for one by one") {
		if p, _ := events.ParseID(want.ID); p.Index%37 > 1 {
			continue
		}
		got, err := log(e.b).Get(e.Ctx(), want.ID)
		e.Must(err, "getting event %q", want.ID)
		e.Same(&want, got, "the event got by its id")
	}
	for _, id := range []string{
		"", "none", "w", "w/1/2", "/", "///", "\x00", "w/1/2/0/1/0/", ids[0] + "0", " " + ids[0],
		events.MakeID("w/1/2", created, 1, 2), events.MakeID("w/1/2", created, 3, 0), events.MakeID("w/1/2", created, 2, 256+300),
		events.MakeID("w/1/2", created.Add(time.Second), 1, 0), events.MakeID("W/1/2", created, 1, 0),
	} {
		_, err := log(e.a).Get(e.Ctx(), id)
		var missing *stabilize.NotFoundError
		if !errors.As(err, &missing) || missing.ID != id || missing.Kind != "event" {
			e.Errorf("getting the event %q gave %s, want ErrNotFound that names it", id, kit.Quote(err))
		}
	}
}

// ends are the clauses about bad questions, ended contexts and closed handles.
func ends() []check {
	return []check{
		clause("EV-22", "A query that cannot be asked is ErrInvalid: a negative limit, an empty type, times in the wrong order, a position of no store, text that is not UTF-8.", ev22),
		clause("EV-23", "Every method of a log returns the error of a context that ended, and ErrClosed when its handle is closed; then the log of the other handle works.", ev23),
	}
}

func ev22(e *env) {
	e.commit(e.a, e.creation("w", 1))
	for what, q := range map[string]events.Query{
		"a negative limit":         {Limit: -1},
		"an empty type":            {Types: []events.Type{"x", ""}},
		"times in the wrong order": {AtFrom: e.Now().Add(kit.Tick), AtBefore: e.Now()},
		"a position of no store":   {After: "x"},
		"a position cut off":       {After: "0"},
		"an end of no store":       {Before: "0-0-0-0-0"},
		"a workflow of no UTF-8":   {WorkflowID: "\xff"},
	} {
		_, err := log(e.a).Read(e.Ctx(), q)
		e.Want(stabilize.ErrInvalid, err, "reading with %s", what)
		_, err = log(e.a).Count(e.Ctx(), q)
		e.Want(stabilize.ErrInvalid, err, "counting with %s", what)
	}
}

func ev23(e *env) {
	ids := e.commit(e.a, e.creation("w", 1))
	e.feed(e.a, ids, "at first")
	calls := map[string]func(ctx context.Context, l events.Log) error{
		"Read":  func(ctx context.Context, l events.Log) error { _, err := l.Read(ctx, events.Query{}); return err },
		"Count": func(ctx context.Context, l events.Log) error { _, err := l.Count(ctx, events.Query{}); return err },
		"Get":   func(ctx context.Context, l events.Log) error { _, err := l.Get(ctx, ids[0]); return err },
		"Last":  func(ctx context.Context, l events.Log) error { _, err := l.Last(ctx); return err },
	}
	for _, m := range kit.ContextMethods[events.Log]() {
		if calls[m] == nil {
			e.Errorf("the suite does not know how to call Log.%s", m)
		}
	}
	ctx, cancel := context.WithCancel(e.Ctx())
	cancel()
	closed := log(e.b)
	for name, call := range calls {
		e.Want(context.Canceled, call(ctx, closed), "%s with a canceled context", name)
		e.Must(call(e.Ctx(), closed), "%s after a canceled call", name)
	}
	e.Must(e.b.Close(), "closing")
	for name, call := range calls {
		e.Want(stabilize.ErrClosed, call(e.Ctx(), closed), "%s after Close", name)
	}
	e.feed(e.a, ids, "when the other handle is closed")
}
