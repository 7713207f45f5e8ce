package memstore

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

type deadLetter struct {
	message *message // out of every index
	diedAt  time.Time
	reason  string
	cause   string
	inOwner int
}

func (l *deadLetter) order(m *deadLetter) int {
	if c := l.diedAt.Compare(m.diedAt); c != 0 {
		return c
	}
	if l.message.seq < m.message.seq {
		return -1
	}
	return 1
}

// bury moves a message to the dead letters and tells its workflow.
func (s *Store) bury(m *message, reason, cause string, now time.Time) {
	d, workflowID := s.data, m.owner.id
	d.drop(m)
	d.seq++
	m.seq, m.token = d.seq, "" // from here on the order of dying
	l := &deadLetter{message: m, diedAt: now, reason: reason, cause: cause}
	m.owner = d.owner(workflowID)
	l.inOwner = len(m.owner.dead)
	m.owner.dead = append(m.owner.dead, l)
	d.dead[m.id] = l
	at, _ := slices.BinarySearchFunc(d.deadLine, l, (*deadLetter).order)
	d.deadLine = slices.Insert(d.deadLine, at, l)
	msg := m.msg
	if msg == nil {
		msg, _ = s.decoded(m)
	}
	letter := queue.DeadLetter{ID: m.id, Kind: m.kind, WorkflowID: workflowID, Attempts: m.attempts, Reason: reason, LastError: cause}
	notice, has := letter.Notice(msg)
	if !has {
		return
	}
	told := &message{
		id: s.ids.New(), kind: notice.Kind(), msg: notice, due: now, created: now,
		maxAttempts: queue.DefaultMaxAttempts, inLine: -1,
	}
	d.add(told, queue.WorkflowOf(notice))
	d.free(told, now)
}

// placeOfDead returns where a dead letter stands in deadLine.
func (d *Data) placeOfDead(l *deadLetter) int {
	at, _ := slices.BinarySearchFunc(d.deadLine, l, func(a, b *deadLetter) int {
		if a == b {
			return 0
		}
		return a.order(b)
	})
	return at
}

func (d *Data) dropDead(l *deadLetter) {
	m := l.message
	delete(d.dead, m.id)
	at := d.placeOfDead(l)
	d.deadLine = slices.Delete(d.deadLine, at, at+1)
	list := m.owner.dead
	last := list[len(list)-1]
	list[l.inOwner], last.inOwner = last, l.inOwner
	list[len(list)-1] = nil
	m.owner.dead = list[:len(list)-1]
	d.tidy(m.owner)
}

// ListDead implements queue.DeadLetters. The order is by the time of death; an
// after that is no dead letter (any more) is ErrNotFound.
func (s *Store) ListDead(ctx context.Context, after string, limit int) ([]queue.DeadLetter, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	if limit <= 0 {
		return nil, stabilize.Invalid("dead letter limit", "%d is not positive", limit)
	}
	s.data.mu.Lock()
	defer s.data.mu.Unlock()
	from := 0
	if after != "" {
		l := s.data.dead[after]
		if l == nil {
			return nil, &stabilize.NotFoundError{Kind: "dead letter", ID: after}
		}
		from = s.data.placeOfDead(l) + 1
	}
	var out []queue.DeadLetter
	for _, l := range s.data.deadLine[from:] {
		if len(out) == limit {
			break
		}
		m := l.message
		letter := queue.DeadLetter{
			ID: m.id, Kind: m.kind, Body: bytes.Clone(m.body), WorkflowID: m.owner.id,
			Attempts: m.attempts, MaxAttempts: m.maxAttempts, CreatedAt: m.created,
			DiedAt: l.diedAt, Reason: l.reason, LastError: l.cause,
		}
		if m.msg != nil {
			body, err := queue.Encode(m.msg)
			if err != nil {
				return nil, err // unreachable: plain admits nothing of the kind
			}
			letter.Body = body
		}
		out = append(out, letter)
	}
	return out, nil
}

// ReplayDead implements queue.DeadLetters. The message forgets its last error
// and stands at the end of the order of storing.
func (s *Store) ReplayDead(ctx context.Context, id string) error {
	now := s.now()
	return s.withDead(ctx, id, func(l *deadLetter) {
		m, workflowID := l.message, l.message.owner.id
		s.data.dropDead(l)
		m.attempts, m.lastError, m.due = 0, "", now
		s.data.add(m, workflowID)
		s.data.free(m, now)
	})
}

// DiscardDead implements queue.DeadLetters.
func (s *Store) DiscardDead(ctx context.Context, id string) error {
	return s.withDead(ctx, id, s.data.dropDead)
}

func (s *Store) withDead(ctx context.Context, id string, do func(*deadLetter)) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	if err := stabilize.CheckID("dead letter id", id); err != nil {
		return err
	}
	s.data.mu.Lock()
	defer s.data.unlock()
	l := s.data.dead[id]
	if l == nil {
		return &stabilize.NotFoundError{Kind: "dead letter", ID: id}
	}
	do(l)
	return nil
}
