package sqlstore_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stabilize-dev/go-stabilize/persistence/stores"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// By data source name, as the README says: the tables are made through the pooler,
// and two engines share the work.
func TestPostgresPooledEngines(t *testing.T) {
	schema := server.Schema(t)
	p := newPooler(t, 2)
	runEngines(t, p.dsn()+"&pooling=transaction&schema="+schema, 2)
}

// One connection for each engine, through the pooler and without it.
func TestPostgresEnginesOfOneConnection(t *testing.T) {
	u := server.URL(t)
	q := u.Query()
	q.Set("schema", server.Schema(t))
	q.Set("connections", "1")
	u.RawQuery = q.Encode()
	runEngines(t, u.String(), 2)
	schema := server.Schema(t)
	runEngines(t, newPooler(t, 1).dsn()+"&pooling=transaction&connections=1&schema="+schema, 2)
}

// runEngines runs workflows on engines that share a store by data source name.
func runEngines(t *testing.T, dsn string, engines int) {
	t.Helper()
	const workflows, stages = 20, 3
	var ids []string
	all := make([]*engine.Engine, engines)
	var running sync.WaitGroup
	defer running.Wait()
	for i := range all {
		eng, err := engine.Open(t.Context(), stores.DSN(dsn))
		if err != nil {
			t.Fatal(err)
		}
		all[i] = eng
		defer func() {
			if err := eng.Close(); err != nil {
				t.Error(err)
			}
		}()
		if err := eng.RegisterTask("say", stabilize.Func(func(context.Context, struct{}) (string, error) { return "said", nil })); err != nil {
			t.Fatal(err)
		}
		running.Go(func() {
			if err := eng.Run(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range workflows {
		w := stabilize.NewWorkflow("app", "chain").LimitConcurrent("config", 3)
		for j := range stages {
			s := stabilize.NewStage(fmt.Sprint("s", j)).Do("say")
			if j > 0 {
				s.After(fmt.Sprint("s", j-1))
			}
			w.Add(s)
		}
		id, err := all[i%engines].Start(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	for i, id := range ids {
		w, err := all[(i+1)%engines].Wait(t.Context(), id)
		if err != nil || w.Status != stabilize.Succeeded {
			t.Fatalf("%s ended %v, %v", id, w, err)
		}
	}
}
