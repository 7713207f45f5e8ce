package storetest

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/mutant"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// How the memory store is opened in ways that it does not know.

// OpenNarrow implements conformance.NarrowOpener: a memory store needs not even
// one connection.
func (m *memory) OpenNarrow(context.Context) (persistence.Store, error) { return m.handle(), nil }

// Hold implements conformance.Holder.
func (m *memory) Hold(_ context.Context, id string) (release func() error, err error) {
	c := make(chan struct{})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held[id] = c
	return func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		close(c)
		delete(m.held, id)
		return nil
	}, nil
}

// holds is closed when a commit's workflow is held no more; nil: it is not held.
func (m *memory) holds(c *persistence.Commit) chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c == nil {
		return nil
	}
	return m.held[c.WorkflowID]
}

// tryBatch is commitBatch without those that are held, which that waits for.
func (m *memory) tryBatch(s persistence.Store, ctx context.Context, cs []*persistence.Commit) []error {
	out := make([]error, len(cs))
	var free []*persistence.Commit
	for i, c := range cs {
		if m.holds(c) != nil {
			out[i] = &persistence.BlockedError{WorkflowID: c.WorkflowID}
		} else {
			free = append(free, c)
		}
	}
	errs := m.commitBatch(s, ctx, free)
	for i := range out {
		if out[i] == nil {
			out[i], errs = errs[0], errs[1:]
		}
	}
	return out
}

// OpenTenant implements conformance.TenantOpener.
func (m *memory) OpenTenant(_ context.Context, name string) (persistence.Store, error) {
	if !regexp.MustCompile(`^[a-z_]{1,32}$`).MatchString(name) {
		return nil, stabilize.Invalid("name", "%q is hostile", name)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tenants[name] == nil {
		m.tenants[name] = memstore.NewData()
	}
	return memstore.Open(m.tenants[name], memstore.Config{Clock: m.clock}), nil
}

// OpenGiven implements conformance.GivenOpener.
func (m *memory) OpenGiven(_ context.Context, given bool) (persistence.Store, func(context.Context) bool, error) {
	s := m.handle()
	return s, func(ctx context.Context) bool {
		_, err := s.Depth(ctx)
		return given || err == nil
	}, nil
}

// Unmigrated implements conformance.Migrator.
func (m *memory) Unmigrated(context.Context) (conformance.Database, error) {
	return &database{clock: m.clock, data: memstore.NewData()}, nil
}

// database has a schema of two steps, which are nothing but their names.
type database struct {
	clock *stabilize.ManualClock
	data  *memstore.Data

	mu      sync.Mutex
	applied []string
	notes   []string
	blocked bool
}

func steps() []string { return []string{"workflows", "places"} }

var errSchemaMissing = fmt.Errorf("the memory store: %w", stabilize.ErrSchemaMissing)

func (d *database) Open(_ context.Context, migrate bool) (persistence.Store, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.applied) > len(steps()) {
		return nil, stabilize.ErrSchemaTooNew
	}
	for i := len(d.applied); migrate && i < len(steps()); i++ {
		if d.blocked && i == len(steps())-1 {
			return nil, errors.New("something is in the way")
		}
		d.applied = append(d.applied, steps()[i])
	}
	link := &mutant.Link{Admit: func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		if len(d.applied) < len(steps()) {
			return errSchemaMissing
		}
		return nil
	}}
	return link.Handle(d.handle(), true), nil
}

func (d *database) handle() persistence.Store {
	return memstore.Open(d.data, memstore.Config{Clock: d.clock})
}

func (d *database) Schema(context.Context) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(slices.Concat(d.applied, d.notes), "\n"), nil
}

func (d *database) Newer(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.applied = append(d.applied, "from the future")
	return nil
}

func (d *database) Obstruct(context.Context) (func(context.Context) error, error) {
	d.block(true)
	return func(context.Context) error { d.block(false); return nil }, nil
}

func (d *database) block(yes bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.blocked = yes
}
