package persistence_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
)

// The clock says what the database said, goes on from there by itself, and stands
// still rather than going back.
func TestDatabaseClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := persistence.NewDatabaseClock()
		want := func(at time.Time) {
			t.Helper()
			if now := clock.Now(); !now.Equal(at) || now.Location() != time.UTC {
				t.Errorf("it is %s, want %s", now, at)
			}
		}
		sent := time.Now()
		there := sent.Add(-7 * time.Hour).UTC() // our clock is seven hours fast
		clock.Set(sent.Add(-time.Second), sent.Add(time.Second), there)
		want(there)
		time.Sleep(time.Minute)
		want(there.Add(time.Minute))
		clock.Set(time.Now(), time.Now(), there) // the database's went back
		want(there.Add(time.Minute))
		time.Sleep(2 * time.Minute)
		want(there.Add(2 * time.Minute))

		// It is asked when it is due, and what it is when it does not answer goes on.
		asked := 0
		ask := func(context.Context) (time.Time, error) { asked++; return there.Add(time.Hour), nil }
		clock.Follow(t.Context(), ask)
		want(there.Add(time.Hour))
		clock.Follow(t.Context(), ask)
		if asked != 3 { // the quickest of three
			t.Errorf("the database was asked %d times", asked)
		}
		clock.Expire()
		want(there.Add(time.Hour))
		clock.Follow(t.Context(), func(context.Context) (time.Time, error) { return time.Time{}, errors.New("away") })
		time.Sleep(time.Second)
		want(there.Add(time.Hour + time.Second))
	})
}

// Nobody reads what a slow answer would have made of the clock: it would stand still there.
func TestDatabaseClockSlowAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := persistence.NewDatabaseClock()
		clock.Follow(t.Context(), func(context.Context) (time.Time, error) { return time.Now(), nil })
		time.Sleep(31 * time.Second)
		asked := 0
		check := func() {
			t.Helper()
			if off := clock.Now().Sub(time.Now()); off.Abs() > time.Millisecond {
				t.Errorf("after %d answers the clock is off by %s", asked, off)
			}
		}
		clock.Follow(t.Context(), func(context.Context) (time.Time, error) {
			if check(); asked == 0 {
				time.Sleep(10 * time.Second) // the server stands still, or the pool has no connection
			}
			asked++
			return time.Now(), nil
		})
		if check(); asked != 3 {
			t.Errorf("asked %d times", asked)
		}
	})
}
