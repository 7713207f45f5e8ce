package stabilize

import (
	"testing"
	"time"
)

func TestManualClockFollows(t *testing.T) {
	leader, c := NewManualClock(time.Unix(1000, 0)), NewManualClock(time.Unix(5, 0))
	early, forget := c.Timer(time.Second)
	defer forget()
	c.Follow(leader)
	select {
	case <-early:
	default:
		t.Error("a timer that waited before does not fire")
	}
	timer, stop := c.Timer(time.Minute)
	defer stop()
	leader.Advance(59 * time.Second)
	if got := c.Now(); !got.Equal(time.Unix(1059, 0)) {
		t.Errorf("it is %v, want the leader's time", got)
	}
	select {
	case <-timer:
		t.Error("the timer fired early")
	default:
	}
	leader.Advance(time.Second)
	select {
	case <-timer:
	default:
		t.Error("the timer did not fire with the leader's time")
	}
}
