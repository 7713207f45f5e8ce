package engine_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// critical is code that only one may be in at a time.
type critical struct {
	mu     sync.Mutex
	inside int
	most   int
	order  []string
}

func (c *critical) enter(who string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inside++
	c.most = max(c.most, c.inside)
	c.order = append(c.order, who)
}

func (c *critical) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inside--
}

// use registers a task that is inside for a second.
func (c *critical) use(r *rig, name string) {
	r.task(name, func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		c.enter(x.Workflow.ID + "." + x.Stage.Ref)
		defer c.leave()
		r.pass(time.Second)
		return stabilize.Success(), nil
	})
}

func mutex(ref string, after ...string) *stabilize.StageSpec {
	return stage(ref, after...).Do("work").Mutex("db").AcrossWorkflows()
}

// wantFree checks that the key is free.
func (r *rig) wantFree(key string) {
	r.Helper()
	lock, err := r.Get(r.Context(), queue.LockID(key))
	r.must(err)
	if lock.Status != stabilize.Succeeded || lock.Application != queue.LockApplication || lock.Name != key {
		r.Errorf("the key is %s: %v", lock.Status, lock.Context)
	}
}

func TestAGlobalMutexIsHeldByOneInTurn(t *testing.T) {
	for _, section := range []bool{false, true} {
		t.Run(fmt.Sprintf("section %t", section), func(t *testing.T) {
			both(t, func(r *rig) {
				var c critical
				c.use(r, "work")
				const n = 30
				var ids, want []string
				for range n {
					stages := []*stabilize.StageSpec{mutex("m"), stage("z", "m").Do("ok")}
					if section {
						stages = []*stabilize.StageSpec{
							stage("a").Do("work").Section("db").AcrossWorkflows(), stage("b", "a").Do("work").Section("db").AcrossWorkflows(),
						}
					}
					id := r.begin(stages...)
					ids = append(ids, id)
					if section {
						want = append(want, id+".a", id+".b")
					} else {
						want = append(want, id+".m")
					}
					r.pass(10 * time.Millisecond)
				}
				began := time.Now()
				for _, id := range ids {
					r.wantStatus(r.wait(id), stabilize.Succeeded)
				}
				if c.most != 1 {
					r.Errorf("%d were inside at once", c.most)
				}
				if !slices.Equal(c.order, want) {
					r.Errorf("they came in as %v, want %v", c.order, want)
				}
				if took, most := time.Since(began), time.Duration(len(want)+1)*time.Second; took > most {
					r.Errorf("handing on takes time: %s for %s of work", took, most)
				}
				settle()
				r.wantFree("db")
				r.wantStatus(r.finish(mutex("m")), stabilize.Succeeded) // opened again
				settle()
				r.wantFree("db")
			})
		})
	}
}

func TestAGlobalMutexOverTwoEngines(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		var c critical
		var rigs []*rig
		for range 2 {
			r := newRig(t, d)
			c.use(r, "work")
			r.start()
			rigs = append(rigs, r)
		}
		var ids []string
		for i := range 100 {
			ids = append(ids, rigs[i%2].begin(mutex("a"), mutex("b")))
		}
		for _, id := range ids {
			w, err := rigs[0].Wait(t.Context(), id)
			rigs[0].must(err)
			rigs[0].wantStatus(w, stabilize.Succeeded)
		}
		if c.most != 1 || len(c.order) != 200 {
			t.Errorf("%d were inside at once, %d in all", c.most, len(c.order))
		}
		for i, who := range c.order[100:] { // b asked again after a, behind all others
			if who[len(who)-1] != 'b' {
				t.Fatalf("place %d went to %s", 100+i, who)
			}
		}
		settle()
		rigs[0].wantFree("db")
		for _, r := range rigs {
			r.close()
		}
	})
}

func TestAHolderThatGoesHandsTheKeyOn(t *testing.T) {
	ends := map[string]func(r *rig, id string){
		"canceled":        func(r *rig, id string) { r.must(r.Cancel(r.Context(), id, "ann", "")) },
		"stage withdrawn": func(r *rig, id string) { r.must(r.Withdraw(r.Context(), id, "m")) },
		"failed":          func(r *rig, id string) { r.must(r.Abort(r.Context(), id, "m", "no more")) },
		"restarted": func(r *rig, id string) {
			r.must(r.Cancel(r.Context(), id, "ann", ""))
			settle()
			r.must(r.Restart(r.Context(), id, "m", "ann"))
		},
		"deleted": func(r *rig, id string) {
			r.must(r.Store().Delete(r.Context(), id))
			r.pass(10 * time.Second) // the sweeper finds it
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			both(t, func(r *rig) {
				r.gate("work")
				holder := r.begin(mutex("m"))
				settle()
				second := r.begin(mutex("m"))
				settle()
				gone := r.begin(mutex("m"))
				settle()
				third := r.begin(mutex("m"))
				settle()
				// One in the middle gives up waiting, or vanishes.
				if name == "deleted" {
					r.must(r.Store().Delete(r.Context(), gone))
				} else {
					r.must(r.Cancel(r.Context(), gone, "ann", ""))
				}
				end(r, holder)
				settle()
				r.deliver(second, "go", nil)
				r.wantStatus(r.wait(second), stabilize.Succeeded)
				r.deliver(third, "go", nil)
				r.wantStatus(r.wait(third), stabilize.Succeeded)
				if name == "restarted" {
					r.deliver(holder, "go", nil)
				}
				settle()
				r.wantFree("db")
			})
		})
	}
}

func TestAPausedWorkflowDoesNotTakeTheKey(t *testing.T) {
	both(t, func(r *rig) {
		r.gate("work")
		holder := r.begin(mutex("m"))
		settle()
		paused := r.begin(mutex("m"))
		settle()
		next := r.begin(mutex("m"))
		settle()
		r.must(r.Pause(r.Context(), paused, "ann"))
		r.deliver(holder, "go", nil)
		r.deliver(next, "go", nil)
		r.wantStatus(r.wait(next), stabilize.Succeeded)
		r.must(r.Engine.Resume(r.Context(), paused, "ann"))
		settle()
		r.deliver(paused, "go", nil)
		r.wantStatus(r.wait(paused), stabilize.Succeeded)
		settle()
		r.wantFree("db")
	})
}

// Asking for a key, getting it and giving it back may cross: one that gives it
// back and asks again may be heard in the other order.
func TestAskingAndGivingBackMayCross(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		r := newRig(t, d)
		r.start()
		defer r.close()
		lock := queue.LockID("k")
		ask := func(who, ticket string) queue.Outgoing {
			return queue.Outgoing{Message: queue.AcquireLock{OfWorkflow: queue.ToWorkflow(lock), Key: "k", LockPlace: queue.LockPlace{For: who, Ticket: ticket}}}
		}
		back := func(who, ticket string) queue.Outgoing {
			return queue.Outgoing{Message: queue.ReleaseLock{OfWorkflow: queue.ToWorkflow(lock), Key: "k", LockPlace: queue.LockPlace{For: who, Ticket: ticket}}}
		}
		line := func() string {
			w, err := r.Get(t.Context(), lock)
			r.must(err)
			places, err := stabilize.Get[[]queue.LockPlace](w.Context, queue.LockLine)
			r.must(err)
			return fmt.Sprint(places)
		}
		r.gate("gate")
		one := r.begin(stage("s").Do("gate").Mutex("k").AcrossWorkflows())
		settle()
		w, err := r.Get(t.Context(), one)
		r.must(err)
		first := w.Locks[0].Ticket
		r.must(r.Store().Push(t.Context(), ask(one, "second")))
		settle()
		r.must(r.Store().Push(t.Context(), back(one, "other")))
		settle()
		if got, want := line(), fmt.Sprintf("[{%s %s} {%s second}]", one, first, one); got != want {
			r.Errorf("the line is %s, want %s", got, want)
		}
		// The one it holds comes back; the turn of the other is not its any more.
		r.deliver(one, "go", nil)
		settle()
		r.wantFree("k")
	})
}

func TestTheKeyStaysWithTheRunOfAWorkerThatDied(t *testing.T) {
	var c critical
	setup := func(r *rig) { c.use(r, "work") }
	var other string
	begin := func(r *rig) string {
		c = critical{}
		id := r.begin(stage("a").Do("work").Section("db").AcrossWorkflows(), stage("b", "a").Do("work").Section("db").AcrossWorkflows())
		other = r.begin(stage("a").Do("work").Section("db").AcrossWorkflows(), stage("b", "a").Do("work").Section("db").AcrossWorkflows())
		return id
	}
	check := func(r *rig, w *stabilize.Workflow) {
		second, err := r.Wait(r.Context(), other)
		r.must(err)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStatus(second, stabilize.Succeeded)
		first, last := w.StageByRef("b"), second.StageByRef("a")
		if w.StageByRef("a").StartedAt.After(last.StartedAt) {
			first, last = second.StageByRef("b"), w.StageByRef("a")
		}
		if last.StartedAt.Before(first.EndedAt) {
			r.Errorf("one came in at %s, the other left at %s", last.StartedAt, first.EndedAt)
		}
		settle()
		r.wantFree("db")
	}
	t.Run("cascade", func(t *testing.T) { crashes(t, setup, begin, check) })
	t.Run("queue", func(t *testing.T) { crashes(t, setup, begin, check, engine.WithoutCascade()) })
}

func TestMutexesAndSectionsOfOneWorkflow(t *testing.T) {
	both(t, func(r *rig) {
		var c critical
		c.use(r, "work")
		r.task("outside", func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
			r.pass(time.Minute)
			return stabilize.Success(), nil
		})
		began := time.Now()
		w := r.finish(
			stage("a1").Do("work").Section("k"), stage("a2", "a1").Do("work").Section("k"),
			stage("b1").Do("work").Section("k"), stage("b2", "b1").Do("work").Section("k"),
			stage("c").Do("work").Mutex("k"), stage("d").Do("work").Mutex("k"), stage("x").Do("outside"),
			stage("end", "a2", "b2", "c", "d", "x").Do("ok"),
		)
		r.wantStatus(w, stabilize.Succeeded)
		if c.most != 1 {
			r.Errorf("%d were inside at once", c.most)
		}
		var refs []string
		for _, who := range c.order {
			refs = append(refs, who[len(w.ID)+1:])
		}
		if got := fmt.Sprint(refs); got != "[a1 a2 b1 b2 c d]" {
			r.Errorf("they came in as %s", got)
		}
		if took := w.StageByRef("d").EndedAt.Sub(began); took > 6*time.Second+100*time.Millisecond {
			r.Errorf("handing on takes time: %s for 6s of work", took)
		}
	})
	// One that gives up, is skipped, or fails in its condition, passes the key on.
	both(t, func(r *rig) {
		r.gate("work")
		id := r.begin(
			stage("a").Do("work").Mutex("k").OnFailure(stabilize.StopBranch),
			stage("b").Do("work").Mutex("k"),
			stage("c").Do("work").Mutex("k").When("false"),
			stage("d").Do("work").Mutex("k").When("1").OnFailure(stabilize.StopBranch),
			stage("e").Do("work").Mutex("k"),
			stage("f").Do("work").Mutex("k"),
		)
		settle()
		r.must(r.Withdraw(r.Context(), id, "b"))
		r.deliver(id, "go", nil) // a
		r.deliver(id, "go", nil) // e
		r.deliver(id, "go", nil) // f
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "c", stabilize.Skipped, stabilize.ReasonDisabled)
		r.wantStage(w, "d", stabilize.Stopped, "")
		r.wantStage(w, "f", stabilize.Succeeded, "")
	})
}
