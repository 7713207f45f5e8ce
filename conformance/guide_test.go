package conformance_test

import (
	"encoding/json"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/queuetest"
	"github.com/stabilize-dev/go-stabilize/conformance/storetest"
)

const guide = "../docs/custom-stores.md"

// guideRest is what the guide leaves to its reader, so far as its code names it.
const guideRest = `package mystore

import (
	"context"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

type DB struct{ database }

func Open(string) (*DB, error)                                     { return nil, nil }
func New(*DB, stabilize.Clock) *Store                              { return nil }
func (*DB) Close() error                                           { return nil }
func (*DB) countKeys(...string) (map[string]int, error)            { return nil, nil }
func (*DB) tamper(table, id string, body []byte) error             { return nil }
func (*DB) setVersion(id string, version int64) error              { return nil }
func (*Store) Close() error                                        { return nil }
func (*Store) Delete(context.Context, ...string) error             { return nil }
func (*Store) Load(context.Context, string) (*stabilize.Workflow, error) { return nil, nil }
func (*Store) Summary(context.Context, string) (*stabilize.Header, error) { return nil, nil }
func (*Store) Query(context.Context, persistence.Query) (persistence.Page, error) {
	return persistence.Page{}, nil
}
func (*Store) Admissions(context.Context, string) (persistence.Admissions, error) {
	return persistence.Admissions{}, nil
}
`

const guideQueue = `package mystore

import (
	"context"
	"time"

	"github.com/stabilize-dev/go-stabilize/queue"
)

func (*Store) Push(context.Context, ...queue.Outgoing) error                     { return nil }
func (*Store) Ack(context.Context, ...queue.Receipt) error                       { return nil }
func (*Store) Release(context.Context, queue.Receipt, time.Time, error) error    { return nil }
func (*Store) Return(context.Context, queue.Receipt) error                       { return nil }
func (*Store) Retire(context.Context, string) error                              { return nil }
func (*Store) Pending(context.Context, string) ([]queue.Stored, error)           { return nil, nil }
func (*Store) ListDead(context.Context, string, int) ([]queue.DeadLetter, error) { return nil, nil }
func (*Store) ReplayDead(context.Context, string) error                          { return nil }
func (*Store) DiscardDead(context.Context, string) error                         { return nil }
func (*Store) Depth(context.Context) (queue.Depth, error)                        { return queue.Depth{}, nil }
func (*Store) Heartbeat(context.Context, queue.Worker) (queue.Leases, error)     { return queue.Leases{}, nil }
`

// The guide's code blocks are parts of one package and are compiled as that; those
// marked "suite" are its test.
func TestGuideCompiles(t *testing.T) {
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	var store, suite strings.Builder
	for _, m := range regexp.MustCompile("(?ms)^```go( suite)?\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		source := m[2]
		if got, err := format.Source([]byte(source)); err != nil || string(got) != source {
			t.Errorf("a block is not formatted (%v):\n%.300s", err, source)
		}
		if m[1] != "" {
			suite.WriteString(source + "\n")
		} else {
			store.WriteString(source + "\n")
		}
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir, replace := t.TempDir(), map[string]string{}
	for name, source := range map[string]string{
		"store.go": store.String(), "rest.go": guideRest, "queue.go": guideQueue, "store_test.go": suite.String(),
	} {
		real := filepath.Join(dir, name)
		if err := os.WriteFile(real, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, "conformance", "internal", "mystore", name)] = real
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-c", "-overlay", file, "-o", os.DevNull, "./conformance/internal/mystore")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the guide's code does not compile: %v\n%s", err, out)
	}
}

// A clause that the guide names is one of the suites'.
func TestGuideNamesClauses(t *testing.T) {
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, clauses := range [][]conformance.Clause{storetest.Clauses(), queuetest.Clauses()} {
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
