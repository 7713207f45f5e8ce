package sqlstore_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
)

// The clock says what the database said, goes on from there by itself, and stands
// still rather than going back.
func TestDatabaseClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock, set := sqlstore.NewDatabaseClock()
		want := func(at time.Time) {
			t.Helper()
			if now := clock.Now(); !now.Equal(at) || now.Location() != time.UTC {
				t.Errorf("it is %s, want %s", now, at)
			}
		}
		sent := time.Now()
		there := sent.Add(-7 * time.Hour).UTC() // our clock is seven hours fast
		set(sent.Add(-time.Second), sent.Add(time.Second), there)
		want(there)
		time.Sleep(time.Minute)
		want(there.Add(time.Minute))
		set(time.Now(), time.Now(), there) // the database's went back
		want(there.Add(time.Minute))
		time.Sleep(2 * time.Minute)
		want(there.Add(2 * time.Minute))
	})
}
