package faults_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/faults"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
)

// stored is the messages in the store.
func (b *bench) stored() []queue.Stored {
	b.Helper()
	left, err := b.look.Pending(b.Context(), "")
	b.must(err)
	return left
}

func TestCopies(t *testing.T) {
	const late = time.Minute
	b := newBench(t, faults.Plan{Seed: 5, Copies: 3, Late: late})
	due := b.clock.Now().Add(time.Hour)
	leased := kit.Send("leased")
	leased.Lease = &queue.Lease{Worker: "w", Token: "t"}
	commit := &persistence.Commit{Messages: []queue.Outgoing{leased, kit.SendAt("timer", due), {Message: kit.Note("unnamed")}}}
	_, err := b.Heartbeat(t.Context(), kit.Worker("w"))
	b.must(err)
	b.must(b.CommitBatch(t.Context(), []*persistence.Commit{commit})[0])
	b.must(b.Push(t.Context(), kit.Send("pushed")))
	if len(commit.Messages) != 3 || commit.Messages[0].Lease == nil {
		t.Errorf("the caller's commit was changed: %+v", commit)
	}
	count, delayed := map[string]int{}, 0
	for _, m := range b.stored() {
		text := kit.NoteOf(m.Message)
		count[text]++
		at := b.clock.Now()
		if text == "timer" {
			at = due
		}
		switch by := m.Due.Sub(at); {
		case by < 0 || by > late:
			t.Errorf("%s is due %s after its time", m.ID, by)
		case by > 0:
			delayed++
		}
		if m.Leased != (m.ID == "leased") {
			t.Errorf("%s is leased: %v", m.ID, m.Leased)
		}
	}
	for _, text := range []string{"leased", "timer", "unnamed", "pushed"} {
		if count[text] != 4 {
			t.Errorf("%s is there %d times, want 4", text, count[text])
		}
	}
	if delayed == 0 || delayed == 12 {
		t.Errorf("%d of 12 copies are late", delayed)
	}

	// Discarding the message discards its copies, acknowledging it does not.
	b.must(b.CommitBatch(t.Context(), []*persistence.Commit{{
		Discard: []string{"timer"}, Handled: []queue.Receipt{{ID: "leased", Token: "t"}},
	}})[0])
	clear(count)
	for _, m := range b.stored() {
		count[kit.NoteOf(m.Message)]++
	}
	if count["timer"] != 0 || count["leased"] != 3 {
		t.Errorf("left are %v", count)
	}
	// The name is free again, whether copies of the first are left or not.
	b.must(b.CommitBatch(t.Context(), []*persistence.Commit{{Messages: []queue.Outgoing{kit.Send("leased")}}})[0])
}

func TestCopiesOfPushesLeaveTheNameFree(t *testing.T) {
	b := newBench(t, faults.Plan{Copies: 1})
	for range 2 { // the second time with a copy of the first still there
		b.must(b.Push(t.Context(), kit.Send("m")))
		got, err := b.Claim(t.Context(), kit.Worker("w"), kit.Plenty())
		b.must(err)
		b.must(b.Ack(t.Context(), receipt(t, got, "m")))
	}
	if left := b.stored(); len(left) != 2 {
		t.Errorf("left are %+v", left)
	}
}

func receipt(t *testing.T, got []queue.Delivery, id string) queue.Receipt {
	t.Helper()
	for _, d := range got {
		if d.ID == id {
			return d.Receipt()
		}
	}
	t.Fatalf("%s is not among %+v", id, got)
	return queue.Receipt{}
}

func TestNoBirthLeases(t *testing.T) {
	b := newBench(t, faults.Plan{NoBirthLeases: true})
	_, err := b.Heartbeat(t.Context(), kit.Worker("w"))
	b.must(err)
	m := kit.Send("m")
	m.Lease = &queue.Lease{Worker: "w", Token: "t"}
	commit := &persistence.Commit{Messages: []queue.Outgoing{m}}
	b.must(b.CommitBatch(t.Context(), []*persistence.Commit{commit})[0])
	if left := b.stored(); len(left) != 1 || left[0].Leased || commit.Messages[0].Lease == nil {
		t.Errorf("stored as %+v, sent as %+v", left, commit.Messages)
	}
}

// TestDisorder: claims hand out what there is in another order and in pieces,
// the same way for the same seed, and nothing is lost by it.
func TestDisorder(t *testing.T) {
	const n = 12
	names := kit.Numbered("m%02d", n)
	claims := func(seed uint64) (claims [][]string) {
		b := newBench(t, faults.Plan{Seed: seed, Shuffled: true, HeldBack: 0.5})
		for _, name := range names {
			b.must(b.Push(t.Context(), kit.Send(name)))
		}
		var all []string
		for len(all) < n {
			got, err := b.Claim(t.Context(), kit.Worker("w"), queue.Room{Control: 5})
			b.must(err)
			if len(got) > 5 {
				t.Fatalf("got %d messages with room for 5", len(got))
			}
			var ids []string
			for _, d := range got {
				ids = append(ids, d.ID)
				if d.Attempts != 1 {
					t.Errorf("%s: attempt %d", d.ID, d.Attempts)
				}
			}
			claims, all = append(claims, ids), append(all, ids...)
		}
		if slices.IsSorted(all) {
			t.Errorf("in order: %v", all)
		}
		slices.Sort(all)
		if !slices.Equal(all, names) {
			t.Errorf("handed out %v", all)
		}
		return claims
	}
	first := fmt.Sprint(claims(1))
	if again := fmt.Sprint(claims(1)); again != first {
		t.Errorf("the same seed: %s, then %s", first, again)
	}
	if other := fmt.Sprint(claims(2)); other == first {
		t.Errorf("another seed draws the same: %s", other)
	}
}
