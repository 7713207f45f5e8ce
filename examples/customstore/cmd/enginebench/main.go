package main

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/stabilize-dev/go-stabilize/conformance/enginebench"
	"github.com/stabilize-dev/go-stabilize/examples/customstore/boltstore"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func main() { enginebench.Main(open) }

func open(_ context.Context, dir string, clock stabilize.Clock) (persistence.Store, error) {
	db, err := boltstore.Open(filepath.Join(dir, "bench.db"), nil)
	if err != nil {
		return nil, err
	}
	return whole{boltstore.New(db, boltstore.Config{Clock: clock}), db}, nil
}

// whole is a handle that closes the file too.
type whole struct {
	*boltstore.Store
	db *boltstore.DB
}

// Close implements persistence.WorkflowStore.
func (w whole) Close() error { return errors.Join(w.Store.Close(), w.db.Close()) }
