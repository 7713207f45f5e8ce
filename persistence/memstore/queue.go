package memstore

import (
	"container/heap"
	"context"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// worker is a live worker lease. A lapsed one is removed by the next Claim of
// anyone else, a retired one at once.
type worker struct {
	fence   int64
	expires time.Time
	held    []*message
}

func (w *worker) lapsed(now time.Time) bool { return !now.Before(w.expires) }

// renew keeps a worker's lease going, or gives it a new one.
func (d *Data) renew(w queue.Worker, now time.Time) *worker {
	self := d.workers[w.ID]
	if self == nil {
		self = &worker{}
		d.workers[w.ID] = self
	}
	if self.lapsed(now) {
		d.fence++
		self.fence = d.fence
	}
	self.expires = now.Add(w.TTL)
	return self
}

// Push implements queue.Queue.
func (s *Store) Push(ctx context.Context, msgs ...queue.Outgoing) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	c, err := persistence.NewPush(msgs)
	if err != nil {
		return err
	}
	return s.CommitBatch(ctx, []*persistence.Commit{c})[0]
}

// Claim implements queue.Queue.
func (s *Store) Claim(ctx context.Context, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	if err := w.Check(); err != nil {
		return nil, err
	}
	if err := room.Check(); err != nil {
		return nil, err
	}
	d := s.data
	d.mu.Lock()
	defer d.unlock()
	now := s.now() // not before the lock: who waits long for it must not cut a lease short
	self := d.renew(w, now)
	for id, other := range d.workers {
		if other.lapsed(now) {
			d.release(other, now, true)
			delete(d.workers, id)
		}
	}
	for m := d.spent.due(now); m != nil; m = d.spent.due(now) {
		s.bury(m, queue.DeadExhausted, m.lastError, now)
	}
	out := s.take(self, &d.lanes[queue.Control], room.Control, now, nil)
	control := len(out)
	out = s.take(self, &d.lanes[queue.Work], room.Work, now, out)
	if control > 0 && control < len(out) {
		slices.SortFunc(out, func(a, b queue.Delivery) int {
			if before(d.messages[a.ID], d.messages[b.ID]) {
				return -1
			}
			return 1
		})
	}
	return out, nil
}

func (s *Store) take(w *worker, from *line, room int, now time.Time, out []queue.Delivery) []queue.Delivery {
	for taken := 0; taken < room; {
		m := from.due(now)
		if m == nil {
			break
		}
		msg, err := s.decoded(m)
		if err != nil {
			s.bury(m, queue.DeadUndecodable, err.Error(), now)
			continue
		}
		heap.Pop(from)
		s.data.lease(m, w, s.ids.New())
		taken++
		out = append(out, queue.Delivery{
			ID: m.id, Token: m.token, Message: msg, Due: m.due, CreatedAt: m.created,
			Attempts: m.attempts, MaxAttempts: m.maxAttempts, LastError: m.lastError,
		})
	}
	return out
}

// release makes claimable what a worker holds. The tokens of a silent worker
// are good until somebody else gets the messages.
func (d *Data) release(w *worker, now time.Time, silent bool) {
	for len(w.held) > 0 {
		m := w.held[len(w.held)-1]
		d.unlease(m)
		if !silent {
			m.token = ""
		}
		d.free(m, now)
	}
}

// Ack implements queue.Queue.
func (s *Store) Ack(ctx context.Context, receipts ...queue.Receipt) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	for _, r := range receipts {
		if err := r.Check(); err != nil {
			return err
		}
	}
	s.data.mu.Lock()
	defer s.data.unlock()
	var lost error
	for _, r := range receipts {
		if m := s.data.held(r); m != nil {
			s.data.drop(m)
		} else if lost == nil {
			lost = &stabilize.LeaseLostError{Kind: "message", ID: r.ID}
		}
	}
	return lost
}

// Release implements queue.Queue.
func (s *Store) Release(ctx context.Context, r queue.Receipt, at time.Time, cause error) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	text, err := queue.CheckRelease(r, at, cause)
	if err != nil {
		return err
	}
	return s.giveBack(ctx, r, func(m *message, now time.Time) { m.due, m.lastError = queue.DueAt(at, now), text })
}

// Return implements queue.Queue.
func (s *Store) Return(ctx context.Context, r queue.Receipt) error {
	return s.giveBack(ctx, r, func(m *message, _ time.Time) { m.attempts-- })
}

func (s *Store) giveBack(ctx context.Context, r queue.Receipt, change func(*message, time.Time)) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	if err := r.Check(); err != nil {
		return err
	}
	now := s.now()
	s.data.mu.Lock()
	defer s.data.unlock()
	m := s.data.held(r)
	if m == nil {
		return &stabilize.LeaseLostError{Kind: "message", ID: r.ID}
	}
	s.data.takeOut(m)
	m.token = ""
	change(m, now)
	s.data.free(m, now)
	return nil
}

// Heartbeat implements queue.Queue.
func (s *Store) Heartbeat(ctx context.Context, w queue.Worker) (queue.Leases, error) {
	if err := s.begin(ctx); err != nil {
		return queue.Leases{}, err
	}
	if err := w.Check(); err != nil {
		return queue.Leases{}, err
	}
	s.data.mu.Lock()
	defer s.data.unlock()
	self := s.data.renew(w, s.now())
	leases := queue.Leases{Fence: self.fence}
	for _, m := range self.held {
		leases.Held = append(leases.Held, queue.Receipt{ID: m.id, Token: m.token})
	}
	return leases, nil
}

// Retire implements queue.Queue.
func (s *Store) Retire(ctx context.Context, worker string) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	if err := stabilize.CheckID("worker id", worker); err != nil {
		return err
	}
	now := s.now()
	s.data.mu.Lock()
	defer s.data.unlock()
	if w := s.data.workers[worker]; w != nil {
		s.data.release(w, now, false)
		delete(s.data.workers, worker)
	}
	return nil
}

// Pending implements queue.Queue.
func (s *Store) Pending(ctx context.Context, workflowID string) ([]queue.Stored, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	if workflowID != "" {
		if err := stabilize.CheckID("workflow id", workflowID); err != nil {
			return nil, err
		}
	}
	now := s.now()
	s.data.mu.Lock()
	defer s.data.mu.Unlock()
	o := s.data.nobody
	if workflowID != "" {
		if o = s.data.owners[workflowID]; o == nil {
			return nil, nil
		}
	}
	list := slices.SortedFunc(slices.Values(o.messages), func(a, b *message) int {
		if before(a, b) {
			return -1
		}
		return 1
	})
	out := make([]queue.Stored, len(list))
	for i, m := range list {
		msg, _ := s.decoded(m) // nil if it cannot be decoded, as documented
		out[i] = queue.Stored{
			ID: m.id, Message: msg, Kind: m.kind, Due: m.due, Leased: m.worker != nil && !m.worker.lapsed(now),
			Attempts: m.attempts, MaxAttempts: m.maxAttempts,
		}
	}
	return out, nil
}

// Depth implements queue.Queue. What a lapsed worker held is not leased. It costs
// as much as there are ready messages.
func (s *Store) Depth(ctx context.Context) (queue.Depth, error) {
	if err := s.begin(ctx); err != nil {
		return queue.Depth{}, err
	}
	now := s.now()
	s.data.mu.Lock()
	defer s.data.mu.Unlock()
	d := queue.Depth{Leased: s.data.leased, Dead: len(s.data.dead)}
	for _, l := range []line{s.data.lanes[queue.Control], s.data.lanes[queue.Work], s.data.spent} {
		ready := l.ready(now)
		d.Ready += ready
		d.Delayed += len(l) - ready
		if ready > 0 && (d.Oldest.IsZero() || l[0].due.Before(d.Oldest)) {
			d.Oldest = l[0].due
		}
	}
	for _, w := range s.data.workers {
		if !w.lapsed(now) {
			continue
		}
		for _, m := range w.held {
			d.Leased--
			if m.due.After(now) {
				d.Delayed++
				continue
			}
			d.Ready++
			if d.Oldest.IsZero() || m.due.Before(d.Oldest) {
				d.Oldest = m.due
			}
		}
	}
	return d, nil
}
