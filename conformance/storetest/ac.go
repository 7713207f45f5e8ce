package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// atomicity is the group AC: a commit is all or nothing.
func atomicity() []check {
	return []check{
		clause("AC-01", "A commit holding a workflow status, two stages, a new stage, a removed one, three messages, an acknowledgement, a discard and an admission shows all of them after nil is returned.", ac01),
		clause("AC-02", "A commit of which one item fails (stale version, lost lease, no place, a place that is free, a message id in use, a stage that does not exist, a field that cannot change) leaves none of the other items visible.", ac02),
		clause("AC-03", "The item that failed is named in the error.", ac03),
		clause("AC-04", "A commit changes none of the objects passed in, refused or not.", ac04),
		clause("AC-05", "A concurrent reader never observes a strict subset of a commit's items.", ac05),
		clause("AC-06", "A message pushed in a commit is never delivered before all of the commit can be read, and never if it was refused.", ac06),
		clause("AC-07", "A commit can create the workflow and push its first message in one unit.", ac07),
		clause("AC-08", "An empty batch returns nil and touches nothing.", ac08),
		clause("AC-09", "The same stage, message id or receipt twice in one commit returns ErrInvalid before any I/O.", ac09),
		clause("AC-11", "Batches over workflows {A,B} and {B,A} from two handles all finish: no deadlock surfaces to the caller.", ac11),
		clause("AC-12", "Contention between commits of different workflows over two handles is mended inside or returned as ErrTransient, never as another class.", ac12),
		clause("AC-13", "A commit repeated after an unknown outcome does not apply twice: the version, the lease, or for a new workflow its id refuses it, and its own writing can be read back to tell \"applied\" from \"lost to another\".", ac13),
		clause("AC-14", "A commit of 1,000 stages and 1,000 messages succeeds.", ac14),
		clause("AC-17", "A discard removes messages whoever holds them, the acknowledgement of one so removed is ErrLeaseLost, and unknown ids and those of dead letters are ignored: they stay, and are no error. A commit may discard a message that it handles.", ac17),
		clause("AC-18", "A commit that names no workflow stores messages and acknowledges, all or nothing.", ac18),
		clause("AC-19", "A commit may give a message the id of a live one that it handles or discards: remove first, then store; the id of a dead letter stays in use, also when the commit discards it.", ac19),
	}
}

func ac01(e *env) {
	_, c := e.richScene("w")
	e.commit(e.a, c)
	for i := range 3 {
		s := e.both(i)
		if i == 2 {
			s = e.h.Reopen()
		}
		w := e.load(s, "w")
		var refs []string
		for _, st := range w.Stages {
			refs = append(refs, st.Ref)
		}
		e.List([]string{"s1", "s2", "added"}, refs, "handle %d: the stages after a commit that adds one and removes s3", i)
		if w.Status != stabilize.Paused || w.Reason != "rich" || kit.Says(w.StageByRef("s1")) != "rich" || kit.Says(w.StageByRef("s2")) != "rich" {
			e.Errorf("handle %d: the header is %s and says %q, the stages say %q and %q", i, w.Status, w.Reason, kit.Says(w.StageByRef("s1")), kit.Says(w.StageByRef("s2")))
		}
		if w.StageByRef("s1").Tasks[0].Status != stabilize.Running {
			e.Errorf("handle %d: the task's status is lost", i)
		}
		e.List([]string{"rich-1", "rich-2"}, e.Pending(s, "w"), "handle %d: the workflow's messages after two were pushed, one discarded and one acknowledged", i)
		e.List([]string{"rich-3"}, e.Pending(s, ""), "handle %d: the messages of no workflow", i)
		e.List([]string{"w"}, e.admissions(s, "limit").Holding, "handle %d: who holds a place", i)
	}
}

// refusal is a way to refuse a commit, and what the error says.
type refusal struct {
	name  string
	class error
	spoil func(*env, *persistence.Commit)
	names []string                        // texts of which the error holds all
	typed func(error) (want any, got any) // the typed error, where there is one
}

func refusals() []refusal {
	return []refusal{
		{name: "a stale version", class: stabilize.ErrConflict,
			spoil: func(e *env, c *persistence.Commit) { c.Expect = 5 }, names: []string{"w"}},
		{name: "a lost lease", class: stabilize.ErrLeaseLost,
			spoil: func(e *env, c *persistence.Commit) {
				e.Push(e.a, kit.Send("lost"))
				for _, d := range e.Claim(e.a, "owner") {
					if d.ID != "lost" {
						e.Must(e.a.Return(e.Ctx(), d.Receipt()), "returning")
						continue
					}
					e.Must(e.a.Ack(e.Ctx(), d.Receipt()), "acknowledging")
					c.Handled = append(c.Handled, d.Receipt())
				}
			}, names: []string{"lost"},
			typed: func(err error) (any, any) {
				var got *stabilize.LeaseLostError
				errors.As(err, &got)
				return &stabilize.LeaseLostError{Kind: "message", ID: "lost"}, got
			}},
		{name: "no place under the limit", class: stabilize.ErrNoPlace,
			spoil: func(e *env, c *persistence.Commit) {
				e.hold("holder", "limit", 1)
			}, names: []string{"limit", "w"},
			typed: func(err error) (any, any) {
				var got *stabilize.AdmissionError
				errors.As(err, &got)
				return &stabilize.AdmissionError{Key: "limit", WorkflowID: "w", Limit: 1, Holding: 1}, got
			}},
		{name: "a place that is free", class: stabilize.ErrPlaceFree,
			spoil: func(e *env, c *persistence.Commit) {
				c.Admission.Op = persistence.WaitForPlace
			}, names: []string{"limit", "w"},
			typed: func(err error) (any, any) {
				var got *stabilize.AdmissionError
				errors.As(err, &got)
				return &stabilize.AdmissionError{Key: "limit", WorkflowID: "w", Limit: 1, Free: true}, got
			}},
		{name: "a message id in use", class: stabilize.ErrExists,
			spoil: func(e *env, c *persistence.Commit) {
				e.Push(e.a, kit.Send("in-use"))
				c.Messages = append(c.Messages, kit.Send("in-use"))
			}, names: []string{"in-use"},
			typed: func(err error) (any, any) {
				if got, ok := errors.AsType[*stabilize.ExistsError](err); ok {
					return "in-use", got.ID
				}
				return "in-use", ""
			}},
		{name: "a removed stage that does not exist", class: stabilize.ErrInvalid,
			spoil: func(e *env, c *persistence.Commit) { c.Removed = append(c.Removed, "nowhere") }, names: []string{"nowhere"}},
		{name: "a stage's ref that changes", class: stabilize.ErrInvalid,
			spoil: func(e *env, c *persistence.Commit) { c.Stages[1].Ref = "changed" }, names: []string{"s2"}},
		{name: "a creation time that changes", class: stabilize.ErrInvalid,
			spoil: func(e *env, c *persistence.Commit) { c.Header.CreatedAt = e.Now().Add(time.Hour) }, names: []string{"creat"}},
	}
}

// hold makes a running workflow that holds a place.
func (e *env) hold(id, key string, limit int) {
	e.Helper()
	c := kit.Creation(kit.Workflow(id, e.Now()))
	e.commit(e.a, c)
	e.commit(e.a, &persistence.Commit{WorkflowID: id, Expect: 1, Admission: &persistence.Admission{Op: persistence.TakePlace, Key: key, Limit: limit}})
}

func ac02(e *env) {
	for i, r := range refusals() {
		_, c := e.fresh(i, r)
		same := e.unchanged("w", "limit")
		e.Want(r.class, e.one(e.b, c), "a commit of every kind of item with %s", r.name)
		same("after a commit refused for %s", r.name)
		e.Must(e.one(e.b, &persistence.Commit{WorkflowID: "w", Expect: 1}), "a later commit on the same handle")
		e.List(nil, e.admissions(e.a, "limit").Waiting, "who waits after a commit refused for %s", r.name)
	}
}

// fresh opens an empty scene for refusal i: what the one before left is removed.
func (e *env) fresh(i int, r refusal) (*stabilize.Workflow, *persistence.Commit) {
	e.Helper()
	if i > 0 {
		e.Must(e.a.Delete(e.Ctx(), "w", "holder"), "deleting")
		for _, id := range e.Pending(e.a, "") {
			e.commit(e.a, &persistence.Commit{Discard: []string{id}})
		}
	}
	w, c := e.richScene("w")
	r.spoil(e, c)
	return w, c
}

func ac03(e *env) {
	for i, r := range refusals() {
		_, c := e.fresh(i, r)
		err := e.one(e.b, c)
		if err == nil {
			e.Fatalf("a commit with %s succeeded", r.name)
		}
		for _, n := range r.names {
			if !strings.Contains(strings.ToLower(err.Error()), n) {
				e.Errorf("a commit refused for %s says %q, which does not name %q", r.name, err, n)
			}
		}
		if r.typed != nil {
			want, got := r.typed(err)
			e.Same(want, got, "a commit refused for %s: the typed error", r.name)
		}
	}
}

func copyCommit(c *persistence.Commit) *persistence.Commit {
	out := *c
	if c.Header != nil {
		out.Header = c.Header.Clone()
	}
	out.Stages = nil
	for _, s := range c.Stages {
		out.Stages = append(out.Stages, s.Clone())
	}
	out.Removed, out.Handled = slices.Clone(c.Removed), slices.Clone(c.Handled)
	out.Discard, out.Messages = slices.Clone(c.Discard), slices.Clone(c.Messages)
	if c.Admission != nil {
		a := *c.Admission
		out.Admission = &a
	}
	return &out
}

func ac04(e *env) {
	for i, r := range refusals() {
		_, c := e.fresh(i, r)
		c.Messages[0].At = e.Now().In(time.FixedZone("east", 3600)).Add(time.Nanosecond)
		before, zone := copyCommit(c), c.Messages[0].At
		e.Want(r.class, e.one(e.a, c), "a commit with %s", r.name)
		if !reflect.DeepEqual(before, c) || c.Messages[0].At != zone {
			e.Errorf("a commit refused for %s changed what it was given: %s", r.name, kit.Diff(before, c))
		}
	}
	_, c := e.fresh(1, refusal{spoil: func(*env, *persistence.Commit) {}})
	c.Messages[0].ID = ""
	before := copyCommit(c)
	e.commit(e.a, c)
	if !reflect.DeepEqual(before, c) {
		e.Errorf("a commit that applied changed what it was given: %s", kit.Diff(before, c))
	}
}

func ac05(e *env) {
	w := e.create("w", "s1", "s2", "s3")
	rounds := e.Effort.Of(100, 20)
	e.Push(e.a, about("w", "m1"))
	var wrong atomic.Pointer[string]
	see := func(format string, args ...any) error {
		text := fmt.Sprintf(format, args...)
		wrong.CompareAndSwap(nil, &text)
		return nil
	}
	var done atomic.Bool
	errs := kit.Race(3, func(i int) error {
		if i == 0 {
			defer done.Store(true)
			for v := 1; v <= rounds; v++ {
				says := fmt.Sprintf("m%d", v+1)
				c := kit.Update(w, says, "s1", "s3")
				c.Expect = int64(v)
				c.Messages, c.Discard = []queue.Outgoing{about("w", says)}, []string{fmt.Sprintf("m%d", v)}
				if err := e.one(e.a, c); err != nil {
					return err
				}
			}
			return nil
		}
		s := e.both(i)
		last := int64(0)
		for more := true; more && wrong.Load() == nil; {
			more = !done.Load() // one last look after the writer is done
			before, err := s.Pending(e.Ctx(), "w")
			if err != nil {
				return err
			}
			got, err := s.Load(e.Ctx(), "w")
			if err != nil {
				return err
			}
			after, err := s.Pending(e.Ctx(), "w")
			if err != nil {
				return err
			}
			if len(before) != 1 || len(after) != 1 {
				return see("a reader saw %d messages, then %d; each commit removes one and stores one", len(before), len(after))
			}
			says := fmt.Sprintf("m%d", got.Version)
			if got.Version > 1 && (got.Reason != says || kit.Says(got.Stages[0]) != says || kit.Says(got.Stages[2]) != says) {
				return see("a reader saw version %d with a header of %q and stages of %q and %q", got.Version, got.Reason, kit.Says(got.Stages[0]), kit.Says(got.Stages[2]))
			}
			if n := number(before[0].ID); n > got.Version {
				return see("a reader saw the message of version %d, then the workflow at version %d", n, got.Version)
			}
			if n := number(after[0].ID); n < got.Version {
				return see("a reader saw the workflow at version %d, then the message of version %d", got.Version, n)
			}
			if got.Version < last {
				return see("a reader saw version %d after version %d", got.Version, last)
			}
			last = got.Version
		}
		return nil
	})
	e.Must(kit.First(errs), "writing and reading at the same time")
	if text := wrong.Load(); text != nil {
		e.Errorf("%s", *text)
	}
}

func number(id string) int64 {
	var n int64
	if _, err := fmt.Sscanf(id, "m%d", &n); err != nil {
		return -1
	}
	return n
}

func ac06(e *env) {
	w := e.create("w", "s")
	rounds := e.Effort.Of(60, 10)
	var done atomic.Bool
	var wrong atomic.Pointer[string]
	delivered := make([]bool, rounds+2)
	errs := kit.Race(2, func(i int) error {
		if i == 0 {
			defer done.Store(true)
			for v := 1; v <= rounds; v++ {
				c := kit.Update(w, fmt.Sprintf("m%d", v), "s")
				c.Expect = int64(v)
				c.Messages = []queue.Outgoing{about("w", fmt.Sprintf("m%d", v))}
				refused := *c
				refused.Expect += 100
				refused.Messages = []queue.Outgoing{about("w", fmt.Sprintf("refused%d", v))}
				if errs := e.a.CommitBatch(e.Ctx(), []*persistence.Commit{&refused, c}); errs[1] != nil || !errors.Is(errs[0], stabilize.ErrConflict) {
					return fmt.Errorf("committing version %d: %v", v, errs)
				}
			}
			return nil
		}
		for more := true; more && wrong.Load() == nil; {
			more = !done.Load() // one last look after the writer is done
			ds, err := e.b.Claim(e.Ctx(), kit.Worker("reader"), kit.Plenty())
			if err != nil {
				return err
			}
			for _, d := range ds {
				n := number(d.ID)
				got, err := e.b.Load(e.Ctx(), "w")
				if err != nil {
					return err
				}
				text := ""
				switch {
				case n < 0:
					text = fmt.Sprintf("the message %q of a refused commit was delivered", d.ID)
				case got.Version <= n:
					text = fmt.Sprintf("the message of the commit that made version %d was delivered while the workflow was at version %d", n+1, got.Version)
				default:
					delivered[n] = true
				}
				if text != "" {
					wrong.Store(&text)
				}
			}
		}
		return nil
	})
	e.Must(kit.First(errs), "committing and claiming at the same time")
	if text := wrong.Load(); text != nil {
		e.Fatalf("%s", *text)
	}
	for v := 1; v <= rounds; v++ {
		if !delivered[v] {
			e.Errorf("the message of commit %d was not delivered", v)
		}
	}
}

func ac07(e *env) {
	c := kit.Creation(kit.Workflow("w", e.Now(), "s"))
	c.Messages = []queue.Outgoing{about("w", "first")}
	e.commit(e.a, c)
	e.load(e.b, "w")
	if d := e.ClaimOne(e.b, "worker"); d.ID != "first" || queue.WorkflowOf(d.Message) != "w" {
		e.Errorf("the first message came as %q of workflow %q", d.ID, queue.WorkflowOf(d.Message))
	}
	again := kit.Creation(kit.Workflow("w", e.Now(), "s"))
	again.Messages = []queue.Outgoing{about("w", "second")}
	e.Want(stabilize.ErrExists, e.one(e.a, again), "creating it again")
	refused := kit.Creation(kit.Workflow("other", e.Now(), "s"))
	refused.Messages = []queue.Outgoing{about("other", "fresh"), about("other", "first")}
	e.Want(stabilize.ErrExists, e.one(e.a, refused), "creating another with a message id in use")
	e.absent(e.b, "other", "its creation was refused")
	e.ClaimNone(e.b, "worker", "both creations were refused")
}

func ac08(e *env) {
	e.create("w", "s")
	same := e.unchanged("w")
	for _, empty := range [][]*persistence.Commit{nil, {}} {
		if errs := e.a.CommitBatch(e.Ctx(), empty); errs != nil {
			e.Errorf("an empty batch returned %v, want nil", errs)
		}
	}
	same("after empty batches")
}

func ac09(e *env) {
	w := kit.Workflow("w", e.Now(), "s1")
	twice := kit.Stage("w", "s1", 0)
	m, r := kit.Send("m"), queue.Receipt{ID: "m", Token: "t"}
	// The workflow does not exist: a store that looked would say so instead.
	for name, c := range map[string]*persistence.Commit{
		"a stage":           {WorkflowID: "w", Expect: 1, Stages: []*stabilize.Stage{w.Stages[0], twice}},
		"a removed stage":   {WorkflowID: "w", Expect: 1, Removed: []string{"x", "x"}},
		"a stage, and gone": {WorkflowID: "w", Expect: 1, Stages: []*stabilize.Stage{twice}, Removed: []string{twice.ID}},
		"a new stage":       {WorkflowID: "w", Header: &w.Header, Stages: []*stabilize.Stage{w.Stages[0], twice}},
		"a message id":      {WorkflowID: "w", Expect: 1, Messages: []queue.Outgoing{m, m}},
		"a receipt":         {WorkflowID: "w", Expect: 1, Handled: []queue.Receipt{r, r}},
	} {
		e.Want(stabilize.ErrInvalid, e.one(e.a, c), "committing %s twice", name)
	}
	e.absent(e.b, "w", "every commit was refused")
	e.ClaimNone(e.b, "worker", "every commit was refused")
}

func ac11(e *env) {
	e.createAll([]string{"A", "B"}, nil, "s")
	rounds := e.Effort.Of(30, 3)
	errs := kit.Race(4, func(i int) error {
		order := []string{"A", "B"}
		if i%2 == 1 {
			order = []string{"B", "A"}
		}
		s := e.both(i)
		for range rounds {
			var cs []*persistence.Commit
			for _, id := range order {
				w, err := s.Load(e.Ctx(), id)
				if err != nil {
					return err
				}
				cs = append(cs, kit.Update(w, "x", "s"))
			}
			for _, err := range s.CommitBatch(e.Ctx(), cs) {
				if err != nil && !errors.Is(err, stabilize.ErrConflict) {
					return err
				}
			}
		}
		return nil
	})
	e.Must(kit.First(errs), "committing batches over {A,B} and {B,A}")
	for _, id := range []string{"A", "B"} {
		e.commit(e.a, kit.Update(e.load(e.a, id), "last", "s"))
	}
}

func ac12(e *env) {
	ids := kit.Numbered("w%d", 8)
	e.createAll(ids, nil, "s")
	rounds := e.Effort.Of(20, 3)
	errs := kit.Race(len(ids), func(i int) error {
		s, w := e.both(i), kit.Workflow(ids[i], e.Now(), "s")
		for v, tries := 1, 0; v <= rounds; tries++ {
			c := kit.Update(w, "x", "s")
			c.Header.CreatedAt = w.CreatedAt
			c.Expect = int64(v)
			c.Messages = []queue.Outgoing{about(w.ID, fmt.Sprintf("%s-%d", w.ID, v))}
			switch err := e.one(s, c); {
			case err == nil:
				v++
			case !errors.Is(err, stabilize.ErrTransient) || tries > kit.Tries:
				return err
			}
		}
		return nil
	})
	e.Must(kit.First(errs), "committing to workflows of one's own, nobody else's")
	for _, id := range ids {
		if got := e.summary(e.b, id).Version; got != int64(rounds)+1 {
			e.Errorf("%d commits left %s at version %d", rounds, id, got)
		}
		if got := len(e.Pending(e.b, id)); got != rounds {
			e.Errorf("%d commits left %d messages of %s", rounds, got, id)
		}
	}
}

func ac13(e *env) {
	_, c := e.richScene("w")
	e.commit(e.a, c)
	same := e.unchanged("w", "limit")
	err := e.one(e.b, c)
	var conflict *stabilize.ConflictError
	switch {
	case errors.As(err, &conflict):
		if conflict.Actual != c.Expect+1 {
			e.Errorf("the repeated commit from version %d found version %d", c.Expect, conflict.Actual)
		}
	case !errors.Is(err, stabilize.ErrLeaseLost):
		e.Errorf("the repeated commit returned %s, want a conflict or a lost lease", kit.Quote(err))
	}
	same("after repeating the commit that applied")
	if h := e.summary(e.b, "w"); h.Reason != "rich" {
		e.Errorf("its own writing cannot be read back: the header says %q", h.Reason)
	}
	created := kit.Creation(kit.Workflow("new", e.Now(), "s"))
	created.Messages = []queue.Outgoing{{Message: kit.Note("without an id")}}
	e.commit(e.a, created)
	e.Want(stabilize.ErrExists, e.one(e.b, created), "repeating a creation")
	loose := &persistence.Commit{Messages: []queue.Outgoing{kit.Send("loose")}}
	e.commit(e.a, loose)
	e.Want(stabilize.ErrExists, e.one(e.b, loose), "repeating a commit that names no workflow, its message with an id")
	if got := len(e.Pending(e.a, "")); got != 3 { // with rich-3
		e.Errorf("%d messages of no workflow are stored, want 3", got)
	}
}

func ac14(e *env) {
	n := e.Effort.Size(1000, 40)
	w := kit.Workflow("w", e.Now(), kit.Numbered("s%d", n)...)
	c := kit.Creation(w)
	for _, text := range kit.Numbered("m%d", n) {
		c.Messages = append(c.Messages, about("w", text))
	}
	e.commit(e.a, c)
	got := e.load(e.b, "w")
	next := kit.Update(got, "all", kit.Numbered("s%d", n)...)
	for _, d := range e.Claim(e.b, "worker") {
		next.Handled = append(next.Handled, d.Receipt())
	}
	if len(got.Stages) != n || len(next.Handled) != n {
		e.Fatalf("%d stages and %d messages came back, want %d of each", len(got.Stages), len(next.Handled), n)
	}
	for _, text := range kit.Numbered("n%d", n) {
		next.Messages = append(next.Messages, about("w", text))
	}
	e.commit(e.a, next)
	e.List(kit.Numbered("n%d", n), e.Pending(e.b, "w"), "the messages after a second large commit")
	for _, s := range e.load(e.b, "w").Stages {
		if kit.Says(s) != "all" {
			e.Fatalf("stage %q was not changed", s.Ref)
		}
	}
}

func ac17(e *env) {
	w := e.create("w", "s")
	e.Push(e.a, kit.Send("leased"))
	held := e.ClaimOne(e.a, "owner")
	e.Push(e.a, kit.Send("ready"), kit.SendAt("delayed", e.Now().Add(time.Hour)), kit.Send("kept"))
	c := kit.Update(w, "discarding")
	c.Discard = []string{"leased", "ready", "unknown", "delayed"}
	e.commit(e.b, c)
	e.List([]string{"kept"}, e.Pending(e.a, ""), "the messages after a commit that discards the others")
	e.Want(stabilize.ErrLeaseLost, e.a.Ack(e.Ctx(), held.Receipt()), "acknowledging a delivery that was discarded")
	late := &persistence.Commit{WorkflowID: "w", Expect: 2, Handled: []queue.Receipt{held.Receipt()}}
	e.Want(stabilize.ErrLeaseLost, e.one(e.a, late), "a commit that handled a delivery that was discarded")
	e.commit(e.a, &persistence.Commit{Discard: []string{"kept"}})
	e.ClaimNone(e.a, "worker", "everything was discarded")
	e.Kill(e.a, "dead")
	e.commit(e.b, &persistence.Commit{Discard: []string{"dead", "unknown"}})
	e.List([]string{"dead"}, e.DeadIDs(e.a), "the dead letters after a commit that discards one")

	e.Push(e.a, kit.Send("both"))
	both := e.ClaimOne(e.a, "owner")
	c = &persistence.Commit{WorkflowID: "w", Expect: 2, Handled: []queue.Receipt{both.Receipt()}, Discard: []string{"both"}}
	e.commit(e.a, c)
	e.Push(e.a, kit.Send("both"))
	again := e.ClaimOne(e.b, "owner")
	stale := &persistence.Commit{WorkflowID: "w", Expect: 3, Handled: []queue.Receipt{both.Receipt()}, Discard: []string{"both"}}
	e.Want(stabilize.ErrLeaseLost, e.one(e.a, stale), "a commit that discards a message which it handles, and which another has")
	e.Must(e.b.Ack(e.Ctx(), again.Receipt()), "acknowledging a message that a refused commit would have discarded")
}

func ac18(e *env) {
	e.Push(e.a, kit.Send("in"))
	d := e.ClaimOne(e.a, "worker")
	c := &persistence.Commit{Handled: []queue.Receipt{d.Receipt()}, Messages: []queue.Outgoing{kit.Send("out"), {Message: kit.Note("unnamed")}}}
	e.commit(e.a, c)
	if d := e.Depth(e.b); d.Ready != 2 || d.Leased != 0 {
		e.Errorf("after acknowledging one message and storing two the queue holds %+v", d)
	}
	out := e.Claim(e.b, "worker")
	if len(out) != 2 || out[0].ID != "out" || out[1].ID == "" || kit.NoteOf(out[1].Message) != "unnamed" {
		e.Fatalf("the two messages came as %v", kit.IDs(out))
	}
	refused := &persistence.Commit{Handled: []queue.Receipt{out[0].Receipt(), d.Receipt()}, Messages: []queue.Outgoing{kit.Send("never")}}
	e.Want(stabilize.ErrLeaseLost, e.one(e.a, refused), "a commit of which one of two receipts is lost")
	if d := e.Depth(e.b); d.Ready != 0 || d.Leased != 2 {
		e.Errorf("after a refused commit the queue holds %+v, want the two leased messages", d)
	}
	for name, c := range map[string]*persistence.Commit{
		"a version": {Expect: 1}, "a stage": {Stages: []*stabilize.Stage{kit.Stage("w", "s", 0)}},
		"a removed stage": {Removed: []string{"s"}}, "a header": {Header: &stabilize.Header{ID: "w"}},
		"an admission": {Admission: &persistence.Admission{Op: persistence.TakePlace, Key: "k", Limit: 1}},
	} {
		e.Want(stabilize.ErrInvalid, e.one(e.a, c), "a commit that names no workflow but holds %s", name)
	}
}

func ac19(e *env) {
	w := e.create("w", "s")
	e.Push(e.a, about("w", "handled"))
	d := e.ClaimOne(e.a, "worker")
	e.Push(e.a, about("w", "discarded"))
	c := kit.Update(w, "again", "s")
	c.Handled, c.Discard = []queue.Receipt{d.Receipt()}, []string{"discarded"}
	c.Messages = []queue.Outgoing{kit.Send("handled"), kit.Send("discarded")}
	if err := e.one(e.b, c); err != nil {
		e.Fatalf("a commit whose messages have the ids of those that it removes: %v", err)
	}
	e.List(nil, e.Pending(e.a, "w"), "the messages that the commit removed")
	ds := e.Claim(e.a, "next")
	e.List([]string{"handled", "discarded"}, kit.IDs(ds), "the messages stored under the same ids")
	for _, d := range ds {
		if d.Attempts != 1 || kit.NoteOf(d.Message) != d.ID {
			e.Errorf("%q comes as attempt %d of %q", d.ID, d.Attempts, kit.NoteOf(d.Message))
		}
	}
	e.Want(stabilize.ErrLeaseLost, e.a.Ack(e.Ctx(), d.Receipt()), "acknowledging the first of that id")
	e.Kill(e.a, "dead")
	refused := &persistence.Commit{Discard: []string{"dead"}, Messages: []queue.Outgoing{kit.Send("dead")}}
	e.Want(stabilize.ErrExists, e.one(e.a, refused), "a commit whose message has the id of a dead letter that it discards")
	e.List([]string{"dead"}, e.DeadIDs(e.b), "the dead letters after the refused commit")
}
