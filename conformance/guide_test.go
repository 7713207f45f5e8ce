package conformance_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/eventtest"
	"github.com/stabilize-dev/go-stabilize/conformance/queuetest"
	"github.com/stabilize-dev/go-stabilize/conformance/storetest"
)

const guide = "../docs/custom-stores.md"

// example is the store that the guide shows, whose own tests run the suites.
const example = "../examples/customstore"

// Every declaration that the guide shows is one of the example's, as it is there.
func TestGuideShowsTheExample(t *testing.T) {
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	err = filepath.WalkDir(example, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		file, err := os.ReadFile(path)
		source.Write(file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllStringSubmatch(string(text), -1)
	if len(blocks) == 0 {
		t.Error("the guide shows no code")
	}
	for _, block := range blocks {
		for _, declaration := range declarations(t, block[1]) {
			if !strings.Contains(source.String(), "\n"+declaration+"\n") {
				t.Errorf("%s does not have, as %s shows it:\n%s", example, guide, declaration)
			}
		}
	}
}

// declarations cuts a block of code into its declarations with their comments.
func declarations(t *testing.T, block string) (list []string) {
	const head = "package p\n"
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "", head+block, parser.ParseComments)
	if err != nil {
		t.Fatalf("a block is no code: %v\n%.300s", err, block)
	}
	for _, d := range file.Decls {
		begin := d.Pos()
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Doc != nil {
				begin = d.Doc.Pos()
			}
		case *ast.GenDecl:
			if d.Doc != nil {
				begin = d.Doc.Pos()
			}
		}
		list = append(list, (head + block)[fset.Position(begin).Offset:fset.Position(d.End()).Offset])
	}
	return list
}

// A clause that the guide names is one of the suites'.
func TestGuideNamesClauses(t *testing.T) {
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, clauses := range [][]conformance.Clause{storetest.Clauses(), eventtest.Clauses(), queuetest.Clauses()} {
		for _, c := range clauses {
			known[c.ID] = true
		}
	}
	for _, id := range regexp.MustCompile(`\b[A-Z]{2}-[0-9]{2}\b`).FindAllString(string(text), -1) {
		if !known[id] {
			t.Errorf("%s names clause %s, which no suite has", guide, id)
		}
	}
}
