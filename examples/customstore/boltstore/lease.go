package boltstore

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// worker is a worker's lease on all it holds.
type worker struct {
	Fence   int64
	Expires int64 // microseconds since 1970
}

// leases reports whether a worker has a lease that has not lapsed; "" has none.
func leases(t *txn, id string) bool {
	w, found := read[worker](t, "workers", []byte(id))
	return found && t.now.UnixMicro() < w.Expires
}

// renew keeps a worker's lease going, or gives it a new one under a higher fence.
func renew(t *txn, w queue.Worker) worker {
	self, _ := read[worker](t, "workers", []byte(w.ID))
	if !leases(t, w.ID) {
		self.Fence = t.next("workers")
	}
	self.Expires = t.now.Add(w.TTL).UnixMicro()
	write(t, "workers", []byte(w.ID), self)
	return self
}

// free makes claimable what a worker holds, and ends its lease. void: it can be
// acknowledged no more.
func free(t *txn, worker string, void bool) {
	for _, id := range t.list("held", key(worker), nil) {
		m, _ := find(t, string(id), live)
		m.lift(t)
		m.Worker = ""
		if void {
			m.Token = ""
		}
		m.save(t)
	}
	t.del("workers", []byte(worker))
}

// Heartbeat implements queue.Queue.
func (s *Store) Heartbeat(ctx context.Context, w queue.Worker) (l queue.Leases, err error) {
	err = s.run(ctx, "heartbeat", writing, w.Check(), func(t *txn) error {
		l.Fence = renew(t, w).Fence
		for _, id := range t.list("held", key(w.ID), nil) {
			m, _ := find(t, string(id), live)
			l.Held = append(l.Held, queue.Receipt{ID: m.ID, Token: m.Token})
		}
		return nil
	})
	return l, err
}

// Retire implements queue.Queue.
func (s *Store) Retire(ctx context.Context, id string) error {
	return s.run(ctx, "retire", writing, stabilize.CheckID("worker", id), func(t *txn) error {
		free(t, id, true)
		return nil
	})
}

// Claim implements queue.Queue. One that finds nothing to do writes nothing, and
// costs no flush, while two thirds of the worker's TTL are left.
func (s *Store) Claim(ctx context.Context, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
	var taken []message
	err := s.run(ctx, "claim", writing, cmp.Or(w.Check(), room.Check()), func(t *txn) error {
		for id := range t.list("workers", nil, nil) {
			if string(id) != w.ID && !leases(t, string(id)) {
				free(t, string(id), false)
			}
		}
		for m := range due(t, spent) {
			s.bury(t, m, queue.DeadExhausted, m.LastError)
		}
		for lane, room := range []int{queue.Control: room.Control, queue.Work: room.Work} {
			taken = append(taken, s.take(t, w.ID, byte(lane), room)...)
		}
		self, _ := read[worker](t, "workers", []byte(w.ID))
		left := time.Duration(self.Expires-t.now.UnixMicro()) * time.Microsecond
		if t.wrote || left <= w.TTL*2/3 || left > w.TTL {
			renew(t, w)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(taken, func(a, b message) int { return cmp.Or(cmp.Compare(a.Due, b.Due), cmp.Compare(a.Seq, b.Seq)) })
	var out []queue.Delivery
	for _, m := range taken {
		out = append(out, queue.Delivery{
			ID: m.ID, Token: m.Token, Message: m.decoded, Due: instant(m.Due), CreatedAt: instant(m.Created),
			Attempts: m.Attempts, MaxAttempts: m.MaxAttempts, LastError: m.LastError,
		})
	}
	return out, nil
}

// due walks what is due in a lane, oldest first.
func due(t *txn, lane byte) iter.Seq[message] {
	return func(yield func(message) bool) {
		for k, id := range t.list("ready", key(lane), nil) {
			if number(k[1:]) > t.now.UnixMicro() {
				return
			}
			if m, _ := find(t, string(id), live); !yield(m) {
				return
			}
		}
	}
}

// take leases to a worker what is due in a lane until its room is full. What
// cannot be decoded dies, takes no room and stops nothing behind it.
func (s *Store) take(t *txn, worker string, lane byte, room int) (taken []message) {
	for m := range due(t, lane) {
		if len(taken) == room {
			break
		}
		msg, err := s.messages.Decode(m.ID, m.Kind, m.Body)
		if err != nil {
			s.bury(t, m, queue.DeadUndecodable, err.Error())
			continue
		}
		m.lift(t)
		m.decoded, m.Worker, m.Token = msg, worker, s.ids.New()
		m.Attempts++
		m.save(t)
		taken = append(taken, m)
	}
	return taken
}

// Ack implements queue.Queue.
func (s *Store) Ack(ctx context.Context, receipts ...queue.Receipt) error {
	var bad, lost error
	for _, r := range receipts {
		bad = cmp.Or(bad, r.Check())
	}
	err := s.run(ctx, "ack", writing, bad, func(t *txn) error {
		for _, r := range receipts {
			m, err := held(t, r)
			if err == nil {
				m.lift(t)
			}
			lost = cmp.Or(lost, err)
		}
		return nil
	})
	return cmp.Or(err, lost)
}

// Release implements queue.Queue.
func (s *Store) Release(ctx context.Context, r queue.Receipt, at time.Time, cause error) error {
	lastError, bad := queue.CheckRelease(r, at, cause)
	return s.giveBack(ctx, "release", r, bad, func(t *txn, m *message) {
		m.Due, m.LastError = queue.DueAt(at, t.now).UnixMicro(), lastError
	})
}

// Return implements queue.Queue.
func (s *Store) Return(ctx context.Context, r queue.Receipt) error {
	return s.giveBack(ctx, "return", r, r.Check(), func(_ *txn, m *message) { m.Attempts-- })
}

func (s *Store) giveBack(ctx context.Context, doing string, r queue.Receipt, bad error, edit func(*txn, *message)) error {
	return s.run(ctx, doing, writing, bad, func(t *txn) error {
		m, err := held(t, r)
		if err != nil {
			return err
		}
		m.lift(t)
		m.Worker, m.Token = "", ""
		edit(t, &m)
		m.save(t)
		return nil
	})
}
