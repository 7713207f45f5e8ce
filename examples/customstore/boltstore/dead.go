package boltstore

import (
	"bytes"
	"context"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// bury makes a message a dead letter and tells its workflow, in the same step.
func (s *Store) bury(t *txn, m message, reason, cause string) error {
	m.lift(t)
	m.Worker, m.Token, m.Died, m.Reason, m.LastError = "", "", t.now.UnixMicro(), reason, cause
	k := key(m.Died, t.next("dead"))
	write(t, "dead", k, m)
	t.put("deadids", []byte(m.ID), k)
	t.put("deadowned", append(key(m.WorkflowID), k...), k)
	msg, err := s.messages.Decode(m.ID, m.Kind, m.Body)
	if err != nil {
		msg = nil
	}
	letter := m.letter()
	notice, has := letter.Notice(msg)
	if !has {
		return nil
	}
	e, err := (&queue.Outgoing{Message: notice}).Encode(s.ids, 0) // whatever its size
	if err == nil {
		add(t, &e)
	}
	return err
}

// exhume removes a dead letter by its key in dead.
func exhume(t *txn, k []byte) message {
	m, _ := read[message](t, "dead", k)
	t.del("dead", k)
	t.del("deadids", []byte(m.ID))
	t.del("deadowned", append(key(m.WorkflowID), k...))
	return m
}

// buried returns the key in dead of a dead letter.
func buried(t *txn, id string) ([]byte, error) {
	k := bytes.Clone(t.get("deadids", []byte(id)))
	if k == nil {
		return nil, &stabilize.NotFoundError{Kind: "dead letter", ID: id}
	}
	return k, nil
}

func (m *message) letter() queue.DeadLetter {
	return queue.DeadLetter{
		ID: m.ID, Kind: m.Kind, Body: m.Body, WorkflowID: m.WorkflowID, Attempts: m.Attempts, MaxAttempts: m.MaxAttempts,
		CreatedAt: instant(m.Created), DiedAt: instant(m.Died), Reason: m.Reason, LastError: m.LastError,
	}
}

// ListDead implements queue.DeadLetters.
func (s *Store) ListDead(ctx context.Context, after string, limit int) (list []queue.DeadLetter, err error) {
	var bad error
	if limit <= 0 {
		bad = stabilize.Invalid("limit", "must be positive, is %d", limit)
	}
	err = s.view(ctx, "list dead letters", bad, func(t *txn) error {
		c := t.bucket("dead").Cursor()
		k, _ := c.First()
		if after != "" {
			place, err := buried(t, after)
			if err != nil {
				return err
			}
			c.Seek(place)
			k, _ = c.Next()
		}
		for ; k != nil && len(list) < limit; k, _ = c.Next() {
			m, _ := read[message](t, "dead", k)
			list = append(list, m.letter())
		}
		return nil
	})
	return list, err
}

// ReplayDead implements queue.DeadLetters.
func (s *Store) ReplayDead(ctx context.Context, id string) error {
	return s.update(ctx, "replay a dead letter", stabilize.CheckID("dead letter", id), func(t *txn) error {
		k, err := buried(t, id)
		if err != nil {
			return err
		}
		m := exhume(t, k)
		m.Seq, m.Due, m.Attempts, m.LastError, m.Died, m.Reason = t.next("messages"), t.now.UnixMicro(), 0, "", 0, ""
		m.save(t)
		return nil
	})
}

// DiscardDead implements queue.DeadLetters.
func (s *Store) DiscardDead(ctx context.Context, id string) error {
	return s.update(ctx, "discard a dead letter", stabilize.CheckID("dead letter", id), func(t *txn) error {
		k, err := buried(t, id)
		if err == nil {
			exhume(t, k)
		}
		return err
	})
}
