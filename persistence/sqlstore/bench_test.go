package sqlstore_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/queuetest"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// BenchmarkCommitBatch measures one step of many workflows: no header, two
// stages of about 600 bytes, one message handled, the next one leased to the
// same worker.
func BenchmarkCommitBatch(b *testing.B) {
	for _, size := range []int{1, 50, 200} {
		b.Run(fmt.Sprint(size), func(b *testing.B) { benchmarkCommitBatch(b, size) })
	}
}

func benchmarkCommitBatch(b *testing.B, size int) {
	ctx := b.Context()
	s, err := sqlstore.Open(ctx, sqlstore.Config{Path: filepath.Join(b.TempDir(), "bench.db"), Migrate: true})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	worker := queue.Worker{ID: "w", TTL: time.Hour}
	if _, err := s.Heartbeat(ctx, worker); err != nil {
		b.Fatal(err)
	}
	ids := stabilize.NewIDs(stabilize.SystemClock{}, nil)
	batch := make([]*persistence.Commit, size)
	for i := range batch {
		w := benchWorkflow(ids)
		batch[i] = &persistence.Commit{
			WorkflowID: w.ID, Header: &w.Header, Stages: w.Stages,
			Messages: []queue.Outgoing{leased(ids, w.ID)},
		}
	}
	commit := func() {
		for i, err := range s.CommitBatch(ctx, batch) {
			if err != nil {
				b.Fatalf("commit %d: %v", i, err)
			}
		}
		for _, c := range batch {
			c.Expect, c.Header, c.Stages = c.Expect+1, nil, c.Stages[len(c.Stages)-2:]
			c.Handled = []queue.Receipt{{ID: c.Messages[0].ID, Token: c.Messages[0].Lease.Token}}
			c.Messages = []queue.Outgoing{leased(ids, c.WorkflowID)}
		}
	}
	commit()
	for b.Loop() {
		commit()
	}
	b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "commits/s")
}

func leased(ids *stabilize.IDs, workflow string) queue.Outgoing {
	id := ids.New()
	return queue.Outgoing{
		ID: id, Message: queue.RunTask{OfTask: queue.ToTask(workflow, "s", "t")},
		Lease: &queue.Lease{Worker: "w", Token: "token-" + id},
	}
}

func benchWorkflow(ids *stabilize.IDs) *stabilize.Workflow {
	now := time.Now().UTC().Truncate(time.Microsecond)
	w := &stabilize.Workflow{Header: stabilize.Header{ID: ids.New(), Application: "bench", Name: "n", Status: stabilize.Running, CreatedAt: now, StartedAt: now}}
	for i := range 4 {
		st := &stabilize.Stage{
			ID: ids.New(), Ref: fmt.Sprint(i), Position: i, Type: "bench", Status: stabilize.Running, StartedAt: now,
			Tasks: []*stabilize.Task{{ID: ids.New(), Name: "one", Type: "bench", Status: stabilize.Running, StartedAt: now}},
		}
		if err := st.Context.Set("text", strings.Repeat("x", 300)); err != nil {
			panic(err)
		}
		w.Stages = append(w.Stages, st)
	}
	return w
}

// BenchmarkLoad reads a workflow of four stages.
func BenchmarkLoad(b *testing.B) {
	s := open(b, tempFile(b))
	w := benchWorkflow(stabilize.NewIDs(stabilize.SystemClock{}, nil))
	commit(b, s, &persistence.Commit{WorkflowID: w.ID, Header: &w.Header, Stages: w.Stages})
	for b.Loop() {
		if _, err := s.Load(b.Context(), w.ID); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkClaim measures a poll that finds nothing, with few and with many
// delayed messages, and the way of a hundred messages through the queue.
func BenchmarkClaim(b *testing.B) {
	for _, delayed := range []int{100, 100_000} {
		b.Run(fmt.Sprint("idle/", delayed), func(b *testing.B) {
			s := open(b, tempFile(b))
			out := make([]queue.Outgoing, 100)
			for i := range out {
				out[i] = message("", "w")
				out[i].At = start.Add(time.Hour)
			}
			for range delayed / len(out) {
				if err := s.Push(b.Context(), out...); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				if got := claim(b, s, "w", 10); len(got) > 0 {
					b.Fatal(got)
				}
			}
		})
	}
	b.Run("push, claim and ack 100", func(b *testing.B) {
		s := open(b, tempFile(b))
		out, receipts := make([]queue.Outgoing, 100), make([]queue.Receipt, 100)
		for i := range out {
			out[i] = message("", "w")
		}
		for b.Loop() {
			if err := s.Push(b.Context(), out...); err != nil {
				b.Fatal(err)
			}
			got := claim(b, s, "w", len(out))
			if len(got) != len(out) {
				b.Fatal(len(got))
			}
			for i := range got {
				receipts[i] = got[i].Receipt()
			}
			if err := s.Ack(b.Context(), receipts...); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// LP-05 of the contract.
func BenchmarkDelayed(b *testing.B) {
	queuetest.BenchmarkDelayed(b, func(b *testing.B) conformance.QueueHarness { return conformance.AsQueue(newHarness(b, false)) })
}
