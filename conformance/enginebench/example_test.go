package enginebench_test

import (
	"context"
	"path/filepath"

	"github.com/stabilize-dev/go-stabilize/conformance/enginebench"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// A program that measures one's own store: here SQLite stands for it.
func ExampleMain() {
	_ = func() /* main */ {
		enginebench.Main(func(ctx context.Context, dir string, clock stabilize.Clock) (persistence.Store, error) {
			return sqlstore.Open(ctx, sqlstore.Config{Path: filepath.Join(dir, "work.db"), Clock: clock, Migrate: true})
		})
	}
}
