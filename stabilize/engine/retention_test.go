package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

const day = 24 * time.Hour

func TestARetentionIsChecked(t *testing.T) {
	good := engine.PruneRule{OlderThan: day}
	for field, r := range map[string]engine.Retention{
		"retention interval":             {Rules: []engine.PruneRule{good}, Interval: -1},
		"retention rules[1] older than":  {Rules: []engine.PruneRule{good, {}}},
		"retention rules[0] batch":       {Rules: []engine.PruneRule{{OlderThan: day, Batch: -1}}},
		"retention rules[0] statuses":    {Rules: []engine.PruneRule{{OlderThan: day, Statuses: []stabilize.Status{stabilize.Paused}}}},
		"retention rules[0] batch: 1001": {Rules: []engine.PruneRule{{OlderThan: day, Batch: 1001}}},
	} {
		_, err := engine.New(memstore.New(memstore.Config{}), engine.WithRetention(r))
		if !errors.Is(err, stabilize.ErrInvalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	e, err := engine.New(memstore.New(memstore.Config{}), engine.WithRetention(engine.Retention{Rules: []engine.PruneRule{good}}))
	must(t, err)
	for field, rule := range map[string]engine.PruneRule{
		"prune rule older than": {}, "prune rule statuses": {OlderThan: 1, Statuses: []stabilize.Status{stabilize.Buffered}},
		"prune rule batch": {OlderThan: 1, Batch: 5000},
	} {
		if _, err := e.Prune(t.Context(), rule); !errors.Is(err, stabilize.ErrInvalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// there reports which of the workflows are stored.
func (r *rig) there(ids ...string) (out []bool) {
	r.Helper()
	for _, id := range ids {
		_, err := r.Get(r.Context(), id)
		if err != nil && !errors.Is(err, stabilize.ErrNotFound) {
			r.Fatal(err)
		}
		out = append(out, err == nil)
	}
	return out
}

func (r *rig) wantThere(when string, want string, ids ...string) {
	r.Helper()
	if got := fmt.Sprint(r.there(ids...)); got != want {
		r.Errorf("%s these are there: %s, want %s", when, got, want)
	}
}

func (r *rig) prune(want int, rule engine.PruneRule) {
	r.Helper()
	n, err := r.Prune(r.Context(), rule)
	r.must(err)
	if n != want {
		r.Errorf("%d workflows were pruned, want %d", n, want)
	}
}

// Virtual time is cheap, the looks of the workers in it are not: a day is a minute.
const unit = time.Minute

func TestFinishedWorkflowsAreKeptByAgeAndStatus(t *testing.T) {
	rules := []engine.PruneRule{
		{Statuses: []stabilize.Status{stabilize.Succeeded}, OlderThan: 7 * unit},
		{OlderThan: 30 * unit},
	}
	onStores(t, func(t *testing.T, d data) {
		r := newRig(t, d, engine.WithRetention(engine.Retention{Rules: rules, Interval: 30 * time.Second}), patient())
		r.gate("gate")
		never, err := r.Start(r.Context(), stabilize.NewWorkflow("app", "wf").Add(stage("a").Do("ok")))
		r.must(err)
		r.must(r.Cancel(r.Context(), never, "ann", "not needed"))
		r.start()
		running := r.begin(stage("a").Do("gate"))
		slow := r.begin(stage("a").Do("gate")) // it began with the others, and ends later
		good, bad := r.finish(stage("a").Do("ok")).ID, r.finish(stage("a").Do("fail")).ID
		all := []string{good, bad, never, running, slow}
		r.pass(6 * unit)
		r.deliver(slow, "go", nil)
		r.wait(slow)
		r.wantThere("before any is old enough", "[true true true true true]", all...)
		r.pass(unit + 40*time.Second)
		r.wantThere("after 7", "[false true true true true]", all...)
		r.pass(5 * unit)
		r.wantThere("after 12", "[false true true true true]", all...)
		r.pass(2 * unit)
		r.wantThere("7 after the slow one ended", "[false true true true false]", all...)
		r.pass(17 * unit)
		r.wantThere("after 30", "[false false false true false]", all...)
		r.deliver(running, "go", nil)
		r.wait(running)
		r.close()
	})
}

func TestNothingIsPrunedWithoutRules(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		r := newRig(t, d, patient())
		r.start()
		id := r.finish(stage("a").Do("ok")).ID
		r.pass(100 * unit)
		r.wantThere("after 100", "[true]", id)
		r.close()
	})
}

// watched is a store that tells of each pruning before it happens.
type watched struct {
	persistence.Store
	before func(finished []*stabilize.Header)
	commit func()
}

func (s *watched) Prune(ctx context.Context, finished ...*stabilize.Header) (int, error) {
	if s.before != nil {
		s.before(finished)
	}
	return s.Store.Prune(ctx, finished...)
}

func (s *watched) CommitBatch(ctx context.Context, cs []*persistence.Commit) []error {
	if f := s.commit; f != nil {
		s.commit = nil
		f()
	}
	return s.Store.CommitBatch(ctx, cs)
}

func TestPruningWorksInBatches(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		store := &watched{Store: d()}
		r := newRigOn(t, store)
		r.start()
		for range 25 {
			r.finish(stage("a").Do("ok"), stage("b", "a").Do("ok"))
		}
		live := r.finish(stage("a").Do("ok")).ID
		r.pass(time.Minute)
		r.must(r.Restart(r.Context(), live, "a", "ann"))
		if _, err := r.Wait(r.Context(), live); err != nil {
			t.Fatal(err)
		}
		var sizes []int
		store.before = func(finished []*stabilize.Header) { sizes = append(sizes, len(finished)) }
		began := time.Now()
		r.prune(25, engine.PruneRule{OlderThan: 30 * time.Second, Batch: 10})
		total := 0
		for _, n := range sizes {
			if n > 10 {
				t.Errorf("a batch of %d", n)
			}
			total += n
		}
		if len(sizes) != 3 || total != 25 {
			t.Errorf("the batches were %v, want 3 with 25 in all", sizes)
		}
		if rested := time.Since(began); rested < 20*time.Millisecond {
			t.Errorf("between 3 batches it rested %s in all", rested)
		}
		r.wantThere("after pruning", "[true]", live)
		r.close()
	})
}

// A restart that is committed between the look and the pruning wins.
func TestARestartWinsOverPruning(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		store := &watched{Store: d()}
		r := newRigOn(t, store)
		r.gate("gate")
		r.start()
		id := r.begin(stage("a").Do("ok"), stage("b", "a").Do("gate"))
		settle()
		r.deliver(id, "go", nil)
		r.wait(id)
		r.pass(time.Minute)
		store.before = func([]*stabilize.Header) {
			store.before = nil
			r.must(r.Restart(r.Context(), id, "b", "ann"))
		}
		r.prune(0, engine.PruneRule{OlderThan: 30 * time.Second})
		settle()
		r.deliver(id, "go", nil)
		w, err := r.Wait(r.Context(), id)
		r.must(err)
		r.wantStatus(w, stabilize.Succeeded)
		if len(w.Stages) != 3 || r.ran("b.gate") != 4 {
			t.Errorf("after the restart: %s", describe(w))
		}
		r.pass(time.Minute)
		r.prune(1, engine.PruneRule{OlderThan: 30 * time.Second})
		r.close()
	})
}

// A restart that was decided before the pruning and is committed after it finds
// no workflow, and leaves nothing.
func TestPruningWinsOverARestart(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		store := &watched{Store: d()}
		r := newRigOn(t, store)
		id := ""
		r.start()
		id = r.finish(stage("a").Do("ok")).ID
		r.pass(time.Minute)
		settle()
		store.commit = func() { r.prune(1, engine.PruneRule{OlderThan: 30 * time.Second}) }
		if err := r.Restart(r.Context(), id, "a", "ann"); !errors.Is(err, stabilize.ErrNotFound) {
			t.Errorf("restarting what is pruned meanwhile: %v", err)
		}
		settle()
		r.wantThere("after pruning", "[false]", id)
		pending, err := r.Store().Pending(r.Context(), id)
		r.must(err)
		if len(pending) > 0 || r.ran("a.ok") != 1 {
			t.Errorf("%d messages are left, the task ran %d times", len(pending), r.ran("a.ok"))
		}
		r.close()
	})
}

func TestAKeyIsFreeAfterPruning(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		r := newRig(t, d)
		r.start()
		begin := func() string {
			id, err := r.Start(r.Context(), stabilize.NewWorkflow("app", "wf").Add(stage("a").Do("ok")), engine.WithKey("A-17"))
			r.must(err)
			_, err = r.Wait(r.Context(), id)
			r.must(err)
			return id
		}
		id := begin()
		r.pass(time.Minute)
		if begin() != id || r.ran("a.ok") != 1 {
			t.Error("one key started two workflows")
		}
		r.prune(1, engine.PruneRule{OlderThan: 30 * time.Second})
		if begin() != id || r.ran("a.ok") != 2 {
			t.Errorf("after pruning the key did not start a workflow: the task ran %d times", r.ran("a.ok"))
		}
		r.close()
	})
}

func TestWhatADeadLetterIsAboutIsKept(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		r := newRig(t, d)
		r.start()
		id := r.finish(stage("a").Do("ok")).ID
		r.must(r.Store().Push(r.Context(), queue.Outgoing{
			ID: "doomed", MaxAttempts: 1, Message: queue.CancelRegion{OfWorkflow: queue.ToWorkflow(id), Region: "r"},
			At: time.Now().Add(2 * time.Minute),
		}))
		r.pass(time.Minute)
		r.prune(0, engine.PruneRule{OlderThan: time.Second}) // it has a message
		r.stop()
		r.pass(2 * time.Minute)
		store := d()
		got, err := store.Claim(r.Context(), queue.Worker{ID: "w", TTL: time.Minute}, queue.Room{Control: 9, Work: 9})
		r.must(err)
		for _, m := range got {
			r.must(store.Release(r.Context(), m.Receipt(), time.Time{}, errors.New("it broke")))
		}
		r.must(store.Retire(r.Context(), "w"))
		r.start()
		r.pass(time.Minute)
		dead, err := r.Store().ListDead(r.Context(), "", 9)
		r.must(err)
		if len(dead) != 1 {
			t.Fatalf("%d dead letters", len(dead))
		}
		r.pass(time.Minute)
		r.prune(0, engine.PruneRule{OlderThan: time.Second})
		r.must(r.Store().DiscardDead(r.Context(), "doomed"))
		r.prune(1, engine.PruneRule{OlderThan: time.Second})
		r.close()
	})
}

// A child that has ended is kept until its parent knows: while the news is on its
// way, while a task waits for it, and while a restart of its own makes one wait again.
func TestAChildThatIsWaitedForIsKept(t *testing.T) {
	rule := engine.PruneRule{OlderThan: time.Second}
	setup := func(t *testing.T, d data) (r *rig, id, child string) {
		r = newRig(t, d)
		r.gate("gate")
		r.subWorkflow("child", func() []*stabilize.StageSpec { return []*stabilize.StageSpec{stage("g").Do("gate")} })
		r.start()
		id = r.begin(stage("s").Do("child"))
		settle()
		return r, id, r.only("child").ID
	}
	t.Run("news", func(t *testing.T) {
		onStores(t, func(t *testing.T, d data) {
			r, id, child := setup(t, d)
			r.stop()
			h, err := r.Store().Summary(r.Context(), child)
			r.must(err)
			r.endBehind(h, queue.Outgoing{Message: queue.ChildEnded{
				OfTask: queue.ToTask(id, h.Parent.StageID, h.Parent.TaskID), Child: child, Version: h.Version + 1, Status: stabilize.Succeeded,
			}})
			r.pass(time.Minute)
			r.prune(0, rule)
			r.start()
			r.wantStatus(r.wait(id), stabilize.Succeeded)
			r.pass(time.Minute)
			r.prune(2, rule)
			r.close()
		})
	})
	t.Run("task", func(t *testing.T) {
		onStores(t, func(t *testing.T, d data) {
			r, id, child := setup(t, d)
			h, err := r.Store().Summary(r.Context(), child)
			r.must(err)
			r.endBehind(h) // nobody is told
			r.pass(time.Minute)
			r.prune(0, rule)
			r.wantThere("while a task waits for the child", "[true true]", id, child)
			r.must(r.Store().Push(r.Context(), queue.Outgoing{Message: queue.ReportEnd{OfWorkflow: queue.ToWorkflow(child)}}))
			r.wantStatus(r.wait(id), stabilize.Succeeded)
			r.pass(time.Minute)
			r.prune(2, rule)
			r.close()
		})
	})
	t.Run("restart", func(t *testing.T) {
		onStores(t, func(t *testing.T, d data) {
			r, id, child := setup(t, d)
			r.deliver(child, "go", nil)
			w := r.wait(id)
			r.stop()
			r.must(r.Store().Push(r.Context(), queue.Outgoing{Message: queue.RestartStage{
				OfStage: queue.ToStage(id, w.StageByRef("s").ID), Child: child, ChildVersion: 1,
			}}))
			r.pass(time.Minute)
			r.prune(0, rule)
			r.wantThere("while the parent is to be restarted", "[true true]", id, child)
			r.start()
			settle()
			r.pass(time.Minute)
			r.prune(2, rule)
			r.close()
		})
	})
	// The news that the child was restarted was a dead letter until the child was gone:
	// the parent hears of that.
	t.Run("gone", func(t *testing.T) {
		onStores(t, func(t *testing.T, d data) {
			r, id, child := setup(t, d)
			r.deliver(child, "go", nil)
			w := r.wait(id)
			r.stop()
			s := w.StageByRef("s")
			r.must(r.Store().Push(r.Context(), queue.Outgoing{ID: "doomed", MaxAttempts: 1, Message: queue.RestartStage{
				OfStage: queue.ToStage(id, s.ID), Child: child, ChildVersion: s.Tasks[0].Waits().ChildVersion + 1,
			}}))
			got, err := r.Store().Claim(r.Context(), queue.Worker{ID: "w", TTL: time.Minute}, queue.Room{Control: 9, Work: 9})
			r.must(err)
			r.must(r.Store().Release(r.Context(), got[0].Receipt(), time.Time{}, errors.New("it broke")))
			r.must(r.Store().Retire(r.Context(), "w"))
			r.start()
			r.pass(time.Minute)
			r.prune(1, rule) // the parent has a dead letter
			r.wantThere("beside a dead letter of the parent's", "[true false]", id, child)
			r.must(r.Store().ReplayDead(r.Context(), "doomed"))
			r.pass(time.Minute)
			again, err := r.Wait(r.Context(), id)
			r.must(err)
			r.wantStatus(again, stabilize.Terminal)
			if f := again.StageByRef("s").Failure; f == nil || f.Code != stabilize.CodeChildFailed || !strings.Contains(f.Message, "does not exist any more") {
				t.Errorf("the stage failed with %+v", f)
			}
			r.close()
		})
	})
	// A parent that goes on for long does not keep the children it has done with.
	t.Run("done with", func(t *testing.T) {
		onStores(t, func(t *testing.T, d data) {
			r := newRig(t, d)
			r.gate("gate")
			r.subWorkflow("child", func() []*stabilize.StageSpec { return []*stabilize.StageSpec{stage("g").Do("ok")} })
			r.start()
			id := r.begin(stage("s").Do("child"), stage("t", "s").Do("gate"))
			settle()
			child := r.only("child").ID
			r.pass(time.Minute)
			r.prune(1, rule)
			r.wantThere("while the parent goes on", "[true false]", id, child)
			r.deliver(id, "go", nil)
			r.wantStatus(r.wait(id), stabilize.Succeeded)
			r.must(r.Restart(r.Context(), id, "s", "ann"))
			settle()
			r.deliver(id, "go", nil)
			w, err := r.Wait(r.Context(), id)
			r.must(err)
			r.wantStatus(w, stabilize.Succeeded)
			r.close()
		})
	})
}

// endBehind ends a workflow past its engine.
func (r *rig) endBehind(h *stabilize.Header, messages ...queue.Outgoing) {
	r.Helper()
	w, err := r.Store().Load(r.Context(), h.ID)
	r.must(err)
	c := &persistence.Commit{WorkflowID: h.ID, Expect: h.Version, Header: h.Clone(), Messages: messages}
	c.Header.Status, c.Header.EndedAt = stabilize.Succeeded, time.Now()
	for _, s := range w.Stages {
		s = s.Clone()
		s.Status, s.EndedAt = stabilize.Succeeded, time.Now()
		for _, t := range s.Tasks {
			t.Status = stabilize.Succeeded
		}
		c.Stages = append(c.Stages, s)
	}
	r.must(r.Store().CommitBatch(r.Context(), []*persistence.Commit{c})[0])
}

func TestTwoEnginesPruneAtOnce(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		first, second := newRig(t, d), newRig(t, d)
		first.start()
		for range 40 {
			first.finish(stage("a").Do("ok"))
		}
		first.pass(time.Minute)
		var n [2]int
		var both sync.WaitGroup
		for i, r := range []*rig{first, second} {
			both.Go(func() {
				var err error
				n[i], err = r.Prune(t.Context(), engine.PruneRule{OlderThan: 30 * time.Second, Batch: 7})
				if err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		if n[0]+n[1] != 40 {
			t.Errorf("two engines pruned %d and %d of 40 workflows", n[0], n[1])
		}
		left, err := first.List(t.Context(), persistence.Query{})
		first.must(err)
		if len(left.Workflows) > 0 {
			t.Errorf("%d workflows are left", len(left.Workflows))
		}
		first.close()
		second.close()
	})
}

// What goes wrong in one round is tried again in the next.
func TestPruningGoesOnAfterAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &failing{Store: memstore.New(memstore.Config{}), left: 3}
		r := newRigOn(t, store, engine.WithRetention(engine.Retention{Rules: []engine.PruneRule{{OlderThan: time.Minute}}}))
		r.start()
		id := r.finish(stage("a").Do("ok")).ID
		r.pass(3*time.Minute + time.Second)
		r.wantThere("while the store fails", "[true]", id)
		r.pass(3 * time.Minute)
		r.wantThere("when it does not any more", "[false]", id)
		r.close()
	})
}

type failing struct {
	persistence.Store
	left int
}

func (s *failing) Prune(ctx context.Context, finished ...*stabilize.Header) (int, error) {
	if s.left--; s.left >= 0 {
		return 0, stabilize.ErrTransient
	}
	return s.Store.Prune(ctx, finished...)
}
