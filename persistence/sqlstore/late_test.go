package sqlstore_test

import (
	"database/sql"
	"sync"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// lateClock tells at one of its readings what time it was before something else happened.
type lateClock struct {
	*stabilize.ManualClock

	mu    sync.Mutex
	reads int
	late  int // which reading; 0: none
	then  func()
}

func (c *lateClock) Now() time.Time {
	now := c.ManualClock.Now()
	c.mu.Lock()
	c.reads++
	late := c.reads == c.late
	c.mu.Unlock()
	if late {
		c.then()
	}
	return now
}

func (c *lateClock) begin(late int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads, c.late = 0, late
}

// leaseRig is two handles on one store, whose clock stands still; that of the first may be
// late.
type leaseRig struct {
	*testing.T
	clock         *stabilize.ManualClock
	late          *lateClock
	first, second *sqlstore.Store
	db            *sql.DB
	locked        func() bool // the first is in a transaction that the other would wait for
	file          bool        // there a heartbeat reads the clock in its transaction only
}

// onLeaseRigs runs a test in each database.
func onLeaseRigs(t *testing.T, test func(*leaseRig)) {
	t.Run("sqlite", func(t *testing.T) {
		path := tempFile(t)
		r := newLeaseRig(t, func(c stabilize.Clock) *sqlstore.Store { return open(t, path, onClock(c)) })
		r.file, r.db = true, raw(t, path)
		r.db.SetMaxOpenConns(1)
		r.locked = func() bool {
			if _, err := r.db.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
				return true
			}
			run(t, r.db, "ROLLBACK")
			return false
		}
		test(r)
	})
	t.Run("postgres", func(t *testing.T) {
		schema := server.Schema(t)
		r := newLeaseRig(t, func(c stabilize.Clock) *sqlstore.Store { return openPostgres(t, schema, onClock(c)) })
		r.db = rawPostgres(t, schema)
		r.locked = func() bool {
			var free int
			if err := r.db.QueryRowContext(t.Context(), `SELECT count(*) FROM (
				SELECT FROM workers WHERE id = $1 FOR NO KEY UPDATE SKIP LOCKED) free`, late().ID).Scan(&free); err != nil {
				t.Error(err)
			}
			return free == 0
		}
		test(r)
	})
}

func newLeaseRig(t *testing.T, on func(stabilize.Clock) *sqlstore.Store) *leaseRig {
	clock := stabilize.NewManualClock(start)
	r := &leaseRig{T: t, clock: clock, late: &lateClock{ManualClock: clock}}
	r.first, r.second = on(r.late), on(clock)
	return r
}

// late is the worker that calls through both handles.
func late() queue.Worker { return queue.Worker{ID: "late", TTL: time.Minute} }

func (r *leaseRig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// beat renews through the second handle and returns the fence.
func (r *leaseRig) beat(w queue.Worker) int64 {
	r.Helper()
	leases, err := r.second.Heartbeat(r.Context(), w)
	r.must(err)
	return leases.Fence
}

// free has another worker free what has lapsed.
func (r *leaseRig) free() {
	r.Helper()
	_, err := r.second.Claim(r.Context(), queue.Worker{ID: "another", TTL: 24 * time.Hour}, queue.Room{})
	r.must(err)
}

// push stores a message that is due through one of the handles.
func (r *leaseRig) push(through *sqlstore.Store) {
	r.Helper()
	r.must(through.Push(r.Context(), message("m", "w")))
}

func (r *leaseRig) clear() {
	run(r, r.db, "DELETE FROM messages")
	run(r, r.db, "DELETE FROM workers")
}

func (r *leaseRig) heartbeat() {
	r.Helper()
	_, err := r.first.Heartbeat(r.Context(), late())
	r.must(err)
}

func (r *leaseRig) claim() {
	r.Helper()
	_, err := r.first.Claim(r.Context(), late(), queue.Room{Control: 9, Work: 9})
	r.must(err)
}

// A call that read the clock and then stood still cuts no lease short that a later call of
// the same worker renewed meanwhile.
func TestLateRenewal(t *testing.T) {
	const ttl = time.Minute
	fresh := func(r *leaseRig) int64 { return r.beat(late()) }
	for name, c := range map[string]struct {
		before func(*leaseRig) (fence int64)
		call   func(*leaseRig)
		still  time.Duration
	}{
		"heartbeat": {fresh, (*leaseRig).heartbeat, ttl * 9 / 10},
		"claim of something": {func(r *leaseRig) int64 {
			r.push(r.second)
			return r.beat(late())
		}, (*leaseRig).claim, ttl * 9 / 10},
		"claim after news of work": {func(r *leaseRig) int64 {
			r.push(r.first)
			return r.beat(late())
		}, (*leaseRig).claim, ttl * 9 / 10},
		"claim of nothing": {func(r *leaseRig) int64 {
			fence := r.beat(late())
			r.clock.Advance(ttl * 4 / 10) // sooner it would not renew
			return fence
		}, (*leaseRig).claim, ttl * 5 / 10},
		"claim that frees what another held": {func(r *leaseRig) int64 {
			r.beat(queue.Worker{ID: "dead", TTL: time.Second})
			r.clock.Advance(time.Second)
			return r.beat(late())
		}, (*leaseRig).claim, ttl * 9 / 10},
	} {
		t.Run(name, func(t *testing.T) {
			onLeaseRigs(t, func(r *leaseRig) {
				c.before(r)
				r.late.begin(0)
				c.call(r)
				readings, between := r.late.reads, 0
				for k := 1; k <= readings; k++ {
					r.clear()
					fence, came := c.before(r), false
					r.late.then = func() {
						if r.locked() {
							return // nobody can come between
						}
						r.clock.Advance(c.still)
						r.beat(late())
						came = true
					}
					r.late.begin(k)
					c.call(r)
					r.late.begin(0)
					if !came {
						continue
					}
					between++
					r.clock.Advance(ttl - time.Microsecond)
					r.free()
					if now := r.beat(late()); now != fence {
						r.Errorf("late at reading %d of %d: the lease lapsed early, its fence is %d and was %d", k, readings, now, fence)
					}
				}
				if between == 0 && !(r.file && name == "heartbeat") {
					r.Errorf("at none of %d readings anything came between", readings)
				}
			})
		})
	}
}

// A renewal that gives less than was left is followed, whatever else there is to do: the
// worker has another TTL now, or the clock was set back.
func TestShorteningRenewal(t *testing.T) {
	for before, prepare := range map[string]func(*leaseRig) (fence int64){
		"another TTL": func(r *leaseRig) int64 { return r.beat(queue.Worker{ID: late().ID, TTL: 5 * time.Hour}) },
		"a clock set back": func(r *leaseRig) int64 {
			fence := r.beat(late())
			r.clock.Advance(-5 * time.Hour)
			return fence
		},
	} {
		for by, call := range map[string]func(*leaseRig){
			"heartbeat":        (*leaseRig).heartbeat,
			"claim of nothing": (*leaseRig).claim,
			"claim of something": func(r *leaseRig) {
				r.push(r.second)
				r.claim()
			},
			"claim after news of work": func(r *leaseRig) {
				r.push(r.first)
				r.claim()
			},
		} {
			t.Run(before+", "+by, func(t *testing.T) {
				onLeaseRigs(t, func(r *leaseRig) {
					fence := prepare(r)
					call(r)
					r.clock.Advance(late().TTL)
					r.free()
					if r.beat(late()) == fence {
						r.Error("the lease lasts as long as before")
					}
				})
			})
		}
	}
}
