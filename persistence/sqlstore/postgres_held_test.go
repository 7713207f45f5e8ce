package sqlstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// briefly ends a broken test only.
func briefly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// A caller's transaction that holds a message of a dead worker keeps no live one from its
// claims and heartbeats; what it held is freed when the transaction has ended.
func TestPostgresCallerHoldsWhatTheDeadHeld(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(bun.Tx) error
		left int
	}{
		"and deletes it": {bun.Tx.Commit, 0},
		"and does not":   {bun.Tx.Rollback, 1},
	} {
		t.Run(name, func(t *testing.T) {
			schema, clock := server.Schema(t), stabilize.NewManualClock(start)
			s := openPostgres(t, schema, onClock(clock))
			raw := rawPostgres(t, schema)
			dead, live := queue.Worker{ID: "dead", TTL: time.Second}, queue.Worker{ID: "live", TTL: time.Minute}
			for w, worker := range map[string]queue.Worker{"w1": dead, "w2": live} {
				begun := creation(w)
				begun.Messages = append(begun.Messages, message("m-"+w, w))
				commit(t, s, begun)
				if got, err := s.Claim(t.Context(), worker, queue.Room{Control: 1}); err != nil || len(got) != 1 {
					t.Fatal(got, err)
				}
			}
			tx, err := bun.NewDB(raw, pgdialect.New()).BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback() }()
			if err := s.Within(tx).Delete(t.Context(), "w1"); err != nil {
				t.Fatal(err)
			}
			clock.Advance(time.Second)
			ctx := briefly(t)
			if got, err := s.Claim(ctx, live, queue.Room{Control: 9}); err != nil || len(got) > 0 {
				t.Errorf("while it is held a claim gets %v, %v", got, err)
			}
			if held, err := s.Heartbeat(ctx, live); err != nil || len(held.Held) != 1 {
				t.Errorf("while it is held a heartbeat tells %+v, %v", held, err)
			}
			if err := c.end(tx); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Claim(t.Context(), live, queue.Room{Control: 9}); err != nil || len(got) != c.left {
				t.Errorf("afterwards a claim gets %v, %v", got, err)
			}
			var workers int
			if err := raw.QueryRowContext(t.Context(), "SELECT count(*) FROM workers").Scan(&workers); err != nil || workers != 1 {
				t.Errorf("%d workers are left, %v", workers, err)
			}
		})
	}
}

// A worker that stands still in the middle of a heartbeat, for good it may be, is taken
// over all the same. If it goes on it holds nothing any more.
func TestPostgresFrozenInAHeartbeat(t *testing.T) {
	schema := server.Schema(t)
	r := newLeaseRig(t, func(c stabilize.Clock) *sqlstore.Store { return openPostgres(t, schema, onClock(c)) })
	r.push(r.second)
	if got := claim(t, r.first, late().ID, 9); len(got) != 1 {
		t.Fatalf("claimed %v", got)
	}
	frozen, thaw := make(chan struct{}), make(chan struct{})
	r.late.then = func() { close(frozen); <-thaw }
	r.late.begin(2) // when its row is locked
	var held queue.Leases
	done := make(chan error, 1)
	go func() {
		var err error
		held, err = r.first.Heartbeat(context.WithoutCancel(t.Context()), late())
		done <- err
	}()
	<-frozen
	r.clock.Advance(10 * late().TTL)
	ctx, taken := briefly(t), 0
	for taken == 0 { // a few seconds of the server's
		got, err := r.second.Claim(ctx, queue.Worker{ID: "heir", TTL: time.Hour}, queue.Room{Control: 9})
		if taken = len(got); err != nil {
			t.Error(err)
			break
		}
	}
	close(thaw)
	if err := <-done; len(held.Held) > 0 || err != nil {
		t.Errorf("it goes on with %+v, %v", held, err)
	}
}
