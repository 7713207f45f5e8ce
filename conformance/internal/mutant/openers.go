package mutant

import (
	"context"
	"fmt"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Openers replace the ways in which a harness opens further handles; nil leaves
// one as it is. Each gets the good harness.
type Openers struct {
	Narrow   func(good conformance.NarrowOpener, ctx context.Context) (persistence.Store, error)
	Tenant   func(good conformance.TenantOpener, ctx context.Context, name string) (persistence.Store, error)
	Given    func(good conformance.GivenOpener, ctx context.Context, given bool) (persistence.Store, func(context.Context) bool, error)
	Database func(good conformance.Database) conformance.Database
}

// broken gives a further handle the hooks of the others.
func (h *Harness) broken(s persistence.Store, err error) (persistence.Store, error) {
	if err != nil {
		return nil, err
	}
	return &Store{s, h.Hooks}, nil
}

func good[P any](h *Harness) (P, error) {
	p, ok := conformance.Find[P](h.Good)
	if !ok {
		return p, fmt.Errorf("the good harness: %w", stabilize.ErrUnsupported)
	}
	return p, nil
}

// OpenNarrow implements conformance.NarrowOpener.
func (h *Harness) OpenNarrow(ctx context.Context) (persistence.Store, error) {
	p, err := good[conformance.NarrowOpener](h)
	switch {
	case err != nil:
		return nil, err
	case h.Hooks.Open.Narrow != nil:
		return h.Hooks.Open.Narrow(p, ctx)
	default:
		return h.broken(p.OpenNarrow(ctx))
	}
}

// OpenTenant implements conformance.TenantOpener.
func (h *Harness) OpenTenant(ctx context.Context, name string) (persistence.Store, error) {
	p, err := good[conformance.TenantOpener](h)
	switch {
	case err != nil:
		return nil, err
	case h.Hooks.Open.Tenant != nil:
		return h.Hooks.Open.Tenant(p, ctx, name)
	default:
		return h.broken(p.OpenTenant(ctx, name))
	}
}

// OpenGiven implements conformance.GivenOpener.
func (h *Harness) OpenGiven(ctx context.Context, given bool) (persistence.Store, func(context.Context) bool, error) {
	p, err := good[conformance.GivenOpener](h)
	if err != nil {
		return nil, nil, err
	}
	if h.Hooks.Open.Given != nil {
		return h.Hooks.Open.Given(p, ctx, given)
	}
	s, usable, err := p.OpenGiven(ctx, given)
	s, err = h.broken(s, err)
	return s, usable, err
}

// Unmigrated implements conformance.Migrator.
func (h *Harness) Unmigrated(ctx context.Context) (conformance.Database, error) {
	p, err := good[conformance.Migrator](h)
	if err != nil {
		return nil, err
	}
	d, err := p.Unmigrated(ctx)
	if err == nil && h.Hooks.Open.Database != nil {
		d = h.Hooks.Open.Database(d)
	}
	return d, err
}
