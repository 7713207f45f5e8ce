package boltstore

import (
	"bytes"
	"context"
	"slices"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// place is what a workflow has under an admission key: a place or a turn.
type place struct {
	WorkflowID string
	Limit      int
}

const holding, waiting = byte(0), byte(1)

// counts reports whether a place or turn is one still: its owner has not ended,
// been deleted or never begun.
func (p place) counts(t *txn, kind byte) bool {
	w, found := read[row](t, "workflows", []byte(p.WorkflowID))
	if kind == holding {
		return found && persistence.HoldsPlace(w.Status)
	}
	return found && persistence.KeepsTurn(w.Status)
}

// places returns those under a key that count, in order, and the owners of the
// others.
func places(t *txn, admission string, kind byte) (list []place, gone []string) {
	for k := range t.list("places", key(admission, kind)) {
		if p, _ := read[place](t, "places", k); p.counts(t, kind) {
			list = append(list, p)
		} else {
			gone = append(gone, p.WorkflowID)
		}
	}
	return list, gone
}

// leave gives up what a workflow has under a key; own is its key in placed.
func leave(t *txn, own []byte) {
	if k := bytes.Clone(t.get("placed", own)); k != nil {
		t.del("places", k)
		t.del("placed", own)
	}
}

// admit decides on a commit's admission and, if it may, does it.
func admit(t *txn, c *persistence.Commit) error {
	a := c.Admission
	if a == nil {
		return nil
	}
	own := key(c.WorkflowID, a.Key)
	if a.Op == persistence.LeavePlace {
		leave(t, own)
		return nil
	}
	holders, left := places(t, a.Key, holding)
	waiters, ended := places(t, a.Key, waiting)
	mine := func(p place) bool { return p.WorkflowID == c.WorkflowID }
	holds, turn := slices.ContainsFunc(holders, mine), slices.IndexFunc(waiters, mine)
	ahead := turn
	if turn < 0 {
		ahead = len(waiters) // one that does not wait yet stands behind all that do
	}
	if persistence.MayTake(holds, ahead, len(holders), a.Limit) != (a.Op == persistence.TakePlace) {
		return &stabilize.AdmissionError{
			Key: a.Key, WorkflowID: c.WorkflowID, Limit: a.Limit, Holding: len(holders),
			Free: a.Op == persistence.WaitForPlace,
		}
	}
	for _, id := range append(left, ended...) {
		leave(t, key(id, a.Key))
	}
	switch {
	case a.Op == persistence.TakePlace && holds:
		return nil
	case a.Op == persistence.WaitForPlace && turn >= 0: // it keeps its turn, with the limit it asks for now
		write(t, "places", bytes.Clone(t.get("placed", own)), place{c.WorkflowID, a.Limit})
		return nil
	}
	kind := holding
	if a.Op == persistence.WaitForPlace {
		kind = waiting
	}
	leave(t, own)
	k := key(a.Key, kind, t.next("places"))
	write(t, "places", k, place{c.WorkflowID, a.Limit})
	t.put("placed", own, k)
	return nil
}

// Admissions implements persistence.WorkflowStore.
func (s *Store) Admissions(ctx context.Context, admission string) (persistence.Admissions, error) {
	var a persistence.Admissions
	err := s.view(ctx, "admissions", stabilize.CheckID("admission key", admission), func(t *txn) error {
		holders, _ := places(t, admission, holding)
		for _, p := range holders {
			a.Holding = append(a.Holding, p.WorkflowID)
		}
		waiters, _ := places(t, admission, waiting)
		for _, p := range waiters {
			a.Waiting = append(a.Waiting, p.WorkflowID)
		}
		return nil
	})
	return a, err
}

// WaitingKeys implements persistence.WaitingKeys.
func (s *Store) WaitingKeys(ctx context.Context) (list []persistence.WaitingKey, err error) {
	err = s.view(ctx, "waiting keys", nil, func(t *txn) error {
		for k := range t.list("places", nil) {
			admission := text(k)
			if k[len(admission)+1] != waiting || len(list) > 0 && list[len(list)-1].Key == admission {
				continue
			}
			if p, _ := read[place](t, "places", k); p.counts(t, waiting) {
				list = append(list, persistence.WaitingKey{Key: admission, Limit: p.Limit})
			}
		}
		return nil
	})
	return list, err
}
