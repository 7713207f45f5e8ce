package sqlstore

import (
	"context"
	"database/sql"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Pending implements queue.Queue.
func (s *Store) Pending(ctx context.Context, workflowID string) ([]queue.Stored, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	if workflowID != "" {
		if err := stabilize.CheckID("workflow id", workflowID); err != nil {
			return nil, err
		}
	}
	var out []queue.Stored
	err := s.read(ctx, "pending", func(ctx context.Context, _ *prepared) error {
		var rows []messageRow
		err := s.r.NewSelect().Model(&rows).ModelTableExpr("? AS m", s.table("messages")).
			Column("m.id", "m.kind", "m.due", "m.attempts", "m.max_attempts", "m.body").
			ColumnExpr("EXISTS (SELECT 1 FROM ? AS k WHERE k.fence = m.worker AND k.expires > ?) AS leased", s.table("workers"), micros(s.now())).
			Where("m.id IN (?)", s.addressed(workflowID)).
			Order("m.due", "m.seq").Scan(ctx)
		if err != nil {
			return err
		}
		out = make([]queue.Stored, len(rows))
		for i := range rows {
			r := &rows[i]
			out[i] = queue.Stored{
				ID: r.ID, Kind: r.Kind, Due: fromMicros(r.Due), Leased: r.Leased,
				Attempts: r.Attempts, MaxAttempts: r.MaxAttempts,
			}
			if m, err := s.cfg.Messages.Decode(r.ID, r.Kind, r.Body); err == nil {
				out[i].Message = m
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Depth implements queue.Queue. What a lapsed worker held is not leased.
func (s *Store) Depth(ctx context.Context) (queue.Depth, error) {
	text := s.cfg.text(`WITH free (due) AS (
			SELECT due FROM {}messages WHERE worker IS NULL
			UNION ALL SELECT m.due FROM {}workers k CROSS JOIN {}messages m ON m.worker = k.fence WHERE k.expires <= ?1)
		SELECT count(*) FILTER (WHERE due <= ?1), count(*) FILTER (WHERE due > ?1), min(due) FILTER (WHERE due <= ?1),
			(SELECT count(*) FROM {}messages) - count(*), (SELECT count(*) FROM {}dead_letters)
		FROM free`)
	var d queue.Depth
	err := s.read(ctx, "depth", func(ctx context.Context, _ *prepared) error {
		d = queue.Depth{}
		var oldest sql.NullInt64
		err := s.r.DB.QueryRowContext(ctx, text, micros(s.now())).Scan(&d.Ready, &d.Delayed, &oldest, &d.Leased, &d.Dead)
		if oldest.Valid {
			d.Oldest = fromMicros(oldest.Int64)
		}
		return err
	})
	return d, err
}
