package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/handlers"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/persistence/stores"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// Escalate raises the urgency of a stage, and answers its question for it when
// that is high enough. It is a message of this program's own.
type Escalate struct {
	queue.OfStage
	By int `json:"by"`
}

// Kind implements queue.Message: the stored name.
func (Escalate) Kind() string { return "shop.Escalate" }

// escalate decides the message as the engine's own handlers decide theirs.
func escalate(x *handlers.Decision, m Escalate) error {
	return x.WithStage(m, func(s *stabilize.Stage) error {
		urgency, err := stabilize.Get[int](s.Context, "urgency")
		if err != nil && !errors.Is(err, stabilize.ErrNotFound) {
			return err
		}
		urgency += m.By
		edit := x.Draft().Stage(s.ID)
		if err := edit.Context.Set("urgency", urgency); err != nil {
			return err
		}
		x.Record(events.Event{Type: "stage.escalated", Reason: fmt.Sprint("urgency ", urgency)}, edit, nil)
		if urgency >= 3 { // decided and committed together with this
			x.Push(queue.SignalStage{OfStage: m.OfStage, Name: "approval", Persistent: true}) // the question may not be stored yet
		}
		x.Answer(urgency)
		return nil
	})
}

// ourHandlers are all handlers and messages of the engine, and one more.
func ourHandlers() (*queue.Registry, *handlers.Set, error) {
	messages, set := queue.NewRegistry(), handlers.NewSet()
	return messages, set, errors.Join(queue.Register[Escalate](messages), set.Add(handlers.Handle(escalate)))
}

func Example_ownMessage() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	messages, set, err := ourHandlers()
	if err != nil {
		fmt.Println(err)
		return
	}
	eng, err := engine.Open(ctx, stores.DSN("memory:"), engine.WithHandlers(messages, set), engine.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer eng.Close()
	asked := make(chan struct{}, 1)
	err = eng.RegisterTask("ask", stabilize.Func(func(ctx context.Context, _ struct{}) (stabilize.Result, error) {
		if x := stabilize.ExecutionFrom(ctx); x.Signal != nil {
			return stabilize.Success().WithOutput("approved", true), nil
		}
		asked <- struct{}{}
		return stabilize.Suspend("approval"), nil
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	go eng.Run(ctx)
	id, err := eng.Start(ctx, stabilize.NewWorkflow("shop", "refund").Add(stabilize.NewStage("approve").Do("ask")))
	if err != nil {
		fmt.Println(err)
		return
	}
	<-asked
	for range 3 {
		urgency, err := eng.Send(ctx, Escalate{OfStage: queue.ToRef(id, "approve"), By: 1})
		fmt.Println("urgency", urgency, err)
	}
	w, err := eng.Wait(ctx, id)
	fmt.Println(w.Status, err)
	// Output:
	// urgency 1 <nil>
	// urgency 2 <nil>
	// urgency 3 <nil>
	// SUCCEEDED <nil>
}

// TestOwnMessages: a message type of another package has all that ours have: the
// queue and the cascade, tries again, dead letters, the recorder.
func TestOwnMessages(t *testing.T) {
	for _, cascade := range []bool{true, false} {
		t.Run(fmt.Sprint("cascade ", cascade), func(t *testing.T) {
			messages, set := queue.NewRegistry(), handlers.NewSet()
			test := func(t *testing.T, store persistence.Store) {
				fails := 0
				err := errors.Join(set.Add(handlers.Handle(func(x *handlers.Decision, m Escalate) error {
					if m.By < 0 {
						fails++
						return errors.New("no way down")
					}
					return escalate(x, m)
				})))
				if err != nil {
					t.Fatal(err)
				}
				opts := []engine.Option{engine.WithHandlers(messages, set)}
				if !cascade {
					opts = append(opts, engine.WithoutCascade())
				}
				r := newRigOn(t, store, opts...)
				r.task("ask", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
					if x.Signal != nil {
						return stabilize.Success(), nil
					}
					return stabilize.Suspend("approval"), nil
				})
				r.start()
				defer r.close()
				id, doomed := r.begin(stage("a").Do("ask")), r.begin(stage("a").Do("ask"))
				r.must(r.Store().Push(t.Context(),
					queue.Outgoing{Message: Escalate{OfStage: queue.ToRef(id, "a"), By: 1}},
					queue.Outgoing{Message: Escalate{OfStage: queue.ToRef(id, "a"), By: 2}, At: time.Now().Add(time.Minute)},
					queue.Outgoing{Message: Escalate{OfStage: queue.ToRef(doomed, "a"), By: -1}, MaxAttempts: 3},
				))
				r.wantStatus(r.wait(id), stabilize.Succeeded)
				w := r.wait(doomed)
				r.wantStatus(w, stabilize.Terminal)
				if w.Failure == nil || w.Failure.Code != stabilize.CodeDeadLetter || fails < 3 {
					t.Errorf("after %d tries the failure is %+v", fails, w.Failure)
				}
				var recorded []string
				for _, e := range r.events {
					if e.Type == "stage.escalated" {
						recorded = append(recorded, e.Reason)
					}
				}
				if fmt.Sprint(recorded) != "[urgency 1 urgency 3]" {
					t.Errorf("recorded were %v", recorded)
				}
			}
			if err := queue.Register[Escalate](messages); err != nil {
				t.Fatal(err)
			}
			t.Run("memory", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { test(t, memstore.New(memstore.Config{Messages: messages})) })
			})
			t.Run("sqlite", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store, err := sqlstore.Open(t.Context(), sqlstore.Config{
						Path: filepath.Join(t.TempDir(), "own.db"), Migrate: true, Synchronous: sqlstore.Normal, Messages: messages,
					})
					if err != nil {
						t.Fatal(err)
					}
					defer store.Close()
					test(t, store)
				})
			})
		})
	}
}
