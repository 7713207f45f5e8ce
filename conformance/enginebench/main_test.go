package enginebench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore/pgtest"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func tiny(dsn string, more ...string) []string {
	return append([]string{
		"-dsn", dsn, "-concurrency", "8", "-starters", "4", "-warmup", "1", "-workflows", "3", "-stages", "4",
		"-width", "5", "-delayed", "1200", "-long", "12", "-messages", "6", "-raw-single", "4", "-raw-groups", "2", "-raw-crowd", "25",
	}, more...)
}

func TestEveryScenarioOnEveryStore(t *testing.T) {
	for name, dsn := range map[string]string{
		"memory":   "memory:",
		"full":     "sqlite://" + filepath.Join(t.TempDir(), "new.db"),
		"normal":   "sqlite://" + t.TempDir() + "?synchronous=normal",
		"postgres": postgresDSN(t),
	} {
		t.Run(name, func(t *testing.T) {
			results := runJSON(t, tiny(dsn, "-json", "-runs", "2"))
			if len(results) != 6 {
				t.Fatalf("%d results, want 6", len(results))
			}
			for i, r := range results {
				checkResult(t, scenarioNames()[i], r, name)
			}
		})
	}
}

// In MongoDB it is counted what is sent. The scenarios are those that the rest is like:
// FerretDB is slow.
func TestMongoDB(t *testing.T) {
	servers := &mongotest.Servers{}
	t.Cleanup(servers.Stop)
	servers.Each(t, func(t *testing.T, server *mongotest.Server) {
		client, name := server.Client(t), server.Database(t)
		uri, err := url.Parse(server.URI(t)) // of one host, or it is given a database by the URI's owner
		if err != nil {
			t.Fatal(err)
		}
		uri.Path = "/" + name
		args := []string{"-json", "-raw-size", "4", "-raw-groups", "1", "-raw-crowd", "4", "-warmup", "0", "-scenario"}
		for i, r := range runJSON(t, tiny(uri.String(), append(args, "B2,B6")...)) {
			checkResult(t, []string{"B2", "B6"}[i], r, "mongodb")
		}
		for _, r := range runJSON(t, tiny(uri.String(), append(args, "B1", "-workers", "1")...)) {
			delete(r, "workers")
			checkResult(t, "B1", r, "mongodb")
		}
		if left, err := client.Database(name).ListCollectionNames(t.Context(), bson.D{}); err != nil || len(left) > 0 {
			t.Errorf("%v is left (%v)", left, err)
		}
	})
}

// The test binary is its own worker process, as the program is.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == workerCommand {
		MainDSN()
		return
	}
	os.Exit(m.Run())
}

// Worker processes run every step, and the process that starts the workflows none.
func TestWorkerProcesses(t *testing.T) {
	dsn := postgresDSN(t)
	check := func(dsn, scenarios, workers string, want ...turn) {
		t.Helper()
		results := runJSON(t, tiny(dsn, "-json", "-scenario", scenarios, "-workers", workers))
		if len(results) != len(want) {
			t.Fatalf("%d results, want %d", len(results), len(want))
		}
		for i, r := range results {
			if n, _ := r["workers"].(float64); int(n) != want[i].workers {
				t.Errorf("%s: the result is of %v workers", want[i], n)
			}
			if by, _ := r["wait_p50_ms"].(float64); by > 0 != (want[i].scenario == "B4") {
				t.Errorf("%s: Wait returned after p50 %v ms", want[i], by)
			}
			delete(r, "workers")
			delete(r, "wait_p50_ms")
			store, _, _ := strings.Cut(dsn, ":")
			checkResult(t, want[i].scenario, r, store)
		}
	}
	check("sqlite://"+t.TempDir(), "B1", "2", turn{"B1", 2})
	check(dsn, "B2,B4,B6", "1,2", turn{"B2", 1}, turn{"B2", 2}, turn{"B4", 1}, turn{"B4", 2}, turn{"B6", 0})
	var out bytes.Buffer
	if err := run(t.Context(), nil, tiny(dsn, "-scenario", "B1", "-workers", "0,2"), &out, testLog{t}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "B1, 2 workers ") || !strings.Contains(out.String(), "\nB1, 2 workers: ") {
		t.Errorf("the table says\n%s", &out)
	}
}

// A worker that ends before it is told to ends the measuring with an error.
func TestWorkerThatDies(t *testing.T) {
	c, err := hire(t.Context(), 2, order{DSN: "sqlite://" + filepath.Join(t.TempDir(), "x.db"), Concurrency: 1, GOGC: 100}, testLog{t})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.workers[1].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.wait(t.Context(), "none"); !errors.Is(err, stabilize.ErrInternal) {
		t.Errorf("waiting: %v", err)
	}
	if err := c.dismiss(); err == nil {
		t.Error("all ended well")
	}
	if _, err := hire(t.Context(), 1, order{DSN: "sqlite://" + t.TempDir(), Concurrency: 1, GOGC: 100}, testLog{t}); err == nil {
		t.Error("a worker without a database is ready")
	}
}

// postgresDSN starts a server for the test.
func postgresDSN(t *testing.T) string {
	server := &pgtest.Server{}
	t.Cleanup(server.Stop)
	return server.DSN(t)
}

// runJSON runs with a lease that no pause of a busy machine outlives: a worker that loses
// its own makes commits that are refused, and they are counted.
func runJSON(t *testing.T, args []string) []map[string]any {
	t.Helper()
	opts, err := parseOptions(args, true, testLog{t})
	if err != nil {
		t.Fatal(err)
	}
	opts.lease = time.Hour
	var out bytes.Buffer
	if err := runOptions(t.Context(), nil, opts, &out, testLog{t}); err != nil {
		t.Fatal(err)
	}
	var doc map[string][]map[string]any
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatalf("%v in %s", err, &out)
	}
	if keys := slices.Collect(maps.Keys(doc)); !slices.Equal(keys, []string{"results"}) {
		t.Fatalf("the document has the fields %v, want results alone", keys)
	}
	return doc["results"]
}

// testLog keeps the engine's warnings with the test they belong to.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(string(bytes.TrimSpace(p)))
	return len(p), nil
}

func checkResult(t *testing.T, name string, r map[string]any, store string) {
	t.Helper()
	want := []string{
		"allocs_per_step", "bytes_per_step", "commits_per_step", "cpu_ms_per_step", "p50_ms", "p95_ms",
		"raw_grouped_per_s", "raw_single_per_s", "scenario", "steps_per_s", "workflows_per_s",
	}
	if store == "postgres" || store == "mongodb" {
		want = append(want, "raw_crowded_per_s")
	}
	if store == "mongodb" {
		want = append(want, "round_trips_per_step", "workflow_writes_per_step")
	}
	if name == "B6" {
		want = append(want, "short_stages", "long_stages", "short_ms_per_message", "long_ms_per_message", "ratio",
			"short_ms_per_step", "long_ms_per_step", "step_ratio", "long_create_ms", "long_load_ms")
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(r)); !slices.Equal(got, want) {
		t.Errorf("%s has the fields\n%v, want\n%v", name, got, want)
	}
	for field, value := range r {
		switch n, isNumber := value.(float64); {
		case field == "scenario":
			if value != name {
				t.Errorf("scenario %v, want %s", value, name)
			}
		case !isNumber:
			t.Errorf("%s: %s is %v, not a number", name, field, value)
		case field == "bytes_per_step" && store == "memory":
			if n != 0 {
				t.Errorf("%s: memory wrote %v bytes", name, n)
			}
		case field == "cpu_ms_per_step" && n == 0: // finer than the system's clock
		case n <= 0:
			t.Errorf("%s: %s is %v", name, field, n)
		}
	}
	// Workflows and steps are counted over the same time.
	steps := map[string]float64{"B1": 1, "B2": 4, "B3": 7, "B4": 1, "B5": 1, "B6": 6}[name]
	if got := r["steps_per_s"].(float64) / r["workflows_per_s"].(float64); got < 0.99*steps || got > 1.01*steps {
		t.Errorf("%s: %v steps per workflow, want %v", name, got, steps)
	}
	// A commit to create a workflow and one for each step: more is a defect of
	// the engine. Fewer means that steps which ended together were decided
	// together, which only a fan-out can do.
	most := (1 + steps) / steps
	if got := r["commits_per_step"].(float64); got > most+0.001 || name != "B3" && name != "B6" && got < most-0.001 {
		t.Errorf("%s: %v commits per step, want %v", name, got, most)
	}
}

// TestOwnStore: without a raw limit there is no ratio, all else is there, and
// every store has an empty directory of its own, which is gone at the end.
func TestOwnStore(t *testing.T) {
	parent := t.TempDir()
	dirs := map[string]bool{}
	open := func(ctx context.Context, dir string, clock stabilize.Clock) (persistence.Store, error) {
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) > 0 || dirs[dir] || !strings.HasPrefix(dir, parent) {
			t.Errorf("the directory %s holds %v, %v", dir, entries, err)
		}
		dirs[dir] = true
		return sqlstore.Open(ctx, sqlstore.Config{Path: filepath.Join(dir, "own.db"), Clock: clock, Migrate: true})
	}
	args := append(tiny("", "-dir", parent)[2:], "-scenario", "B2,B6")
	var table, doc bytes.Buffer
	if err := errors.Join(run(t.Context(), open, args, &table, testLog{t}), run(t.Context(), open, append(args, "-json"), &doc, testLog{t})); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(table.String(), "–") || strings.Contains(table.String(), "Inf") || strings.Contains(doc.String(), "raw_") || !strings.Contains(doc.String(), "commits_per_step") {
		t.Errorf("it says\n%s\n%s", &table, &doc)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 || len(dirs) != 4 {
		t.Errorf("%d stores were opened, and %v is left (%v)", len(dirs), left, err)
	}
	for _, bad := range [][]string{{"-dsn", "memory:"}, {"-dir", filepath.Join(parent, "none")}} {
		if err := run(t.Context(), open, bad, io.Discard, testLog{t}); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), nil, tiny("memory:"), &out, testLog{t}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"concurrency 8", "workflows/s", "batches/step", "B3 ", "B5 runs at", "ratio"} {
		if !bytes.Contains(out.Bytes(), []byte(want)) {
			t.Errorf("the table does not say %q:\n%s", want, &out)
		}
	}
}

func TestNothingIsLeftBehindAndNothingOverwritten(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "empty.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	runJSON(t, tiny("sqlite://"+path, "-json", "-scenario", "b4"))
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v, %v; want the empty file alone", entries, err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 0 {
		t.Errorf("the empty file was written: %v, %v", info, err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), nil, tiny("sqlite://"+path), io.Discard, testLog{t}); !errors.Is(err, stabilize.ErrInvalid) {
		t.Errorf("a file with content: %v, want ErrInvalid", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "precious" {
		t.Errorf("the file holds %q now, %v", data, err)
	}
}

func TestProfiles(t *testing.T) {
	dir := t.TempDir()
	cpu, mem := filepath.Join(dir, "cpu"), filepath.Join(dir, "mem")
	runJSON(t, tiny("memory:", "-json", "-scenario", "B1,B6", "-cpuprofile", cpu, "-memprofile", mem))
	for _, path := range []string{cpu + ".B1", cpu + ".B6", mem + ".B1", mem + ".B6"} {
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("no profile: %v, %v", info, err)
		}
	}
}

func TestBadArguments(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"-dsn", "memory:", "-scenario", "B7"},
		{"-dsn", "memory:", "-scenario", "B1,B1"},
		{"-dsn", "memory:", "-workflows", "-1"},
		{"-dsn", "memory:", "-concurrency", "0"},
		{"-dsn", "memory:", "-long", "50", "-messages", "50"},
		{"-dsn", "memory:", "B1"},
		{"-dsn", "memory:", "-workers", "1"},
		{"-dsn", "sqlite://", "-workers", "-1"},
		{"-dsn", "sqlite://", "-workers", "1,1"},
		{"-dsn", "sqlite://", "-workers", "many"},
		{"-dsn", "memory:", "-raw-size", "201"},
		{"-dsn", "mongodb://localhost/"},
		{"-dsn", "mongodb://localhost/db?prefix=x_"},
		{"-dsn", "memory:x"},
		{"-dsn", "nosuch://"},
		{"-dsn", "sqlite:x.db"},
		{"-dsn", "sqlite://?synchronous=off"},
		{"-dsn", "sqlite:///no/such/directory/x.db"},
	} {
		if err := run(t.Context(), nil, args, io.Discard, testLog{t}); !errors.Is(err, stabilize.ErrInvalid) {
			t.Errorf("%q: %v, want ErrInvalid", args, err)
		}
	}
}
