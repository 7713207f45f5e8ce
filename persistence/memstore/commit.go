package memstore

import (
	"context"
	"time"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// CommitBatch implements persistence.WorkflowStore. Readers see the commits of
// a batch together.
func (s *Store) CommitBatch(ctx context.Context, commits []*persistence.Commit) []error {
	if len(commits) == 0 {
		return nil
	}
	errs := make([]error, len(commits))
	if err := s.begin(ctx); err != nil {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	now := s.now()
	work := make([]prepared, len(commits))
	for i, c := range commits {
		errs[i] = s.prepare(c, now, &work[i])
	}
	s.data.mu.Lock()
	defer s.data.unlock()
	for i, c := range commits {
		if errs[i] == nil {
			errs[i] = s.data.commit(c, &work[i], now)
		}
	}
	return errs
}

// prepared is a commit's copy of what it brings, made before the lock is taken.
type prepared struct {
	header   *stabilize.Header
	stages   []*stabilize.Stage
	messages []*message
	events   []*events.Event
}

func (s *Store) prepare(c *persistence.Commit, now time.Time, p *prepared) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if c.Header != nil {
		p.header = c.Header.Clone()
		if err := tidyHeader(p.header); err != nil {
			return err
		}
	}
	if len(c.Stages) > 0 {
		p.stages = make([]*stabilize.Stage, len(c.Stages))
		for i, st := range c.Stages {
			p.stages[i] = st.Clone()
			if err := tidyStage(p.stages[i]); err != nil {
				return err
			}
		}
	}
	p.events = newEvents(c.Events)
	var err error
	p.messages, err = s.newMessages(c.Messages, now)
	return err
}

// commit checks everything, then changes everything: there is no way back
// from the first change.
func (d *Data) commit(c *persistence.Commit, p *prepared, now time.Time) error {
	var o *owner
	var verdict admission
	if c.WorkflowID != "" {
		o = d.owners[c.WorkflowID]
		if err := checkWorkflow(c, p, o); err != nil {
			return err
		}
		if c.Admission != nil {
			verdict = d.judge(c.Admission, o)
		}
	}
	for _, r := range c.Handled {
		if d.held(r) == nil {
			return &stabilize.LeaseLostError{Kind: "message", ID: r.ID}
		}
	}
	for _, m := range p.messages {
		if d.dead[m.id] != nil || d.messages[m.id] != nil && !c.Frees(m.id) {
			return &stabilize.ExistsError{Kind: "message", ID: m.id}
		}
	}
	if verdict.refused {
		return verdict.err(c)
	}

	for _, r := range c.Handled {
		d.drop(d.messages[r.ID])
	}
	for _, id := range c.Discard {
		if m := d.messages[id]; m != nil {
			d.drop(m)
		}
	}
	if c.WorkflowID != "" {
		// Found anew: with the last message of an owner the owner may have gone.
		o = d.owner(c.WorkflowID)
		if o.workflow == nil {
			d.addWorkflow(o, newWorkflow(len(p.stages)))
		}
		if c.Admission != nil {
			d.admit(c.Admission, o, verdict) // before the header: statuses are those before the commit
		}
		o.workflow.apply(c, p)
		d.record(o, p.events)
	}
	for i, m := range p.messages {
		d.store(m, c.Messages[i].Lease, now)
	}
	return nil
}

func checkWorkflow(c *persistence.Commit, p *prepared, o *owner) error {
	if o == nil || o.workflow == nil {
		return c.CheckVersion(0, time.Time{})
	}
	w := o.workflow
	if err := c.CheckVersion(w.version, w.header.CreatedAt); err != nil {
		return err
	}
	for _, s := range p.stages {
		if old := w.stage(s.ID); old != nil {
			if err := persistence.CheckStage(old, s); err != nil {
				return err
			}
		}
	}
	for _, id := range c.Removed {
		if w.stage(id) == nil {
			return stabilize.Invalid("commit removed", "workflow %q has no stage %q", c.WorkflowID, id)
		}
	}
	return nil
}

func (w *workflow) apply(c *persistence.Commit, p *prepared) {
	w.version++
	if p.header != nil {
		w.header = p.header
	}
	for _, s := range p.stages {
		s.Version = w.version
		w.put(s)
	}
	for _, id := range c.Removed {
		w.removeStage(id)
		w.removedAt = w.version
	}
}
