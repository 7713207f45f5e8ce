package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Push implements queue.Queue.
func (s *Store) Push(ctx context.Context, msgs ...queue.Outgoing) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	c, err := persistence.NewPush(msgs)
	if err != nil {
		return err
	}
	return s.CommitBatch(ctx, []*persistence.Commit{c})[0]
}

// Ack implements queue.Queue.
func (s *Store) Ack(ctx context.Context, receipts ...queue.Receipt) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	for _, r := range receipts {
		if err := r.Check(); err != nil {
			return err
		}
	}
	s.forgetDealt(receipts...)
	var lost error
	err := s.write(ctx, "ack", func(tx *wtx) error {
		lost = nil
		done := errNothingToWrite
		for _, r := range receipts {
			n, err := tx.change(stAck, r.ID, r.Token)
			switch {
			case err != nil:
				return err
			case n > 0:
				done = nil
			case lost == nil:
				lost = &stabilize.LeaseLostError{Kind: "message", ID: r.ID}
			}
		}
		return done
	})
	if err != nil {
		return err
	}
	return lost
}

// Release implements queue.Queue.
func (s *Store) Release(ctx context.Context, r queue.Receipt, at time.Time, cause error) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	text, err := queue.CheckRelease(r, at, cause)
	if err != nil {
		return err
	}
	now := s.now()
	at = queue.DueAt(at, now)
	claimable := !at.After(now)
	if err := s.give(ctx, "release", r, claimable, stRelease, micros(at), s.pg.text(text), r.ID, r.Token); err != nil {
		return err
	}
	s.forgetDealt(r)
	s.ping(claimable)
	return nil
}

// Return implements queue.Queue.
func (s *Store) Return(ctx context.Context, r queue.Receipt) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	if err := s.give(ctx, "return", r, true, stReturn, r.ID, r.Token); err != nil {
		return err
	}
	s.forgetDealt(r)
	s.ping(true)
	return nil
}

// give gives a delivery back by the statement; then it is claimable, or not yet.
func (s *Store) give(ctx context.Context, doing string, r queue.Receipt, claimable bool, id statement, args ...any) error {
	if err := r.Check(); err != nil {
		return err
	}
	return s.write(ctx, doing, func(tx *wtx) error {
		n, err := tx.change(id, args...)
		if err == nil && n == 0 {
			err = &stabilize.LeaseLostError{Kind: "message", ID: r.ID}
		}
		if err != nil {
			return err
		}
		return tx.notify(claimable)
	})
}

// Heartbeat implements queue.Queue.
func (s *Store) Heartbeat(ctx context.Context, w queue.Worker) (queue.Leases, error) {
	if err := s.begin(ctx); err != nil {
		return queue.Leases{}, err
	}
	if err := w.Check(); err != nil {
		return queue.Leases{}, err
	}
	known := w.Ready && s.sit(w.ID)
	if !w.Ready {
		s.rise(ctx, w.ID)
	}
	settle := func(error) {}
	if s.pg != nil {
		settle = s.pg.hands.change(textForm(w.ID))
	}
	var held queue.Leases
	err := s.write(ctx, "heartbeat", func(tx *wtx) error {
		held = queue.Leases{}
		var err error
		if held.Fence, err = newBatch(tx, s.now()).renew(w, s.now); err != nil {
			return err
		}
		if s.pg != nil {
			if err := s.beatPostgres(tx, w); err != nil {
				return err
			}
		}
		rows, err := tx.query(stHeld, held.Fence)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var r queue.Receipt
			if err := rows.Scan(&r.ID, &r.Token); err != nil {
				return err
			}
			held.Held = append(held.Held, r)
		}
		return rows.Err()
	})
	settle(err)
	if err != nil {
		if !known {
			s.rise(ctx, w.ID)
		}
		return queue.Leases{}, err
	}
	return held, nil
}

// Retire implements queue.Queue. The tokens of what the worker held are void.
func (s *Store) Retire(ctx context.Context, worker string) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	if err := stabilize.CheckID("worker id", worker); err != nil {
		return err
	}
	s.rise(ctx, worker)
	var freed int64
	err := s.write(ctx, "retire", func(tx *wtx) error {
		var fence, until int64
		err := tx.row(stWorker, worker).Scan(&fence, &until)
		if errors.Is(err, sql.ErrNoRows) {
			return errNothingToWrite
		}
		if err != nil {
			return err
		}
		// The worker first: whoever leases something to it now has to wait.
		if _, err = tx.exec(stDropWorker, fence); err != nil {
			return err
		}
		if freed, err = tx.change(stVoid, fence); err != nil {
			return err
		}
		return tx.notify(freed > 0)
	})
	s.ping(err == nil && freed > 0)
	return err
}
