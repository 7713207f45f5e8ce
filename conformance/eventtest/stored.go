package eventtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// storing are the clauses about what a commit leaves in the log.
func storing() []check {
	return []check{
		clause("EV-01", "Every event of a commit is in the log, deep-equal to what was committed, its fields found by reflection, through every handle and after reopening; its position is greater than every position read before.", ev01),
		clause("EV-02", "A commit with an event that is not the workflow's, not of the new version, or bad in any other way is ErrInvalid and leaves no event, those before it included, and nothing else; so is one with events and no workflow.", ev02),
		clause("EV-03", "Events of one commit have the order in which it had them, and those of one workflow the order of its versions, in one batch too, however many events a commit has.", ev03),
		clause("EV-04", "An event's id is stored once: a commit from the same version with the same ids is refused, and the first event stays as it is.", ev04),
		clause("EV-07", "What a refused commit drew of numbers is a gap that neither blocks nor fails a reader.", ev07),
		clause("EV-13", "The events of a commit that is refused are not stored, whatever refuses it: a conflict, a lost lease, a message's id that is taken, no place; the other commits of its batch keep theirs.", ev13),
		clauseFor(conformance.CanTamperEvents, "EV-14", "A stored event that cannot be decoded is ErrCorrupt naming a position, for reading and for getting; what is before it can be read, and behind that position reading goes on.", ev14),
		clause("EV-18", "An event's schema version comes back as it was stored, and one of a later version comes back with the fields that this program does not know.", ev18),
		clause("EV-20", "Deleting or pruning a workflow removes its events and no others, and a later event never has a position that one of them had.", ev20),
		clause("EV-21", "The store keeps no alias: changing the events that it was given, or returned, changes nothing that it returns later.", ev21),
	}
}

func ev01(e *env) {
	var ids []string
	var want []events.Event
	last := events.Position("")
	for seed := range 3 {
		w := kit.Workflow(fmt.Sprint("w/", seed), e.Now(), "s")
		f := &kit.Filler{Env: e.Env, Seed: seed + 1}
		evs := make([]events.Event, 2)
		for i := range evs {
			f.Fill(&evs[i])
			evs[i].Schema, evs[i].Unknown, evs[i].Position = events.SchemaVersion, nil, ""
		}
		c := with(kit.Creation(w), w.CreatedAt, evs...)
		for i := range c.Events {
			want = append(want, c.Events[i].Clone())
		}
		ids = append(ids, e.commit(e.both(seed), c)...)
		got := e.appeared(e.a, len(ids))
		for _, ev := range got[min(len(got), len(want)-2):] {
			if ev.Position <= last {
				e.Errorf("an event stands at %q, and %q was read before it was committed", ev.Position, last)
			}
			last = max(last, ev.Position)
		}
	}
	blank := kit.Workflow("blank", e.Now())
	c := with(kit.Creation(blank), blank.CreatedAt, events.Event{Type: "x", At: e.Now()})
	want = append(want, c.Events[0].Clone())
	ids = append(ids, e.commit(e.b, c)...)
	compare := func(s persistence.Store, when string) {
		e.Helper()
		got := e.feed(s, ids, when)
		for i := range got {
			got[i].Position = ""
		}
		for i := range want {
			want[i].Position = ""
		}
		slices.SortFunc(got, func(x, y events.Event) int { return slices.Index(ids, x.ID) - slices.Index(ids, y.ID) })
		e.Same(want, got, "the events %s", when)
	}
	compare(e.a, "through the handle that stored some")
	compare(e.b, "through the other handle")
	compare(e.h.Reopen(), "after reopening")
}

func ev02(e *env) {
	created := e.Now()
	ids := e.commit(e.a, e.creation("w", 1))
	bad := map[string]func(evs []events.Event){
		"of another workflow":       func(evs []events.Event) { evs[1].WorkflowID = "v" },
		"of an older version":       func(evs []events.Event) { evs[1].Version = 1 },
		"with the id of the first":  func(evs []events.Event) { evs[1].ID = evs[0].ID },
		"without an id":             func(evs []events.Event) { evs[1].ID = "" },
		"with another's id":         func(evs []events.Event) { evs[1].ID = events.MakeID("v", created, 2, 1) },
		"without a type":            func(evs []events.Event) { evs[1].Type = "" },
		"without a time":            func(evs []events.Event) { evs[1].At = time.Time{} },
		"with a reason of no UTF-8": func(evs []events.Event) { evs[1].Reason = "\xff" },
		"without a schema":          func(evs []events.Event) { evs[1].Schema = 0 },
		"with a status that is none": func(evs []events.Event) {
			evs[1].To = stabilize.Status(200)
		},
	}
	for what, spoil := range bad {
		c := e.update("w", created, 1, 3)
		c.Messages = []queue.Outgoing{kit.Send("m")}
		spoil(c.Events)
		e.Want(stabilize.ErrInvalid, e.try(e.Ctx(), e.a, c), "committing with an event %s", what)
	}
	e.Want(stabilize.ErrInvalid, e.try(e.Ctx(), e.a, &persistence.Commit{Events: e.update("w", created, 1, 1).Events}), "committing events of no workflow")
	c := e.creation("other", 1)
	c.Events[0].ID = events.MakeID("other", created.Add(time.Second), 1, 0)
	e.Want(stabilize.ErrInvalid, e.try(e.Ctx(), e.a, c), "creating with an id of another creation time")
	if h, err := e.b.Summary(e.Ctx(), "w"); err != nil || h.Version != 1 {
		e.Errorf("after commits that were refused the workflow is %v, %v", h, err)
	}
	if depth := e.Depth(e.b); depth.Live() != 0 {
		e.Errorf("after commits that were refused %d messages are there", depth.Live())
	}
	ids = append(ids, e.commit(e.b, e.update("w", created, 1, 2))...)
	e.feed(e.a, ids, "after commits with bad events and a good one")
}

func ev03(e *env) {
	created := e.Now()
	ids := e.commit(e.a, e.creation("w", 5), e.update("w", created, 1, 3), e.update("w", created, 2, 1), e.creation("v", 2))
	many := e.Effort.Size(1500, 600)
	ids = append(ids, e.commit(e.b, e.update("w", created, 3, many))...)
	ids = append(ids, e.commit(e.a, e.update("w", created, 4, 2), e.update("v", created, 1, 2))...)
	e.feed(e.b, ids, "after batches")
	page := e.read(e.a, events.Query{WorkflowID: "w", Limit: 100_000})
	for i, ev := range page.Events {
		if i > 0 && ev.Version < page.Events[i-1].Version {
			e.Errorf("an event of version %d comes after one of version %d", ev.Version, page.Events[i-1].Version)
		}
	}
}

func ev04(e *env) {
	created := e.Now()
	ids := e.commit(e.a, e.creation("w", 2))
	ids = append(ids, e.commit(e.a, e.update("w", created, 1, 2))...)
	before := e.feed(e.a, ids, "before the same ids come again")
	e.Clock.Advance(time.Second)
	again := e.creation("w", 2)
	again.Header.CreatedAt = created
	with(again, created, again.Events...)
	e.Want(stabilize.ErrExists, e.try(e.Ctx(), e.b, again), "creating again with the same ids")
	twice := e.update("w", created, 1, 2)
	twice.Events[1].Reason = "other"
	e.Want(stabilize.ErrConflict, e.try(e.Ctx(), e.b, twice), "committing again from version 1 with the same ids")
	ids = append(ids, e.commit(e.b, e.update("w", created, 2, 1))...)
	after := e.feed(e.b, ids, "after the same ids came again")
	e.Same(before, after[:min(len(before), len(after))], "the first events")
}

func ev07(e *env) {
	created := e.Now()
	ids := e.commit(e.a, e.creation("w", 1), e.creation("v", 1))
	for i := range int64(e.Effort.Of(20, 3)) {
		errs := e.both(int(i)).CommitBatch(e.Ctx(), []*persistence.Commit{e.update("w", created, 700, 3), e.update("v", created, i+1, 2)})
		e.Want(stabilize.ErrConflict, errs[0], "committing from a version that it never had")
		e.Must(errs[1], "committing beside it")
		ids = append(ids, idsOf(e.update("v", created, i+1, 2).Events)...)
	}
	e.feed(e.b, ids, "after commits that were refused")
}

func ev13(e *env) {
	created := e.Now()
	ids := e.commit(e.a, e.creation("w", 1), e.creation("v", 1), e.creation("holder", 1))
	place := &persistence.Admission{Op: persistence.TakePlace, Key: "k", Limit: 1}
	c := e.update("holder", created, 1, 1)
	c.Admission = place
	ids = append(ids, e.commit(e.a, c)...)
	e.Push(e.a, kit.Send("taken"), kit.Send("leased"))
	e.Claim(e.b, "worker")

	refusals := []struct {
		what  string
		class error
		spoil func(c *persistence.Commit)
	}{
		{"an old version", stabilize.ErrConflict, func(c *persistence.Commit) {
			*c = *e.update("w", created, 7, 2)
		}},
		{"an unknown workflow", stabilize.ErrNotFound, func(c *persistence.Commit) { *c = *e.update("nobody", created, 1, 2) }},
		{"a lost lease", stabilize.ErrLeaseLost, func(c *persistence.Commit) {
			c.Handled = []queue.Receipt{{ID: "leased", Token: "wrong"}}
		}},
		{"an id that is taken", stabilize.ErrExists, func(c *persistence.Commit) { c.Messages = []queue.Outgoing{kit.Send("taken")} }},
		{"no place", stabilize.ErrNoPlace, func(c *persistence.Commit) { c.Admission = place }},
		{"a stage that is not there", stabilize.ErrInvalid, func(c *persistence.Commit) { c.Removed = []string{"none"} }},
		{"a stage that moved", stabilize.ErrInvalid, func(c *persistence.Commit) { c.Stages[0].Position = 3 }},
		{"an id that exists", stabilize.ErrExists, func(c *persistence.Commit) { *c = *e.creation("v", 2) }},
	}
	for i, r := range refusals {
		bad, good := e.update("w", created, 1, 2), e.update("v", created, int64(i+1), 1)
		r.spoil(bad)
		errs := e.both(i).CommitBatch(e.Ctx(), []*persistence.Commit{bad, good})
		e.Want(r.class, errs[0], "committing with %s", r.what)
		e.Must(errs[1], "committing beside a commit with %s", r.what)
		ids = append(ids, idsOf(good.Events)...)
		e.feed(e.both(i+1), ids, "after a commit refused for "+r.what)
	}
}

func ev14(e *env) {
	created := e.Now()
	ids := e.commit(e.a, e.creation("before", 2))
	e.appeared(e.a, 2)
	bad := e.commit(e.a, e.creation("bad", 2))
	e.appeared(e.a, 4)
	ids = append(ids, e.commit(e.b, e.creation("after", 1), e.update("after", created, 1, 1))...)
	e.appeared(e.a, 6)
	for _, body := range []string{`{`, `[]`, `[{"schema":1,"type":"x"}]`, `[{"schema":1,"type":"x","at":"2025-01-01T00:00:00Z","new":1}]`, ``} {
		e.Must(power[conformance.EventTamperer](e).TamperEvents(e.Ctx(), bad[0], []byte(body)), "overwriting the stored form of an event")
		_, err := log(e.a).Get(e.Ctx(), bad[0])
		corrupt := e.corrupt(err, "getting an event whose stored form is %q", body)
		_, err = log(e.b).Read(e.Ctx(), events.Query{})
		corrupt = e.corrupt(err, "reading the log with an event whose stored form is %q", body)
		var got []string
		page := e.read(e.a, events.Query{Limit: 2})
		got = append(got, idsOf(page.Events)...)
		page = e.read(e.a, events.Query{After: corrupt})
		e.List(byWorkflow(ids), byWorkflow(append(got, idsOf(page.Events)...)), "what is before and behind an event whose stored form is %q", body)
	}
}

// corrupt fails unless the error names a position of the log.
func (e *env) corrupt(err error, doing string, args ...any) events.Position {
	e.Helper()
	e.Want(stabilize.ErrCorrupt, err, doing, args...)
	c, ok := errors.AsType[*stabilize.CorruptError](err)
	if !ok || c.Table != "events" || c.ID == "" {
		e.Errorf("%s: the error %v does not name table and position", fmt.Sprintf(doing, args...), err)
		return ""
	}
	return events.Position(c.ID)
}

func ev18(e *env) {
	w := kit.Workflow("w", e.Now())
	evs := e.some(3)
	evs[1].Schema, evs[1].Unknown = 99, map[string]json.RawMessage{"mood": json.RawMessage(`{"of":"the future","n":9007199254740993}`), "also": json.RawMessage(`null`)}
	evs[2].Schema = 7
	c := with(kit.Creation(w), w.CreatedAt, evs...)
	ids := e.commit(e.a, c)
	got := e.feed(e.b, ids, "with events of later schemas")
	for i := range min(len(got), 3) {
		if got[i].Schema != c.Events[i].Schema {
			e.Errorf("an event of schema %d came back as one of schema %d", c.Events[i].Schema, got[i].Schema)
		}
		e.Same(c.Events[i].Unknown, got[i].Unknown, "the fields that are not known of event %d", i)
	}
	one, err := log(e.b).Get(e.Ctx(), ids[1])
	e.Must(err, "getting an event of a later schema")
	e.Same(c.Events[1].Unknown, one.Unknown, "the fields that are not known of an event got by its id")
}

func ev20(e *env) {
	finished := func(id string, n int) *persistence.Commit {
		c := e.creation(id, n)
		c.Header.Status, c.Header.EndedAt = stabilize.Succeeded, e.Now()
		return c
	}
	ids := e.commit(e.a, e.creation("stays", 2))
	e.commit(e.a, finished("pruned", 2), finished("kept", 2))
	e.commit(e.a, e.creation("deleted", 700))
	all := e.appeared(e.a, 706)
	ids = append(ids, idsOf(finished("kept", 2).Events)...)
	top := all[len(all)-1].Position

	e.Must(e.b.Delete(e.Ctx(), "deleted"), "deleting")
	h, err := e.b.Summary(e.Ctx(), "pruned")
	e.Must(err, "reading a header")
	old, err := e.b.Summary(e.Ctx(), "kept")
	e.Must(err, "reading a header")
	old.Version++
	n, err := e.b.Prune(e.Ctx(), h, old)
	e.Must(err, "pruning")
	if n != 1 {
		e.Errorf("%d workflows were pruned, want 1", n)
	}
	e.feed(e.a, ids, "after others were deleted and pruned")
	for _, id := range []string{"deleted", "pruned"} {
		if count, err := log(e.a).Count(e.Ctx(), events.Query{WorkflowID: id}); err != nil || count != 0 {
			e.Errorf("a workflow that is %s has %d events, %v", id, count, err)
		}
	}
	// Last of all went those of the greatest positions.
	e.Clock.Advance(time.Second)
	again := e.creation("deleted", 1)
	ids = append(ids, e.commit(e.b, again)...)
	e.feed(e.b, ids, "after one was made again")
	page := e.read(e.a, events.Query{After: top})
	e.List(idsOf(again.Events), idsOf(page.Events), "what is behind the last event of all that went")
}

func ev21(e *env) {
	c := e.creation("w", 2)
	c.Events[0].Failure = &stabilize.Failure{Code: "GIVEN"}
	c.Events[1].Schema, c.Events[1].Unknown = 99, map[string]json.RawMessage{"x": json.RawMessage(`"given"`)}
	ids := e.commit(e.a, c)
	c.Events[0].Failure.Code, c.Events[0].Reason = "CHANGED", "changed"
	copy(c.Events[1].Unknown["x"], `"other"`)
	for range 2 {
		got := e.feed(e.a, ids, "after what was given was changed")
		if len(got) < 2 || got[0].Failure == nil || got[0].Failure.Code != "GIVEN" || got[0].Reason != "" || string(got[1].Unknown["x"]) != `"given"` {
			e.Fatalf("the events are changed with what was given or returned: %+v", got)
		}
		got[0].Failure.Code, got[0].Reason = "CHANGED", "changed"
		copy(got[1].Unknown["x"], `"other"`)
		one, err := log(e.a).Get(e.Ctx(), ids[0])
		e.Must(err, "getting an event")
		one.Failure.Code = "CHANGED"
	}
}
