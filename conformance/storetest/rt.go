package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// roundTrips is the group RT: what is stored comes back.
func roundTrips() []check {
	return []check{
		clause("RT-01", "A created workflow is loaded deep-equal to what was stored, field by field; the fields are found by reflection, so that a new one is covered or the clause fails.", rt01),
		clause("RT-02", "A field stored at its zero value comes back at its zero value, never at a backend's default.", rt02),
		clause("RT-03", "Creating an id that exists returns ErrExists and leaves the first workflow as it was.", rt03),
		clause("RT-04", "A creation that fails half-way leaves nothing of any kind, seen from another handle, also after a later unrelated write.", rt04),
		clause("RT-05", "Every method asked for an unknown id returns ErrNotFound, naming kind and id.", rt05),
		clause("RT-06", "A handle that cannot answer says why, and never ErrNotFound.", rt06),
		clause("RT-07", "The header alone equals the loaded workflow's, the version included, for a workflow without stages too, whose list of stages is empty.", rt07),
		clause("RT-08", "Stages, and tasks within a stage, come back by position, even when their ids sort the other way or a commit lists them in another order.", rt08),
		clause("RT-09", "Requisites come back as the set that was stored, dangling ones too; a duplicate is ErrInvalid.", rt09),
		clause("RT-10", "A commit persists every field of header, stage and task that can change; the list is derived from the structs minus a short list of those that cannot.", rt10),
		clause("RT-11", "A commit that changes a field that cannot change (id, creation time, ref, round, position) returns ErrInvalid and changes nothing.", rt11),
		clause("RT-12", "The store keeps no alias: changing what was given to it, or what it returned, changes nothing it returns later.", rt12),
		clauseFor(conformance.CanCountRows, "RT-13", "Deleting a workflow leaves no row of it in any table: stages, messages, dead letters, places and turns are gone.", rt13),
		clauseFor(conformance.CanCountRows, "RT-14", "Every table found by schema introspection held a row in the test of deletion, so that a table without a delete cannot be forgotten.", rt14),
		clause("RT-15", "Deleting an unknown id returns nil, and removes the messages and dead letters addressed to it: look for them whether the workflow exists or not.", rt15),
		clause("RT-16", "Deleting and creating the same id again gives a fresh workflow with no residue: no stage, message, dead letter, place or version of the first.", rt16),
		clause("RT-17", "Removing a stage in a commit removes that stage and its tasks and nothing else.", rt17),
		clause("RT-18", "A commit decided before a stage was removed returns ErrConflict and never re-creates it.", rt18),
		clause("RT-19", "A commit for an unknown workflow returns ErrNotFound and stores nothing.", rt19),
		clause("RT-20", "Data written through one handle is read back identically through a second and after reopening, messages and places included.", rt20),
		clause("RT-21", "A loaded workflow is indexed: upstream, downstream and synthetic stages come by position, empty and not nil when there are none, to many readers at once.", rt21),
		clause("RT-22", `Refs and ids "1", "10", "1,0", "%" and "_" are never confused, nor are those of two workflows.`, rt22),
		clause("RT-23", "Identifiers that differ only in letter case are distinct everywhere.", rt23),
		clause("RT-24", "Identifiers that differ only in trailing space or in Unicode normal form are distinct everywhere.", rt24),
		clause("RT-25", "Merged ancestors' outputs are the same on every call and handle: the later in topological order wins, among equals the later by position.", rt25),
		clause("RT-26", "A dangling requisite never panics merged outputs or upstream queries.", rt26),
		clause("RT-27", "Deleting several workflows is one step: a reader that lists sees all of them or none; delete them in one transaction, not one by one.", rt27),
	}
}

// stored is w as it must come back at a version.
func stored(w *stabilize.Workflow, version int64) *stabilize.Workflow {
	c := w.Clone()
	c.Version = version
	for _, s := range c.Stages {
		s.Version = version
	}
	return c
}

func (e *env) filled(id string, seed int) *stabilize.Workflow {
	f := &kit.Filler{Env: e.Env, Seed: seed}
	w := &stabilize.Workflow{Header: *f.Header(id)}
	w.Stages = []*stabilize.Stage{f.Stage(id+"/a", "a", 0), f.Stage(id+"/b", "b", 5)}
	return w
}

func rt01(e *env) {
	for seed := 1; seed <= 3; seed++ {
		w := e.filled(fmt.Sprintf("w%d", seed), seed)
		e.commit(e.a, kit.Creation(w))
		e.Same(stored(w, 1), e.load(e.a, w.ID), "the workflow loaded after its creation")
		e.Same(&stored(w, 1).Header, e.summary(e.a, w.ID), "the header read after its creation")
		page, err := e.a.Query(e.Ctx(), persistence.Query{Application: w.Application})
		e.Must(err, "querying")
		e.Same([]*stabilize.Header{&stored(w, 1).Header}, page.Workflows, "the header found by a query")
	}
}

func rt02(e *env) {
	w := &stabilize.Workflow{Header: stabilize.Header{ID: "w"}, Stages: []*stabilize.Stage{
		{ID: "s", Ref: "r", Tasks: []*stabilize.Task{{ID: "t", Type: "x"}}}, {ID: "s2", Ref: "r2", Position: 1},
	}}
	e.commit(e.a, kit.Creation(w))
	got := e.load(e.b, "w")
	e.Same(stored(w, 1), got, "a workflow of zero values")
	if got.Context != nil || got.Stages[0].Context != nil || got.Stages[0].Outputs != nil {
		e.Errorf("absent values came back as %v, %v, %v, want nil", got.Context, got.Stages[0].Context, got.Stages[0].Outputs)
	}
	full := e.filled("x", 4)
	e.commit(e.a, kit.Creation(full))
	blank := stabilize.Header{ID: "x", CreatedAt: full.CreatedAt}
	s := &stabilize.Stage{ID: "x/a", Ref: "a", Round: full.Stages[0].Round}
	e.commit(e.a, &persistence.Commit{WorkflowID: "x", Expect: 1, Header: &blank, Stages: []*stabilize.Stage{s}})
	back := e.load(e.b, "x")
	blank.Version, s.Version = 2, 2
	e.Same(blank, back.Header, "a header set back to zero values")
	e.Same(s, back.Stages[0], "a stage set back to zero values")
}

func rt03(e *env) {
	first := e.filled("w", 1)
	e.commit(e.a, kit.Creation(first))
	same := e.unchanged("w")
	for i := range 2 {
		e.Want(stabilize.ErrExists, e.one(e.both(i), kit.Creation(e.filled("w", 2))), "creating w again")
		same("after creating w again")
	}
	var exists *stabilize.ExistsError
	if err := e.one(e.a, kit.Creation(first)); !errors.As(err, &exists) || exists.Kind != "workflow" || exists.ID != "w" {
		e.Errorf("creating w again returned %s, which does not name the workflow", kit.Quote(err))
	}
	e.commit(e.a, kit.Update(e.load(e.a, "w"), "version 2"))
	e.Want(stabilize.ErrExists, e.one(e.a, kit.Creation(first)), "creating w again at version 2")
}

func rt04(e *env) {
	rows := func() map[string]int { return nil }
	if counter, ok := conformance.Find[conformance.RowCounter](e.h); ok {
		rows = func() map[string]int {
			n, err := counter.Rows(e.Ctx())
			e.Must(err, "counting rows")
			return n
		}
	}
	e.Push(e.a, kit.Send("in-use"))
	before := rows()
	twice := kit.Workflow("w", e.Now(), "s1", "s2", "s1")
	twice.Stages[2].ID = "other"
	c := kit.Creation(twice)
	c.Messages = []queue.Outgoing{about("w", "m")}
	e.Want(stabilize.ErrInvalid, e.one(e.a, c), "creating a workflow with one ref twice")
	c = kit.Creation(kit.Workflow("w", e.Now(), "s1", "s2"))
	c.Messages = []queue.Outgoing{about("w", "m"), kit.Send("in-use")}
	c.Admission = place(persistence.TakePlace, "k", 1)
	e.Want(stabilize.ErrExists, e.one(e.a, c), "creating a workflow with a message id in use")
	c.Messages, c.Handled = c.Messages[:1], []queue.Receipt{{ID: "in-use", Token: "none"}}
	e.Want(stabilize.ErrLeaseLost, e.one(e.a, c), "creating a workflow with a lost lease")
	e.Same(before, rows(), "the rows after three refused creations")
	e.create("other", "s")
	e.absent(e.b, "w", "every creation of it was refused")
	e.List(nil, e.Pending(e.b, "w"), "the messages of a workflow whose creation was refused")
	e.List(nil, e.admissions(e.b, "k").Holding, "who holds a place after refused creations")
	page, err := e.b.Query(e.Ctx(), persistence.Query{})
	e.Must(err, "querying")
	if len(page.Workflows) != 1 || page.Workflows[0].ID != "other" {
		e.Errorf("a query finds %d workflows, want the one that was created", len(page.Workflows))
	}
}

func rt05(e *env) {
	e.create("known", "s")
	unknown := func(kind, id, doing string, err error) {
		e.Helper()
		e.Want(stabilize.ErrNotFound, err, "%s", doing)
		var nf *stabilize.NotFoundError
		if !errors.As(err, &nf) || nf.Kind != kind || nf.ID != id {
			e.Errorf("%s returned %s, which does not name the %s %q", doing, kit.Quote(err), kind, id)
		}
	}
	_, err := e.a.Load(e.Ctx(), "nobody")
	unknown("workflow", "nobody", "Load", err)
	_, err = e.a.Summary(e.Ctx(), "nobody")
	unknown("workflow", "nobody", "Summary", err)
	if r, ok := e.a.(persistence.Refresher); ok {
		_, err = r.Refresh(e.Ctx(), "nobody", 1)
		unknown("workflow", "nobody", "Refresh", err)
	}
	unknown("workflow", "nobody", "CommitBatch", e.one(e.a, &persistence.Commit{WorkflowID: "nobody", Expect: 1}))
	unknown("dead letter", "nobody", "ReplayDead", e.a.ReplayDead(e.Ctx(), "nobody"))
	unknown("dead letter", "nobody", "DiscardDead", e.a.DiscardDead(e.Ctx(), "nobody"))
}

func rt06(e *env) {
	ctx, cancel := context.WithCancel(e.Ctx())
	cancel()
	for name, ask := range map[string]func(context.Context) error{
		"Load":    func(ctx context.Context) error { _, err := e.b.Load(ctx, "w"); return err },
		"Summary": func(ctx context.Context) error { _, err := e.b.Summary(ctx, "w"); return err },
		"a commit": func(ctx context.Context) error {
			return e.b.CommitBatch(ctx, []*persistence.Commit{{WorkflowID: "w", Expect: 1}})[0]
		},
	} {
		if err := ask(ctx); err == nil || errors.Is(err, stabilize.ErrNotFound) {
			e.Errorf("%s with a canceled context returned %s", name, kit.Quote(err))
		}
		defer func() {
			if err := ask(e.Ctx()); err == nil || errors.Is(err, stabilize.ErrNotFound) {
				e.Errorf("%s on a closed handle returned %s", name, kit.Quote(err))
			}
		}()
	}
	e.Must(e.b.Close(), "closing")
}

func rt07(e *env) {
	w := e.filled("w", 1)
	e.commit(e.a, kit.Creation(w))
	e.commit(e.a, &persistence.Commit{WorkflowID: "w", Expect: 1, Stages: w.Stages[:1]})
	e.Same(&e.load(e.a, "w").Header, e.summary(e.b, "w"), "the header alone")
	w.Version = 2
	e.Same(&w.Header, e.summary(e.b, "w"), "the header alone")
	e.create("bare")
	if got := e.load(e.b, "bare"); got.Stages == nil || len(got.Stages) > 0 {
		e.Errorf("a workflow without stages is loaded with %#v, want an empty list", got.Stages)
	}
	e.Same(&e.load(e.a, "bare").Header, e.summary(e.b, "bare"), "the header alone of a workflow without stages")
}

func rt08(e *env) {
	w := kit.Workflow("w", e.Now())
	n := 12
	for i := range n {
		s := &stabilize.Stage{ID: fmt.Sprintf("%c", 'z'-i), Ref: fmt.Sprintf("r%d", (i*7)%n), Position: i * 3}
		for j := range n {
			s.Tasks = append(s.Tasks, &stabilize.Task{ID: fmt.Sprintf("%s%c", s.ID, 'z'-j), Type: "x", Position: j * 2})
		}
		w.Stages = append(w.Stages, s)
	}
	e.commit(e.a, kit.Creation(w))
	e.Same(stored(w, 1), e.load(e.b, "w"), "stages and tasks whose ids sort the other way")
	added := []*stabilize.Stage{}
	for i := range 3 { // positions 41, 40, 5: one goes between
		added = append(added, &stabilize.Stage{ID: fmt.Sprintf("%c", 'b'+i), Ref: fmt.Sprintf("new%d", i), Position: []int{41, 40, 5}[i]})
	}
	e.commit(e.a, &persistence.Commit{WorkflowID: "w", Expect: 1, Stages: []*stabilize.Stage{added[0], w.Stages[7], added[1], w.Stages[2], added[2]}})
	positions := func(s *stabilize.Stage) int { return s.Position }
	got := e.load(e.b, "w").Stages
	if len(got) != n+3 || !slices.IsSortedFunc(got, func(a, b *stabilize.Stage) int { return positions(a) - positions(b) }) {
		var seen []int
		for _, s := range got {
			seen = append(seen, s.Position)
		}
		e.Errorf("after stages were added the positions come as %v", seen)
	}
}

func rt09(e *env) {
	w := kit.Workflow("w", e.Now(), "a", "b", "c")
	w.Stages[2].Requisites = []string{"a", "b", "dangling", "%"}
	e.commit(e.a, kit.Creation(w))
	set := func() []string {
		got := slices.Clone(e.load(e.b, "w").Stages[2].Requisites)
		slices.Sort(got)
		return got
	}
	e.List([]string{"%", "a", "b", "dangling"}, set(), "the requisites")
	c := kit.Update(e.load(e.a, "w"), "fewer", "c")
	c.Stages[0].Requisites = []string{"nowhere", "b"}
	e.commit(e.a, c)
	e.List([]string{"b", "nowhere"}, set(), "the requisites after they changed")
	c = kit.Update(e.load(e.a, "w"), "twice", "c")
	c.Stages[0].Requisites = []string{"b", "b"}
	e.Want(stabilize.ErrInvalid, e.one(e.a, c), "a requisite listed twice")
	e.List([]string{"b", "nowhere"}, set(), "the requisites after a refused change")
}

// What cannot change, and what the store keeps itself. Everything else can.
var (
	fixedOfHeader = []string{"ID", "CreatedAt", "Version"}
	fixedOfStage  = []string{"ID", "Ref", "Round", "Position", "Version"}
	fixedOfTask   = []string{"ID", "Position"} // the identity of a task in its stage
)

func rt10(e *env) {
	w, other := e.filled("w", 1), e.filled("w", 2)
	e.commit(e.a, kit.Creation(w))
	version := int64(1)
	check := func(what string, header bool) {
		c := &persistence.Commit{WorkflowID: "w", Expect: version}
		if header {
			c.Header = w.Header.Clone()
		} else {
			c.Stages = []*stabilize.Stage{w.Stages[0].Clone()}
		}
		e.commit(e.a, c)
		version++
		w.Version = version
		if !header {
			w.Stages[0].Version = version
		} else if version == 2 {
			w.Stages[0].Version, w.Stages[1].Version = 1, 1
		}
		e.Same(w, e.load(e.b, "w"), "after a commit that changed %s alone", what)
	}
	for _, f := range kit.Fields(stabilize.Header{}, fixedOfHeader...) {
		f.Take(&w.Header, &other.Header)
		if w.LimitConcurrent && w.ConfigID == "" {
			w.LimitConcurrent = false
		}
		check("the header's "+f.Name, true)
	}
	s := w.Stages[0]
	s.Tasks[1].ID = s.Tasks[0].ID + "+"
	for _, f := range kit.Fields(stabilize.Stage{}, append(fixedOfStage, "Tasks")...) {
		f.Take(s, other.Stages[0])
		if s.IsSynthetic() != (s.Owner != stabilize.NoOwner) {
			if s.Owner = stabilize.OwnerBefore; other.Stages[0].Owner == s.Owner {
				s.Owner = stabilize.OwnerAfter
			}
		}
		check("the stage's "+f.Name, false)
	}
	for _, f := range kit.Fields(stabilize.Task{}, fixedOfTask...) {
		f.Take(s.Tasks[0], other.Stages[0].Tasks[0])
		check("the task's "+f.Name, false)
	}
	s.Tasks = append(s.Tasks, &stabilize.Task{ID: "added", Type: "x", Position: 9})
	check("the list of tasks (one more)", false)
	s.Tasks = s.Tasks[1:]
	check("the list of tasks (one less)", false)
}

func rt11(e *env) {
	w := e.create("w", "a", "b")
	same := e.unchanged("w")
	change := func(what string, f func(*persistence.Commit)) {
		e.Helper()
		c := kit.Update(w, "refused", "a", "b")
		f(c)
		e.Want(stabilize.ErrInvalid, e.one(e.a, c), "changing %s", what)
		same("after a commit that changes %s", what)
	}
	change("the workflow's id", func(c *persistence.Commit) { c.Header.ID = "other" })
	change("its creation time", func(c *persistence.Commit) { c.Header.CreatedAt = w.CreatedAt.Add(kit.Tick) })
	change("its creation time to none", func(c *persistence.Commit) { c.Header.CreatedAt = time.Time{} })
	change("a stage's ref", func(c *persistence.Commit) { c.Stages[1].Ref = "c" })
	change("a stage's round", func(c *persistence.Commit) { c.Stages[1].Round = 1 })
	change("a stage's position", func(c *persistence.Commit) { c.Stages[1].Position = 7 })
	change("two stages' positions", func(c *persistence.Commit) { c.Stages[0].Position, c.Stages[1].Position = 1, 0 })
}

func rt12(e *env) {
	given, want := e.filled("w", 1), e.filled("w", 1)
	msg := queue.SignalStage{OfStage: queue.ToStage("w", "s"), Data: stabilize.Values{"k": kit.Text("v")}}
	c := kit.Creation(given)
	c.Messages = []queue.Outgoing{{ID: "m", Message: msg}}
	e.commit(e.a, c)
	msg.Data["k"], msg.Data["more"] = kit.Text("spoiled"), kit.Text("spoiled")
	spoil(given)
	e.Same(stored(want, 1), e.load(e.a, "w"), "after the caller changed what it had committed")
	spoil(e.load(e.a, "w"))
	e.Same(stored(want, 1), e.load(e.a, "w"), "after the caller changed what Load had returned")
	spoilHeader(e.summary(e.a, "w"))
	e.Same(&stored(want, 1).Header, e.summary(e.a, "w"), "after the caller changed what Summary had returned")
	page, err := e.a.Query(e.Ctx(), persistence.Query{})
	e.Must(err, "querying")
	for _, h := range page.Workflows {
		spoilHeader(h)
	}
	e.Same(stored(want, 1), e.load(e.a, "w"), "after the caller changed what Query had returned")
	if r, ok := e.a.(persistence.Refresher); ok {
		d, err := r.Refresh(e.Ctx(), "w", 0)
		e.Must(err, "refreshing")
		spoil(&stabilize.Workflow{Header: d.Header, Stages: d.Stages})
		e.Same(stored(want, 1), e.load(e.a, "w"), "after the caller changed what Refresh had returned")
	}
	for _, s := range e.mustPending("w") {
		s.Message.(queue.SignalStage).Data["k"] = kit.Text("spoiled")
	}
	d := e.ClaimOne(e.a, "worker")
	e.Same(stabilize.Values{"k": kit.Text("v")}, d.Message.(queue.SignalStage).Data, "a message after the caller changed what it had pushed and listed")
	d.Message.(queue.SignalStage).Data["k"] = kit.Text("spoiled")
	e.Must(e.a.Release(e.Ctx(), d.Receipt(), time.Time{}, nil), "releasing")
	d = e.ClaimOne(e.a, "worker")
	e.Same(stabilize.Values{"k": kit.Text("v")}, d.Message.(queue.SignalStage).Data, "a message after the worker before changed it")
}

func (e *env) mustPending(id string) []queue.Stored {
	e.Helper()
	out, err := e.a.Pending(e.Ctx(), id)
	e.Must(err, "listing what is pending")
	return out
}

// spoil changes every part of a workflow that an alias could share. The bytes
// of a value are shared by contract and left alone.
func spoil(w *stabilize.Workflow) {
	spoilHeader(&w.Header)
	for _, s := range w.Stages {
		s.Name, s.Requisites[0], s.Tokens.Except[0], s.Failure.Message = "spoiled", "spoiled", "spoiled", "spoiled"
		s.Context["int"], s.Outputs["more"] = kit.Text("spoiled"), kit.Text("spoiled")
		s.Tasks[0].Name, s.Tasks[0].Failure.Message = "spoiled", "spoiled"
		s.Tasks[1] = s.Tasks[0]
	}
	if len(w.Stages) > 1 {
		w.Stages[0], w.Stages[1] = w.Stages[1], w.Stages[0]
	}
}

func spoilHeader(h *stabilize.Header) {
	h.Name, h.Failure.Message, h.Cancel.By, h.Pause.By = "spoiled", "spoiled", "spoiled", "spoiled"
	h.Context["int"], h.Trigger.Parameters["more"] = kit.Text("spoiled"), kit.Text("spoiled")
	delete(h.Trigger.Payload, "int")
	h.Trigger.Artifacts[0] = json.RawMessage(`"spoiled"`)
}

// everything stores a workflow with a row of every kind: stages, messages that
// are ready, delayed, leased and dead, a place and a turn.
func (e *env) everything(id string) {
	e.Helper()
	if others := e.admissions(e.a, "one place").Holding; len(others) == 0 {
		e.hold("keeper", "one place", 1)
	}
	w := e.filled(id, 1)
	w.Status = stabilize.Running
	c := kit.Creation(w)
	c.Events = []events.Event{{Type: events.WorkflowCreated, At: e.Now()}} // for a store that keeps them
	events.Stamp(c.Events, id, w.CreatedAt, 1)
	e.commit(e.a, c)
	e.Must(e.take(id, "places of "+id, 5), "taking a place")
	e.becomes(id, stabilize.Buffered)
	e.Must(e.ask(e.a, id, persistence.WaitForPlace, "one place", 1), "waiting")
	o := about(id, id+"-dead")
	o.MaxAttempts = 1
	e.KillMessage(e.a, o)
	e.Must(e.a.Retire(e.Ctx(), "killer"), "retiring")
	e.Push(e.a, about(id, id+"-leased"))
	for _, d := range e.Claim(e.a, "holder of "+id) {
		if d.ID != id+"-leased" {
			e.Must(e.a.Return(e.Ctx(), d.Receipt()), "returning")
		}
	}
	delayed := about(id, id+"-delayed")
	delayed.At = e.Now().Add(time.Hour)
	e.Push(e.a, about(id, id+"-ready"), delayed)
}

func rt13(e *env) {
	e.deletion(func(before, with, after map[string]int) { e.Same(before, after, "rows by table") })
}

func rt14(e *env) {
	e.deletion(func(before, with, after map[string]int) {
		for table, n := range with {
			if n == 0 {
				e.Errorf("the table %q held no row when everything was stored: extend the test, or leave the table out of the row counter", table)
			}
		}
		if len(with) < 3 {
			e.Errorf("the row counter found %d tables", len(with))
		}
	})
}

func (e *env) deletion(check func(before, with, after map[string]int)) {
	count := func() map[string]int {
		rows, err := power[conformance.RowCounter](e).Rows(e.Ctx())
		e.Must(err, "counting rows")
		return rows
	}
	e.everything("stays")
	before := count()
	e.everything("goes")
	with := count()
	e.Must(e.b.Delete(e.Ctx(), "goes"), "deleting")
	check(before, with, count())
	e.absent(e.a, "goes", "it was deleted")
}

func rt15(e *env) {
	e.create("w", "s")
	e.Must(e.a.Delete(e.Ctx(), "unknown"), "deleting an unknown id")
	e.Must(e.a.Delete(e.Ctx()), "deleting nothing")
	e.load(e.b, "w")
	e.Must(e.a.Delete(e.Ctx(), "unknown", "w", "w"), "deleting an unknown id, and a known one twice")
	e.absent(e.b, "w", "it was deleted")
	e.Must(e.a.Delete(e.Ctx(), "w"), "deleting again")
	doomed := about("unknown", "doomed")
	doomed.MaxAttempts = 1
	e.KillMessage(e.a, doomed)
	e.Push(e.a, about("unknown", "orphan"), kit.Send("loose"))
	e.Must(e.b.Delete(e.Ctx(), "unknown"), "deleting an id that messages are addressed to")
	e.List(nil, e.Pending(e.a, "unknown"), "the messages addressed to it")
	e.List(nil, e.DeadIDs(e.a), "the dead letters addressed to it")
	e.List([]string{"loose"}, e.Pending(e.a, ""), "the messages of no workflow")
}

func rt16(e *env) {
	e.everything("w")
	e.everything("other")
	e.Must(e.a.Delete(e.Ctx(), "w"), "deleting")
	e.absent(e.b, "w", "it was deleted")
	fresh := kit.Workflow("w", e.Now(), "a")
	e.commit(e.b, kit.Creation(fresh))
	e.Same(stored(fresh, 1), e.load(e.a, "w"), "the workflow created after the first was deleted")
	e.List(nil, e.Pending(e.a, "w"), "the messages pending for it")
	e.List([]string{"other-dead"}, e.DeadIDs(e.a), "the dead letters")
	e.List([]string{"other"}, e.admissions(e.a, "one place").Waiting, "who waits")
	e.List([]string{"keeper"}, e.admissions(e.a, "one place").Holding, "who holds a place")
	if got := len(e.Pending(e.a, "other")); got != 4 { // leased, ready, delayed, the notice of the dead letter
		e.Errorf("the other workflow has %d messages, want 4", got)
	}
	e.Must(e.take("w", "places of w", 1), "taking a place as if for the first time")
	c := kit.Update(fresh, "first change", "a")
	c.Expect = 2
	e.commit(e.b, c)
}

func rt17(e *env) {
	w := e.filled("w", 1)
	w.Stages = append(w.Stages, kit.Stage("w", "c", 9))
	w.Stages[1].Requisites = []string{"a", "x", "y"}
	e.commit(e.a, kit.Creation(w))
	e.create("other", "a", "b", "c")
	e.commit(e.a, &persistence.Commit{WorkflowID: "w", Expect: 1, Removed: []string{"w/a"}})
	want := stored(w, 1)
	want.Version, want.Stages = 2, want.Stages[1:]
	e.Same(want, e.load(e.b, "w"), "the workflow after one stage was removed")
	if got := len(e.load(e.b, "other").Stages); got != 3 {
		e.Errorf("another workflow has %d stages left, want 3", got)
	}
	e.Want(stabilize.ErrInvalid, e.one(e.a, &persistence.Commit{WorkflowID: "w", Expect: 2, Removed: []string{"w/a"}}), "removing it again")
	e.Want(stabilize.ErrInvalid, e.one(e.a, &persistence.Commit{WorkflowID: "w", Expect: 2, Removed: []string{"other/a"}}), "removing a stage of another workflow")
	again := kit.Stage("w", "a", 0)
	e.commit(e.a, &persistence.Commit{WorkflowID: "w", Expect: 2, Stages: []*stabilize.Stage{again}})
	again.Version = 3
	e.Same(again, e.load(e.b, "w").StageByRef("a"), "a stage added under the id of the removed one")
}

func rt18(e *env) {
	w := e.create("w", "a", "b")
	e.commit(e.b, &persistence.Commit{WorkflowID: "w", Expect: 1, Removed: []string{"w/a"}})
	same := e.unchanged("w")
	e.Want(stabilize.ErrConflict, e.one(e.a, kit.Update(w, "late", "a")), "changing a stage, decided before it was removed")
	same("after the refused commit")
	if e.load(e.a, "w").StageByRef("a") != nil {
		e.Errorf("the removed stage is back")
	}
}

func rt19(e *env) {
	w := kit.Workflow("w", e.Now(), "s")
	w.Version = 3
	c := kit.Update(w, "nowhere", "s")
	c.Messages = []queue.Outgoing{about("w", "m")}
	e.Want(stabilize.ErrNotFound, e.one(e.a, c), "committing to an unknown workflow")
	for name, c := range map[string]*persistence.Commit{
		"nothing":      {WorkflowID: "w", Expect: 1},
		"a removal":    {WorkflowID: "w", Expect: 1, Removed: []string{"s"}},
		"an admission": {WorkflowID: "w", Expect: 1, Admission: place(persistence.TakePlace, "k", 1)},
	} {
		e.Want(stabilize.ErrNotFound, e.one(e.a, c), "committing %s to an unknown workflow", name)
	}
	e.absent(e.b, "w", "it was never created")
	e.ClaimNone(e.b, "worker", "the commit was refused")
	e.List(nil, e.admissions(e.b, "k").Holding, "who holds a place")
}

func rt20(e *env) {
	e.everything("w")
	keys := []string{"places of w", "one place"}
	want := e.see(e.a, "w", keys)
	dead := e.Dead(e.a)
	e.Same(want, e.see(e.b, "w", keys), "what the second handle sees")
	s := e.h.Reopen()
	e.Same(want, e.see(s, "w", keys), "what is seen after reopening")
	e.Same(dead, e.Dead(s), "the dead letters after reopening")
	e.Lapse()
	if got := len(e.Claim(s, "after")); got != 3 { // leased, ready, the notice of the dead letter
		e.Errorf("after reopening %d messages can be claimed, want 3", got)
	}
	e.commit(s, kit.Update(e.load(s, "w"), "after reopening"))
}

func rt21(e *env) {
	w := kit.Workflow("w", e.Now(), "z", "y", "x", "join", "lonely")
	w.Stages[3].Requisites = []string{"x", "y", "z"}
	for i, o := range []stabilize.Owner{stabilize.OwnerAfter, stabilize.OwnerBefore, stabilize.OwnerAfter} {
		s := kit.Stage("w", fmt.Sprintf("%c-synthetic", 'c'-i), 10+i)
		s.ParentID, s.Owner = "w/join", o
		w.Stages = append(w.Stages, s)
	}
	e.commit(e.a, kit.Creation(w))
	got := e.load(e.b, "w")
	errs := kit.Race(4, func(int) error {
		join, lonely := got.StageByRef("join"), got.StageByRef("lonely")
		for _, l := range []struct {
			name string
			got  []*stabilize.Stage
			want []string
		}{
			{"the upstream stages", got.Upstream(join), []string{"z", "y", "x"}},
			{"the downstream stages", got.Downstream(got.StageByRef("y")), []string{"join"}},
			{"the synthetic stages", got.Children(join, stabilize.NoOwner), []string{"c-synthetic", "b-synthetic", "a-synthetic"}},
			{"the stages after", got.Children(join, stabilize.OwnerAfter), []string{"c-synthetic", "a-synthetic"}},
			{"the upstream stages of none", got.Upstream(lonely), []string{}},
			{"the downstream stages of none", got.Downstream(lonely), []string{}},
			{"the synthetic stages of none", got.Children(lonely, stabilize.NoOwner), []string{}},
		} {
			refs := []string{}
			for _, s := range l.got {
				refs = append(refs, s.Ref)
				if len(s.Tasks) != 1 {
					return fmt.Errorf("%s: %q came with %d tasks", l.name, s.Ref, len(s.Tasks))
				}
			}
			if l.got == nil || !slices.Equal(refs, l.want) {
				return fmt.Errorf("%s: got %v, want %v", l.name, refs, l.want)
			}
		}
		return nil
	})
	e.Must(kit.First(errs), "reading one loaded workflow at once")
}

func rt22(e *env) {
	refs := []string{"1", "10", "1,0", "%", "_", "0", "1%", "'", `"`}
	for _, id := range []string{"w", "w2"} {
		w := kit.Workflow(id, e.Now(), refs...)
		for i, s := range w.Stages {
			s.ID, s.Tasks[0].ID = s.Ref, "t"+s.Ref
			if i > 0 {
				s.Requisites = refs[i-1 : i]
			}
		}
		e.commit(e.a, kit.Creation(w))
	}
	for _, ref := range refs { // change one at a time, in one of two workflows
		e.commit(e.a, kit.Update(e.load(e.a, "w"), ref, ref))
		got := e.load(e.b, "w")
		for _, s := range got.Stages {
			if (s.Version == got.Version) != (s.Ref == ref) {
				e.Errorf("a commit that changed the stage %q left %q at version %d of %d", ref, s.Ref, s.Version, got.Version)
			}
		}
	}
	got, other := e.load(e.b, "w"), e.load(e.b, "w2")
	for i, ref := range refs {
		says, err := stabilize.Get[string](got.Stages[i].Context, "says")
		if err != nil || says != ref {
			e.Errorf("the stage %q says %q", ref, says)
		}
		if got.Stages[i].Version != int64(i)+2 || other.Stages[i].Version != 1 || other.Stages[i].Context != nil {
			e.Errorf("changing the stage %q of one workflow left it at version %d, and the other's at %d", ref, got.Stages[i].Version, other.Stages[i].Version)
		}
		down := got.Downstream(got.Stages[i])
		if i+1 < len(refs) && (len(down) != 1 || down[0].Ref != refs[i+1]) {
			e.Errorf("downstream of %q come %d stages, want %q alone", ref, len(down), refs[i+1])
		}
	}
	e.commit(e.a, &persistence.Commit{WorkflowID: "w", Expect: got.Version, Removed: []string{"%"}})
	if a, b := len(e.load(e.b, "w").Stages), len(e.load(e.b, "w2").Stages); a != len(refs)-1 || b != len(refs) {
		e.Errorf("removing the stage %q left %d stages, and %d of the other workflow", "%", a, b)
	}
}

func rt23(e *env) {
	e.distinct("name", "Name", "NAME", "straße", "STRASSE", "ß", "ẞ", "ı", "i", "I", "İ")
}

func rt24(e *env) {
	e.distinct("name", "name ", " name", "name  ", "name\t", "e\u0301", "\u00e9", "\u212b", "\u00c5", "A\u030a", "a\u200b", "a")
}

// distinct stores one of everything under each name and finds each again.
func (e *env) distinct(names ...string) {
	for i, n := range names {
		w := kit.Workflow(n, e.Now(), names...)
		w.Application, w.ConfigID = "app "+n, "config "+n
		for j, s := range w.Stages {
			s.ID, s.Tasks[0].ID = names[j], names[j]
		}
		c := kit.Creation(w)
		c.Messages = []queue.Outgoing{about(n, n), {ID: n + "-note", Message: kit.Note(n)}}
		c.Admission = place(persistence.TakePlace, "key "+n, 1)
		if err := e.one(e.a, c); err != nil {
			e.Fatalf("creating %q (number %d of %q): %v", n, i, names, err)
		}
	}
	for i, n := range names {
		w := e.load(e.b, n)
		if w.ID != n || len(w.Stages) != len(names) {
			e.Errorf("loading %q gave %q with %d stages", n, w.ID, len(w.Stages))
		}
		e.List([]string{n}, e.Pending(e.b, n), "what is pending for %q", n)
		e.List([]string{n}, e.admissions(e.b, "key "+n).Holding, "who holds a place under %q", "key "+n)
		for _, q := range []persistence.Query{{Application: "app " + n}, {ConfigID: "config " + n}} {
			page, err := e.b.Query(e.Ctx(), q)
			e.Must(err, "querying")
			if len(page.Workflows) != 1 || page.Workflows[0].ID != n {
				e.Errorf("querying %+v found %d workflows, want %q alone", q, len(page.Workflows), n)
			}
		}
		e.commit(e.a, kit.Update(w, fmt.Sprint(i), n))
	}
	for i, n := range names {
		w := e.load(e.b, n)
		for _, s := range w.Stages {
			want := ""
			if s.Ref == n {
				want = fmt.Sprint(i)
			}
			if kit.Says(s) != want {
				e.Errorf("the stage %q of %q says %q, want %q", s.Ref, n, kit.Says(s), want)
			}
		}
	}
	for i, n := range names { // each worker holds one message, and acknowledges none of the others'
		ds := e.ClaimRoom(e.both(i), kit.Worker(n), queue.Room{Control: 2})
		if len(ds) != 2 {
			e.Fatalf("the worker %q was given %d messages, want 2", n, len(ds))
		}
		held, err := e.b.Heartbeat(e.Ctx(), kit.Worker(n))
		e.Must(err, "a heartbeat")
		if len(held.Held) != 2 {
			e.Errorf("the worker %q holds %d messages, want 2", n, len(held.Held))
		}
	}
	e.Must(e.a.Delete(e.Ctx(), names[1]), "deleting %q", names[1])
	for i, n := range names {
		if _, err := e.b.Load(e.Ctx(), n); (err == nil) == (i == 1) {
			e.Errorf("after %q was deleted, loading %q returned %s", names[1], n, kit.Quote(err))
		}
	}
}

func rt25(e *env) {
	w := kit.Workflow("w", e.Now(), "late", "early", "mid", "join")
	w.Stages[2].Requisites = []string{"early"}
	w.Stages[3].Requisites = []string{"early", "late", "mid"}
	put := func(i int, kv ...string) {
		w.Stages[i].Outputs = stabilize.Values{}
		for j := 0; j < len(kv); j += 2 {
			w.Stages[i].Outputs[kv[j]] = kit.Text(kv[j+1])
		}
	}
	put(0, "all", "late", "pair", "late")
	put(1, "all", "early", "pair", "early", "two", "early")
	put(2, "all", "mid", "two", "mid")
	e.commit(e.a, kit.Creation(w))
	// Topological order: late, early, mid, join.
	want := stabilize.Values{"all": kit.Text("mid"), "pair": kit.Text("early"), "two": kit.Text("mid")}
	for range 10 {
		for i, s := range []persistence.Store{e.a, e.b} {
			got := e.load(s, "w")
			e.Same(want, got.Inherited(got.StageByRef("join")), "the outputs that the join sees, through handle %d", i)
		}
	}
	s := e.h.Reopen()
	got := e.load(s, "w")
	e.Same(want, got.Inherited(got.StageByRef("join")), "the outputs that the join sees after reopening")
}

func rt26(e *env) {
	w := kit.Workflow("w", e.Now(), "a", "b")
	w.Stages[0].Outputs = stabilize.Values{"k": kit.Text("v")}
	w.Stages[1].Requisites = []string{"a", "nowhere"}
	e.commit(e.a, kit.Creation(w))
	got := e.load(e.b, "w")
	b := got.StageByRef("b")
	e.List([]string{"a", "nowhere"}, b.Requisites, "the requisites")
	if up := got.Upstream(b); len(up) != 1 || up[0].Ref != "a" {
		e.Errorf("upstream of b come %d stages, want a alone", len(up))
	}
	e.Same(w.Stages[0].Outputs, got.Inherited(b), "what b inherits")
	if got.Readiness(b) == stabilize.Ready {
		e.Errorf("b is ready, although one of its requisites names no stage")
	}
	if got := len(got.TopologicalOrder()); got != 2 {
		e.Errorf("the topological order has %d stages", got)
	}
}

func rt27(e *env) {
	ids := kit.Numbered("w%d", 4)
	for range e.Effort.Of(25, 4) {
		e.createAll(ids, nil, "s")
		var gone atomic.Bool
		errs := kit.Race(3, func(i int) error {
			if i == 0 {
				defer gone.Store(true)
				return e.a.Delete(e.Ctx(), ids...)
			}
			for more := true; more; {
				more = !gone.Load() // one last look after the deletion
				p, err := e.both(i).Query(e.Ctx(), persistence.Query{})
				if err != nil {
					return err
				}
				if n := len(p.Workflows); n != 0 && n != len(ids) {
					return fmt.Errorf("%d of %d workflows that are deleted together were listed", n, len(ids))
				}
			}
			return nil
		})
		e.Must(kit.First(errs), "listing while workflows are deleted")
	}
}
