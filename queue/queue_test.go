package queue_test

import (
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func TestDepthCountsMessages(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var d queue.Depth
	d.Add(now.Add(-time.Hour), true, now)
	d.Add(now.Add(time.Microsecond), false, now)
	if want := (queue.Depth{Leased: 1, Delayed: 1}); d != want {
		t.Errorf("got %+v, want %+v", d, want)
	}
	d.Add(now, false, now)
	d.Add(now.Add(-time.Second), false, now)
	d.Add(now.Add(-time.Millisecond), false, now)
	if want := (queue.Depth{Ready: 3, Leased: 1, Delayed: 1, Oldest: now.Add(-time.Second)}); d != want {
		t.Errorf("got %+v, want %+v", d, want)
	}
}

func TestANoticeOfADeadLetterIsEncoded(t *testing.T) {
	ids, registry := stabilize.NewIDs(stabilize.SystemClock{}, nil), queue.NewRegistry()
	body, err := queue.Encode(queue.StartStage{OfStage: queue.ToStage("w", "s")})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		letter queue.DeadLetter
		stage  string
	}{
		"decoded":     {queue.DeadLetter{ID: "m", Kind: queue.StartStage{}.Kind(), WorkflowID: "w", Body: body, Attempts: 3}, "s"},
		"undecodable": {queue.DeadLetter{ID: "m", Kind: "unknown", WorkflowID: "w", Body: body, Attempts: 3}, ""},
	} {
		e, err := c.letter.EncodeNotice(registry, ids)
		if err != nil || e == nil {
			t.Fatalf("%s: %v, %v", name, e, err)
		}
		m, err := registry.Decode(e.ID, e.Kind, e.Body)
		n, ok := m.(queue.DeadLettered)
		if err != nil || !ok || n.DeadLetterID != "m" || n.StageID != c.stage || n.Attempts != 3 || e.WorkflowID != "w" || e.ID == "" {
			t.Errorf("%s: %+v of workflow %q, %v", name, m, e.WorkflowID, err)
		}
	}
	for name, letter := range map[string]queue.DeadLetter{
		"of no workflow": {ID: "m", Kind: "k"},
		"of a notice":    {ID: "m", Kind: queue.DeadLettered{}.Kind(), WorkflowID: "w"},
	} {
		if e, err := letter.EncodeNotice(registry, ids); e != nil || err != nil {
			t.Errorf("%s: %v, %v", name, e, err)
		}
	}
}
