package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

func TestChainRunsToItsEnd(t *testing.T) {
	for _, cascade := range []bool{true, false} {
		t.Run(fmt.Sprint("cascade=", cascade), func(t *testing.T) {
			opts := []engine.Option{engine.WithConfig(engine.Config{LeaseTTL: time.Hour})} // each step is to run once, however slow
			if !cascade {
				opts = append(opts, engine.WithoutCascade())
			}
			e, err := engine.New(memstore.New(memstore.Config{}), opts...)
			if err != nil {
				t.Fatal(err)
			}
			var ran atomic.Int64
			must(t, e.RegisterTask("count", stabilize.Func(func(ctx context.Context, in struct{ N int }) (map[string]int, error) {
				ran.Add(1)
				return map[string]int{"N": in.N + 1}, nil
			})))
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- e.Run(ctx) }()
			spec := stabilize.NewWorkflow("app", "chain")
			for i := range 10 {
				s := stabilize.NewStage(fmt.Sprint("s", i)).Do("count")
				if i > 0 {
					s.After(fmt.Sprint("s", i-1))
				}
				spec.Add(s)
			}
			id, err := e.Start(t.Context(), spec)
			must(t, err)
			w, err := e.Wait(t.Context(), id)
			must(t, err)
			if w.Status != stabilize.Succeeded || ran.Load() != 10 {
				t.Fatalf("%s after %d tasks: %+v", w.Status, ran.Load(), w.Failure)
			}
			n, err := stabilize.Get[int](w.StageByRef("s9").Outputs, "N")
			if err != nil || n != 10 {
				t.Fatalf("the last output is %d, %v; want 10", n, err)
			}
			cancel()
			must(t, <-done)
			must(t, e.Close())
			if err := e.Run(t.Context()); !errors.Is(err, stabilize.ErrClosed) {
				t.Fatalf("Run after Close: %v", err)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
