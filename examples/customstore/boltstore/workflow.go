package boltstore

import (
	"context"
	"slices"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func header(t *txn, id string) (*stabilize.Header, row, error) {
	w, found := read[row](t, "workflows", []byte(id))
	if !found {
		return nil, w, &stabilize.NotFoundError{Kind: "workflow", ID: id}
	}
	h, err := persistence.DecodeHeader(id, w.Version, t.get("headers", []byte(id)))
	return h, w, err
}

// stages returns the stages of a workflow that changed after a version.
func stages(t *txn, id string, since int64) ([]*stabilize.Stage, error) {
	list := []*stabilize.Stage{}
	prefix := key(id)
	for k, v := range t.list("stages", prefix, nil) {
		if number(v) <= since {
			continue
		}
		st, err := persistence.DecodeStage(text(k[len(prefix):]), number(v), v[8:])
		if err != nil {
			return nil, err
		}
		list = append(list, st)
	}
	slices.SortFunc(list, func(a, b *stabilize.Stage) int { return a.Position - b.Position })
	return list, nil
}

// Summary implements persistence.WorkflowStore.
func (s *Store) Summary(ctx context.Context, id string) (h *stabilize.Header, err error) {
	err = s.run(ctx, "summary", reading, stabilize.CheckID("workflow id", id), func(t *txn) (err error) {
		h, _, err = header(t, id)
		return err
	})
	return h, err
}

// Load implements persistence.WorkflowStore.
func (s *Store) Load(ctx context.Context, id string) (*stabilize.Workflow, error) {
	d, err := s.Refresh(ctx, id, 0)
	if err != nil {
		return nil, err
	}
	w := &stabilize.Workflow{Header: d.Header, Stages: d.Stages}
	w.Index()
	return w, nil
}

// Refresh implements persistence.Refresher.
func (s *Store) Refresh(ctx context.Context, id string, since int64) (*persistence.Delta, error) {
	var d persistence.Delta
	err := s.run(ctx, "read a workflow", reading, persistence.CheckRefresh(id, since), func(t *txn) error {
		h, w, err := header(t, id)
		if err != nil {
			return err
		}
		d.Header, d.Whole = *h, w.Removed > since || since > w.Version
		if d.Whole {
			since = 0
		}
		d.Stages, err = stages(t, id, since)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &d, nil
}

// Query implements persistence.WorkflowStore.
func (s *Store) Query(ctx context.Context, q persistence.Query) (persistence.Page, error) {
	var page persistence.Page
	after, bad := q.Check()
	err := s.run(ctx, "query", reading, bad, func(t *txn) error {
		var behind []byte
		if after != nil {
			behind = listing(after.Start, after.ID)
		}
		for _, id := range t.list("listing", nil, behind) {
			h, _, err := header(t, string(id))
			if err != nil {
				return err
			}
			if !q.Selects(h) {
				continue
			}
			if len(page.Workflows) == q.Limit {
				page.Next = q.MakeToken(persistence.PlaceOf(page.Workflows[q.Limit-1]))
				break
			}
			page.Workflows = append(page.Workflows, h)
		}
		return nil
	})
	return page, err
}

// Delete implements persistence.WorkflowStore.
func (s *Store) Delete(ctx context.Context, ids ...string) error {
	return s.run(ctx, "delete", writing, persistence.CheckIDs(ids), func(t *txn) error {
		for _, id := range ids {
			remove(t, id)
		}
		return nil
	})
}

// Prune implements persistence.WorkflowStore.
func (s *Store) Prune(ctx context.Context, finished ...*stabilize.Header) (removed int, err error) {
	err = s.run(ctx, "prune", writing, persistence.CheckPrune(finished), func(t *txn) error {
		for _, h := range finished {
			w, found := read[row](t, "workflows", []byte(h.ID))
			k, _ := t.bucket("owned").Cursor().Seek(key(h.ID))
			if found && persistence.IsAsRead(h, w.Version, w.Created) && (k == nil || text(k) != h.ID) {
				remove(t, h.ID)
				removed++
			}
		}
		return nil
	})
	return removed, err
}

// remove removes all there is of a workflow, also if there is none of that id:
// messages may be addressed to it.
func remove(t *txn, id string) {
	if w, found := read[row](t, "workflows", []byte(id)); found {
		t.del("listing", listing(w.Start, id))
		t.del("workflows", []byte(id))
		t.del("headers", []byte(id))
	}
	owned := key(id)
	for k := range t.list("stages", owned, nil) {
		t.del("stages", k)
	}
	for _, id := range t.list("owned", owned, nil) {
		m, _ := read[message](t, "messages", id)
		m.lift(t)
	}
	for own := range t.list("placed", owned, nil) {
		giveUp(t, own)
	}
}
