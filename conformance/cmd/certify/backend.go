package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/mongoharness"
	"github.com/stabilize-dev/go-stabilize/conformance/sqlharness"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/persistence/stores"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// backend is a kind of store that can be tested.
type backend struct {
	name string // in the certificate; never the DSN, which may hold a password
	// prepare makes what the harnesses share, until the test ends.
	prepare func(t *testing.T) func(t *testing.T) conformance.Harness
}

// openBackend reads a DSN. Errors: ErrInvalid, or why the folder of the file
// cannot be used.
func openBackend(dsn string) (*backend, error) {
	d, err := stores.Parse(dsn)
	if err != nil {
		return nil, err
	}
	switch d.Scheme {
	case "memory":
		return &backend{name: "memory", prepare: func(*testing.T) func(*testing.T) conformance.Harness { return newMemory }}, nil
	case "sqlite":
		folder := filepath.Dir(d.Path)
		if info, err := os.Stat(folder); err != nil {
			return nil, err
		} else if !info.IsDir() {
			return nil, stabilize.Invalid("DSN", "%s is no folder", folder)
		}
		return &backend{name: "SQLite, synchronous=" + d.Synchronous, prepare: func(t *testing.T) func(*testing.T) conformance.Harness {
			root, err := os.MkdirTemp(folder, "certify-*")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := os.RemoveAll(root); err != nil {
					t.Error(err)
				}
			})
			return func(t *testing.T) conformance.Harness { return newSQLite(t, root, d.Synchronous) }
		}}, nil
	case "postgres":
		return &backend{name: "PostgreSQL", prepare: func(t *testing.T) func(*testing.T) conformance.Harness {
			return func(t *testing.T) conformance.Harness {
				return sqlharness.NewPostgres(t, sqlharness.PostgresConfig{DSN: d.Postgres})
			}
		}}, nil
	case "mongodb":
		server := mongotest.Named(d.MongoDB)
		return &backend{name: "MongoDB", prepare: func(*testing.T) func(*testing.T) conformance.Harness {
			return func(t *testing.T) conformance.Harness {
				return mongoharness.New(t, mongoharness.Config{Server: server, Change: func(cfg *mongostore.Config) {
					if d.LocalConcern {
						cfg.Concern = mongostore.Local
					}
				}})
			}
		}}, nil
	default:
		return nil, stabilize.Invalid("DSN", "certify does not know the scheme %q", d.Scheme)
	}
}

// handles opens two handles. Reopen panics where one cannot be opened or closed:
// the clause fails and says so.
type handles struct {
	clock         *stabilize.ManualClock
	first, second persistence.Store
	open          func() (persistence.Store, error)
}

func newHandles(t *testing.T, clock *stabilize.ManualClock, open func() (persistence.Store, error)) *handles {
	h := &handles{clock: clock, open: open}
	if err := h.openBoth(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func newClock() *stabilize.ManualClock {
	return stabilize.NewManualClock(time.Date(2025, 5, 6, 7, 8, 9, 0, time.UTC))
}

func (h *handles) openBoth() (err error) {
	if h.first, err = h.open(); err != nil {
		return err
	}
	if h.second, err = h.open(); err != nil {
		_ = h.first.Close() // what matters is why the second cannot be opened
	}
	return err
}

func (h *handles) close() error {
	for _, s := range []persistence.Store{h.first, h.second} {
		if err := s.Close(); err != nil {
			return fmt.Errorf("closing a handle: %w", err)
		}
	}
	return nil
}

func (h *handles) Store() persistence.Store      { return h.first }
func (h *handles) Second() persistence.Store     { return h.second }
func (h *handles) Clock() *stabilize.ManualClock { return h.clock }

func (h *handles) Reopen() persistence.Store {
	if err := h.close(); err != nil {
		panic(err)
	}
	if err := h.openBoth(); err != nil {
		panic(err)
	}
	return h.first
}

// memory is a harness of the memory store, which has no bytes stored, no queries
// and no largest payload.
type memory struct {
	*handles
	data *memstore.Data
}

func (memory) Lacks() []conformance.Power {
	return append(conformance.DatabasePowers(),
		conformance.CanTamper, conformance.CanTamperEvents, conformance.CanBreakEvents, conformance.CanLimit, conformance.CanCountQueries, conformance.CanExplain)
}

// Rows implements conformance.RowCounter.
func (m memory) Rows(context.Context) (map[string]int, error) { return m.data.Rows(), nil }

// SetVersion implements conformance.VersionSetter.
func (m memory) SetVersion(_ context.Context, id string, version int64) error {
	return m.data.SetVersion(id, version)
}

func newMemory(t *testing.T) conformance.Harness {
	clock := newClock()
	s, err := stores.DSN("memory:")(t.Context(), persistence.Settings{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	data := s.(*memstore.Store).Data() // of the other handles too
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return memory{newHandles(t, clock, func() (persistence.Store, error) {
		return memstore.Open(data, memstore.Config{Clock: clock}), nil
	}), data}
}

func newSQLite(t *testing.T, root, synchronous string) conformance.Harness {
	folder, err := os.MkdirTemp(root, "clause-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(folder); err != nil {
			t.Error(err)
		}
	})
	cfg := sqlharness.SQLiteConfig{Folder: folder, Synchronous: sqlstore.Full}
	if synchronous == "normal" {
		cfg.Synchronous = sqlstore.Normal
	}
	return sqlharness.NewSQLite(t, cfg)
}
