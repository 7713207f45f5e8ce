package boltstore

import (
	"context"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// row is what is kept beside a workflow's header, for whoever need not decode it.
type row struct {
	Version int64
	Removed int64 // version of the last commit that removed a stage
	Created time.Time
	Status  stabilize.Status
	Start   int64 // persistence.Place.Start
}

// CommitBatch implements persistence.WorkflowStore.
func (s *Store) CommitBatch(ctx context.Context, commits []*persistence.Commit) []error {
	if len(commits) == 0 {
		return nil
	}
	errs := make([]error, len(commits))
	work := make([]*persistence.Encoded, len(commits))
	for i, c := range commits {
		work[i], errs[i] = c.Encode(s.ids, maxPayload)
	}
	err := s.run(ctx, "commit", writing, nil, func(t *txn) error {
		for i, c := range commits {
			if errs[i] == nil {
				errs[i] = commit(t, c, work[i])
			}
		}
		return nil
	})
	if err != nil {
		return slices.Repeat([]error{err}, len(commits))
	}
	return errs
}

// commit checks everything and then writes everything: one that is refused needs
// no rollback.
func commit(t *txn, c *persistence.Commit, e *persistence.Encoded) error {
	id := []byte(c.WorkflowID)
	var w row
	if c.WorkflowID != "" {
		w, _ = read[row](t, "workflows", id)
		if err := c.CheckVersion(w.Version, w.Created); err != nil {
			return err
		}
		err := c.CheckStages(func(id string) []byte {
			if raw := t.get("stages", key(c.WorkflowID, id)); raw != nil {
				return raw[8:] // behind the version
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, r := range c.Handled {
		if _, err := held(t, r); err != nil {
			return err
		}
	}
	for _, out := range e.Messages {
		m, found := read[message](t, "messages", []byte(out.ID))
		if found && (m.state() == dead || !c.Frees(out.ID)) {
			return &stabilize.ExistsError{Kind: "message", ID: out.ID}
		}
	}
	if err := admit(t, c); err != nil { // the last check; it writes only if it allows
		return err
	}

	gone := slices.Clone(c.Discard)
	for _, r := range c.Handled {
		gone = append(gone, r.ID)
	}
	for _, id := range gone {
		if m, found := find(t, id, live); found {
			m.lift(t)
		}
	}
	if c.WorkflowID != "" {
		if h := c.Header; h != nil {
			if w.Version > 0 {
				t.del("listing", listing(w.Start, c.WorkflowID))
			}
			w.Created, w.Status, w.Start = stabilize.Instant(h.CreatedAt), h.Status, persistence.PlaceOf(h).Start
			t.put("listing", listing(w.Start, c.WorkflowID), id)
			t.put("headers", id, e.Header)
		}
		w.Version++
		for i, st := range c.Stages {
			t.put("stages", key(c.WorkflowID, st.ID), append(key(w.Version), e.Stages[i]...))
		}
		for _, st := range c.Removed {
			t.del("stages", key(c.WorkflowID, st))
			w.Removed = w.Version
		}
		write(t, "workflows", id, w)
	}
	for i := range e.Messages {
		add(t, &e.Messages[i])
	}
	return nil
}

// listing is a key of that bucket, upside down: the greatest comes first.
func listing(start int64, id string) []byte {
	k := key(start, id)
	for i := range k {
		k[i] = ^k[i]
	}
	return k
}
