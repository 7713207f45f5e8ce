package controltest

import (
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/mutant"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// memory is a harness of the memory store.
type memory struct {
	data          *memstore.Data
	clock         *stabilize.ManualClock
	first, second *memstore.Store
}

func newMemory() *memory {
	m := &memory{data: memstore.NewData(), clock: stabilize.NewManualClock(time.Date(2025, 5, 6, 7, 8, 9, 0, time.UTC))}
	m.open()
	return m
}

func (m *memory) open() {
	cfg := memstore.Config{Clock: m.clock}
	m.first, m.second = memstore.Open(m.data, cfg), memstore.Open(m.data, cfg)
}

func (m *memory) Store() persistence.Store      { return m.first }
func (m *memory) Second() persistence.Store     { return m.second }
func (m *memory) Clock() *stabilize.ManualClock { return m.clock }

func (m *memory) Reopen() persistence.Store {
	_, _ = m.first.Close(), m.second.Close() // of a memory store: never an error
	m.open()
	return m.first
}

// broken is a harness whose stores, or the handlers of whose engines, are broken.
type broken struct{ *mutant.Harness }

func (b broken) engineOptions() []engine.Option {
	if b.Hooks.Handlers == nil {
		return nil
	}
	return []engine.Option{engine.WithHandlers(nil, b.Hooks.Handlers())}
}

func harnessOf(_ *testing.T, hooks *mutant.Hooks) (conformance.Harness, any) {
	h := broken{mutant.New(newMemory(), hooks)}
	return h, h.Store()
}

func TestSound(t *testing.T) { mutant.Sound(t, checks(), harnessOf) }

func TestMutants(t *testing.T) { mutant.Check(t, checks(), mutations(), nil, harnessOf) }
