package boltstore

import (
	"context"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// message is a message as it is stored, dead letters included. It is in messages
// and owned, and in exactly one of ready (nobody holds it), held and dead: it is
// changed by lift, edit and save, so that no index disagrees with the record.
type message struct {
	ID, Kind, WorkflowID  string
	Seq                   int64 // order of storing; of a dead letter, of dying
	Lane                  queue.Lane
	Due, Created          int64 // microseconds since 1970
	Attempts, MaxAttempts int
	LastError             string
	Token                 string // acknowledges it; outlives the lease until somebody else gets it
	Worker                string // holds it; "": nobody
	Body                  []byte
	Reason                string // of a dead letter only, as is Died
	Died                  int64

	decoded queue.Message // by Claim
}

const live, dead = byte(0), byte(1)

// spent stands where a lane does, for what has no attempts left.
const spent = byte(2)

func (m *message) state() byte {
	if m.Reason != "" {
		return dead
	}
	return live
}

// index is where a message is found by who may have it.
func (m *message) index() (bucket string, k []byte) {
	switch {
	case m.state() == dead:
		return "dead", key(m.Died, m.Seq)
	case m.Worker != "":
		return "held", key(m.Worker, m.Seq)
	case m.Attempts >= m.MaxAttempts:
		return "ready", key(spent, m.Due, m.Seq)
	}
	return "ready", key(byte(m.Lane), m.Due, m.Seq)
}

func (m *message) save(t *txn) {
	id := []byte(m.ID)
	bucket, k := m.index()
	write(t, "messages", id, m)
	t.put("owned", key(m.WorkflowID, m.state(), m.Due, m.Seq), id)
	t.put(bucket, k, id)
	t.wake = t.wake || bucket == "ready" && m.Due <= t.now.UnixMicro()
}

func (m *message) lift(t *txn) {
	bucket, k := m.index()
	t.del("messages", []byte(m.ID))
	t.del("owned", key(m.WorkflowID, m.state(), m.Due, m.Seq))
	t.del(bucket, k)
}

// find returns a live message or a dead letter.
func find(t *txn, id string, state byte) (message, bool) {
	m, found := read[message](t, "messages", []byte(id))
	return m, found && m.state() == state
}

// held returns the message that a receipt acknowledges. The time of the lease does
// not matter: what nobody else was given is still held.
func held(t *txn, r queue.Receipt) (message, error) {
	m, found := find(t, r.ID, live)
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
	if e.Lease != nil && leases(t, e.Lease.Worker) {
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
	err = s.run(ctx, "pending", reading, bad, func(t *txn) error {
		for _, id := range t.list("owned", key(workflowID, live), nil) {
			m, _ := find(t, string(id), live)
			msg, _ := s.messages.Decode(m.ID, m.Kind, m.Body)
			list = append(list, queue.Stored{
				ID: m.ID, Message: msg, Kind: m.Kind, Due: instant(m.Due), Leased: leases(t, m.Worker), Attempts: m.Attempts, MaxAttempts: m.MaxAttempts,
			})
		}
		return nil
	})
	return list, err
}

// Depth implements queue.Queue. It reads a key of each message, so it takes longer
// the more there are.
func (s *Store) Depth(ctx context.Context) (d queue.Depth, err error) {
	err = s.run(ctx, "depth", reading, nil, func(t *txn) error {
		for k := range t.list("ready", nil, nil) {
			d.Add(instant(number(k[1:])), false, t.now)
		}
		for _, id := range t.list("held", nil, nil) {
			m, _ := find(t, string(id), live)
			d.Add(instant(m.Due), leases(t, m.Worker), t.now)
		}
		for range t.list("dead", nil, nil) {
			d.Dead++
		}
		return nil
	})
	return d, err
}
