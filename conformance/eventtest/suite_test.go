package eventtest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/mutant"
	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// memory is a harness of the memory store. Its events are tampered with by a layer.
type memory struct {
	mutant.Link

	data          *memstore.Data
	clock         *stabilize.ManualClock
	first, second persistence.Store

	mu       sync.Mutex
	tampered map[string][]byte // by workflow
}

func newMemory() *memory {
	m := &memory{
		data: memstore.NewData(), clock: stabilize.NewManualClock(time.Date(2025, 5, 6, 7, 8, 9, 0, time.UTC)),
		tampered: map[string][]byte{},
	}
	m.open()
	return m
}

func (m *memory) open() {
	m.first, m.second = m.Handle(m.handle(), true), m.Handle(m.handle(), false)
}

func (m *memory) handle() persistence.Store {
	return &mutant.Store{Good: memstore.Open(m.data, memstore.Config{Clock: m.clock}), Hooks: &mutant.Hooks{
		EventLog: func(s persistence.Store) events.Log { return tamperedLog{persistence.EventLogOf(s), m} },
	}}
}

func (m *memory) Store() persistence.Store      { return m.first }
func (m *memory) Second() persistence.Store     { return m.second }
func (m *memory) Clock() *stabilize.ManualClock { return m.clock }

func (m *memory) Reopen() persistence.Store {
	_, _ = m.first.Close(), m.second.Close() // of a memory store: never an error
	m.open()
	return m.first
}

// TamperEvents implements conformance.EventTamperer.
func (m *memory) TamperEvents(_ context.Context, eventID string, body []byte) error {
	of, err := events.ParseID(eventID)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tampered[of.WorkflowID] = body
	return nil
}

// tamperedLog has two events of a workflow that was tampered with in one row.
type tamperedLog struct {
	events.Log
	m *memory
}

func (l tamperedLog) decode(e *events.Event) error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	body, ok := l.m.tampered[e.WorkflowID]
	if !ok {
		return nil
	}
	row := persistence.EventRow{EncodedEvents: persistence.EncodedEvents{Count: 2, Body: body}, WorkflowID: e.WorkflowID, Version: e.Version}
	if _, err := row.Decode(); err == nil {
		return nil
	}
	all, err := l.Log.Read(context.Background(), events.Query{WorkflowID: e.WorkflowID})
	if err != nil {
		return err
	}
	return &stabilize.CorruptError{Table: "events", ID: string(all.Events[1].Position)}
}

func (l tamperedLog) Read(ctx context.Context, q events.Query) (events.Page, error) {
	page, err := l.Log.Read(ctx, q)
	for i := range page.Events {
		if err := l.decode(&page.Events[i]); err != nil {
			return events.Page{}, err
		}
	}
	return page, err
}

func (l tamperedLog) Get(ctx context.Context, id string) (*events.Event, error) {
	e, err := l.Log.Get(ctx, id)
	if err == nil {
		if err := l.decode(e); err != nil {
			return nil, err
		}
	}
	return e, err
}

func harnessOf(_ *testing.T, hooks *mutant.Hooks) (conformance.Harness, any) {
	h := mutant.New(newMemory(), hooks)
	return h, h.Store()
}

func TestSound(t *testing.T) { mutant.Sound(t, checks(), harnessOf) }

func TestMutants(t *testing.T) { mutant.Check(t, checks(), mutations(), nil, harnessOf) }

// Without a log nothing is run, and that is no failure where it is declared.
func TestWithoutLog(t *testing.T) {
	none := &mutant.Hooks{EventLog: func(persistence.Store) events.Log { return nil }}
	for _, c := range checks() {
		h, handle := harnessOf(t, none)
		if out := conformance.Record(t.Context(), t.Name(), c, h, handle, conformance.Least); out.Lacks != c.Needs {
			t.Errorf("%s was run on a store that keeps no events", c.ID)
		}
	}
}
