package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/persistence/stores"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

func TestMove(t *testing.T) {
	from := "sqlite://" + filepath.Join(t.TempDir(), "from.db")
	to := "sqlite://" + filepath.Join(t.TempDir(), "to.db")
	start := func(dsn string) (string, error) {
		e, err := engine.Open(t.Context(), stores.DSN(dsn))
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		spec := stabilize.NewWorkflow("app", "empty").Add(stabilize.NewStage("a"))
		return e.Start(t.Context(), spec, engine.WithKey("one"))
	}
	id, err := start(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"1 workflows with 1 stages and 0 messages moved, 0 were there already\n",
		"0 workflows with 0 stages and 0 messages moved, 1 were there already\n",
	} {
		var out strings.Builder
		if err := move(t.Context(), from, to, &out); err != nil || out.String() != want {
			t.Errorf("it says %q, %v", out.String(), err)
		}
	}
	if again, err := start(to); err != nil || again != id {
		t.Errorf("there its key starts %s, %v; want %s", again, err, id)
	}
	if err := move(t.Context(), "sqlite:nowhere", to, &strings.Builder{}); err == nil {
		t.Error("a bad name is taken")
	}
}
