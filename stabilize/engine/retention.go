package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Retention says how long finished workflows are kept. The zero value keeps them
// for ever.
type Retention struct {
	// Rules: a workflow is removed as soon as one of them says so.
	Rules []PruneRule
	// Interval is the time between two rounds. Default 1 minute.
	Interval time.Duration
}

// PruneRule says which finished workflows to remove.
type PruneRule struct {
	// Statuses of the workflows, each of which is an end. Empty: every end.
	Statuses []stabilize.Status
	// OlderThan is how long ago they ended at least; one that never began counts
	// from the request to cancel it, or from its creation. Required, so that a rule
	// which was forgotten to be filled in removes nothing.
	OlderThan time.Duration
	// Batch is how many are looked at, and at most removed, at a time. Default 100,
	// at most 1,000.
	Batch int
}

// WithRetention removes finished workflows while workers run (Run), in the
// background and in the same way as Prune. Every process that runs workers may be
// given it, or one: they do no harm to each other. What goes wrong is logged and
// tried again in the next round.
func WithRetention(r Retention) Option {
	return func(c *Config) {
		r.Rules = slices.Clone(r.Rules)
		c.retention = r
	}
}

const maxPruneBatch = 1000

// complete checks a rule and fills in its defaults.
func (r PruneRule) complete(field string) (PruneRule, error) {
	ends := slices.DeleteFunc(stabilize.Statuses(), func(s stabilize.Status) bool { return !s.IsComplete() })
	for _, s := range r.Statuses {
		if !slices.Contains(ends, s) {
			return r, stabilize.Invalid(field+" statuses", "%s is not the end of a workflow", s)
		}
	}
	if len(r.Statuses) == 0 {
		r.Statuses = ends
	}
	switch {
	case r.OlderThan <= 0:
		return r, stabilize.Invalid(field+" older than", "%s is not positive", r.OlderThan)
	case r.Batch < 0 || r.Batch > maxPruneBatch:
		return r, stabilize.Invalid(field+" batch", "%d is not between 1 and %d", r.Batch, maxPruneBatch)
	case r.Batch == 0:
		r.Batch = 100
	}
	return r, nil
}

func (r *Retention) complete() (err error) {
	if r.Interval < 0 {
		return stabilize.Invalid("engine retention interval", "%s is negative", r.Interval)
	}
	if r.Interval == 0 {
		r.Interval = time.Minute
	}
	for i := range r.Rules {
		if r.Rules[i], err = r.Rules[i].complete(fmt.Sprintf("engine retention rules[%d]", i)); err != nil {
			return err
		}
	}
	return nil
}

// Prune removes finished workflows with their stages, and returns how many, also
// beside an error. It works in batches, each one step of the store, and rests
// between two as long as the last one took, so that workers get on. Any number of
// processes may do it at a time.
//
// Kept are those that have a message or a dead letter addressed to them (replay or
// discard it first), those that a workflow which started them still waits for, and
// those that were restarted meanwhile: a restart that succeeded is never undone,
// and one that came too late is ErrNotFound. A key of WithKey is free again when
// its workflow was removed: the next Start with it starts a new workflow.
//
// Errors: ErrInvalid naming the field, the context's, the store's.
func (e *Engine) Prune(ctx context.Context, rule PruneRule) (removed int, err error) {
	rule, err = rule.complete("prune rule")
	if err != nil {
		return 0, err
	}
	p := &pruning{Engine: e, rule: rule, before: e.cfg.clock.Now().Add(-rule.OlderThan)}
	// Whoever ended before that had started before, or never: the latter come first
	// where the start does not matter. Either is found by an index of the status.
	err = p.run(ctx, persistence.Query{Statuses: rule.Statuses, StartedBefore: p.before, Limit: rule.Batch}, nil)
	if err == nil {
		begun := func(h *stabilize.Header) bool { return !h.StartedAt.IsZero() }
		err = p.run(ctx, persistence.Query{Statuses: rule.Statuses, Limit: rule.Batch}, begun)
	}
	return p.removed, err
}

// pruning is one call of Prune.
type pruning struct {
	*Engine
	rule    PruneRule
	before  time.Time // the end
	removed int
}

// run prunes what a query finds, up to the first that is one too many.
func (p *pruning) run(ctx context.Context, q persistence.Query, tooMany func(*stabilize.Header) bool) error {
	for {
		since := p.cfg.clock.Now()
		page, err := p.store.Query(ctx, q)
		if err != nil {
			return err
		}
		found := page.Workflows
		if tooMany != nil {
			if i := slices.IndexFunc(found, tooMany); i >= 0 {
				found, page.Next = found[:i], ""
			}
		}
		if err := p.batch(ctx, found); err != nil {
			return err
		}
		if q.Token = page.Next; q.Token == "" {
			return nil
		}
		if err := p.rest(ctx, p.cfg.clock.Now().Sub(since)); err != nil {
			return err
		}
	}
}

// leastRest is how long Prune rests between two batches at least.
const leastRest = 10 * time.Millisecond

func (p *pruning) rest(ctx context.Context, d time.Duration) error {
	timer, stop := p.cfg.clock.Timer(max(d, leastRest))
	defer stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer:
		return nil
	}
}

func (p *pruning) batch(ctx context.Context, found []*stabilize.Header) error {
	var old []*stabilize.Header
	parents := map[string]*parent{}
	for _, h := range found {
		if end := h.FinishedAt(); end.IsZero() || !end.Before(p.before) {
			continue
		}
		awaited, err := p.isAwaited(ctx, h, parents)
		if err != nil {
			return err
		}
		if !awaited {
			old = append(old, h)
		}
	}
	if len(old) == 0 {
		return nil
	}
	n, err := p.store.Prune(ctx, old...)
	if err == nil {
		p.removed += n
	}
	return err
}

// parent is what a workflow that started others waits for: the news that are on
// the way to it, and the workflows that its tasks wait for.
type parent struct{ news, tasks map[string]bool }

// isAwaited reports whether the workflow that started this one waits for it, or is
// about to: it asks again for the end of a child that was restarted. The messages
// are looked at first: what is not among them has been handled, and is seen in the
// tasks.
func (p *pruning) isAwaited(ctx context.Context, h *stabilize.Header, parents map[string]*parent) (bool, error) {
	if h.Parent == nil || !h.Parent.Waits {
		return false, nil
	}
	id := h.Parent.WorkflowID
	of := parents[id]
	if of == nil {
		of = &parent{news: map[string]bool{}, tasks: map[string]bool{}}
		pending, err := p.store.Pending(ctx, id)
		if err != nil {
			return false, err
		}
		for _, m := range pending {
			switch m := m.Message.(type) {
			case queue.ChildEnded:
				of.news[m.Child] = true
			case queue.RestartStage:
				of.news[m.Child] = true
			}
		}
		if err := p.seeTasks(ctx, id, of); err != nil {
			return false, err
		}
		parents[id] = of
	}
	return of.news[h.ID] || of.tasks[h.ID], nil
}

func (p *pruning) seeTasks(ctx context.Context, id string, of *parent) error {
	// Its stages are read only if one of them may wait.
	switch h, err := p.store.Summary(ctx, id); {
	case errors.Is(err, stabilize.ErrNotFound):
		return nil
	case err != nil:
		return err
	case h.Status.IsComplete():
		return nil
	}
	w, err := p.store.Load(ctx, id)
	if errors.Is(err, stabilize.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, s := range w.Stages {
		for _, t := range s.Tasks {
			if child := t.Waits().Child; child != "" && !t.Status.IsComplete() {
				of.tasks[child] = true
			}
		}
	}
	return nil
}

// sweepFinished prunes by the rules of Config until ctx ends.
func (e *Engine) sweepFinished(ctx context.Context) {
	if len(e.cfg.retention.Rules) == 0 {
		return
	}
	for {
		timer, stop := e.cfg.clock.Timer(e.cfg.retention.Interval)
		select {
		case <-ctx.Done():
			stop()
			return
		case <-timer:
		}
		stop()
		for _, rule := range e.cfg.retention.Rules {
			n, err := e.Prune(ctx, rule)
			if err != nil && ctx.Err() == nil {
				e.cfg.logger.Warn("pruning finished workflows", "removed", n, "error", err)
			}
		}
	}
}
