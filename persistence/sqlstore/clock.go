package sqlstore

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// followClock measures the database's clock, if the store follows it and has not
// lately.
func (s *Store) followClock(ctx context.Context, db bun.IDB) {
	c, ok := s.cfg.Clock.(*persistence.DatabaseClock)
	if !ok {
		return
	}
	c.Follow(ctx, func(ctx context.Context) (time.Time, error) {
		var us int64
		err := db.QueryRowContext(ctx, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").Scan(&us)
		return fromMicros(us), err
	})
}

// Clock implements persistence.Clocked.
func (s *Store) Clock() stabilize.Clock { return s.cfg.Clock }
