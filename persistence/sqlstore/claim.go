package sqlstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/queue"
)

// claimPass is how many candidates are read at a time.
const claimPass = 256

// Claim implements queue.Queue. A claim that finds nothing to do does not write
// while more than two thirds of the worker's time are left: so idle workers do
// not stand in each other's way, and a lease outlives the last empty claim by
// at least two thirds of its TTL, the last other one by all of it.
func (s *Store) Claim(ctx context.Context, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	if err := w.Check(); err != nil {
		return nil, err
	}
	if err := room.Check(); err != nil {
		return nil, err
	}
	if s.pg != nil {
		return s.claimPostgres(ctx, w, room)
	}
	seen, err := s.peek(ctx, w)
	if err != nil || seen.idle(w, room) {
		return nil, err
	}
	var c *claim
	err = s.write(ctx, "claim", func(tx *wtx) error {
		c = &claim{batch: newBatch(tx, s.now()), store: s}
		return c.run(w, room)
	})
	if err != nil {
		return nil, err
	}
	s.ping(c.claimable)
	return c.deliveries(), nil
}

// peeked is what a claim finds out before it writes.
type peeked struct {
	now           int64
	expires       sql.NullInt64 // of the worker
	others        bool          // a worker has lapsed, or a message is exhausted
	control, work bool          // something is due
}

func (s *Store) peek(ctx context.Context, w queue.Worker) (p peeked, err error) {
	err = s.read(ctx, "claim", func(ctx context.Context, st *prepared) error {
		s.followClock(ctx, st.db)
		p.now = micros(s.now())
		return st.read[stPeek].QueryRowContext(ctx, w.ID, p.now).Scan(&p.expires, &p.others, &p.control, &p.work)
	})
	return p, err
}

// idle reports that a claim would change nothing worth a write.
func (p *peeked) idle(w queue.Worker, room queue.Room) bool {
	left, ttl := p.expires.Int64-p.now, w.TTL.Microseconds()
	return p.expires.Valid && left >= ttl*2/3 && left <= ttl &&
		!p.others && (!p.control || room.Control <= 0) && (!p.work || room.Work <= 0)
}

// claim is one Claim under the write lock.
type claim struct {
	*batch

	store *Store
	fence int64
	found []found
}

// found is a message that may be delivered.
type found struct {
	queue.Delivery

	seq      int64
	kind     string
	workflow string
	body     []byte
}

// key is what finds the message's row.
func (f *found) key(tx *wtx) any {
	if tx.pg != nil {
		return f.ID
	}
	return f.seq
}

func (c *claim) run(w queue.Worker, room queue.Room) error {
	var err error
	if c.fence, err = c.renew(w, c.store.now); err != nil {
		return err
	}
	if err := c.freeLapsed(); err != nil { // it has not lapsed itself any more
		return err
	}
	if err := c.buryExhausted(); err != nil {
		return err
	}
	if err := c.fill(queue.Control, room.Control); err != nil {
		return err
	}
	return c.fill(queue.Work, room.Work)
}

// freeLapsed makes what silent workers held claimable. Their tokens stay good
// until somebody claims.
func (b *batch) freeLapsed() error {
	if b.tx.pg != nil {
		return b.freeLapsedPostgres()
	}
	n, err := b.tx.change(stFreeLapsed, b.now)
	if err != nil {
		return err
	}
	b.claimable = b.claimable || n > 0
	_, err = b.tx.exec(stDropLapsed, b.now)
	return err
}

// renew gives the worker its time. If it had none left it gets a new lease, and
// still holds what nobody has claimed meanwhile. The clock is read again when the lease
// is locked: a call that stood still on its way must not cut short what a later one gave.
func (b *batch) renew(w queue.Worker, clock func() time.Time) (fence int64, err error) {
	var old, until int64
	err = b.tx.row(stWorker, w.ID).Scan(&old, &until)
	b.now = micros(clock())
	expires := b.now + w.TTL.Microseconds()
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return b.addWorker(w.ID, expires)
	case err != nil:
		return 0, err
	case until > b.now:
		_, err = b.tx.exec(stRenewWorker, expires, old)
		return old, err
	}
	if _, err := b.tx.exec(stDropWorker, old); err != nil {
		return 0, err
	}
	if fence, err = b.addWorker(w.ID, expires); err != nil {
		return 0, err
	}
	_, err = b.tx.exec(stHandOver, fence, old)
	return fence, err
}

func (b *batch) addWorker(id string, expires int64) (fence int64, err error) {
	return b.tx.insert(stAddWorker, id, expires)
}

// buryExhausted moves what has no attempts left to the dead letters, in either
// lane and whatever the room.
func (c *claim) buryExhausted() error {
	for {
		spent, err := c.candidates(stExhausted, c.now, claimPass)
		if err != nil || len(spent) == 0 {
			return err
		}
		for i := range spent {
			if err := c.bury(&spent[i], queue.DeadExhausted, spent[i].LastError); err != nil {
				return err
			}
		}
	}
}

// fill leases the oldest due messages of a lane. What cannot be decoded goes to
// the dead letters and takes no room.
func (c *claim) fill(lane queue.Lane, room int) error {
	for room > 0 {
		candidates, err := c.candidates(stClaimable, int64(lane), c.now, min(room, claimPass))
		if err != nil || len(candidates) == 0 {
			return err
		}
		for i := range candidates {
			f := &candidates[i]
			if f.Message, err = c.store.cfg.Messages.Decode(f.ID, f.kind, f.body); err != nil {
				err = c.bury(f, queue.DeadUndecodable, err.Error())
			} else {
				err = c.lease(f)
				room--
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *claim) candidates(id statement, args ...any) ([]found, error) {
	rows, err := c.tx.query(id, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []found
	for rows.Next() {
		var f found
		var due, created int64
		if err := rows.Scan(&f.seq, &f.ID, &f.kind, &f.workflow, &due, &created, &f.Attempts, &f.MaxAttempts, &f.LastError, &f.body); err != nil {
			return nil, err
		}
		f.Due, f.CreatedAt = fromMicros(due), fromMicros(created)
		out = append(out, f)
	}
	return out, rows.Err()
}

func (c *claim) lease(f *found) error {
	f.Token = rand.Text()
	f.Attempts++
	if _, err := c.tx.exec(stLease, c.fence, f.Token, f.seq); err != nil {
		return err
	}
	f.body = nil
	c.found = append(c.found, *f)
	return nil
}

// bury moves a message to the dead letters and tells its workflow.
func (c *claim) bury(f *found, reason, cause string) error {
	if _, err := c.tx.exec(stBury, c.now, reason, c.tx.pg.text(cause), f.key(c.tx)); err != nil {
		return err
	}
	if _, err := c.tx.exec(stDropSeq, f.key(c.tx)); err != nil {
		return err
	}
	m, err := c.store.cfg.Messages.Decode(f.ID, f.kind, f.body)
	if err != nil {
		m = nil
	}
	letter := queue.DeadLetter{ID: f.ID, Kind: f.kind, WorkflowID: f.workflow, Attempts: f.Attempts, Reason: reason, LastError: cause}
	notice, has := letter.Notice(m)
	if !has {
		return nil
	}
	told, err := (&queue.Outgoing{Message: notice}).Encode(c.store.cfg.IDs, 0) // whatever its size: it must not stop the claim
	if err != nil {
		return err
	}
	if err := c.addMessage(&told); err != nil {
		return err
	}
	return c.flush()
}

func (c *claim) deliveries() []queue.Delivery {
	slices.SortStableFunc(c.found, func(a, b found) int {
		return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.seq, b.seq))
	})
	out := make([]queue.Delivery, len(c.found))
	for i := range c.found {
		out[i] = c.found[i].Delivery
	}
	return out
}
