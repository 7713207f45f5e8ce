package engine_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// view stands for a transaction that answers as told.
type view struct {
	persistence.WorkflowStore

	loads, commits int
	loading        error
	answers        []error // of the commits, in turn; then the store's
}

func (v *view) Load(ctx context.Context, id string) (*stabilize.Workflow, error) {
	v.loads++
	if v.loading != nil {
		return nil, v.loading
	}
	return v.WorkflowStore.Load(ctx, id)
}

func (v *view) CommitBatch(ctx context.Context, commits []*persistence.Commit) []error {
	if v.commits++; v.commits <= len(v.answers) {
		return v.answers[v.commits-1 : v.commits]
	}
	return v.WorkflowStore.CommitBatch(ctx, commits)
}

// Requests within a transaction decide again after a conflict, and leave it to the
// caller to run the transaction again after anything else.
func TestWithinTriesAgain(t *testing.T) {
	for _, c := range []struct {
		name           string
		view           view
		want           error
		loads, commits int
	}{
		{"nothing in the way", view{}, nil, 1, 1},
		{"a conflict", view{answers: []error{&stabilize.ConflictError{}}}, nil, 2, 2},
		{"spoiled at the commit", view{answers: []error{stabilize.ErrTransient}}, stabilize.ErrTransient, 1, 1},
		{"spoiled at the look", view{loading: stabilize.ErrTransient}, stabilize.ErrTransient, 1, 0},
		{"the transaction has ended", view{loading: stabilize.ErrClosed}, stabilize.ErrClosed, 1, 0},
		{"the reply was lost", view{answers: []error{stabilize.ErrUnknownOutcome}}, stabilize.ErrUnknownOutcome, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := memstore.Open(memstore.NewData(), memstore.Config{})
			r := newRigOn(t, store)
			id, err := r.Start(t.Context(), stabilize.NewWorkflow("app", "w").Add(stabilize.NewStage("a").Do("ok")))
			r.must(err)
			c.view.WorkflowStore = store
			_, err = r.Engine.Within(&c.view).Signal(t.Context(), id, "go", nil)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if c.view.loads != c.loads || c.view.commits != c.commits {
				t.Errorf("it looked %d times and committed %d times, want %d and %d", c.view.loads, c.view.commits, c.loads, c.commits)
			}
		})
	}
}

// A recorder that panics when it hears of a committed transaction breaks nothing.
func TestWithinRecorderPanics(t *testing.T) {
	store := memstore.Open(memstore.NewData(), memstore.Config{})
	told := 0
	r := newRigOn(t, store, engine.WithRecorder(events.RecorderFunc(func(context.Context, []events.Event) {
		told++
		panic("no room")
	})))
	requests := r.Engine.Within(store)
	_, err := requests.Start(t.Context(), stabilize.NewWorkflow("app", "w").Add(stabilize.NewStage("a").Do("ok")))
	r.must(err)
	if told > 0 {
		t.Error("the recorder was told before the commit")
	}
	requests.Committed(t.Context())
	if told != 1 {
		t.Errorf("the recorder was told %d times", told)
	}
}
