package memstore

import (
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// watchedClock tells when it is read.
type watchedClock struct {
	*stabilize.ManualClock

	read func()
}

func (c watchedClock) Now() time.Time {
	c.read()
	return c.ManualClock.Now()
}

// A lease is renewed by the time at which it is locked: who waited long for the lock would
// cut short what somebody else's call gave the worker meanwhile.
func TestRenewalsReadTheClockUnderTheLock(t *testing.T) {
	w := queue.Worker{ID: "w", TTL: time.Minute}
	for name, renew := range map[string]func(s *Store) error{
		"claim":     func(s *Store) error { _, err := s.Claim(t.Context(), w, queue.Room{Control: 1}); return err },
		"heartbeat": func(s *Store) error { _, err := s.Heartbeat(t.Context(), w); return err },
	} {
		data, reads := NewData(), 0
		clock := watchedClock{stabilize.NewManualClock(start()), func() {
			if reads++; data.mu.TryLock() {
				data.mu.Unlock()
				t.Errorf("%s reads the clock without the lock", name)
			}
		}}
		s := Open(data, Config{Clock: clock, IDs: stabilize.NewIDs(clock.ManualClock, nil)})
		must(t, renew(s))
		if reads == 0 {
			t.Errorf("%s does not read the clock", name)
		}
	}
}
