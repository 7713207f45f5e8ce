package memstore

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func start() time.Time { return time.Date(2025, 5, 6, 7, 8, 9, 0, time.UTC) }

func open(data *Data, clock stabilize.Clock, messages *queue.Registry) *Store {
	return Open(data, Config{Clock: clock, Messages: messages})
}

func must(t interface {
	Helper()
	Fatal(...any)
}, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func one(s *Store, c *persistence.Commit) error {
	return s.CommitBatch(context.Background(), []*persistence.Commit{c})[0]
}

// A message type of a user, known to some handles only.
type custom struct {
	queue.OfWorkflow
	Text string `json:"text"`
	Data map[string]any
}

func (custom) Kind() string { return "Custom" }

func TestForeignMessagesGoThroughJSON(t *testing.T) {
	clock, data := stabilize.NewManualClock(start()), NewData()
	knows := queue.NewRegistry()
	must(t, queue.Register[custom](knows))
	a, b := open(data, clock, knows), open(data, clock, nil)
	ctx := t.Context()

	sent := custom{OfWorkflow: queue.ToWorkflow("w"), Text: "<before>", Data: map[string]any{"k": "v"}}
	must(t, a.Push(ctx, queue.Outgoing{ID: "one", Message: sent}, queue.Outgoing{ID: "two", Message: sent}))
	sent.Text, sent.Data["k"] = "after", "changed"
	got, err := a.Claim(ctx, queue.Worker{ID: "knows", TTL: time.Minute}, queue.Room{Control: 1})
	must(t, err)
	m, ok := got[0].Message.(custom)
	if !ok || m.Text != "<before>" || m.Data["k"] != "v" {
		t.Errorf("a registered type came back as %#v", got[0].Message)
	}

	pending, err := b.Pending(ctx, "w")
	must(t, err)
	if len(pending) != 2 || pending[1].Message != nil || pending[1].Kind != "Custom" {
		t.Errorf("to a handle that does not know the type, pending is %+v", pending)
	}
	other, err := b.Claim(ctx, queue.Worker{ID: "other", TTL: time.Minute}, queue.Room{Control: 1})
	must(t, err)
	if len(other) != 1 || other[0].Message.(queue.DeadLettered).DeadLetterID != "two" {
		t.Errorf("a handle that does not know the type was given %+v, want the notice of its death", other)
	}
	dead, err := b.ListDead(ctx, "", 10)
	must(t, err)
	if len(dead) != 1 || dead[0].Reason != queue.DeadUndecodable || string(dead[0].Body) != `{"workflow":"w","text":"<before>","Data":{"k":"v"}}` {
		t.Errorf("dead letters: %+v", dead)
	}
	must(t, b.ReplayDead(ctx, "two"))
	again, err := a.Claim(ctx, queue.Worker{ID: "knows", TTL: time.Minute}, queue.Room{Control: 5})
	must(t, err)
	if len(again) != 1 || again[0].ID != "two" || again[0].Attempts != 1 {
		t.Errorf("after a replay the handle that knows the type was given %+v", again)
	}
}

type unstorable struct{ queue.StartWorkflow }

func (unstorable) Kind() string                 { return "Unstorable" }
func (unstorable) MarshalJSON() ([]byte, error) { return nil, errors.New("no") }

func TestWhatNoStoreCouldKeepIsRefused(t *testing.T) {
	s := open(NewData(), stabilize.NewManualClock(start()), nil)
	task := queue.ToTask("w", "s", "t")
	for name, m := range map[string]queue.Message{
		"a message that cannot be encoded": unstorable{},
		"a phase that is none":             queue.RunTask{OfTask: task, Phase: 99},
		"a status that is none":            queue.CompleteTask{OfTask: task, Status: 99},
		"an owner that is none":            queue.ContinueParentStage{OfStage: task.OfStage, Owner: 99},
		"values that are not JSON":         queue.SignalStage{OfStage: task.OfStage, Data: stabilize.Values{"k": []byte("{")}},
	} {
		if err := s.Push(t.Context(), queue.Outgoing{Message: m}); !errors.Is(err, stabilize.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	h := benchWorkflow("w").Header
	h.EndedAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := one(s, &persistence.Commit{WorkflowID: "w", Header: &h}); !errors.Is(err, stabilize.ErrInvalid) {
		t.Errorf("a time that RFC 3339 cannot say: %v, want ErrInvalid", err)
	}
	s.data.check(t, start())
	if len(s.data.messages)+len(s.data.owners) > 0 {
		t.Error("something was stored")
	}
}

// plain must admit exactly the message types of package queue that hold nothing
// but an address and names from a fixed list.
func TestPlainMessages(t *testing.T) {
	bare := func(m any) bool {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(m)) {
			named := f.Type.Kind() == reflect.Uint8 || f.Name == "Failure"
			if !f.Anonymous && !named && f.Name != "WorkflowID" && (len(f.Index) == 1 || f.Name != "StageID" && f.Name != "StageRef" && f.Name != "TaskID") {
				return false
			}
		}
		return true
	}
	r := queue.NewRegistry()
	for _, kind := range r.Kinds() {
		m, err := r.Decode("id", kind, []byte(`{}`))
		must(t, err)
		if plain(m) != bare(m) {
			t.Errorf("%s is kept as it is: %t", kind, plain(m))
		}
	}
	for _, m := range []queue.Message{
		queue.CompleteTask{Failure: &stabilize.Failure{}},
		queue.StartTask{OfTask: queue.ToTask("w", "\xff", "t")},
		queue.StartStage{OfStage: queue.ToRef("w", "\xff")},
		queue.RunTask{OfTask: queue.ToTask("w", "s", "\xff")},
		&queue.StartTask{},
	} {
		if plain(m) {
			t.Errorf("%#v is kept as it is", m)
		}
	}
}

func TestClosingOneHandleLeavesTheOthers(t *testing.T) {
	a := New(Config{})
	b := Open(a.Data(), Config{})
	must(t, a.Close())
	must(t, b.Push(t.Context(), queue.Outgoing{Message: queue.StartWorkflow{}}))
	if len(b.Wake()) != 1 || len(a.Wake()) != 0 {
		t.Error("a push must wake the open handle and not the closed one")
	}
	if err := a.Push(t.Context()); !errors.Is(err, stabilize.ErrClosed) {
		t.Errorf("pushing through the closed handle: %v", err)
	}
}

// TestWakes: exactly what makes a message claimable now gives a hint.
func TestWakes(t *testing.T) {
	clock := stabilize.NewManualClock(start())
	s := open(NewData(), clock, nil)
	ctx := t.Context()
	w := queue.Worker{ID: "w", TTL: time.Minute}
	want := func(hint bool, what string) {
		t.Helper()
		select {
		case <-s.Wake():
			if !hint {
				t.Errorf("%s gave a hint", what)
			}
		default:
			if hint {
				t.Errorf("%s gave no hint", what)
			}
		}
	}
	claim := func() queue.Receipt {
		t.Helper()
		ds, err := s.Claim(ctx, w, queue.Room{Control: 1})
		must(t, err)
		return ds[0].Receipt()
	}
	push := func(o queue.Outgoing) {
		t.Helper()
		o.Message = queue.StartWorkflow{}
		must(t, one(s, &persistence.Commit{Messages: []queue.Outgoing{o}}))
	}
	push(queue.Outgoing{At: start().Add(time.Hour)})
	want(false, "a delayed message")
	_, err := s.Heartbeat(ctx, w)
	must(t, err)
	push(queue.Outgoing{Lease: &queue.Lease{Worker: "w", Token: "t"}})
	want(false, "a message born leased")
	push(queue.Outgoing{})
	want(true, "a message due now")
	r := claim()
	want(false, "a claim")
	must(t, s.Release(ctx, r, time.Time{}, nil))
	want(true, "a release")
	must(t, s.Return(ctx, claim()))
	want(true, "a return")
	claim()
	must(t, s.Retire(ctx, "w"))
	want(true, "retiring")
}

// TestIndexesAgree runs random histories over two handles and recounts every
// index after each step.
func TestIndexesAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock, data := stabilize.NewManualClock(start()), NewData()
		handles := []*Store{open(data, clock, nil), open(data, clock, nil)}
		ctx := context.Background()
		ids := rapid.SampledFrom([]string{"a", "b", "c"})
		workers := rapid.SampledFrom([]string{"w1", "w2"})
		var receipts []queue.Receipt
		n := 0
		store := func() *Store { return rapid.SampledFrom(handles).Draw(t, "handle") }
		receipt := func() queue.Receipt {
			if len(receipts) == 0 {
				return queue.Receipt{ID: "none", Token: "none"}
			}
			return rapid.SampledFrom(receipts).Draw(t, "receipt")
		}
		message := func() queue.Outgoing {
			n++
			o := queue.Outgoing{ID: fmt.Sprint("m", n), MaxAttempts: 1 + rapid.IntRange(0, 1).Draw(t, "max")}
			o.At = clock.Now().Add(time.Duration(rapid.IntRange(-3, 1).Draw(t, "delay")) * time.Minute)
			switch id := ids.Draw(t, "to"); {
			case rapid.IntRange(0, 3).Draw(t, "unknown") == 0:
				o.Message = custom{OfWorkflow: queue.ToWorkflow(id)}
			case rapid.Bool().Draw(t, "work"):
				o.Message = queue.RunTask{OfTask: queue.ToTask(id, "s", "t")}
			case id == "c":
				o.Message = queue.StartWaitingWorkflows{}
			default:
				o.Message = queue.SignalStage{OfStage: queue.ToStage(id, "s")}
			}
			return o
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) { data.check(t, clock.Now()) },
			"commit": func(t *rapid.T) {
				c := &persistence.Commit{WorkflowID: ids.Draw(t, "id")}
				if o := data.owners[c.WorkflowID]; o == nil || o.workflow == nil {
					c.Header = &benchWorkflow(c.WorkflowID).Header
				} else {
					c.Expect = o.workflow.version
					c.Header = o.workflow.header.Clone()
				}
				c.Header.Status = rapid.SampledFrom(stabilize.Statuses()).Draw(t, "status")
				for _, s := range benchWorkflow(c.WorkflowID).Stages[:4] {
					s.Requisites = nil
					switch rapid.IntRange(0, 2).Draw(t, "stage") {
					case 0:
						c.Stages = append(c.Stages, s)
					case 1:
						if c.Expect > 0 && data.owners[c.WorkflowID].workflow.stage(s.ID) != nil {
							c.Removed = append(c.Removed, s.ID)
						}
					}
				}
				if rapid.Bool().Draw(t, "handles") && len(receipts) > 0 {
					c.Handled = []queue.Receipt{receipt()}
				}
				if rapid.Bool().Draw(t, "discards") && n > 0 {
					c.Discard = []string{fmt.Sprint("m", rapid.IntRange(1, n).Draw(t, "which"))}
				}
				if rapid.Bool().Draw(t, "pushes") {
					m := message()
					if rapid.Bool().Draw(t, "leased") {
						m.Lease = &queue.Lease{Worker: workers.Draw(t, "worker"), Token: "born " + m.ID}
						receipts = append(receipts, queue.Receipt{ID: m.ID, Token: m.Lease.Token})
					}
					c.Messages = []queue.Outgoing{m}
				}
				if op := persistence.AdmissionOp(rapid.IntRange(0, 3).Draw(t, "op")); op > 0 {
					c.Admission = &persistence.Admission{Op: op, Key: rapid.SampledFrom([]string{"k", "l"}).Draw(t, "key"), Limit: rapid.IntRange(0, 2).Draw(t, "limit")}
				}
				_ = one(store(), c) // any answer: the indexes must agree after each
			},
			"push":  func(t *rapid.T) { must(t, store().Push(ctx, message(), message(), message())) },
			"clock": func(t *rapid.T) { clock.Advance(time.Duration(rapid.IntRange(-1, 2).Draw(t, "minutes")) * time.Minute) },
			"claim": func(t *rapid.T) {
				room := queue.Room{Control: rapid.IntRange(0, 4).Draw(t, "control"), Work: rapid.IntRange(0, 4).Draw(t, "work")}
				ds, err := store().Claim(ctx, queue.Worker{ID: workers.Draw(t, "worker"), TTL: time.Minute}, room)
				must(t, err)
				for i := range ds {
					receipts = append(receipts, ds[i].Receipt())
				}
			},
			"ack":     func(t *rapid.T) { _ = store().Ack(ctx, receipt()) },
			"release": func(t *rapid.T) { _ = store().Release(ctx, receipt(), clock.Now().Add(time.Minute), errors.New("x")) },
			"return":  func(t *rapid.T) { _ = store().Return(ctx, receipt()) },
			"retire":  func(t *rapid.T) { must(t, store().Retire(ctx, workers.Draw(t, "worker"))) },
			"delete":  func(t *rapid.T) { must(t, store().Delete(ctx, ids.Draw(t, "id"))) },
			"dead": func(t *rapid.T) {
				ls, err := store().ListDead(ctx, "", 100)
				must(t, err)
				if len(ls) == 0 {
					return
				}
				l := rapid.SampledFrom(ls).Draw(t, "letter")
				if rapid.Bool().Draw(t, "replay") {
					must(t, store().ReplayDead(ctx, l.ID))
				} else {
					must(t, store().DiscardDead(ctx, l.ID))
				}
			},
		})
	})
}

// check recounts everything from the messages, owners and gates alone.
func (d *Data) check(t interface {
	Helper()
	Fatalf(string, ...any)
}, now time.Time) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	leased, inLines, owned, dead, workflows := 0, 0, 0, 0, 0
	for id, m := range d.messages {
		switch {
		case m.id != id || m.owner.messages[m.inOwner] != m:
			t.Fatalf("message %q is not where its owner has it", id)
		case m.owner != d.nobody && d.owners[m.owner.id] != m.owner:
			t.Fatalf("message %q has an owner that nobody knows", id)
		case m.worker != nil && (m.inLine >= 0 || m.worker.held[m.inWorker] != m || m.token == ""):
			t.Fatalf("message %q is leased badly", id)
		case m.worker == nil && (*d.line(m))[m.inLine] != m:
			t.Fatalf("message %q is in no line", id)
		}
		if m.worker != nil {
			leased++
		}
	}
	for _, l := range []line{d.lanes[0], d.lanes[1], d.spent} {
		inLines += len(l)
		for i := range l {
			if i > 0 && before(l[i], l[(i-1)/2]) {
				t.Fatalf("a line is in disorder")
			}
		}
		want := 0
		for _, m := range l {
			if !m.due.After(now) {
				want++
			}
		}
		if got := l.ready(now); got != want {
			t.Fatalf("%d messages are ready, not %d", want, got)
		}
	}
	for id, o := range d.owners {
		owned += len(o.messages)
		dead += len(o.dead)
		if o.workflow == nil && len(o.messages)+len(o.dead) == 0 || o.workflow == nil && len(o.seats) > 0 {
			t.Fatalf("owner %q should have been forgotten", id)
		}
		for i, l := range o.dead {
			if l.inOwner != i || l.message.owner != o || d.dead[l.message.id] != l {
				t.Fatalf("dead letter %q is not where its owner has it", l.message.id)
			}
		}
		for _, s := range o.seats {
			if d.gates[s.gate.key] != s.gate || s.owner != o {
				t.Fatalf("owner %q has a seat at a gate that is closed", id)
			}
		}
		if w := o.workflow; w != nil {
			workflows++
			if d.workflows[o.at] != o {
				t.Fatalf("workflow %q is not in the list", id)
			}
			if len(w.slotOf)+w.holes != len(w.slots) {
				t.Fatalf("workflow %q: %d stages, %d holes, %d slots", id, len(w.slotOf), w.holes, len(w.slots))
			}
			list := w.list()
			if len(list) != len(w.slotOf) || !slices.IsSortedFunc(list, func(a, b *stabilize.Stage) int { return a.Position - b.Position }) {
				t.Fatalf("workflow %q lists its stages badly", id)
			}
			for _, s := range list {
				if w.stage(s.ID) != s {
					t.Fatalf("workflow %q does not find stage %q", id, s.ID)
				}
			}
		}
	}
	dead += len(d.nobody.dead)
	owned += len(d.nobody.messages)
	held := 0
	for _, w := range d.workers {
		held += len(w.held)
	}
	switch {
	case leased != d.leased || leased != held:
		t.Fatalf("%d messages are leased, %d are counted, %d are held", leased, d.leased, held)
	case inLines+leased != len(d.messages) || owned != len(d.messages):
		t.Fatalf("%d messages, but %d in lines, %d leased, %d owned", len(d.messages), inLines, leased, owned)
	case dead != len(d.dead) || len(d.deadLine) != len(d.dead) || !slices.IsSortedFunc(d.deadLine, (*deadLetter).order):
		t.Fatalf("%d dead letters, %d owned, %d in line", len(d.dead), dead, len(d.deadLine))
	case workflows != len(d.workflows):
		t.Fatalf("%d workflows, %d listed", workflows, len(d.workflows))
	}
	for key, g := range d.gates {
		seen := 0
		for _, o := range d.workflows {
			for _, s := range o.seats {
				if s.gate == g {
					seen++
				}
			}
		}
		if seen == 0 || seen != g.holding.Len()+g.waiting.Len() {
			t.Fatalf("gate %q has %d seats, its owners %d", key, g.holding.Len()+g.waiting.Len(), seen)
		}
	}
}
