package boltstore

import (
	"context"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// bury makes a message a dead letter and tells its workflow, in the same step.
func (s *Store) bury(t *txn, m message, reason, cause string) {
	m.lift(t)
	m.Worker, m.Token, m.Reason, m.LastError = "", "", reason, cause
	m.Died, m.Seq = t.now.UnixMicro(), t.next("messages")
	m.save(t)
	notice, err := m.letter().EncodeNotice(s.messages, s.ids)
	t.keep("notice of a dead letter", err)
	if notice != nil {
		add(t, notice)
	}
}

func (m *message) letter() *queue.DeadLetter {
	return &queue.DeadLetter{
		ID: m.ID, Kind: m.Kind, Body: m.Body, WorkflowID: m.WorkflowID, Attempts: m.Attempts, MaxAttempts: m.MaxAttempts,
		CreatedAt: instant(m.Created), DiedAt: instant(m.Died), Reason: m.Reason, LastError: m.LastError,
	}
}

// exhume takes a dead letter out.
func exhume(t *txn, id string) (message, error) {
	m, found := find(t, id, dead)
	if !found {
		return m, &stabilize.NotFoundError{Kind: "dead letter", ID: id}
	}
	m.lift(t)
	return m, nil
}

// ListDead implements queue.DeadLetters.
func (s *Store) ListDead(ctx context.Context, after string, limit int) (list []queue.DeadLetter, err error) {
	var bad error
	if limit <= 0 {
		bad = stabilize.Invalid("limit", "must be positive, is %d", limit)
	}
	err = s.run(ctx, "list dead letters", reading, bad, func(t *txn) error {
		var behind []byte
		if after != "" {
			m, found := find(t, after, dead)
			if !found {
				return &stabilize.NotFoundError{Kind: "dead letter", ID: after}
			}
			_, behind = m.index()
		}
		for _, id := range t.list("dead", nil, behind) {
			if len(list) == limit {
				break
			}
			m, _ := find(t, string(id), dead)
			list = append(list, *m.letter())
		}
		return nil
	})
	return list, err
}

// ReplayDead implements queue.DeadLetters.
func (s *Store) ReplayDead(ctx context.Context, id string) error {
	return s.run(ctx, "replay a dead letter", writing, stabilize.CheckID("dead letter", id), func(t *txn) error {
		m, err := exhume(t, id)
		if err != nil {
			return err
		}
		m.Reason, m.Died, m.Attempts, m.LastError = "", 0, 0, ""
		m.Due, m.Seq = t.now.UnixMicro(), t.next("messages")
		m.save(t)
		return nil
	})
}

// DiscardDead implements queue.DeadLetters.
func (s *Store) DiscardDead(ctx context.Context, id string) error {
	return s.run(ctx, "discard a dead letter", writing, stabilize.CheckID("dead letter", id), func(t *txn) error {
		_, err := exhume(t, id)
		return err
	})
}
