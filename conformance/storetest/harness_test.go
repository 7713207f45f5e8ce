package storetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/mutant"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// memory is a harness of the memory store with every power, those that a memory
// store cannot have played by a layer above it.
type memory struct {
	mutant.Link

	data          *memstore.Data
	clock         *stabilize.ManualClock
	first, second persistence.Store

	mu       sync.Mutex
	shift    map[string]int64             // added to a workflow's versions
	tampered map[string]map[string][]byte // bodies by table and id
	tenants  map[string]*memstore.Data
	held     map[string]chan struct{} // workflows, until it is closed
	queries  int
}

func newMemory() *memory {
	m := &memory{
		data: memstore.NewData(), clock: stabilize.NewManualClock(time.Date(2025, 5, 6, 7, 8, 9, 0, time.UTC)),
		shift: map[string]int64{}, tampered: map[string]map[string][]byte{},
		tenants: map[string]*memstore.Data{}, held: map[string]chan struct{}{},
	}
	m.open()
	return m
}

func (m *memory) open() {
	m.first, m.second = m.Handle(m.handle(), true), m.Handle(m.handle(), false)
}

// handle opens a further handle, without connection.
func (m *memory) handle() persistence.Store {
	return m.layer(memstore.Open(m.data, memstore.Config{Clock: m.clock}))
}

func (m *memory) Store() persistence.Store      { return m.first }
func (m *memory) Second() persistence.Store     { return m.second }
func (m *memory) Clock() *stabilize.ManualClock { return m.clock }

func (m *memory) Reopen() persistence.Store {
	_, _ = m.first.Close(), m.second.Close() // of a memory store: never an error
	m.open()
	return m.first
}

func harnessOf(_ *testing.T, hooks *mutant.Hooks) (conformance.Harness, any) {
	h := mutant.New(newMemory(), hooks)
	return h, h.Store()
}

// MaxPayload implements conformance.Limiter.
func (m *memory) MaxPayload() int64 { return 1 << 17 }

// Queries implements conformance.QueryCounter.
func (m *memory) Queries() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.queries
}

// FullScans implements conformance.Explainer.
func (m *memory) FullScans(ctx context.Context, q persistence.Query) ([]string, error) {
	_, err := m.first.Query(ctx, q)
	return nil, err
}

// Rows implements conformance.RowCounter by what can be seen.
func (m *memory) Rows(ctx context.Context) (map[string]int, error) {
	page, err := m.first.Query(ctx, persistence.Query{Limit: 1000})
	if err != nil {
		return nil, err
	}
	depth, err := m.first.Depth(ctx)
	if err != nil {
		return nil, err
	}
	places := 0
	for _, key := range []string{"one place", "places of stays", "places of goes"} {
		a, err := m.first.Admissions(ctx, key)
		if err != nil {
			return nil, err
		}
		places += len(a.Holding) + len(a.Waiting)
	}
	return map[string]int{"workflows": len(page.Workflows), "messages": depth.Live(), "dead_letters": depth.Dead, "places": places}, nil
}

// SetVersion implements conformance.VersionSetter.
func (m *memory) SetVersion(ctx context.Context, id string, version int64) error {
	h, err := m.first.Summary(ctx, id)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shift[id] += version - h.Version
	return nil
}

// Tamper implements conformance.Tamperer.
func (m *memory) Tamper(_ context.Context, table, id string, body []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tampered[table] == nil {
		m.tampered[table] = map[string][]byte{}
	}
	m.tampered[table][id] = body
	return nil
}

func (m *memory) shiftOf(id string) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queries++
	return m.shift[id]
}

func (m *memory) body(table, id string) ([]byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.tampered[table][id]
	return b, ok
}

// layer plays what a memory store does not have: a limit, versions set from
// outside, rows that were tampered with.
func (m *memory) layer(s persistence.Store) persistence.Store {
	return &mutant.Store{Good: s, Hooks: &mutant.Hooks{
		CommitBatch: m.commitBatch,
		TryBatch:    m.tryBatch,
		Query: func(s persistence.Store, ctx context.Context, q persistence.Query) (persistence.Page, error) {
			m.shiftOf("")
			return s.Query(ctx, q)
		},
		Load: func(s persistence.Store, ctx context.Context, id string) (*stabilize.Workflow, error) {
			w, err := s.Load(ctx, id)
			if err != nil {
				return nil, err
			}
			shift := m.shiftOf(id)
			w.Version += shift
			if body, ok := m.body(conformance.TableWorkflows, id); ok {
				if _, err := persistence.DecodeHeader(id, w.Version, body); err != nil {
					return nil, err
				}
			}
			for _, st := range w.Stages {
				st.Version += shift
				if body, ok := m.body(conformance.TableStages, st.ID); ok {
					if _, err := persistence.DecodeStage(st.ID, st.Version, body); err != nil {
						return nil, err
					}
				}
			}
			return w, nil
		},
		Summary: func(s persistence.Store, ctx context.Context, id string) (*stabilize.Header, error) {
			h, err := s.Summary(ctx, id)
			if err != nil {
				return nil, err
			}
			h.Version += m.shiftOf(id)
			if body, ok := m.body(conformance.TableWorkflows, id); ok {
				return persistence.DecodeHeader(id, h.Version, body)
			}
			return h, nil
		},
	}}
}

func (m *memory) commitBatch(s persistence.Store, ctx context.Context, cs []*persistence.Commit) []error {
	if len(cs) == 0 {
		return nil
	}
	for _, c := range cs {
		if released := m.holds(c); released != nil {
			select {
			case <-released:
			case <-ctx.Done():
			}
		}
	}
	shifted, large := make([]*persistence.Commit, len(cs)), make([]error, len(cs))
	var good []*persistence.Commit
	for i, c := range cs {
		if c == nil {
			good = append(good, nil)
			continue
		}
		copied := *c
		if shift := m.shiftOf(c.WorkflowID); copied.Expect > 0 && shift > 0 {
			if copied.Expect -= shift; copied.Expect <= 0 {
				copied.Expect = 1 << 62 // a version it never had
			}
		}
		shifted[i] = &copied
		for _, st := range c.Stages {
			if st == nil {
				continue
			}
			size := int64(0)
			for _, raw := range st.Context {
				size += int64(len(raw))
			}
			if size > m.MaxPayload() {
				large[i] = &stabilize.TooLargeError{What: "stage", Size: size, Max: m.MaxPayload()}
			}
		}
		if large[i] == nil {
			good = append(good, &copied)
		}
	}
	errs := s.CommitBatch(ctx, good)
	out := make([]error, len(cs))
	for i, at := 0, 0; i < len(cs); i++ {
		if large[i] != nil {
			out[i] = large[i]
			continue
		}
		out[i] = errs[at]
		at++
	}
	return out
}
