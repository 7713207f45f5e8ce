package sqlstore_test

import (
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/queue"
)

// A store without a clock goes by the database's: two processes whose clocks differ
// do not hold the same message.
func TestPostgresClock(t *testing.T) {
	s := openPostgres(t, server.Schema(t), func(c *sqlstore.Config) { c.Clock = nil })
	db := rawPostgres(t, "public")
	var before, after time.Time
	if err := db.QueryRowContext(t.Context(), "SELECT clock_timestamp()").Scan(&before); err != nil {
		t.Fatal(err)
	}
	now := s.Clock().Now()
	if err := db.QueryRowContext(t.Context(), "SELECT clock_timestamp()").Scan(&after); err != nil {
		t.Fatal(err)
	}
	// It is off by no more than half the time that the quickest answer took.
	const skew = 250 * time.Millisecond
	if now.Before(before.Add(-skew)) || now.After(after.Add(skew)) {
		t.Errorf("the store's clock says %s, the database's between %s and %s", now, before, after)
	}
}

// A worker that is full, or stops, does nothing but heartbeats: they too look at the
// database's clock.
func TestPostgresHeartbeatFollowsTheClock(t *testing.T) {
	schema := server.Schema(t)
	drifted := persistence.NewDatabaseClock()
	now := time.Now()
	drifted.Set(now, now, now.Add(-time.Hour))
	s := openPostgres(t, schema, onClock(drifted))
	other := openPostgres(t, schema, func(c *sqlstore.Config) { c.Clock = nil })
	if off := time.Since(drifted.Now()); off < 59*time.Minute {
		t.Fatalf("opening measured it already: it is off by %s", off)
	}
	w := queue.Worker{ID: "full", TTL: time.Minute}
	drifted.Expire() // half a minute passes
	before, err := s.Heartbeat(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Claim(t.Context(), queue.Worker{ID: "other", TTL: time.Minute}, queue.Room{}); err != nil {
		t.Fatal(err)
	}
	if after, err := s.Heartbeat(t.Context(), w); err != nil || after.Fence != before.Fence {
		t.Errorf("it was taken for dead: its fence is %d, %d before, %v", after.Fence, before.Fence, err)
	}
}
