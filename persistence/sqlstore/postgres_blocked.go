package sqlstore

import (
	"context"

	"github.com/stabilize-dev/go-stabilize/persistence"
)

// A caller's transaction may hold a workflow for seconds (see Within), and so may a
// transaction of which nobody knows. Its commit must not keep the others of a batch.

// limitWait limits how long the statements of a transaction wait for a lock; lockWait
// is how long: what workers of other processes do is over sooner.
const (
	limitWait = "SELECT set_config('lock_timeout', $1::text, true)"
	lockWait  = "50ms"
)

// asBlocked marks the error of a statement that waited too long.
func asBlocked(err error) error {
	if code, _ := sqlState(err); code == stateLock {
		return &persistence.BlockedError{}
	}
	return err
}

func isBlocked(err error) bool {
	_, ok := err.(*persistence.BlockedError) //nolint:errorlint // as asBlocked made it
	return ok
}

// tryWork is commitWork that refuses what is blocked and applies the rest.
func (s *Store) tryWork(ctx context.Context, work []change) (claimable bool, err error) {
	if plain(work) {
		claimable, err = s.commitSet(ctx, work, true)
	} else {
		claimable, err = s.commitEach(ctx, hasty{s}, work)
	}
	if !isBlocked(err) {
		return claimable, err
	}
	if len(work) == 1 {
		work[0].err = &persistence.BlockedError{WorkflowID: work[0].WorkflowID}
		return false, nil
	}
	free, err := s.setAside(ctx, work)
	if err != nil {
		return false, err
	}
	parts := [][]change{free}
	if len(free) == len(work) { // not a workflow that is there: find it by halves
		parts = [][]change{work[:len(work)/2], work[len(work)/2:]}
	}
	for _, part := range parts {
		if len(part) == 0 {
			continue
		}
		more, err := s.tryWork(ctx, part)
		for i := range part {
			if err != nil {
				part[i].err = err
			}
		}
		claimable = claimable || more
	}
	return claimable, nil
}

// setAside moves the commits whose workflows, or keys of limits, are locked to the end
// and refuses them; the rest, in its order, is returned.
func (s *Store) setAside(ctx context.Context, work []change) (free []change, err error) {
	held := map[string]bool{}
	locks := map[int64]bool{} // of keys: held by others
	err = s.read(ctx, "commit", func(ctx context.Context, st *prepared) error {
		ids := make([]string, 0, len(work))
		var keys []string
		for i := range work {
			ids = append(ids, work[i].WorkflowID)
			if a := work[i].Admission; a != nil {
				keys = append(keys, a.Key)
			}
		}
		if err := heldKeys(ctx, st.sql, keyLocks(s.pg, keys), locks); err != nil {
			return err
		}
		rows, err := st.sql.QueryContext(ctx, s.pg.set.held, textForms(ids))
		if err != nil {
			return err
		}
		defer rows.Close()
		clear(held)
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			held[id] = true
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	aside := make([]change, 0, len(held))
	free = work[:0]
	for _, ch := range work {
		if held[textForm(ch.WorkflowID)] || ch.Admission != nil && locks[lockNumber("key", s.pg.channel, ch.Admission.Key)] {
			ch.err = &persistence.BlockedError{WorkflowID: ch.WorkflowID}
			aside = append(aside, ch)
			continue
		}
		free = append(free, ch)
	}
	copy(work[len(free):], aside)
	return free, nil
}

// heldKeys notes which of the locks others hold.
func heldKeys(ctx context.Context, db queries, locks []int64, held map[int64]bool) error {
	clear(held)
	if len(locks) == 0 {
		return nil
	}
	rows, err := db.QueryContext(ctx, "SELECT n FROM unnest($1::bigint[]) n WHERE NOT pg_try_advisory_xact_lock(n)", locks)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return err
		}
		held[n] = true
	}
	return rows.Err()
}

// hasty is a store whose transactions do not wait for locks for long.
type hasty struct{ *Store }

func (h hasty) write(ctx context.Context, doing string, fn func(*wtx) error) error {
	return h.Store.write(ctx, doing, func(tx *wtx) error {
		if _, err := tx.Tx.Tx.ExecContext(tx.ctx, limitWait, lockWait); err != nil {
			return err
		}
		if err := fn(tx); err != nil {
			return asBlocked(err)
		}
		_, err := tx.Tx.Tx.ExecContext(tx.ctx, limitWait, "0") // the server's own lock on its notifications is waited for
		return err
	})
}
