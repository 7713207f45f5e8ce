package engine_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// signal sends one and says whether somebody waited for it.
func (r *rig) signal(id, name, text string, opts ...engine.SignalOption) bool {
	r.Helper()
	delivered, err := r.Signal(r.Context(), id, name, stabilize.Values{"text": []byte(text)}, opts...)
	r.must(err)
	synctest.Wait()
	return delivered
}

func TestSignalsAreKeptUntilSomebodyWaits(t *testing.T) {
	both(t, func(r *rig) {
		r.gates()
		r.sleeps()
		id := r.begin(stage("first").Do("sleep").With("minutes", 1), stage("g", "first").Do("gate", "gate"))
		synctest.Wait()
		for _, text := range []string{"1", "2"} {
			if r.signal(id, "g", text) {
				t.Errorf("signal %s was delivered, and nobody waits", text)
			}
		}
		w := r.wait(id)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantLog("first.sleep", "g.gate", "g.gate", "g got map[text:1]", "g.gate", "g.gate", "g got map[text:2]")
		if len(w.Signals) > 0 {
			t.Errorf("consumed, and still there: %+v", w.Signals)
		}
	})
}

func TestTransientSignalsAreLost(t *testing.T) {
	both(t, func(r *rig) {
		r.gates()
		r.sleeps()
		id := r.begin(stage("first").Do("sleep").With("minutes", 1), stage("g", "first").Do("gate"), stage("rest").Do("gate"))
		synctest.Wait()
		if r.signal(id, "g", "1", engine.Transient()) {
			t.Error("it was delivered, and nobody waits")
		}
		time.Sleep(time.Hour)
		if w, err := r.Get(r.Context(), id); err != nil || w.StageByRef("g").Status != stabilize.Suspended || len(w.Signals) > 0 {
			t.Errorf("it was kept: %+v, %v", w.Signals, err)
		}
		first, second := r.signal(id, "g", "2", engine.Transient()), r.signal(id, "g", "3", engine.Transient())
		if !first || second {
			t.Errorf("delivered: %t, %t", first, second)
		}
		r.signal(id, "rest", "4")
		r.wantStatus(r.wait(id), stabilize.Succeeded)
		r.wantRan(map[string]int{"g got map[text:2]": 1, "g got map[text:3]": 0})
	}, patient())
}

func TestSignalsWithAKeyComeOnce(t *testing.T) {
	both(t, func(r *rig) {
		r.gates()
		id := r.begin(stage("g").Do("gate", "gate"), stage("rest").Do("gate"))
		synctest.Wait()
		key := engine.SignalKey("k")
		if !r.signal(id, "g", "1", key) || !r.signal(id, "g", "9", key) {
			t.Error("the second answer is not that of the first")
		}
		if w, err := r.Get(r.Context(), id); err != nil || w.StageByRef("g").Status != stabilize.Suspended {
			t.Fatalf("one key ended two waits: %v", err)
		}
		// A key counts for one name, and also for what is only kept.
		if r.signal(id, "later", "2", key) || r.signal(id, "later", "3", key) {
			t.Error("nobody waits for that")
		}
		if w, _ := r.Get(r.Context(), id); len(w.Signals) != 2 || !w.Signals[0].Consumed || w.Signals[1].Consumed {
			t.Errorf("kept are %+v", w.Signals)
		}
		r.signal(id, "g", "4", engine.SignalKey("k2"))
		r.signal(id, "rest", "5")
		r.wantStatus(r.wait(id), stabilize.Succeeded)
		r.wantRan(map[string]int{"g got map[text:1]": 1, "g got map[text:9]": 0, "g got map[text:4]": 1})
	})
}

func TestSignalsToOneStage(t *testing.T) {
	both(t, func(r *rig) {
		r.task("door", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
			if x.Signal == nil {
				return stabilize.Suspend("open"), nil
			}
			r.logf("%s got %s", x.Stage.Ref, x.Signal.Data)
			return stabilize.Success(), nil
		})
		id := r.begin(stage("a").Do("door"), stage("b").Do("door"), stage("c", "b").Do("door"))
		synctest.Wait()
		if !r.signal(id, "open", "1", engine.ToStage("b")) {
			t.Error("b waits")
		}
		if r.signal(id, "open", "2", engine.ToStage("b")) {
			t.Error("b waits no longer")
		}
		if w, err := r.Get(r.Context(), id); err != nil || w.StageByRef("a").Status != stabilize.Suspended || w.StageByRef("c").Status != stabilize.Suspended {
			t.Fatalf("another stage took what was sent to b: %v", err)
		}
		if !r.signal(id, "open", "3") || !r.signal(id, "open", "4") { // the first in line, by position
			t.Error("a and c wait")
		}
		w := r.wait(id)
		r.wantRan(map[string]int{"b got map[text:1]": 1, "a got map[text:3]": 1, "c got map[text:4]": 1})
		if len(w.Signals) != 1 || w.Signals[0].Ref != "b" {
			t.Errorf("left over are %+v", w.Signals)
		}
	})
}

// A wait for a time ends with the signal or when the time is over, once.
func TestWaitsForATime(t *testing.T) {
	both(t, func(r *rig) {
		r.gates()
		began := time.Now()
		w := r.wait(r.begin(stage("over").Do("timed", "ok")))
		r.wantStatus(w, stabilize.Succeeded)
		r.about("the wait", time.Since(began), time.Hour)
		r.wantLog("over.timed", "over.timed", "over over", "over.ok")

		id := r.begin(stage("came").Do("timed"), stage("rest").Do("gate"))
		time.Sleep(30 * time.Minute)
		if !r.signal(id, "came", "1") {
			t.Error("it waits")
		}
		time.Sleep(2 * time.Hour) // the timer is gone
		r.wantRan(map[string]int{"came got map[text:1]": 1, "came over": 0, "came.timed": 2})
		if pending, err := r.Store().Pending(r.Context(), id); err != nil || len(pending) > 0 {
			t.Errorf("left in the queue: %+v, %v", pending, err)
		}
		r.signal(id, "rest", "2")
		r.wantStatus(r.wait(id), stabilize.Succeeded)
	}, patient())
}

// In what is paused a signal ends the wait, and the task goes on afterwards.
func TestSignalsWhilePaused(t *testing.T) {
	both(t, func(r *rig) {
		r.gates()
		for _, alone := range []bool{false, true} {
			id := r.begin(stage("g").Do("gate"), stage("t").Do("timed"), stage("rest").Do("gate"))
			synctest.Wait()
			if alone {
				r.must(r.PauseStage(r.Context(), id, "g"))
				r.must(r.PauseStage(r.Context(), id, "t"))
			} else {
				r.must(r.Pause(r.Context(), id, "u"))
			}
			if !r.signal(id, "g", "1") || r.signal(id, "g", "2") {
				t.Error("the one that waits takes one signal")
			}
			time.Sleep(3 * time.Hour)
			got := map[bool]int{false: 0, true: 1}[alone]
			r.wantRan(map[string]int{"g got map[text:1]": got, "t over": got})
			if alone {
				r.must(r.ResumeStage(r.Context(), id, "g"))
				r.must(r.ResumeStage(r.Context(), id, "t"))
			} else {
				r.must(r.Resume(r.Context(), id, "u"))
			}
			synctest.Wait()
			r.wantRan(map[string]int{"g got map[text:1]": got + 1, "t over": got})
			time.Sleep(61 * time.Minute)
			r.wantRan(map[string]int{"t over": got + 1})
			r.signal(id, "rest", "3")
			w := r.wait(id)
			r.wantStatus(w, stabilize.Succeeded)
			if len(w.Signals) != 1 || string(w.Signals[0].Data["text"]) != "2" {
				t.Errorf("left over are %+v", w.Signals)
			}
		}
	}, patient())
}
