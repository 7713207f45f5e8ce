package sqlstore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/uptrace/bun"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// seat is what was found out about an Admission before anything is written.
type seat struct {
	own     int64 // seq of the workflow's row under the key; 0: none
	holding bool  // it has a place that counts
	turn    bool  // it has a turn that counts
	stale   []int64
}

// judge decides on the commit's admission. w is nil for a workflow that is
// being created: it has no status yet, so nothing of it counts.
func (b *batch) judge(ch *change, w *version) (seat, error) {
	a := ch.Admission
	if a == nil {
		return seat{}, nil
	}
	var v seat
	var waits bool
	err := b.tx.row(stOwnPlace, a.Key, ch.WorkflowID).Scan(&v.own, &waits)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	if err != nil || a.Op == persistence.LeavePlace {
		return v, err
	}
	if w != nil && v.own != 0 {
		counts, err := counts(ch.WorkflowID, sql.NullString{String: w.status, Valid: true}, waits)
		if err != nil {
			return v, err
		}
		v.holding, v.turn = counts && !waits, counts && waits
	}
	held := 0
	err = b.places(a.Key, false, func(seq int64, counts bool) bool {
		switch {
		case counts:
			held++
		case seq != v.own:
			v.stale = append(v.stale, seq)
		}
		return true
	})
	if err != nil {
		return v, err
	}
	ahead, front := 0, true
	err = b.places(a.Key, true, func(seq int64, counts bool) bool {
		switch {
		case seq == v.own:
			return !v.turn
		case counts:
			ahead, front = ahead+1, false
		case front: // further behind they stay until they stand in front
			v.stale = append(v.stale, seq)
		}
		return ahead < a.Limit-held // no further than it matters
	})
	if err != nil {
		return v, err
	}
	if persistence.MayTake(v.holding, ahead, held, a.Limit) != (a.Op == persistence.TakePlace) {
		return v, &stabilize.AdmissionError{
			Key: a.Key, WorkflowID: ch.WorkflowID, Limit: a.Limit, Holding: held,
			Free: a.Op == persistence.WaitForPlace,
		}
	}
	return v, nil
}

// places calls fn with each place or turn under a key, in order, until it
// returns false.
func (b *batch) places(key string, waiting bool, fn func(seq int64, counts bool) bool) error {
	if b.tx.pg != nil {
		return b.placesPostgres(key, waiting, fn)
	}
	rows, err := b.tx.query(stPlaces, key, waiting)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var seq int64
		var workflow string
		var status sql.NullString
		if err := rows.Scan(&seq, &workflow, &status); err != nil {
			return err
		}
		ok, err := counts(workflow, status, waiting)
		if err != nil {
			return err
		}
		if !fn(seq, ok) {
			return nil
		}
	}
	return rows.Err()
}

// counts is the rule of persistence.Admission; a missing workflow has no status.
func counts(workflow string, status sql.NullString, waiting bool) (bool, error) {
	if !status.Valid {
		return false, nil
	}
	s, err := stabilize.ParseStatus(status.String)
	if err != nil {
		return false, &stabilize.CorruptError{Table: "workflows", ID: workflow, Cause: err}
	}
	if waiting {
		return persistence.KeepsTurn(s), nil
	}
	return persistence.HoldsPlace(s), nil
}

// admit does what judge allowed.
func (b *batch) admit(ch *change, v seat) error {
	a := ch.Admission
	if a == nil {
		return nil
	}
	for _, seq := range v.stale {
		if _, err := b.tx.exec(stDropPlace, seq); err != nil {
			return err
		}
	}
	waiting := a.Op == persistence.WaitForPlace
	switch {
	case a.Op == persistence.TakePlace && v.holding:
		return nil
	case waiting && v.turn:
		_, err := b.tx.exec(stAskAgain, a.Limit, v.own)
		return err
	}
	if v.own != 0 {
		if _, err := b.tx.exec(stDropPlace, v.own); err != nil {
			return err
		}
	}
	if a.Op == persistence.LeavePlace {
		return nil
	}
	_, err := b.tx.exec(stAddPlace, a.Key, ch.WorkflowID, waiting, a.Limit)
	return err
}

// Admissions implements persistence.WorkflowStore.
func (s *Store) Admissions(ctx context.Context, key string) (persistence.Admissions, error) {
	return s.admissions(ctx, s, key)
}

func (s *Store) admissions(ctx context.Context, on access, key string) (persistence.Admissions, error) {
	var out persistence.Admissions
	if err := on.begin(ctx); err != nil {
		return out, err
	}
	if err := stabilize.CheckID("admission key", key); err != nil {
		return out, err
	}
	err := on.read(ctx, "admissions", func(ctx context.Context, st *prepared) error {
		out = persistence.Admissions{}
		return s.eachPlace(ctx, st.db, func(q *bun.SelectQuery) { q.Where("p.key = ?", key).Order("p.seq") }, func(p placeRow) {
			if p.Waiting {
				out.Waiting = append(out.Waiting, p.WorkflowID)
			} else {
				out.Holding = append(out.Holding, p.WorkflowID)
			}
		})
	})
	return out, err
}

// WaitingKeys implements persistence.WaitingKeys; the keys are sorted.
func (s *Store) WaitingKeys(ctx context.Context) ([]persistence.WaitingKey, error) {
	var keys []persistence.WaitingKey
	err := s.read(ctx, "waiting keys", func(ctx context.Context, st *prepared) error {
		keys = nil
		return s.eachPlace(ctx, st.db, func(q *bun.SelectQuery) { q.Where("p.waiting").Order("p.key", "p.seq") }, func(p placeRow) {
			if n := len(keys); n == 0 || keys[n-1].Key != p.Key {
				keys = append(keys, persistence.WaitingKey{Key: p.Key, Limit: p.Lim})
			}
		})
	})
	return keys, err
}

// eachPlace calls fn with the places that count.
func (s *Store) eachPlace(ctx context.Context, db bun.IDB, narrow func(*bun.SelectQuery), fn func(placeRow)) error {
	var rows []placeRow
	q := db.NewSelect().Model(&rows).ModelTableExpr("? AS p", s.table("places")).
		Join("JOIN ? AS w ON w.id = p.workflow_id", s.table("workflows")).
		Column("p.key", "p.workflow_id", "p.waiting", "p.lim", "w.status")
	narrow(q)
	if err := q.Scan(ctx, &rows); err != nil {
		return err
	}
	for _, p := range rows {
		ok, err := counts(p.WorkflowID, sql.NullString{String: p.Status, Valid: true}, p.Waiting)
		if err != nil {
			return err
		}
		if ok {
			fn(p)
		}
	}
	return nil
}
