package engine_test

import (
	"context"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// outdated sends along, with each message, a workflow of that id and version which has
// been deleted since and made anew.
type outdated struct{ *memstore.Store }

func (o outdated) Claim(ctx context.Context, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
	ds, err := o.Store.Claim(ctx, w, room)
	for i := range ds {
		if w, err := o.Load(ctx, queue.WorkflowOf(ds[i].Message)); err == nil {
			w.CreatedAt = w.CreatedAt.Add(-time.Hour)
			ds[i].Workflow = w
		}
	}
	return ds, err
}

// A workflow that came along with a message and is not what is stored by now is loaded
// anew; the message is not blamed for it.
func TestWhatCameAlongIsOutdated(t *testing.T) {
	data := memstore.NewData()
	ended := make(chan events.Event, 10)
	told := engine.WithRecorder(events.RecorderFunc(func(_ context.Context, evs []events.Event) {
		for _, e := range evs {
			if e.Type == events.WorkflowCompleted {
				ended <- e
			}
		}
	}))
	starts, err := engine.New(memstore.Open(data, memstore.Config{}))
	if err != nil {
		t.Fatal(err)
	}
	store := memstore.Open(data, memstore.Config{})
	runs, err := engine.New(outdated{store}, told)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []*engine.Engine{starts, runs} {
		if err := e.RegisterTask("say", stabilize.Func(func(context.Context, struct{}) (string, error) { return "said", nil })); err != nil {
			t.Fatal(err)
		}
	}
	id, err := starts.Start(t.Context(), stabilize.NewWorkflow("app", "one").Add(stabilize.NewStage("a").Do("say")))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error)
	go func() { ran <- runs.Run(ctx) }()
	if e := <-ended; e.WorkflowID != id || e.To != stabilize.Succeeded {
		t.Errorf("%+v", e)
	}
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	w, err := store.Load(t.Context(), id)
	if err != nil || w.Version != 2 {
		t.Errorf("%+v, %v", w, err)
	}
}
