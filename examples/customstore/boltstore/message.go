package boltstore

import (
	"context"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// message is a message as it is stored. A live one is in messages and owned, and
// in exactly one of ready (nobody holds it) and held: it is changed by lift, edit
// and save, so that no index disagrees with the record. A dead one is in dead.
type message struct {
	ID, Kind, WorkflowID  string
	Seq                   uint64 // order of storing
	Lane                  queue.Lane
	Due, Created          int64 // microseconds since 1970
	Attempts, MaxAttempts int
	LastError             string
	Token                 string // acknowledges it; outlives the lease until somebody else gets it
	Worker                string // holds it; "": nobody
	Body                  []byte
	Died                  int64 // a dead letter only, as is Reason
	Reason                string

	decoded queue.Message // by Claim
}

// spent stands where a lane does, for what has no attempts left.
const spent = byte(2)

func (m *message) ready() []byte {
	lane := byte(m.Lane)
	if m.Attempts >= m.MaxAttempts {
		lane = spent
	}
	return key(lane, m.Due, m.Seq)
}

func (m *message) save(t *txn) {
	id := []byte(m.ID)
	write(t, "messages", id, m)
	t.put("owned", key(m.WorkflowID, m.Due, m.Seq), id)
	if m.Worker != "" {
		t.put("held", key(m.Worker, m.Seq), id)
		return
	}
	t.put("ready", m.ready(), id)
	t.wake = t.wake || m.Due <= t.now.UnixMicro()
}

func (m *message) lift(t *txn) {
	t.del("messages", []byte(m.ID))
	t.del("owned", key(m.WorkflowID, m.Due, m.Seq))
	if m.Worker != "" {
		t.del("held", key(m.Worker, m.Seq))
	} else {
		t.del("ready", m.ready())
	}
}

func drop(t *txn, id []byte) {
	if m, found := read[message](t, "messages", id); found {
		m.lift(t)
	}
}

// held returns the live message that a receipt acknowledges. The time of the
// lease does not matter: what nobody else was given is still held.
func held(t *txn, r queue.Receipt) (message, error) {
	m, found := read[message](t, "messages", []byte(r.ID))
	if !found || m.Token != r.Token {
		return m, &stabilize.LeaseLostError{Kind: "message", ID: r.ID}
	}
	return m, nil
}

// add stores a message, leased if its worker has a live lease.
func add(t *txn, e *queue.Encoded) {
	m := message{
		ID: e.ID, Kind: e.Kind, WorkflowID: e.WorkflowID, Seq: t.next("messages"), Lane: e.Lane, Body: e.Body,
		Due: queue.DueAt(e.At, t.now).UnixMicro(), Created: t.now.UnixMicro(), MaxAttempts: e.MaxAttempts,
	}
	if e.Lease != nil && live(t, e.Lease.Worker) {
		m.Worker, m.Token, m.Attempts = e.Lease.Worker, e.Lease.Token, 1
	}
	m.save(t)
}

func instant(us int64) time.Time { return time.UnixMicro(us).UTC() }

// Push implements queue.Queue.
func (s *Store) Push(ctx context.Context, msgs ...queue.Outgoing) error {
	if err := s.gate.Check(ctx); err != nil {
		return err
	}
	c, err := persistence.NewPush(msgs)
	if err != nil {
		return err
	}
	return s.CommitBatch(ctx, []*persistence.Commit{c})[0]
}

// Pending implements queue.Queue.
func (s *Store) Pending(ctx context.Context, workflowID string) (list []queue.Stored, err error) {
	var bad error
	if workflowID != "" {
		bad = stabilize.CheckID("workflow id", workflowID)
	}
	err = s.view(ctx, "pending", bad, func(t *txn) error {
		for _, id := range t.list("owned", key(workflowID)) {
			m, _ := read[message](t, "messages", id)
			msg, err := s.messages.Decode(m.ID, m.Kind, m.Body)
			if err != nil {
				msg = nil
			}
			list = append(list, queue.Stored{
				ID: m.ID, Message: msg, Kind: m.Kind, Due: instant(m.Due), Leased: m.Worker != "" && live(t, m.Worker),
				Attempts: m.Attempts,
			})
		}
		return nil
	})
	return list, err
}

// Depth implements queue.Queue. It reads keys, so it takes longer the more there
// is.
func (s *Store) Depth(ctx context.Context) (d queue.Depth, err error) {
	err = s.view(ctx, "depth", nil, func(t *txn) error {
		unleased := func(due int64) {
			if due > t.now.UnixMicro() {
				d.Delayed++
				return
			}
			d.Ready++
			if at := instant(due); d.Oldest.IsZero() || at.Before(d.Oldest) {
				d.Oldest = at
			}
		}
		for k := range t.list("ready", nil) {
			unleased(number(k[1:]))
		}
		for k, id := range t.list("held", nil) {
			if live(t, text(k)) {
				d.Leased++
			} else {
				m, _ := read[message](t, "messages", id)
				unleased(m.Due)
			}
		}
		for range t.list("dead", nil) {
			d.Dead++
		}
		return nil
	})
	return d, err
}
