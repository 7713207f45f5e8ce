package engine_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// operation is one way to control a workflow, or a stage of one.
type operation struct {
	name  string
	do    func(ctx context.Context, r *rig, id, ref string) error
	whole bool // of the workflow: the ref is of no importance
}

func operations() []operation {
	return []operation{
		{"signal", func(ctx context.Context, r *rig, id, ref string) error {
			_, err := r.Signal(ctx, id, "s", nil, engine.ToStage(ref))
			return err
		}, false},
		{"pause", func(ctx context.Context, r *rig, id, _ string) error { return r.Pause(ctx, id, "u") }, true},
		{"resume", func(ctx context.Context, r *rig, id, _ string) error { return r.Resume(ctx, id, "u") }, true},
		{"pause stage", func(ctx context.Context, r *rig, id, ref string) error { return r.PauseStage(ctx, id, ref) }, false},
		{"resume stage", func(ctx context.Context, r *rig, id, ref string) error { return r.ResumeStage(ctx, id, ref) }, false},
		{"restart", func(ctx context.Context, r *rig, id, ref string) error { return r.Restart(ctx, id, ref, "u") }, false},
		{"retry", func(ctx context.Context, r *rig, id, _ string) error { return r.Retry(ctx, id, "u") }, true},
		{"skip", func(ctx context.Context, r *rig, id, ref string) error { return r.Engine.Skip(ctx, id, ref) }, false},
		{"withdraw", func(ctx context.Context, r *rig, id, ref string) error { return r.Withdraw(ctx, id, ref) }, false},
		{"cancel stage", func(ctx context.Context, r *rig, id, ref string) error { return r.CancelStage(ctx, id, ref) }, false},
		{"abort", func(ctx context.Context, r *rig, id, ref string) error { return r.Abort(ctx, id, ref, "why") }, false},
		{"cancel region", func(ctx context.Context, r *rig, id, ref string) error { return r.CancelRegion(ctx, id, ref) }, false},
		{"add instance", func(ctx context.Context, r *rig, id, ref string) error { return r.AddInstance(ctx, id, ref, "k", nil) }, false},
		{"close instances", func(ctx context.Context, r *rig, id, ref string) error { return r.CloseInstances(ctx, id, ref) }, false},
		{"complete instances", func(ctx context.Context, r *rig, id, ref string) error { return r.CompleteInstances(ctx, id, ref) }, false},
		{"jump", func(ctx context.Context, r *rig, id, ref string) error { return r.Jump(ctx, id, ref, ref, nil) }, false},
		{"reschedule", func(ctx context.Context, r *rig, id, _ string) error { return r.Reschedule(ctx, id) }, true},
		{"cancel", func(ctx context.Context, r *rig, id, _ string) error { return r.Cancel(ctx, id, "u", "why") }, true},
	}
}

// TestMisuse: whatever is asked for wrongly is refused with the error of its
// class, and the workflow is as it was, to the version.
func TestMisuse(t *testing.T) {
	both(t, func(r *rig) {
		r.gates()
		id := r.begin(stage("done").Do("ok"), stage("a", "done").Do("gate"), stage("b", "a").Do("ok"))
		ended := r.finish(stage("a").Do("ok"))
		synctest.Wait()
		before, err := r.Get(r.Context(), id)
		r.must(err)
		want := func(what string, err, class error) {
			r.Helper()
			if !errors.Is(err, class) {
				r.Errorf("%s: %v, want the class %v", what, err, class)
			}
			now, err := r.Get(r.Context(), id)
			r.must(err)
			if now.Version != before.Version || now.Status != stabilize.Running {
				r.Fatalf("%s left the workflow %s at version %d, was %d", what, now.Status, now.Version, before.Version)
			}
		}
		for _, op := range operations() {
			do := func(id, ref string) error { return op.do(r.Context(), r, id, ref) }
			want(op.name+" in an unknown workflow", do("nowhere", "a"), stabilize.ErrNotFound)
			want(op.name+" without a workflow", do("", "a"), stabilize.ErrInvalid)
			want(op.name+" in a workflow whose id is no text", do("\xff", "a"), stabilize.ErrInvalid)
			if !op.whole {
				want(op.name+" of an unknown stage", do(id, "nowhere"), stabilize.ErrNotFound)
				want(op.name+" of what is no text", do(id, "\xff"), stabilize.ErrInvalid)
				if op.name != "signal" { // to any stage
					want(op.name+" of nothing", do(id, ""), stabilize.ErrInvalid)
				}
			}
			class := stabilize.ErrFinished
			switch op.name {
			case "restart":
				continue // that is what it is for
			case "retry":
				class = stabilize.ErrInvalidTransition // it ended well
			}
			want(op.name+" of a finished workflow", do(ended.ID, "a"), class)
			canceled, cancel := context.WithCancel(r.Context())
			cancel()
			want(op.name+" by one who has left", op.do(canceled, r, id, "a"), context.Canceled)
		}
		// What the present state does not allow.
		for what, err := range map[string]error{
			"resuming what runs":                  r.Resume(r.Context(), id, "u"),
			"resuming a stage that waits":         r.ResumeStage(r.Context(), id, "a"),
			"pausing a stage that has ended":      r.PauseStage(r.Context(), id, "done"),
			"pausing a stage that has not begun":  r.PauseStage(r.Context(), id, "b"),
			"restarting a stage that waits":       r.Restart(r.Context(), id, "a", "u"),
			"restarting one that has not begun":   r.Restart(r.Context(), id, "b", "u"),
			"retrying what runs":                  r.Retry(r.Context(), id, "u"),
			"skipping what has ended":             r.Engine.Skip(r.Context(), id, "done"),
			"withdrawing what has ended":          r.Withdraw(r.Context(), id, "done"),
			"cancelling what has ended":           r.CancelStage(r.Context(), id, "done"),
			"aborting what has ended":             r.Abort(r.Context(), id, "done", "why"),
			"adding to what takes none":           r.AddInstance(r.Context(), id, "a", "k", nil),
			"closing what has none":               r.CloseInstances(r.Context(), id, "a"),
			"completing what has none":            r.CompleteInstances(r.Context(), id, "a"),
			"jumping from what has ended":         r.Jump(r.Context(), id, "done", "a", nil),
			"jumping from what has not begun":     r.Jump(r.Context(), id, "b", "a", nil),
			"resuming a stage that is not paused": r.ResumeStage(r.Context(), id, "done"),
			"resuming a stage that has not begun": r.ResumeStage(r.Context(), id, "b"),
		} {
			want(what, err, stabilize.ErrInvalidTransition)
		}
		_, err = r.Signal(r.Context(), id, "", nil)
		want("a signal without a name", err, stabilize.ErrInvalid)
		_, err = r.Signal(r.Context(), id, "s", stabilize.Values{"k": []byte("{")})
		want("a signal with what is no JSON", err, stabilize.ErrInvalid)
		want("a jump to nowhere", r.Jump(r.Context(), id, "a", "nowhere", nil), stabilize.ErrNotFound)
		want("a jump to nothing", r.Jump(r.Context(), id, "a", "", nil), stabilize.ErrInvalid)
		want("a jump with what is no JSON", r.Jump(r.Context(), id, "a", "done", stabilize.Values{"k": []byte("{")}), stabilize.ErrInvalid)
		want("a user who is no text", r.Pause(r.Context(), id, "\xff"), stabilize.ErrInvalid)
		_, err = r.Send(r.Context(), nil)
		want("sending nothing", err, stabilize.ErrInvalid)
		_, err = r.Signal(r.Context(), id, "a", nil)
		r.must(err)
		r.wantStatus(r.wait(id), stabilize.Succeeded)
	})
}

// The same on an engine that runs nothing here: the decisions are made on the spot.
func TestControlWithoutWorkers(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		works := newRig(t, d)
		asks := newRig(t, d, engine.WithRecorder(events.RecorderFunc(works.record)))
		works.gates()
		asks.gates()
		works.start()
		defer works.close()
		id := works.begin(stage("a").Do("gate"), stage("b", "a").Do("gate"))
		synctest.Wait()
		delivered, err := asks.Signal(t.Context(), id, "a", nil)
		asks.must(err)
		if !delivered {
			t.Error("the signal was not delivered")
		}
		time.Sleep(time.Second)
		asks.must(asks.Engine.Skip(t.Context(), id, "b"))
		w := works.wait(id)
		works.wantStatus(w, stabilize.Succeeded)
		works.wantStage(w, "b", stabilize.Skipped, stabilize.ReasonManualSkip)
		asks.must(asks.Close())
	})
}
