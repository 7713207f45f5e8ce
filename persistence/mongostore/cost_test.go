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

	"go.mongodb.org/mongo-driver/v2/event"

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
}

func (m *meter) started(_ context.Context, e *event.CommandStartedEvent) {
	m.mu.Lock()
	defer m.mu.Unlock()
	collection, _ := e.Command.Lookup(e.CommandName).StringValueOK()
	m.commands[e.CommandName+" "+collection]++
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

func (m *meter) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(m.commands)) {
		lines = append(lines, fmt.Sprintf("%5d %s", m.commands[name], name))
	}
	return strings.Join(lines, "\n")
}

// Chains of ten stages write at most 1.2 documents of workflows for each step, and
// together they need at most three round trips for it.
func TestCostOfAStep(t *testing.T) {
	server := servers.One()
	m := &meter{commands: map[string]int{}}
	s, err := mongostore.Open(t.Context(), mongostore.Config{
		URI: server.URI(t), Database: server.Database(t), Migrate: true,
		Monitor: &event.CommandMonitor{Started: m.started},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e, err := engine.New(s)
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
	const chains, stages = 10, 10
	spec := stabilize.NewWorkflow("app", "chain")
	for i := range stages {
		st := stabilize.NewStage(fmt.Sprint("s", i)).Do("work")
		if i > 0 {
			st.After(fmt.Sprint("s", i-1))
		}
		spec.Add(st)
	}
	m.mu.Lock()
	clear(m.commands)
	m.mu.Unlock()
	var wg sync.WaitGroup
	for range chains {
		wg.Go(func() {
			id, err := e.Start(t.Context(), spec)
			if err != nil {
				t.Error(err)
				return
			}
			if w, err := e.Wait(t.Context(), id); err != nil || w.Status != stabilize.Succeeded {
				t.Errorf("%v, %v", w, err)
			}
		})
	}
	wg.Wait()
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
}

// Deleting and pruning many workflows asks the server no more often than a few.
func TestCostOfRemoval(t *testing.T) {
	h := newHarness(t, servers.One())
	h.first.ManyStatements()
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
		before := h.commands.Load()
		h.must(t, remove(heads))
		spent := h.commands.Load() - before
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
