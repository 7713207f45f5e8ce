package memstore

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/queuetest"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// BenchmarkStep is the commit of one task step: two changed stages, one message
// handled, one born leased, no header. Many workflows, in parallel.
func BenchmarkStep(b *testing.B) {
	for _, batch := range []int{1, 16} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) { benchStep(b, batch) })
	}
}

func benchStep(b *testing.B, batch int) {
	ctx := b.Context()
	s := New(Config{})
	worker := queue.Worker{ID: "worker", TTL: time.Hour}
	if _, err := s.Heartbeat(ctx, worker); err != nil {
		b.Fatal(err)
	}
	var runs atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		run := runs.Add(1)
		tokens := 0
		token := func() string { tokens++; return fmt.Sprintf("token-%d-%d", run, tokens) }
		commits := make([]*persistence.Commit, batch)
		for i := range commits {
			w := benchWorkflow(fmt.Sprintf("workflow-%d-%d", run, i))
			lease := &queue.Lease{Worker: worker.ID, Token: token()}
			task := queue.ToTask(w.ID, w.Stages[0].ID, w.Stages[0].Tasks[0].ID)
			first := queue.Outgoing{ID: w.ID + "-0", Message: queue.RunTask{OfTask: task}, Lease: lease}
			if err := s.CommitBatch(ctx, []*persistence.Commit{{
				WorkflowID: w.ID, Header: &w.Header, Stages: w.Stages, Messages: []queue.Outgoing{first},
			}})[0]; err != nil {
				b.Error(err)
				return
			}
			commits[i] = &persistence.Commit{
				WorkflowID: w.ID, Expect: 1, Stages: w.Stages[3:5],
				Handled:  []queue.Receipt{{ID: first.ID, Token: lease.Token}},
				Messages: []queue.Outgoing{first},
			}
		}
		for n := 0; pb.Next(); n++ {
			if n%batch != 0 {
				continue // a batch counts as so many steps
			}
			for _, c := range commits {
				m := &c.Messages[0]
				c.Handled[0] = queue.Receipt{ID: m.ID, Token: m.Lease.Token}
				m.ID = fmt.Sprintf("%s-%d", c.WorkflowID, c.Expect)
				m.Lease = &queue.Lease{Worker: worker.ID, Token: token()}
			}
			for i, err := range s.CommitBatch(ctx, commits) {
				if err != nil {
					b.Error(err)
					return
				}
				commits[i].Expect++
			}
		}
	})
}

func benchWorkflow(id string) *stabilize.Workflow {
	now := time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)
	w := &stabilize.Workflow{Header: stabilize.Header{ID: id, Application: "bench", Status: stabilize.Running, CreatedAt: now, StartedAt: now}}
	for i := range 10 {
		st := &stabilize.Stage{
			ID: fmt.Sprintf("%s-stage-%d", id, i), Ref: fmt.Sprintf("stage-%d", i), Position: i,
			Status: stabilize.Running, StartedAt: now,
			Context: stabilize.Values{"input": []byte(`{"name":"a name of some length","count":42}`)},
			Outputs: stabilize.Values{"result": []byte(`"some text that a task put out"`), "n": []byte(`17`)},
			Tasks:   []*stabilize.Task{{ID: fmt.Sprintf("%s-task-%d", id, i), Name: "work", Type: "work", Status: stabilize.Running, StartedAt: now}},
		}
		if i > 0 {
			st.Requisites = []string{fmt.Sprintf("stage-%d", i-1)}
		}
		w.Stages = append(w.Stages, st)
	}
	return w
}

// LP-05 of the contract.
func BenchmarkDelayed(b *testing.B) {
	queuetest.BenchmarkDelayed(b, func(b *testing.B) conformance.QueueHarness { return conformance.AsQueue(newHarness(b)) })
}
