package boltstore

import (
	"context"
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
	err := s.update(ctx, "commit", nil, func(t *txn) error {
		for i, c := range commits {
			if errs[i] == nil {
				errs[i] = commit(t, c, work[i])
			}
		}
		return nil
	})
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
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
		if err := checkStages(t, c); err != nil {
			return err
		}
	}
	for _, r := range c.Handled {
		if _, err := held(t, r); err != nil {
			return err
		}
	}
	for i := range e.Messages {
		m := []byte(e.Messages[i].ID)
		if t.get("deadids", m) != nil || t.get("messages", m) != nil && !c.Frees(string(m)) {
			return &stabilize.ExistsError{Kind: "message", ID: string(m)}
		}
	}
	if err := admit(t, c); err != nil { // the last check; it writes only if it allows
		return err
	}

	for _, r := range c.Handled {
		drop(t, []byte(r.ID))
	}
	for _, m := range c.Discard {
		drop(t, []byte(m))
	}
	if c.WorkflowID != "" {
		if h := c.Header; h != nil {
			if w.Version > 0 {
				t.del("listing", listing(w.Start, c.WorkflowID))
			}
			w.Created, w.Status, w.Start = stabilize.Instant(h.CreatedAt), h.Status, persistence.PlaceOf(h).Start
			t.put("listing", listing(w.Start, c.WorkflowID), nil)
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

// listing is a key of that bucket: id ends it, so that the order is the contract's.
func listing(start int64, id string) []byte { return append(key(start), id...) }

func checkStages(t *txn, c *persistence.Commit) error {
	for _, st := range c.Stages {
		raw := t.get("stages", key(c.WorkflowID, st.ID))
		if raw == nil {
			continue // new
		}
		stored, err := persistence.DecodeStage(st.ID, 0, raw[8:])
		if err == nil {
			err = persistence.CheckStage(stored, st)
		}
		if err != nil {
			return err
		}
	}
	for _, id := range c.Removed {
		if t.get("stages", key(c.WorkflowID, id)) == nil {
			return stabilize.Invalid("commit removed", "workflow %q has no stage %q", c.WorkflowID, id)
		}
	}
	return nil
}
