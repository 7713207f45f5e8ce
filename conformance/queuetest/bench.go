package queuetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/queue"
)

// BenchmarkDelayed measures LP-05, which is reported and never fails: how long a
// message takes through a queue in which others are delayed, 100 and 100,000 of
// them. The second should take no more than three times as long as the first.
func BenchmarkDelayed(b *testing.B, newHarness func(b *testing.B) conformance.QueueHarness) {
	for _, n := range []int{100, 100_000} {
		b.Run(fmt.Sprintf("delayed=%d", n), func(b *testing.B) {
			h := newHarness(b)
			q, due := h.Queue(), h.Clock().Now().Add(time.Hour)
			for from := 0; from < n; from += 1000 {
				msgs := make([]queue.Outgoing, min(1000, n-from))
				for i := range msgs {
					msgs[i] = queue.Outgoing{Message: kit.Note("delayed"), At: due.Add(time.Duration(from+i) * time.Second)}
				}
				if err := q.Push(b.Context(), msgs...); err != nil {
					b.Fatal(err)
				}
			}
			worker, room := kit.Worker("worker"), queue.Room{Control: 10}
			for b.Loop() {
				if err := q.Push(b.Context(), queue.Outgoing{Message: kit.Note("due")}); err != nil {
					b.Fatal(err)
				}
				ds, err := q.Claim(b.Context(), worker, room)
				if err != nil || len(ds) != 1 {
					b.Fatalf("claimed %d messages, want the one that is due: %v", len(ds), err)
				}
				if err := q.Ack(b.Context(), ds[0].Receipt()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
