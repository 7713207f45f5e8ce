package sqlstore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// ListDead implements queue.DeadLetters. An unknown id to start after is
// ErrNotFound.
func (s *Store) ListDead(ctx context.Context, after string, limit int) ([]queue.DeadLetter, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	if limit <= 0 {
		return nil, stabilize.Invalid("dead letter limit", "%d is not positive", limit)
	}
	if after != "" {
		if err := stabilize.CheckID("dead letter id", after); err != nil {
			return nil, err
		}
	}
	var out []queue.DeadLetter
	err := s.read(ctx, "list dead letters", func(ctx context.Context, _ *prepared) error {
		var seq int64
		if after != "" {
			err := s.r.NewSelect().TableExpr("?", s.table("dead_letters")).Column("seq").Where("id = ?", after).Scan(ctx, &seq)
			if err != nil {
				return deadNotFound(after, err)
			}
		}
		var rows []deadRow
		err := s.r.NewSelect().Model(&rows).ModelTableExpr("? AS d", s.table("dead_letters")).
			Where("d.seq > ?", seq).Order("d.seq").Limit(int64(limit)).Scan(ctx)
		if err != nil {
			return err
		}
		out = make([]queue.DeadLetter, len(rows))
		for i := range rows {
			out[i] = rows[i].letter()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func deadNotFound(id string, err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return &stabilize.NotFoundError{Kind: "dead letter", ID: id}
	}
	return err
}

// ReplayDead implements queue.DeadLetters.
func (s *Store) ReplayDead(ctx context.Context, id string) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	if err := stabilize.CheckID("dead letter id", id); err != nil {
		return err
	}
	err := s.write(ctx, "replay dead letter", func(tx *wtx) error {
		n, err := tx.change(stRevive, micros(s.now()), id)
		if err != nil {
			return err
		}
		if n == 0 {
			return deadNotFound(id, sql.ErrNoRows)
		}
		// Somebody may have discarded it since it was read.
		if n, err = tx.change(stDropDead, id); err == nil && n == 0 {
			err = deadNotFound(id, sql.ErrNoRows)
		}
		if err != nil {
			return err
		}
		return tx.notify(true)
	})
	s.ping(err == nil)
	return err
}

// DiscardDead implements queue.DeadLetters.
func (s *Store) DiscardDead(ctx context.Context, id string) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	if err := stabilize.CheckID("dead letter id", id); err != nil {
		return err
	}
	return s.write(ctx, "discard dead letter", func(tx *wtx) error {
		n, err := tx.change(stDropDead, id)
		if err == nil && n == 0 {
			err = deadNotFound(id, sql.ErrNoRows)
		}
		return err
	})
}
