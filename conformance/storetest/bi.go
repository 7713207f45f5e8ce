package storetest

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// badInput is the group BI of the store.
func badInput() []check {
	return []check{
		clause("BI-01", "Empty, over-long, NUL-bearing and newline-bearing ids are ErrInvalid, and nothing is stored.", bi01),
		clause("BI-02", "A nil commit, stage, task or message is ErrInvalid, not a panic, and leaves the rest of a batch alone.", bi02),
		clause("BI-03", "A negative version, round, timeout, number of attempts or page size is ErrInvalid.", bi03),
		clause("BI-04", `Query metacharacters ('; --, %, _, $where, {"$gt":""}, ../, \) in every text field are stored and matched literally.`, bi04),
		clause("BI-05", "Refs used twice, requisites on oneself and cycles in a new workflow are ErrInvalid and write nothing.", bi05),
		clauseFor(conformance.CanTamper, "BI-06", "A stored row that cannot be understood is ErrCorrupt with table and id, never a zero value; other workflows can be read.", bi06),
		clause("BI-09", "Every error returned matches exactly one class with errors.Is.", bi09),
	}
}

var badIDs = map[string]string{
	"an id of 513 bytes": strings.Repeat("x", stabilize.MaxIDLength+1), "an id with a NUL": "a\x00b", "an id with a newline": "a\nb",
	"an id with a carriage return": "a\rb", "an id of invalid UTF-8": "a\xffb",
}

func bi01(e *env) {
	places := map[string]func(c *persistence.Commit, w *stabilize.Workflow, id string){
		"stage id":  func(c *persistence.Commit, w *stabilize.Workflow, id string) { w.Stages[0].ID = id },
		"ref":       func(c *persistence.Commit, w *stabilize.Workflow, id string) { w.Stages[0].Ref = id },
		"requisite": func(c *persistence.Commit, w *stabilize.Workflow, id string) { w.Stages[0].Requisites = []string{id} },
		"task id":   func(c *persistence.Commit, w *stabilize.Workflow, id string) { w.Stages[0].Tasks[0].ID = id },
		"task type": func(c *persistence.Commit, w *stabilize.Workflow, id string) { w.Stages[0].Tasks[0].Type = id },
		"admission key": func(c *persistence.Commit, w *stabilize.Workflow, id string) {
			c.Admission = place(persistence.TakePlace, id, 1)
		},
		"workflow id": func(c *persistence.Commit, w *stabilize.Workflow, id string) {
			if id != "" {
				c.WorkflowID, w.ID = id, id
			} else {
				w.ID = "" // an empty WorkflowID says that the commit names none
			}
		},
		"discarded id": func(c *persistence.Commit, w *stabilize.Workflow, id string) {
			c.Discard = []string{""}
		},
		"receipt": func(c *persistence.Commit, w *stabilize.Workflow, id string) {
			c.Handled = []queue.Receipt{{Token: "t"}}
		},
		"receipt without a token": func(c *persistence.Commit, w *stabilize.Workflow, id string) {
			c.Handled = []queue.Receipt{{ID: "m"}}
		},
		"message id": func(c *persistence.Commit, w *stabilize.Workflow, id string) {
			if id == "" {
				id = "a\nb" // an empty one asks the store for one
			}
			c.Messages[0].ID = id
		},
		"message's workflow": func(c *persistence.Commit, w *stabilize.Workflow, id string) {
			if id == "" {
				id = "a\nb" // an empty one belongs to no workflow
			}
			c.Messages[0].Message = queue.StartWorkflow{OfWorkflow: queue.ToWorkflow(id)}
		},
	}
	bad := map[string]string{"an empty id": ""}
	maps.Copy(bad, badIDs)
	for where, put := range places {
		for name, id := range bad {
			w := kit.Workflow("w", e.Now(), "s")
			c := kit.Creation(w)
			c.Messages = []queue.Outgoing{about("w", "m")}
			put(c, w, id)
			e.Want(stabilize.ErrInvalid, e.one(e.a, c), "a creation with %s as %s", name, where)
		}
	}
	e.absent(e.b, "w", "every creation was invalid")
	e.ClaimNone(e.b, "worker", "every creation was invalid")
	long := strings.Repeat("é", stabilize.MaxIDLength/2)
	w := kit.Workflow(long, e.Now())
	w.Stages = []*stabilize.Stage{{ID: long, Ref: long, Tasks: []*stabilize.Task{{ID: long, Type: long}}}}
	c := kit.Creation(w)
	c.Messages, c.Admission = []queue.Outgoing{about(long, long)}, place(persistence.TakePlace, long, 1)
	e.commit(e.a, c)
	e.Same(stored(w, 1), e.load(e.b, long), "a workflow whose ids are of the greatest length")
}

func bi02(e *env) {
	e.create("w", "s")
	ok := func() *persistence.Commit { return kit.Update(e.load(e.a, "w"), "fine", "s") }
	nilTask := kit.Stage("w", "s", 0)
	nilTask.Tasks = []*stabilize.Task{nil}
	for name, c := range map[string]*persistence.Commit{
		"a nil commit":                nil,
		"a nil stage":                 {WorkflowID: "w", Expect: 1, Stages: []*stabilize.Stage{nil}},
		"a nil task":                  {WorkflowID: "w", Expect: 1, Stages: []*stabilize.Stage{nilTask}},
		"a nil message":               {WorkflowID: "w", Expect: 1, Messages: []queue.Outgoing{{ID: "m"}}},
		"no header for a creation":    {WorkflowID: "new", Stages: []*stabilize.Stage{kit.Stage("new", "s", 0)}},
		"a nil stage of a creation":   {WorkflowID: "new", Header: &stabilize.Header{ID: "new"}, Stages: []*stabilize.Stage{nil}},
		"an admission of no kind":     {WorkflowID: "w", Expect: 1, Admission: &persistence.Admission{Key: "k"}},
		"an admission of kind 99":     {WorkflowID: "w", Expect: 1, Admission: &persistence.Admission{Op: 99, Key: "k"}},
		"a lease without a worker":    {Messages: []queue.Outgoing{{Message: kit.Note("x"), Lease: &queue.Lease{Token: "t"}}}},
		"a lease without a token":     {Messages: []queue.Outgoing{{Message: kit.Note("x"), Lease: &queue.Lease{Worker: "w"}}}},
		"an unknown workflow status":  {WorkflowID: "w", Expect: 1, Header: &stabilize.Header{ID: "w", Status: 77}},
		"an unknown status of a task": {WorkflowID: "w", Expect: 1, Stages: []*stabilize.Stage{{ID: "s", Ref: "s", Tasks: []*stabilize.Task{{ID: "t", Type: "x", Status: 77}}}}},
	} {
		before := e.load(e.a, "w").Version
		errs := e.a.CommitBatch(e.Ctx(), []*persistence.Commit{c, ok()})
		if len(errs) != 2 {
			e.Fatalf("a batch of two with %s returned %d errors", name, len(errs))
		}
		e.Want(stabilize.ErrInvalid, errs[0], "a commit with %s", name)
		if got := e.load(e.b, "w").Version; errs[1] != nil || got != before+1 {
			e.Errorf("beside a commit with %s, a good one returned %s and left version %d after %d", name, kit.Quote(errs[1]), got, before)
		}
	}
	e.absent(e.b, "new", "every creation was invalid")
	e.ClaimNone(e.b, "worker", "every message was invalid")
}

func bi03(e *env) {
	w := e.create("w", "s")
	same := e.unchanged("w")
	stage := func(f func(*stabilize.Stage)) *persistence.Commit {
		s := w.Stages[0].Clone()
		f(s)
		return &persistence.Commit{WorkflowID: "w", Expect: 1, Stages: []*stabilize.Stage{s}}
	}
	for name, c := range map[string]*persistence.Commit{
		"version":            {WorkflowID: "w", Expect: -1},
		"round":              stage(func(s *stabilize.Stage) { s.Round = -1 }),
		"timeout":            stage(func(s *stabilize.Stage) { s.Timeout = -1 }),
		"threshold":          stage(func(s *stabilize.Stage) { s.Join, s.Threshold, s.Requisites = stabilize.JoinNOfM, -1, []string{"x"} }),
		"number of attempts": {WorkflowID: "w", Expect: 1, Messages: []queue.Outgoing{{Message: kit.Note("x"), MaxAttempts: -1}}},
	} {
		e.Want(stabilize.ErrInvalid, e.one(e.a, c), "a commit with a negative %s", name)
		same("after a commit with a negative %s", name)
	}
	_, err := e.a.Query(e.Ctx(), persistence.Query{Limit: -5})
	e.Want(stabilize.ErrInvalid, err, "a query with a negative limit")
}

func bi04(e *env) {
	hostile := []string{"'; DROP TABLE workflows; --", "%", "_", "$where", `{"$gt":""}`, "../../etc/passwd", `\`, `\'`, "${x}", "{{x}}", "?", "$1", ":id", "@p", "\x1f", "NULL", "true", "0"}
	for i, text := range hostile {
		w := e.filled(fmt.Sprintf("w%d", i), 1)
		kit.Strings(w, func(path string, field reflect.Value) {
			switch {
			case !isIdentifier(path):
				field.SetString(text)
			case path == ".Header.ID":
				field.SetString(text)
			case strings.HasSuffix(path, ".ParentID"):
				field.SetString(text + "'s parent")
			}
		})
		w.ID = text
		w.Stages[0].ID, w.Stages[0].Ref = text, text
		w.Stages[0].Requisites = []string{"x" + text, text + "x", text + "y"}
		c := kit.Creation(w)
		c.Messages = []queue.Outgoing{{ID: text, Message: queue.CancelRegion{OfWorkflow: queue.ToWorkflow(text), Region: text, Reason: text}}}
		c.Admission = place(persistence.TakePlace, text, 1)
		w.Status = stabilize.Running
		e.commit(e.a, c)
		e.Same(stored(w, 1), e.load(e.b, text), "a workflow that says %q everywhere", text)
	}
	for _, text := range hostile {
		e.List([]string{text}, e.query(persistence.Query{Application: text}), "workflows of the application %q", text)
		e.List([]string{text}, e.query(persistence.Query{ConfigID: text}), "workflows of the configuration %q", text)
		e.List([]string{text}, e.Pending(e.b, text), "what is pending for %q", text)
		e.List([]string{text}, e.admissions(e.b, text).Holding, "who holds a place under %q", text)
	}
	e.Must(e.a.Delete(e.Ctx(), "%"), "deleting")
	if got := len(e.query(persistence.Query{})); got != len(hostile)-1 {
		e.Errorf("deleting %q left %d workflows of %d", "%", got, len(hostile))
	}
}

func bi05(e *env) {
	for name, spoil := range map[string]func(s []*stabilize.Stage){
		"a ref used twice":             func(s []*stabilize.Stage) { s[2].Ref = "a" },
		"an id used twice":             func(s []*stabilize.Stage) { s[2].ID = s[0].ID },
		"a position used twice":        func(s []*stabilize.Stage) { s[2].Position = 1 },
		"a position that goes back":    func(s []*stabilize.Stage) { s[1].Position = 5 },
		"a stage that requires itself": func(s []*stabilize.Stage) { s[1].Requisites = []string{"b"} },
		"a cycle of two":               func(s []*stabilize.Stage) { s[0].Requisites, s[1].Requisites = []string{"b"}, []string{"a"} },
		"a task id used twice": func(s []*stabilize.Stage) {
			s[0].Tasks = append(s[0].Tasks, &stabilize.Task{ID: s[0].Tasks[0].ID, Type: "x", Position: 1})
		},
		"a task position that goes back": func(s []*stabilize.Stage) {
			s[0].Tasks = append(s[0].Tasks, &stabilize.Task{ID: "t", Type: "x", Position: -1})
		},
		"a cycle of three": func(s []*stabilize.Stage) {
			s[0].Requisites, s[1].Requisites, s[2].Requisites = []string{"c"}, []string{"a"}, []string{"b"}
		},
	} {
		w := kit.Workflow("w", e.Now(), "a", "b", "c")
		spoil(w.Stages)
		e.Want(stabilize.ErrInvalid, e.one(e.a, kit.Creation(w)), "creating a workflow with %s", name)
		e.absent(e.b, "w", "its creation was invalid")
	}
}

func bi06(e *env) {
	tamper := func(table, id, body string) {
		e.Helper()
		e.Must(power[conformance.Tamperer](e).Tamper(e.Ctx(), table, id, []byte(body)), "tampering with %s %q", table, id)
		s := e.h.Reopen()
		_, err := s.Load(e.Ctx(), "w")
		var corrupt *stabilize.CorruptError
		if !errors.Is(err, stabilize.ErrCorrupt) || !errors.As(err, &corrupt) || corrupt.Table != table || corrupt.ID != id {
			e.Errorf("loading a workflow whose row %q of %s holds %s returned %s, which does not name it", id, table, body, kit.Quote(err))
		}
		if table == conformance.TableWorkflows {
			_, err = s.Summary(e.Ctx(), "w")
			e.Want(stabilize.ErrCorrupt, err, "reading the header of a row that holds %s", body)
		}
		e.load(s, "other")
	}
	e.create("w", "s")
	e.create("other", "s")
	e.create("fine", "s")
	good, err := persistence.EncodeStage(kit.Stage("w", "s", 0))
	e.Must(err, "encoding a stage")
	for _, body := range []string{`{"id":"w/s","ref":"s","position":0,"status":"FLYING"}`, `{`, ``, `null`, `[]`, `{"id":"another","ref":"s","position":0,"status":"RUNNING"}`,
		`{"id":"w/s","ref":"s","position":0,"status":"RUNNING","join":"XOR"}`, `{"id":"w/s","ref":"s","position":0,"status":"RUNNING","field":"of tomorrow"}`} {
		tamper(conformance.TableStages, "w/s", body)
	}
	e.Must(power[conformance.Tamperer](e).Tamper(e.Ctx(), conformance.TableStages, "w/s", good), "mending")
	e.load(e.h.Reopen(), "w")
	for _, body := range []string{`{"id":"w","status":"FLYING"}`, `{`, `{"id":"another","status":"RUNNING"}`, `{"id":"w","status":3}`} {
		tamper(conformance.TableWorkflows, "w", body)
	}
	s := e.h.Reopen()
	e.Must(s.Delete(e.Ctx(), "w"), "deleting a workflow that cannot be read")
	e.absent(s, "w", "it was deleted")
}

// classes are the sentinels of the module, each the class of some errors.
var classes = []error{
	stabilize.ErrInvalid, stabilize.ErrNotFound, stabilize.ErrExists, stabilize.ErrConflict, stabilize.ErrLeaseLost, stabilize.ErrNoPlace,
	stabilize.ErrPlaceFree, stabilize.ErrTooLarge, stabilize.ErrCorrupt, stabilize.ErrClosed, stabilize.ErrTransient, stabilize.ErrUnknownOutcome,
	stabilize.ErrUnsupported, stabilize.ErrSchemaTooNew, stabilize.ErrSchemaMissing, stabilize.ErrInvalidTransition, stabilize.ErrFinished,
	stabilize.ErrPermanent, stabilize.ErrTimeout, stabilize.ErrCanceled, stabilize.ErrVerification, stabilize.ErrInternal,
}

func bi09(e *env) {
	w := e.create("w", "s")
	e.Push(e.a, kit.Send("in-use"))
	e.hold("holder", "full", 1)
	one := func(c *persistence.Commit) error { return e.one(e.a, c) }
	free := &persistence.Commit{WorkflowID: "w", Expect: 1, Admission: place(persistence.WaitForPlace, "free", 1)}
	full := &persistence.Commit{WorkflowID: "w", Expect: 1, Admission: place(persistence.TakePlace, "full", 1)}
	load := func(id string) error { _, err := e.a.Load(e.Ctx(), id); return err }
	query := func(q persistence.Query) error { _, err := e.a.Query(e.Ctx(), q); return err }
	list := map[string]error{
		"a nil commit": one(nil), "a stale version": one(&persistence.Commit{WorkflowID: "w", Expect: 7}),
		"an unknown workflow": one(&persistence.Commit{WorkflowID: "nobody", Expect: 1}), "creating again": one(kit.Creation(w)),
		"a lost lease":          one(&persistence.Commit{Handled: []queue.Receipt{{ID: "in-use", Token: "x"}}}),
		"a message id in use":   one(&persistence.Commit{Messages: []queue.Outgoing{kit.Send("in-use")}}),
		"an unknown stage":      one(&persistence.Commit{WorkflowID: "w", Expect: 1, Removed: []string{"nowhere"}}),
		"a place that is free":  one(free),
		"no place":              one(full),
		"loading nobody":        load("nobody"),
		"a negative limit":      query(persistence.Query{Limit: -1}),
		"a bad token":           query(persistence.Query{Token: "x"}),
		"replaying nothing":     e.a.ReplayDead(e.Ctx(), "nobody"),
		"acknowledging nothing": e.a.Ack(e.Ctx(), queue.Receipt{ID: "x", Token: "y"}),
		"releasing nothing":     e.a.Release(e.Ctx(), queue.Receipt{ID: "x", Token: "y"}, time.Time{}, nil),
	}
	e.Must(e.b.Close(), "closing")
	_, err := e.b.Load(e.Ctx(), "w")
	list["loading through a closed handle"] = err
	list["committing through a closed handle"] = e.one(e.b, kit.Update(w, "x"))
	for doing, err := range list {
		var of []error
		for _, c := range classes {
			if errors.Is(err, c) {
				of = append(of, c)
			}
		}
		if len(of) != 1 {
			e.Errorf("%s returned %s, which is of the classes %q, want exactly one", doing, kit.Quote(err), of)
		}
	}
}
