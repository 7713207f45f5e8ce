//go:build unix

package mongostore_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/event"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// meter counts what a store sends.
type meter struct {
	mu       sync.Mutex
	commands map[string]int // by name and collection
	writes   int            // documents of workflows written
	lease    int64          // the request that makes the worker's lease
	alive    chan struct{}  // closed when it is there
}

func (m *meter) started(_ context.Context, e *event.CommandStartedEvent) {
	m.mu.Lock()
	defer m.mu.Unlock()
	collection, _ := e.Command.Lookup(e.CommandName).StringValueOK()
	m.commands[e.CommandName+" "+collection]++
	if collection == "workers" && e.CommandName == "insert" {
		m.lease = e.RequestID
	}
	if collection != "workflows" {
		return
	}
	for _, field := range []string{"updates", "documents"} {
		if list, ok := e.Command.Lookup(field).ArrayOK(); ok {
			values, _ := list.Values()
			m.writes += len(values)
		}
	}
}

func (m *meter) succeeded(_ context.Context, e *event.CommandSucceededEvent) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.RequestID == m.lease {
		close(m.alive)
	}
}

func (m *meter) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(m.commands)) {
		lines = append(lines, fmt.Sprintf("%5d %s", m.commands[name], name))
	}
	return strings.Join(lines, "\n")
}

// Chains of eight stages write at most 1.2 documents of workflows for each step, and
// together they need at most three round trips for it: starts, claims and leases
// included, but nobody looks just because time has passed.
func TestCostOfAStep(t *testing.T) {
	server := servers.One()
	m := &meter{commands: map[string]int{}, alive: make(chan struct{})}
	s, err := mongostore.Open(t.Context(), mongostore.Config{
		URI: server.URI(t), Database: server.Database(t), Migrate: true,
		Monitor: &event.CommandMonitor{Started: m.started, Succeeded: m.succeeded},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const chains, stages = 20, 8
	ended := make(chan events.Event, chains)
	e, err := engine.New(s, engine.WithConfig(engine.Config{LeaseTTL: time.Hour, MaxPoll: time.Hour}),
		engine.WithRecorder(events.RecorderFunc(func(_ context.Context, evs []events.Event) {
			for _, e := range evs {
				if e.Type == events.WorkflowCompleted {
					ended <- e
				}
			}
		})))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.RegisterTask("work", stabilize.Func(func(context.Context, struct{}) (struct{}, error) {
		return struct{}{}, nil
	})); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- e.Run(t.Context()) }()
	spec := stabilize.NewWorkflow("app", "chain")
	for i := range stages {
		st := stabilize.NewStage(fmt.Sprint("s", i)).Do("work")
		if i > 0 {
			st.After(fmt.Sprint("s", i-1))
		}
		spec.Add(st)
	}
	<-m.alive
	m.mu.Lock()
	clear(m.commands)
	m.mu.Unlock()
	var wg sync.WaitGroup
	for range chains {
		wg.Go(func() {
			if _, err := e.Start(t.Context(), spec); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for range chains {
		if e := <-ended; e.To != stabilize.Succeeded {
			t.Errorf("a workflow ended %s", e.To)
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	<-done
	total := 0
	for _, n := range m.commands {
		total += n
	}
	steps := float64(chains * stages)
	t.Logf("%.2f documents of workflows and %.2f commands for each step\n%s", float64(m.writes)/steps, float64(total)/steps, m)
	if float64(m.writes)/steps > 1.2 {
		t.Errorf("%.2f documents of workflows are written for each step", float64(m.writes)/steps)
	}
	if float64(total)/steps > 3 {
		t.Errorf("%.2f commands are sent for each step", float64(total)/steps)
	}
}

// Bodies that are kept outside travel together, as many as a command may hold.
func TestPayloadsTravelTogether(t *testing.T) {
	server := servers.One()
	m := &meter{commands: map[string]int{}}
	s, err := mongostore.Open(t.Context(), mongostore.Config{
		URI: server.URI(t), Database: server.Database(t), Migrate: true, Inline: 100,
		Monitor: &event.CommandMonitor{Started: m.started},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w := largeWorkflow(30)
	for i := range 3 { // as large as a command together
		w.Stages[i].Context["fill"] = []byte(`"` + strings.Repeat("x", 3<<20) + `"`)
	}
	if err := s.CommitBatch(t.Context(), []*persistence.Commit{{WorkflowID: w.ID, Header: &w.Header, Stages: w.Stages}})[0]; err != nil {
		t.Fatal(err)
	}
	if n := m.commands["insert payloads"]; n != 2 {
		t.Errorf("31 bodies outside of the document were stored in %d commands, want 2\n%s", n, m)
	}
	loaded, err := s.Load(t.Context(), w.ID)
	if err != nil {
		t.Fatal(err)
	}
	for i, st := range loaded.Stages {
		if got, want := len(st.Context["fill"]), len(w.Stages[i].Context["fill"]); got != want {
			t.Errorf("stage %d came back with %d bytes, want %d", i, got, want)
		}
	}
}

// Deleting and pruning many workflows asks the server no more often than a few.
func TestCostOfRemoval(t *testing.T) {
	h := newHarness(t, servers.One())
	cost := func(n int, remove func([]*stabilize.Header) error) int64 {
		t.Helper()
		var commits []*persistence.Commit
		var heads []*stabilize.Header
		for i := range n {
			head := &stabilize.Header{ID: fmt.Sprint("w", i), Application: "app", Name: "cost", Status: stabilize.Succeeded, CreatedAt: h.clock.Now()}
			commits = append(commits, &persistence.Commit{WorkflowID: head.ID, Header: head})
			read := *head
			read.Version = 1
			heads = append(heads, &read)
		}
		h.must(t, errors.Join(h.second.CommitBatch(t.Context(), commits)...))
		before := int64(h.Queries())
		h.must(t, remove(heads))
		spent := int64(h.Queries()) - before
		page, err := h.second.Query(t.Context(), persistence.Query{})
		h.must(t, err)
		if len(page.Workflows) > 0 {
			t.Errorf("%d workflows are there", len(page.Workflows))
		}
		return spent
	}
	for name, remove := range map[string]func([]*stabilize.Header) error{
		"delete": func(heads []*stabilize.Header) error {
			var ids []string
			for _, head := range heads {
				ids = append(ids, head.ID)
			}
			return h.first.Delete(t.Context(), ids...)
		},
		"prune": func(heads []*stabilize.Header) error {
			_, err := h.first.Prune(t.Context(), heads...)
			return err
		},
	} {
		if few, many := cost(2, remove), cost(20, remove); many > few {
			t.Errorf("%s: 2 workflows cost %d commands, 20 cost %d", name, few, many)
		}
	}
}
