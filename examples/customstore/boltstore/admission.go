package boltstore

import (
	"bytes"
	"context"

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
	return found && (kind == holding && persistence.HoldsPlace(w.Status) || kind == waiting && persistence.KeepsTurn(w.Status))
}

// places returns who counts under a key, in order, and who does not.
func places(t *txn, admission string) (now persistence.Admissions, gone []string) {
	for k := range t.list("places", key(admission), nil) {
		p, _ := read[place](t, "places", k)
		switch kind := k[len(admission)+1]; {
		case !p.counts(t, kind):
			gone = append(gone, p.WorkflowID)
		case kind == holding:
			now.Holding = append(now.Holding, p.WorkflowID)
		default:
			now.Waiting = append(now.Waiting, p.WorkflowID)
		}
	}
	return now, gone
}

// giveUp ends what a workflow has under a key; own is its key in placed.
func giveUp(t *txn, own []byte) {
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
	own, kind := key(c.WorkflowID, a.Key), holding
	if a.Op == persistence.LeavePlace {
		giveUp(t, own)
		return nil
	}
	if a.Op == persistence.WaitForPlace {
		kind = waiting
	}
	now, gone := places(t, a.Key)
	if err := a.Check(c.WorkflowID, now); err != nil {
		return err
	}
	for _, id := range gone {
		giveUp(t, key(id, a.Key))
	}
	k := bytes.Clone(t.get("placed", own))
	if k == nil || k[len(a.Key)+1] != kind { // else it keeps its turn, with the limit it asks for now
		giveUp(t, own)
		k = key(a.Key, kind, t.next("places"))
		t.put("placed", own, k)
	}
	write(t, "places", k, place{c.WorkflowID, a.Limit})
	return nil
}

// Admissions implements persistence.WorkflowStore.
func (s *Store) Admissions(ctx context.Context, admission string) (now persistence.Admissions, err error) {
	err = s.run(ctx, "admissions", reading, stabilize.CheckID("admission key", admission), func(t *txn) error {
		now, _ = places(t, admission)
		return nil
	})
	return now, err
}

// WaitingKeys implements persistence.WaitingKeys.
func (s *Store) WaitingKeys(ctx context.Context) (list []persistence.WaitingKey, err error) {
	err = s.run(ctx, "waiting keys", reading, nil, func(t *txn) error {
		last := ""
		for k := range t.list("places", nil, nil) {
			p, _ := read[place](t, "places", k)
			if admission := text(k); admission != last && k[len(admission)+1] == waiting && p.counts(t, waiting) {
				list, last = append(list, persistence.WaitingKey{Key: admission, Limit: p.Limit}), admission
			}
		}
		return nil
	})
	return list, err
}
