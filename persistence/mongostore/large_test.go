//go:build unix

package mongostore_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// largeWorkflow is a workflow of n stages of about 600 bytes each.
func largeWorkflow(n int) *stabilize.Workflow {
	ids, now := stabilize.NewIDs(stabilize.SystemClock{}, nil), time.Now()
	w := &stabilize.Workflow{Header: stabilize.Header{ID: ids.New(), Application: "bench", Name: "large", Status: stabilize.Running, CreatedAt: now, StartedAt: now}}
	for i := range n {
		w.Stages = append(w.Stages, &stabilize.Stage{
			ID: ids.New(), Ref: fmt.Sprint("s", i), Position: i, Status: stabilize.Running, StartedAt: now,
			Tasks:   []*stabilize.Task{{ID: ids.New(), Name: "work", Type: "work", Status: stabilize.Running, StartedAt: now}},
			Context: stabilize.Values{"fill": []byte(`"` + strings.Repeat("x", 300) + `"`)},
		})
	}
	return w
}

// step is the commit of a step: two stages are put, a message is handled, another comes
// to the same worker.
func step(w *stabilize.Workflow, n int) *persistence.Commit {
	at := n % (len(w.Stages) - 1)
	s := w.Stages[at+1]
	c := &persistence.Commit{WorkflowID: w.ID, Expect: int64(n) + 1, Stages: w.Stages[at : at+2], Messages: []queue.Outgoing{{
		ID: fmt.Sprint(w.ID, n), Message: queue.RunTask{OfTask: queue.ToTask(w.ID, s.ID, s.Tasks[0].ID)}, Lease: &queue.Lease{Worker: "worker", Token: "token"},
	}}}
	if n > 0 {
		c.Handled = []queue.Receipt{{ID: fmt.Sprint(w.ID, n-1), Token: "token"}}
	}
	return c
}

// large creates a workflow of n stages, commits steps of it one by one, and loads it.
func large(b *testing.B, store persistence.Store, n int) (id string) {
	b.Helper()
	ctx := context.Background()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	_, err := store.Heartbeat(ctx, queue.Worker{ID: "worker", TTL: time.Hour})
	must(err)
	w := largeWorkflow(n)
	began := time.Now()
	must(store.CommitBatch(ctx, []*persistence.Commit{{WorkflowID: w.ID, Header: &w.Header, Stages: w.Stages}})[0])
	created := time.Since(began)
	done := 0
	for b.Loop() {
		must(store.CommitBatch(ctx, []*persistence.Commit{step(w, done)})[0])
		done++
	}
	began = time.Now()
	_, err = store.Load(ctx, w.ID)
	must(err)
	b.ReportMetric(float64(created.Microseconds())/1000, "create-ms")
	b.ReportMetric(float64(time.Since(began).Microseconds())/1000, "load-ms")
	return w.ID
}

// BenchmarkStages is the cost of a commit by how many stages its workflow has, here and
// in a SQLite file.
func BenchmarkStages(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprintf("mongodb/%d", n), func(b *testing.B) {
			server := servers.One()
			db := server.Client(b).Database(server.Database(b))
			var sent, trips atomic.Int64
			store, err := mongostore.Open(b.Context(), mongostore.Config{
				URI: server.URI(b), Database: db.Name(), Migrate: true,
				Monitor: &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
					if e.CommandName == "update" {
						if name, _ := e.Command.Lookup("update").StringValueOK(); name == "workflows" {
							sent.Add(int64(len(e.Command)))
						}
					}
					trips.Add(1)
				}},
			})
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			id := large(b, store, n)
			doc, err := db.Collection("workflows").FindOne(b.Context(), bson.D{{Key: "_id", Value: id}}).Raw()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(len(doc)), "document-bytes")
			b.ReportMetric(float64(sent.Load())/float64(b.N), "update-bytes/op")
			b.ReportMetric(float64(trips.Load())/float64(b.N), "commands/op")
		})
		b.Run(fmt.Sprintf("sqlite/%d", n), func(b *testing.B) {
			store, err := sqlstore.Open(b.Context(), sqlstore.Config{Path: filepath.Join(b.TempDir(), "large.db"), Migrate: true})
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			large(b, store, n)
		})
	}
}
