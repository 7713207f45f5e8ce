//go:build unix

package transfer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore/pgtest"
	"github.com/stabilize-dev/go-stabilize/persistence/stores"
	"github.com/stabilize-dev/go-stabilize/persistence/transfer"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// kind opens an empty store of one kind.
type kind struct {
	name string
	open func(t *testing.T) persistence.Store
}

func kinds(server *pgtest.Server, mongo *mongotest.Server) []kind {
	opened := func(dsn func(t *testing.T) string) func(t *testing.T) persistence.Store {
		return func(t *testing.T) persistence.Store {
			s, err := stores.DSN(dsn(t))(t.Context(), persistence.Settings{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			return s
		}
	}
	return []kind{
		{"memory", opened(func(*testing.T) string { return "memory:" })},
		{"sqlite", opened(func(t *testing.T) string { return "sqlite://" + filepath.Join(t.TempDir(), "work.db") })},
		{"postgres", opened(func(t *testing.T) string {
			u := server.URL(t)
			q := u.Query()
			q.Set("schema", server.Schema(t))
			u.RawQuery = q.Encode()
			return u.String()
		})},
		{"mongodb", opened(func(t *testing.T) string {
			u, err := url.Parse(mongo.URI(t))
			if err != nil {
				t.Fatal(err)
			}
			u.Path = "/" + mongo.Database(t)
			return u.String()
		})},
	}
}

var errNotYet = errors.New("not yet")

// worker runs an engine with the tasks of this test on a store.
func worker(t *testing.T, s persistence.Store) (e *engine.Engine, stop func()) {
	t.Helper()
	e, err := engine.New(s, engine.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	later := stabilize.RetryPolicy{MaxFailures: 3, MaxDeliveries: 4, Backoff: stabilize.Backoff{Initial: time.Hour, Factor: 1}}
	for name, task := range map[string]stabilize.TaskType{
		"ok": stabilize.Func(func(context.Context, struct{}) (string, error) { return "<&>\u2028 12345678901234567890", nil }),
		"wait": stabilize.Func(func(ctx context.Context, _ struct{}) (stabilize.Result, error) {
			if stabilize.ExecutionFrom(ctx).Signal == nil {
				return stabilize.Suspend("go"), nil
			}
			return stabilize.Success(), nil
		}),
		"later": stabilize.Func(func(context.Context, struct{}) (stabilize.Result, error) {
			return stabilize.Result{}, stabilize.Transient(errNotYet)
		}, stabilize.WithRetry(later)),
	} {
		if err := e.RegisterTask(name, task); err != nil {
			t.Fatal(err)
		}
	}
	err = e.RegisterWorkflow("child", func(*stabilize.Execution) (*stabilize.WorkflowSpec, error) {
		return chain("child", "wait"), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	return e, func() {
		t.Helper()
		cancel()
		if err := errors.Join(<-done, e.Close()); err != nil {
			t.Error(err)
		}
	}
}

func chain(name string, tasks ...string) *stabilize.WorkflowSpec {
	w := stabilize.NewWorkflow("transfer", name).Context("price", json.Number("1.10"))
	before := ""
	for i, task := range tasks {
		s := stabilize.NewStage(fmt.Sprint(name, i)).Do(task)
		if before != "" {
			s.After(before)
		}
		before = fmt.Sprint(name, i)
		w.Add(s)
	}
	return w
}

// quiet returns when nothing is under way in a store.
func quiet(t *testing.T, s persistence.Store) {
	t.Helper()
	for {
		d, err := s.Depth(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if d.Ready+d.Leased == 0 {
			return
		}
	}
}

// fill brings workflows into a store, in every state in which one can rest, and
// returns their ids by name.
func fill(t *testing.T, s persistence.Store) map[string]string {
	t.Helper()
	e, stop := worker(t, s)
	ids := map[string]string{}
	start := func(name string, spec *stabilize.WorkflowSpec) {
		t.Helper()
		id, err := e.Start(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = id
		quiet(t, s)
	}
	start("done", chain("done", "ok", "ok"))
	start("waiting", chain("waiting", "ok", "wait", "ok"))
	for i := range 3 {
		start(fmt.Sprint("limited ", i), chain("limited", "wait").LimitConcurrent("config", 1))
	}
	start("parent", chain("parent", "child", "ok"))
	start("paused", chain("paused", "wait", "ok"))
	if err := e.Pause(t.Context(), ids["paused"], "operator"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"first", "second"} {
		start(name, stabilize.NewWorkflow("transfer", name).Add(stabilize.NewStage(name).Mutex("crane").AcrossWorkflows().Do("wait")))
	}
	start("later", chain("later", "later"))
	quiet(t, s)
	stop()
	return ids
}

func export(t *testing.T, s persistence.Store) string {
	t.Helper()
	var out bytes.Buffer
	if _, err := transfer.Export(t.Context(), s, &out, transfer.Options{}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// withoutVersions is an export whose workflows' versions are left out, but for those
// of children.
func withoutVersions(t *testing.T, export string) string {
	t.Helper()
	var out strings.Builder
	for l := range strings.Lines(export) {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal([]byte(l), &fields); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(fields["workflow"]), `"parent":{`) {
			delete(fields, "version")
		}
		text, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(text, '\n'))
	}
	return out.String()
}

// Every workflow arrives as it was, whatever the stores, and goes on to its end.
func TestEveryPairOfStores(t *testing.T) {
	var server pgtest.Server
	t.Cleanup(server.Stop)
	var servers mongotest.Servers
	t.Cleanup(servers.Stop)
	mongo := servers.One()
	for _, from := range kinds(&server, mongo) {
		t.Run("from "+from.name, func(t *testing.T) {
			source := from.open(t)
			ids := fill(t, source)
			before := export(t, source)
			for _, to := range kinds(&server, mongo) {
				t.Run("to "+to.name, func(t *testing.T) {
					target := to.open(t)
					got, err := transfer.Copy(t.Context(), source, target, transfer.Options{})
					if err != nil || got.Workflows != 12 || got.Existing != 0 { // with the child and the lock
						t.Fatalf("copied %+v, %v", got, err)
					}
					if after := export(t, target); withoutVersions(t, after) != withoutVersions(t, before) {
						t.Fatalf("what arrived is not what was there:\n%s\n%s", before, after)
					}
					again, err := transfer.Copy(t.Context(), source, target, transfer.Options{})
					if err != nil || again.Workflows != 0 || again.Existing != 12 || again.Messages != 0 {
						t.Errorf("copied again %+v, %v", again, err)
					}
					goOn(t, target, ids)
				})
			}
			if after := export(t, source); after != before {
				t.Errorf("the source has changed:\n%s\n%s", before, after)
			}
		})
	}
}

// goOn brings the workflows of fill to their ends.
func goOn(t *testing.T, s persistence.Store, ids map[string]string) {
	t.Helper()
	e, stop := worker(t, s)
	defer stop()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	signal := func(id string) {
		t.Helper()
		_, err := e.Signal(t.Context(), id, "go", nil)
		must(err)
	}
	wait := func(name string, want stabilize.Status) {
		t.Helper()
		w, err := e.Wait(t.Context(), ids[name])
		must(err)
		if w.Status != want {
			t.Errorf("%s ended %s", name, w.Status)
		}
	}
	signal(ids["waiting"])
	wait("waiting", stabilize.Succeeded)
	for i := range 3 {
		for j := i; j < 3; j++ {
			want := []stabilize.Status{stabilize.Running, stabilize.Buffered}[min(j-i, 1)]
			for { // until the place was handed on
				h, err := e.Store().Summary(t.Context(), ids[fmt.Sprint("limited ", j)])
				must(err)
				if h.Status == want {
					break
				}
				if want == stabilize.Buffered || h.Status != stabilize.Buffered {
					t.Fatalf("before %d ended, %d of those under a limit is %s", i, j, h.Status)
				}
			}
		}
		signal(ids[fmt.Sprint("limited ", i)])
		wait(fmt.Sprint("limited ", i), stabilize.Succeeded)
		quiet(t, s)
	}
	parent, err := e.Get(t.Context(), ids["parent"])
	must(err)
	signal(parent.Stages[0].Tasks[0].Waits().Child)
	wait("parent", stabilize.Succeeded)
	must(e.Resume(t.Context(), ids["paused"], "operator"))
	signal(ids["paused"])
	wait("paused", stabilize.Succeeded)
	for _, name := range []string{"first", "second"} {
		signal(ids[name])
		wait(name, stabilize.Succeeded)
	}
	must(e.Cancel(t.Context(), ids["later"], "", ""))
	wait("later", stabilize.Canceled)
	wait("done", stabilize.Succeeded)
}

// What cannot be moved as it is is refused.
func TestExportRefuses(t *testing.T) {
	for name, of := range map[string]struct {
		prepare func(t *testing.T, s persistence.Store)
		says    string
	}{
		"a held message": {func(t *testing.T, s persistence.Store) {
			if _, err := s.Claim(t.Context(), queue.Worker{ID: "worker", TTL: time.Hour}, queue.Room{Control: 1}); err != nil {
				t.Fatal(err)
			}
		}, "a worker holds it"},
		"a dead letter": {func(t *testing.T, s persistence.Store) {
			w := queue.Worker{ID: "worker", TTL: time.Hour}
			for range 2 {
				ds, err := s.Claim(t.Context(), w, queue.Room{Control: 1})
				if err == nil && len(ds) > 0 {
					err = s.Release(t.Context(), ds[0].Receipt(), time.Time{}, nil)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}, "dead letter m"},
		"a message to nobody": {func(t *testing.T, s persistence.Store) {
			if err := s.Push(t.Context(), queue.Outgoing{Message: queue.StartWorkflow{OfWorkflow: queue.ToWorkflow("nobody")}}); err != nil {
				t.Fatal(err)
			}
		}, "1 messages more"},
	} {
		t.Run(name, func(t *testing.T) {
			s := memstore.New(memstore.Config{})
			w, err := chain("w", "ok").Build(stabilize.NewIDs(stabilize.SystemClock{}, nil), time.Unix(0, 0))
			if err != nil {
				t.Fatal(err)
			}
			err = s.CommitBatch(t.Context(), []*persistence.Commit{{WorkflowID: w.ID, Header: &w.Header, Stages: w.Stages,
				Messages: []queue.Outgoing{{ID: "m", MaxAttempts: 1, Message: queue.StartWorkflow{OfWorkflow: queue.ToWorkflow(w.ID)}}}}})[0]
			if err != nil {
				t.Fatal(err)
			}
			if _, err := transfer.Export(t.Context(), s, &bytes.Buffer{}, transfer.Options{}); err != nil {
				t.Fatalf("before: %v", err)
			}
			of.prepare(t, s)
			_, err = transfer.Export(t.Context(), s, &bytes.Buffer{}, transfer.Options{})
			if !errors.Is(err, stabilize.ErrInvalidTransition) || !strings.Contains(err.Error(), of.says) {
				t.Errorf("exporting: %v", err)
			}
			if _, err := transfer.Copy(t.Context(), s, memstore.New(memstore.Config{}), transfer.Options{}); !errors.Is(err, stabilize.ErrInvalidTransition) {
				t.Errorf("copying: %v", err)
			}
		})
	}
}

// What no export wrote is refused with the line, and what came before it stays.
func TestImportRefuses(t *testing.T) {
	s := memstore.New(memstore.Config{})
	fill(t, s)
	whole := export(t, s)
	lines := strings.SplitAfter(whole, "\n")
	for name, text := range map[string]string{
		"nothing":              "",
		"no beginning":         strings.Join(lines[1:], ""),
		"another format":       strings.Replace(whole, `"format":1`, `"format":2`, 1),
		"no end":               strings.Join(lines[:len(lines)-2], ""),
		"half a line":          whole[:len(whole)/2],
		"a workflow missing":   lines[0] + strings.Join(lines[2:], ""),
		"an unknown field":     strings.Replace(whole, `"status":`, `"state":`, 1),
		"an unknown message":   strings.Replace(whole, `"kind":"RunTask"`, `"kind":"Run"`, 1),
		"something else":       whole[:len(lines[0])] + "[]",
		"a stage with no task": strings.Replace(whole, `"type":"ok"`, `"type":""`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := transfer.Import(t.Context(), memstore.New(memstore.Config{}), strings.NewReader(text), transfer.Options{})
			if !errors.Is(err, stabilize.ErrInvalid) || !strings.Contains(err.Error(), "line ") {
				t.Errorf("importing: %v", err)
			}
		})
	}
	t.Run("cut anywhere, then whole", func(t *testing.T) {
		target := memstore.New(memstore.Config{})
		for cut := 0; cut < len(whole); cut += 97 {
			if _, err := transfer.Import(t.Context(), target, strings.NewReader(whole[:cut]), transfer.Options{}); !errors.Is(err, stabilize.ErrInvalid) {
				t.Fatalf("cut at %d: %v", cut, err)
			}
		}
		if _, err := transfer.Import(t.Context(), target, strings.NewReader(whole), transfer.Options{}); err != nil {
			t.Fatal(err)
		}
		if got := export(t, target); withoutVersions(t, got) != withoutVersions(t, whole) {
			t.Errorf("it is not the same:\n%s\n%s", whole, got)
		}
	})
}
