package patterns

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
)

var update = flag.Bool("update", false, "write docs/patterns.md anew")

// TestTable runs every pattern once on each store that needs nothing but Go, and
// checks that docs/patterns.md says what came out. The whole matrix is run by
// the tests of the stores.
func TestTable(t *testing.T) {
	stores := []struct {
		name string
		open func(*testing.T) backend
	}{{"memory", inMemory}, {"SQLite", inSQLite}}
	var names []string
	results := map[int][]bool{}
	for _, store := range stores {
		names = append(names, store.name)
		for _, p := range all() {
			results[p.id] = append(results[p.id], t.Run(store.name+"/"+p.label(), func(t *testing.T) {
				for _, s := range p.scenarios {
					t.Run(s.name, func(t *testing.T) {
						s.matrix(t, store.open, config{depth: Single}, conformance.Clause{ID: p.label()}, untold)
					})
				}
			}))
		}
	}
	path := filepath.Join("..", "..", "docs", "patterns.md")
	want := table(names, results)
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/patterns.md is not what this run says; `make docs` writes it")
	}
}

// TestAll: none of the 43 is missing, and each says what it is.
func TestAll(t *testing.T) {
	ps := all()
	for i, p := range ps {
		if p.id != i+1 {
			t.Fatalf("after %d patterns comes %s", i, p.label())
		}
		if p.name == "" || p.sentence == "" || p.built == "" || len(p.scenarios) == 0 {
			t.Errorf("%s says too little of itself", p.label())
		}
		seen := map[string]bool{}
		for _, s := range p.scenarios {
			if s.name == "" || seen[s.name] {
				t.Errorf("%s has two scenarios named %q, or one without a name", p.label(), s.name)
			}
			seen[s.name] = true
		}
	}
	if len(ps) != 43 {
		t.Errorf("there are %d patterns", len(ps))
	}
}

func table(stores []string, results map[int][]bool) string {
	var b strings.Builder
	good := 0
	for _, rs := range results {
		if !strings.Contains(fmt.Sprint(rs), "false") {
			good++
		}
	}
	fmt.Fprintf(&b, `# The control-flow patterns

Written by `+"`make docs`"+` from a run of package conformance/patterns; do not edit. The patterns are those of Russell,
ter Hofstede, van der Aalst and Mulyar, *Workflow Control-Flow Patterns: A Revised View* (BPM-06-22).

%d of 43 hold on every store below. Each is a sub-test that runs in a matrix: with the cascade and without, with one
worker and several, plainly, with every message delivered twice, in shuffled order, and with a crash before and after
every commit; the final statuses, the outputs and the number of committed task executions must be the same in all.
On a store of your own: [`+"`patterns.Run`"+`](../conformance/patterns/doc.go).

| | pattern | what it is | written as | scenarios | %s |
| --- | --- | --- | --- | --- | %s
`, good, strings.Join(stores, " | "), strings.Repeat("--- | ", len(stores)-1)+"--- |")
	for _, p := range all() {
		var scenarios []string
		for _, s := range p.scenarios {
			scenarios = append(scenarios, s.name)
		}
		cells := []string{p.label(), p.name, p.sentence, p.built, strings.Join(scenarios, ", ")}
		for _, good := range results[p.id] {
			cells = append(cells, map[bool]string{true: "holds", false: "**fails**"}[good])
		}
		for i, cell := range cells {
			cells[i] = strings.ReplaceAll(cell, "|", "\\|")
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	return b.String()
}

func untold(cell, string) {}

func inMemory(*testing.T) backend {
	d := memstore.NewData()
	return opened{openerFunc(func() persistence.Store { return memstore.Open(d, memstore.Config{}) })}
}

func inSQLite(t *testing.T) backend {
	path := filepath.Join(t.TempDir(), "patterns.db")
	return opened{openerFunc(func() persistence.Store {
		s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path, Migrate: true, Synchronous: sqlstore.Normal})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})}
}

type openerFunc func() persistence.Store

func (f openerFunc) Open() persistence.Store { return f() }
