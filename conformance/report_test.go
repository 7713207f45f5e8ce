package conformance_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/controltest"
	"github.com/stabilize-dev/go-stabilize/conformance/queuetest"
	"github.com/stabilize-dev/go-stabilize/conformance/storetest"
)

func sample() *conformance.Report {
	return &conformance.Report{
		Backend: "mine | yours", Started: time.Unix(1_700_000_000, 0).UTC(), Seconds: 1.25,
		Results: []conformance.Result{
			{Suite: "storetest", ID: "RT-01", Group: "RT", Sentence: "It holds.", Verdict: conformance.Passed, Seconds: 0.5},
			{Suite: "storetest", ID: "OC-01", Group: "OC", Sentence: "a < b | c", Verdict: conformance.Failed, Detail: "OC-01 is broken. Promised: a < b | c\nSeen: 7 |\nmore", Seconds: 0.25},
			{Suite: "storetest", ID: "RT-02", Group: "RT", Sentence: "It too.", Verdict: conformance.LeftOut, Detail: "the harness declares that the backend lacks Tamper"},
			{Suite: "queuetest", ID: "OC-02", Group: "OC", Sentence: "It is queued.", Verdict: conformance.Failed, Detail: "the harness failed"},
		},
	}
}

func TestReportIsATable(t *testing.T) {
	var b strings.Builder
	if err := sample().WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	const want = `# Certificate: mine \| yours

1 clauses passed, 2 failed, 1 were left out, in 1.2 s.

| suite | group | about | clauses | passed | failed | left out | seconds |
| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |
| storetest | RT | what is stored comes back | 2 | 1 | 0 | 1 | 0.5 |
| storetest | OC | optimistic concurrency | 1 | 0 | 1 | 0 | 0.2 |
| queuetest | OC | optimistic concurrency | 1 | 0 | 1 | 0 | 0.0 |

## Failed

| clause | promised | seen |
| --- | --- | --- |
| storetest ` + "`OC-01`" + ` | a &lt; b \| c | 7 \| |
| queuetest ` + "`OC-02`" + ` | It is queued. | the harness failed |

Begin with storetest ` + "`OC-01`" + `: the others may follow from it. What is owed there is in the comments of persistence.Commit (go doc); all promises are in docs/contract.md.

## Left out

| clause | promised | why |
| --- | --- | --- |
| storetest ` + "`RT-02`" + ` | It too. | the harness declares that the backend lacks Tamper |
`
	if b.String() != want {
		t.Errorf("the table is\n%s\nwant\n%s", b.String(), want)
	}
}

func TestReportIsJSON(t *testing.T) {
	var b strings.Builder
	r := sample()
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	second := got["results"].([]any)[1].(map[string]any)
	for key, want := range map[string]any{
		"suite": "storetest", "id": "OC-01", "group": "OC", "sentence": "a < b | c", "verdict": "failed",
		"detail": "OC-01 is broken. Promised: a < b | c\nSeen: 7 |\nmore", "seconds": 0.25,
	} {
		if second[key] != want {
			t.Errorf("%s is written as %v, want %v", key, second[key], want)
		}
	}
	if got["backend"] != "mine | yours" || got["started"] != "2023-11-14T22:13:20Z" || !strings.Contains(b.String(), "a < b") {
		t.Errorf("the report is written as %s", b.String())
	}
}

func TestReportCertifies(t *testing.T) {
	r := sample()
	if first, ok := r.First(); !ok || first.ID != "OC-01" || r.Certified() {
		t.Errorf("a report with failures is certified, or begins with %q", first.ID)
	}
	r.Results = r.Results[:1]
	if _, ok := r.First(); ok || !r.Certified() {
		t.Error("a report without failures is not certified")
	}
	if (&conformance.Report{}).Certified() {
		t.Error("a backend of which nothing was asked is certified")
	}
}

// Every clause's group is known, and what it sends the reader to exists.
func TestGroupsPointToWhatExists(t *testing.T) {
	declared := map[string]bool{}
	for _, dir := range []string{"persistence", "queue", "stabilize"} {
		files, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, content, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, decl := range file.Decls {
				switch d := decl.(type) {
				case *ast.FuncDecl:
					declared[dir+"."+d.Name.Name] = d.Recv == nil
				case *ast.GenDecl:
					for _, spec := range d.Specs {
						switch s := spec.(type) {
						case *ast.TypeSpec:
							declared[dir+"."+s.Name.Name] = true
						case *ast.ValueSpec:
							declared[dir+"."+s.Names[0].Name] = true
						}
					}
				}
			}
		}
	}
	for _, clauses := range [][]conformance.Clause{storetest.Clauses(), queuetest.Clauses(), controltest.Clauses()} {
		for _, c := range clauses {
			g := conformance.GroupOf(c.Group)
			if g.Title == "" || g.Read == "" {
				t.Errorf("the group of %s is not known", c.ID)
			}
			for name := range strings.SplitSeq(g.Read, ", ") {
				if !declared[name] {
					t.Errorf("group %s sends the reader to %s, which is not there", c.Group, name)
				}
			}
		}
	}
}
