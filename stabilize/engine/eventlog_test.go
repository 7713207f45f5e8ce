package engine_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/faults"
	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// stored reads the whole log of the rig's store.
func (r *rig) stored(q events.Query) (all []events.Event) {
	r.Helper()
	q.Limit = 7
	for {
		page, err := persistence.EventLogOf(r.Store()).Read(r.Context(), q)
		r.must(err)
		all = append(all, page.Events...)
		if q.After = page.Next; len(page.Events) < q.Limit {
			return all
		}
	}
}

// checkLog fails unless the log is what the recorder was told, in the same order for
// each workflow.
func (r *rig) checkLog() {
	r.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	told := map[string][]events.Event{}
	for _, e := range r.events {
		told[e.WorkflowID] = append(told[e.WorkflowID], e)
	}
	all := r.stored(events.Query{})
	if len(all) != len(r.events) || len(all) == 0 {
		r.Errorf("%d events are stored, %d were told", len(all), len(r.events))
	}
	for id, want := range told {
		got := r.stored(events.Query{WorkflowID: id})
		if !slices.EqualFunc(want, got, sameEvent) {
			r.Errorf("of %s are stored\n%v\nand were told\n%v", id, got, want)
		}
	}
}

func sameEvent(told, stored events.Event) bool {
	told.Position, stored.Position = "", ""
	a, errA := told.MarshalJSON()
	b, errB := stored.MarshalJSON()
	return errors.Join(errA, errB) == nil && string(a) == string(b)
}

// What the recorder is told of is in the log, whatever happened: failures, tries again,
// jumps, cancelling, refused requests.
func TestTheLogIsWhatWasTold(t *testing.T) {
	both(t, func(r *rig) {
		r.gates()
		r.finish(stage("a").Do("ok"), stage("b").After("a").Do("fail"))
		id := r.begin(stage("g").Do("gate"))
		settle()
		r.must(r.Pause(r.Context(), id, "ann"))
		if err := r.Pause(r.Context(), id, "ann"); err == nil {
			r.Error("it was paused twice")
		}
		r.must(r.Engine.Resume(r.Context(), id, "bob"))
		r.must(r.Cancel(r.Context(), id, "cid", "enough"))
		r.wait(id)
		r.checkLog()
		if by := r.stored(events.Query{Types: []events.Type{events.WorkflowPaused}}); len(by) != 1 || by[0].By != "ann" {
			r.Errorf("the pause is stored as %+v", by)
		}
		e := r.stored(events.Query{})[0]
		got, err := persistence.EventLogOf(r.Store()).Get(r.Context(), e.ID)
		r.must(err)
		if !sameEvent(e, *got) {
			r.Errorf("the event %s is %+v, and got by its id %+v", e.ID, e, got)
		}
	}, engine.WithEventLog())
}

// A commit that is refused, or whose answer is lost and which is decided again, leaves
// no event twice, and tells of none that is not stored.
func TestTheLogOfAHostileStore(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		store := faults.Wrap(d(), faults.Plan{Seed: 7, Refused: 0.3, LostReplies: 0.2, Copies: 1})
		r := newRigOn(t, store, engine.WithEventLog())
		r.start()
		defer r.close()
		var ids []string
		for range 5 {
			ids = append(ids, r.begun(stage("a").Do("ok"), stage("b").After("a").Do("ok"), stage("c").After("a").Do("fail")))
		}
		for _, id := range ids {
			r.waitPatiently(id)
		}
		seen := map[string]bool{}
		for _, e := range r.stored(events.Query{}) {
			if seen[e.ID] {
				t.Errorf("%s is stored twice", e.ID)
			}
			seen[e.ID] = true
		}
		for _, id := range ids {
			ends := r.stored(events.Query{WorkflowID: id, Types: []events.Type{events.WorkflowCompleted}})
			if len(ends) != 1 {
				t.Errorf("the end of %s is stored %d times", id, len(ends))
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, e := range r.events {
			if !seen[e.ID] {
				t.Errorf("%s was told and is not stored", e.ID)
			}
		}
	})
}

// begun starts a workflow on a store that may refuse.
func (r *rig) begun(stages ...*stabilize.StageSpec) string {
	r.Helper()
	for range 100 {
		id, err := r.Start(r.Context(), stabilize.NewWorkflow("app", "wf").Add(stages...))
		if err == nil {
			return id
		}
		r.pass(time.Second)
	}
	r.Fatal("nothing can be started")
	return ""
}

// waitPatiently waits for an end on a store that may refuse to be read.
func (r *rig) waitPatiently(id string) {
	r.Helper()
	for range 1000 {
		w, err := r.Store().Summary(r.Context(), id)
		if err == nil && w.Status.IsComplete() {
			return
		}
		r.pass(time.Second)
	}
	r.Fatalf("%s does not end", id)
}

// silent is a store that keeps no events.
type silent struct{ persistence.Store }

func TestAStoreWithoutLogIsRefused(t *testing.T) {
	store := memstore.New(memstore.Config{})
	defer store.Close()
	_, err := engine.New(silent{store}, engine.WithEventLog())
	if !errors.Is(err, stabilize.ErrInvalid) || !strings.Contains(err.Error(), "keeps no events") {
		t.Errorf("an engine that logs events on a store that keeps none: %v", err)
	}
	e, err := engine.New(store, engine.WithEventLog(), engine.WithConfig(engine.Config{Concurrency: 3}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Start(t.Context(), stabilize.NewWorkflow("a", "b")); err == nil {
		if n, err := persistence.EventLogOf(store).Count(t.Context(), events.Query{}); err != nil || n == 0 {
			t.Errorf("a setting given later has undone the option: %d events, %v", n, err)
		}
	}
}

// Without the option nothing is stored.
func TestNoLogUnasked(t *testing.T) {
	both(t, func(r *rig) {
		r.finish(stage("a").Do("ok"))
		if all := r.stored(events.Query{}); len(all) != 0 {
			r.Errorf("%d events were stored that nobody asked for", len(all))
		}
	})
}
