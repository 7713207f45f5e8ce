package sqlstore_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// A workflow that nobody has changed comes along with the first of its messages.
func TestPostgresWorkflowComesAlong(t *testing.T) {
	s := openPostgres(t, server.Schema(t))
	first, changed := creation("first"), creation("changed")
	first.Messages = []queue.Outgoing{message("m1", "first"), message("m2", "first")}
	commit(t, s, first, changed)
	commit(t, s, &persistence.Commit{WorkflowID: "changed", Expect: 1, Messages: []queue.Outgoing{message("m3", "changed")}})
	got := claim(t, s, "worker", 9)
	if len(got) != 3 {
		t.Fatalf("claimed %+v", got)
	}
	w := got[0].Workflow
	if w == nil || w.ID != "first" || w.Version != 1 || w.Status != stabilize.Running || len(w.Stages) != 2 ||
		w.StageByRef("b") == nil || w.StageByRef("b").ID != "first-s1" {
		t.Errorf("with the first message came %+v", w)
	}
	if got[1].Workflow != nil || got[2].Workflow != nil {
		t.Errorf("with the others came %+v and %+v", got[1].Workflow, got[2].Workflow)
	}
}

// A large one is left to Load.
func TestPostgresLargeWorkflowDoesNotComeAlong(t *testing.T) {
	s := openPostgres(t, server.Schema(t))
	large := strings.Repeat("x", 70_000)
	header, stage, small := creation("header"), creation("stage"), creation("small")
	header.Header.Reason, stage.Stages[1].Reason = large, large
	for _, c := range []*persistence.Commit{header, stage, small} {
		c.Messages = []queue.Outgoing{message("of "+c.WorkflowID, c.WorkflowID)}
		commit(t, s, c)
	}
	got := claim(t, s, "worker", 9)
	if len(got) != 3 || got[0].Workflow != nil || got[1].Workflow != nil || got[2].Workflow == nil {
		t.Errorf("claimed %+v", got)
	}
}

// A workflow that does not come along because it cannot be read is left to Load,
// which says so; its message is delivered.
func TestPostgresCorruptWorkflowDoesNotComeAlong(t *testing.T) {
	schema := server.Schema(t)
	s := openPostgres(t, schema)
	for _, id := range []string{"header", "stage"} {
		c := creation(id)
		c.Messages = []queue.Outgoing{message("of "+id, id)}
		commit(t, s, c)
	}
	db := rawPostgres(t, schema)
	run(t, db, "UPDATE headers SET body = '{' WHERE workflow_id = 'header'")
	run(t, db, "UPDATE stages SET body = '{' WHERE id = 'stage-s1'")
	got := claim(t, s, "worker", 9)
	if len(got) != 2 || got[0].Workflow != nil || got[1].Workflow != nil {
		t.Errorf("claimed %+v", got)
	}
	for _, id := range []string{"header", "stage"} {
		if _, err := s.Load(t.Context(), id); !errors.Is(err, stabilize.ErrCorrupt) {
			t.Errorf("loaded: %v", err)
		}
	}
}

// loads counts what is loaded.
type loads struct {
	*sqlstore.Store
	n atomic.Int32
}

func (l *loads) Load(ctx context.Context, id string) (*stabilize.Workflow, error) {
	l.n.Add(1)
	return l.Store.Load(ctx, id)
}

// An engine that runs what another process has started loads nothing.
func TestPostgresTakenOverWithoutLoading(t *testing.T) {
	schema := server.Schema(t)
	system := onClock(stabilize.SystemClock{})
	store := &loads{Store: openPostgres(t, schema, system)}
	const workflows = 20
	ended := make(chan stabilize.Status, workflows)
	engines := make([]*engine.Engine, 2)
	for i, st := range []persistence.Store{openPostgres(t, schema, system), store} {
		e, err := engine.New(st, engine.WithRecorder(events.RecorderFunc(func(_ context.Context, evs []events.Event) {
			for i := range evs {
				if evs[i].Type == events.WorkflowCompleted {
					ended <- evs[i].To
				}
			}
		})))
		if err != nil {
			t.Fatal(err)
		}
		if err := e.RegisterTask("say", stabilize.Func(func(context.Context, struct{}) (string, error) { return "said", nil })); err != nil {
			t.Fatal(err)
		}
		engines[i] = e
	}
	for range workflows {
		w := stabilize.NewWorkflow("app", "chain").Add(stabilize.NewStage("a").Do("say")).Add(stabilize.NewStage("b").Do("say").After("a"))
		if _, err := engines[0].Start(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error)
	go func() { ran <- engines[1].Run(ctx) }()
	for range workflows {
		if st := <-ended; st != stabilize.Succeeded {
			t.Errorf("one ended %s", st)
		}
	}
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if n := store.n.Load(); n > 0 {
		t.Errorf("%d were loaded", n)
	}
}

// A claim after news of work that another was faster to take writes nothing.
func TestPostgresClaimThatComesTooLate(t *testing.T) {
	schema := server.Schema(t)
	clock := stabilize.NewManualClock(start)
	s, other := openPostgres(t, schema, onClock(clock)), openPostgres(t, schema, onClock(clock))
	db := rawPostgres(t, schema)
	if _, err := s.Heartbeat(t.Context(), queue.Worker{ID: "late", TTL: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if got := claim(t, s, "late", 1); len(got) != 0 { // nothing is news any more
		t.Fatalf("claimed %+v", got)
	}
	if err := s.Push(t.Context(), message("m", "")); err != nil {
		t.Fatal(err)
	}
	if got := claim(t, other, "fast", 1); len(got) != 1 {
		t.Fatalf("claimed %+v", got)
	}
	clock.Advance(time.Second)
	written := func() (version string) {
		t.Helper()
		if err := db.QueryRowContext(t.Context(), "SELECT xmin::text || ctid::text FROM workers WHERE id = 'late'").Scan(&version); err != nil {
			t.Fatal(err)
		}
		return version
	}
	before := written()
	if got := claim(t, s, "late", 1); len(got) != 0 {
		t.Fatalf("claimed %+v", got)
	}
	if after := written(); after != before {
		t.Errorf("its row was %s and is %s", before, after)
	}
	// Two thirds of its time are not left any more: now it is renewed.
	clock.Advance(30 * time.Second)
	if err := s.Push(t.Context(), message("n", "")); err != nil {
		t.Fatal(err)
	}
	if got := claim(t, s, "late", 1); len(got) != 1 {
		t.Fatalf("claimed %+v", got)
	}
	if after := written(); after == before {
		t.Error("its lease was not renewed")
	}
}
