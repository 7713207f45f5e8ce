package conformance_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
)

func recorded(t *testing.T, needs conformance.Power, run func(conformance.T)) conformance.Outcome {
	t.Helper()
	c := conformance.Check[int]{
		Clause: conformance.Clause{ID: "XX-01", Group: "XX", Sentence: "It holds.", Needs: needs},
		Run:    func(t conformance.T, _ int, _ conformance.Effort) { run(t) },
	}
	return conformance.Record(t.Context(), "test", c, 0, nil, conformance.Least)
}

func TestFailuresSayWhatWasPromised(t *testing.T) {
	after := false
	for name, run := range map[string]func(conformance.T){
		"an error": func(t conformance.T) { t.Errorf("saw %d", 7) },
		"an end":   func(t conformance.T) { t.Fatalf("saw %d", 7); after = true },
		"a panic":  func(conformance.T) { panic("saw 7") },
	} {
		out := recorded(t, "", run)
		if len(out.Failures) != 1 || !strings.HasPrefix(out.Failures[0], "XX-01 is broken. Promised: It holds.\nSeen: ") || !strings.HasSuffix(out.Failures[0], "saw 7") {
			t.Errorf("%s was recorded as %q", name, out.Failures)
		}
	}
	if after {
		t.Error("Fatalf did not end the clause")
	}
	if out := recorded(t, "", func(conformance.T) {}); out.Failed() || out.Lacks != "" {
		t.Errorf("a clause that holds was recorded as %+v", out)
	}
}

func TestAbsentPowersAreDeclared(t *testing.T) {
	for _, p := range append(conformance.DatabasePowers(),
		conformance.CanRefresh, conformance.CanListWaiting, conformance.CanWatch, conformance.CanNotify, conformance.CanCountRows, conformance.CanTamper,
		conformance.CanSetVersion, conformance.CanLimit, conformance.CanCountQueries, conformance.CanExplain, "unknown",
	) {
		out := recorded(t, p, func(t conformance.T) { t.Errorf("ran") })
		if out.Failed() || out.Lacks != p {
			t.Errorf("a clause that needs %s, which is not there, was recorded as %+v", p, out)
		}
	}
}

type wraps struct{ inner any }

func (w wraps) Unwrap() any { return w.inner }

type limiter int64

func (l limiter) MaxPayload() int64 { return int64(l) }

func TestFindUnwraps(t *testing.T) {
	if l, ok := conformance.Find[conformance.Limiter](wraps{wraps{limiter(7)}}); !ok || l.MaxPayload() != 7 {
		t.Error("a power within two wrappers is not found")
	}
	if _, ok := conformance.Find[conformance.Tamperer](wraps{limiter(7)}); ok {
		t.Error("a power that is not there is found")
	}
	if _, ok := conformance.Find[conformance.Tamperer](nil); ok {
		t.Error("no harness has a power")
	}
}

// TM-01: the suites own their time. They never sleep, and look at the system's
// clock only to give up on a broken backend.
func TestSuitesNeverSleep(t *testing.T) {
	allowed := map[string]int{"queuetest/vl.go": 1} // the wait of VL-33, which ends a broken test
	for _, dir := range []string{"storetest", "queuetest", "controltest", "internal/kit", "internal/mutant"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			path := filepath.ToSlash(filepath.Join(dir, entry.Name()))
			if !strings.HasSuffix(path, ".go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			found := 0
			ast.Inspect(file, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Now"}, s.Sel.Name) {
						found++
					}
				}
				return true
			})
			if found != allowed[path] {
				t.Errorf("%s uses the system's time %d times, want %d", path, found, allowed[path])
			}
		}
	}
}
