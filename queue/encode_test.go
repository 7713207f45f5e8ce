package queue_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func TestDueAt(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct{ at, want time.Time }{
		{time.Time{}, now},
		{now.Add(-time.Hour), now},
		{now.Add(999 * time.Nanosecond), now},
		{now.Add(time.Microsecond), now.Add(time.Microsecond)},
		{now.Add(time.Hour).In(time.FixedZone("", 3600)), now.Add(time.Hour)},
	} {
		if got := queue.DueAt(c.at, now); got != c.want {
			t.Errorf("asked for at %v it is due at %v, want %v", c.at, got, c.want)
		}
	}
}

func TestCheckRelease(t *testing.T) {
	r := queue.Receipt{ID: "m", Token: "t"}
	if text, err := queue.CheckRelease(r, time.Time{}, errors.New("a\xffb")); err != nil || text != "a\uFFFDb" {
		t.Errorf("%q, %v", text, err)
	}
	if text, err := queue.CheckRelease(r, time.Time{}, nil); err != nil || text != "" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := queue.CheckRelease(queue.Receipt{ID: "m"}, time.Time{}, nil); !errors.Is(err, stabilize.ErrInvalid) {
		t.Errorf("without a token: %v", err)
	}
	far := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	if _, err := queue.CheckRelease(r, far, nil); !errors.Is(err, stabilize.ErrInvalid) {
		t.Errorf("in the year 10000: %v", err)
	}
	out := queue.Outgoing{Message: queue.StartWorkflow{}, At: far}
	if err := out.Check(); !errors.Is(err, stabilize.ErrInvalid) {
		t.Errorf("due in the year 10000: %v", err)
	}
}

func TestRoomIsNotNegative(t *testing.T) {
	for _, r := range []queue.Room{{Control: -1}, {Work: -1}} {
		if err := r.Check(); !errors.Is(err, stabilize.ErrInvalid) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if err := (queue.Room{}).Check(); err != nil {
		t.Error(err)
	}
}
