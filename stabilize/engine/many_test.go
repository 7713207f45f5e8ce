package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// BenchmarkInstances runs one stage of many instances, 8 at once: the time for
// each instance should not grow with their number.
func BenchmarkInstances(b *testing.B) {
	memory := func() persistence.Store { return memstore.Open(memstore.NewData(), memstore.Config{}) }
	many := func(n int) *stabilize.StageSpec {
		return stabilize.NewStage("w").Do("work").Instances(stabilize.Multi{Count: n, Limit: 8})
	}
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprintf("memory/%d", n), func(b *testing.B) { runInstances(b, n, many(n), memory) })
		b.Run(fmt.Sprintf("memory, until/%d", n), func(b *testing.B) {
			until := stabilize.Multi{Count: n, Limit: 8, Until: "sum(results, .v) >= total"}
			runInstances(b, n, stabilize.NewStage("w").Do("work").Instances(until), memory)
		})
		b.Run(fmt.Sprintf("memory, mutex/%d", n), func(b *testing.B) {
			runInstances(b, n, stabilize.NewStage("w").Instances(stabilize.Multi{Count: n}).Body(stabilize.NewStage("x").Do("work").Mutex("k")), memory)
		})
		b.Run(fmt.Sprintf("sqlite/%d", n), func(b *testing.B) {
			runInstances(b, n, many(n), func() persistence.Store {
				s, err := sqlstore.Open(b.Context(), sqlstore.Config{Path: filepath.Join(b.TempDir(), "many.db"), Migrate: true, Synchronous: sqlstore.Normal})
				if err != nil {
					b.Fatal(err)
				}
				return s
			})
		})
	}
}

func runInstances(b *testing.B, n int, stage *stabilize.StageSpec, open func() persistence.Store) {
	for b.Loop() {
		var running, most, ran atomic.Int64
		store := open()
		e, err := engine.New(store, engine.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			b.Fatal(err)
		}
		err = e.RegisterTask("work", stabilize.Func(func(context.Context, struct{}) (stabilize.Result, error) {
			now := running.Add(1)
			for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
			}
			running.Add(-1)
			ran.Add(1)
			return stabilize.Success().WithOutput("v", 1), nil
		}))
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		began := time.Now()
		id, err := e.Start(ctx, stabilize.NewWorkflow("app", "many").Add(stage.Reduce("v", "sum")))
		if err != nil {
			b.Fatal(err)
		}
		w, err := e.Wait(ctx, id)
		if err != nil {
			b.Fatal(err)
		}
		took := time.Since(began)
		if total, err := stabilize.Get[int](w.Result(), "v"); err != nil || total != n || ran.Load() != int64(n) || most.Load() > 8 {
			b.Fatalf("%s: %d of %d, %d at once: %v %v", w.Status, total, n, most.Load(), err, w.Failure)
		}
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(took.Microseconds())/float64(n), "µs/instance")
		b.ReportMetric(float64(m.HeapAlloc)/1e6, "MB-heap")
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		_ = e.Close()
		_ = store.Close()
		runtime.KeepAlive(w)
	}
}
