package mongostore

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// buryAll makes dead letters of what is due and has no attempts left.
func (s *Store) buryAll(ctx context.Context, spent []message, now time.Time) error {
	for len(spent) > 0 {
		for i := range spent {
			if err := s.bury(ctx, &spent[i], queue.DeadExhausted, unquote(spent[i].LastError), now); err != nil {
				return err
			}
		}
		if len(spent) < spentAtOnce {
			return nil
		}
		var err error
		if spent, err = s.due(ctx, now, qSpent, spentAtOnce); err != nil {
			return err
		}
	}
	return nil
}

// bury makes a message a dead letter and tells its workflow: the dead letter is the
// primary of the notice, so that both are there or neither. Somebody else may have
// had the message meanwhile; that is no error.
func (s *Store) bury(ctx context.Context, m *message, reason, cause string, now time.Time) error {
	letter := m.letter()
	letter.Reason, letter.LastError, letter.DiedAt = reason, cause, now
	encoded, err := letter.EncodeNotice(s.cfg.Messages, s.cfg.IDs)
	if err != nil {
		return err
	}
	seq, err := s.count(ctx, metaSeq, 2)
	if err != nil {
		return err
	}
	mark := mark{Tx: s.token(), Of: ofMessages, At: m.ID, Exp: m.Rev}
	var notice *message
	if encoded != nil {
		notice = newMessage(encoded, mark.Tx, nil, now, seq+1)
		(&work{attempt: attempt{mark: mark}}).markBirth(notice)
		if _, err := s.messages.InsertOne(ctx, notice); err != nil {
			return err
		}
	}
	on, cancel := lasting(ctx)
	defer cancel()
	res, err := s.messages.UpdateOne(on, bson.D{eq("_id", m.ID), eq("rev", m.Rev), eq("tx", "")}, set(
		eq("q", qDead), eq("died", micros(now)), eq("seq", seq), eq("reason", reason), eq("error", quote(cause)),
		eq("worker", ""), eq("token", ""), eq("rev", mark.Tx), eq("txs", []string{mark.Tx})))
	if err != nil {
		return err // whoever meets the notice finds out
	}
	if notice == nil {
		return nil
	}
	if res.MatchedCount == 0 {
		return s.undo(on, []string{mark.Tx})
	}
	var e ending
	e.add(notice)
	_, err = s.end(on, []string{mark.Tx}, &e)
	return err
}

func (m *message) letter() *queue.DeadLetter {
	return &queue.DeadLetter{
		ID: m.ID, Kind: m.Kind, Body: []byte(m.Body), WorkflowID: m.Workflow, Attempts: int(m.Attempts), MaxAttempts: int(m.Max),
		CreatedAt: instant(m.Created), DiedAt: instant(m.Died), Reason: m.Reason, LastError: unquote(m.LastError),
	}
}

// ListDead implements queue.DeadLetters.
func (s *Store) ListDead(ctx context.Context, after string, limit int) ([]queue.DeadLetter, error) {
	var bad error
	if limit <= 0 {
		bad = stabilize.Invalid("dead letter limit", "%d is not positive", limit)
	}
	call, leave, err := s.enter(ctx, bad)
	if err != nil {
		return nil, err
	}
	defer leave()
	var out []queue.DeadLetter
	err = s.again(call, func() (bool, error) {
		out = nil
		filter := bson.D{eq("q", qDead)}
		if after != "" {
			last, err := s.findDead(call, after)
			if err != nil {
				return false, err
			}
			filter = append(filter, eq("$or", bson.A{
				d("died", d("$gt", last.Died)),
				bson.D{eq("died", last.Died), eq("seq", d("$gt", last.Seq))},
			}))
		}
		found, err := all[message](call, s.messages, filter,
			options.Find().SetSort(bson.D{eq("died", int32(1)), eq("seq", int32(1))}).SetLimit(int64(limit)))
		if err != nil {
			return false, err
		}
		if finished, err := s.finished(call, marksOf(found)...); err != nil || finished {
			return false, err
		}
		for i := range found {
			out = append(out, *found[i].letter())
		}
		return true, nil
	})
	if err != nil {
		return nil, s.classify(ctx, "list dead letters", err)
	}
	return out, nil
}

// findDead returns a dead letter, its notice delivered.
func (s *Store) findDead(ctx context.Context, id string) (*message, error) {
	var m message
	err := s.again(ctx, func() (bool, error) {
		m = message{}
		err := s.messages.FindOne(ctx, bson.D{eq("_id", id), eq("q", qDead)}).Decode(&m)
		if errors.Is(err, mongo.ErrNoDocuments) {
			return false, &stabilize.NotFoundError{Kind: "dead letter", ID: id}
		}
		if err != nil {
			return false, err
		}
		if finished, err := s.finished(ctx, m.Mark); err != nil || finished {
			return false, err
		}
		return true, s.finish(ctx, m.Txs)
	})
	return &m, err
}

// ReplayDead implements queue.DeadLetters.
func (s *Store) ReplayDead(ctx context.Context, id string) error {
	return s.changeDead(ctx, "replay", id, func(ctx context.Context, m *message, filter bson.D) (int64, error) {
		seq, err := s.count(ctx, metaSeq, 1)
		if err != nil {
			return 0, err
		}
		rev := s.token()
		res, err := s.messages.UpdateOne(ctx, filter, set(
			eq("q", rest(m.Lane, 0, m.Max)), eq("seq", seq), eq("due", micros(s.now())), eq("attempts", int64(0)),
			eq("error", ""), eq("reason", ""), eq("died", int64(0)), eq("rev", rev), eq("txs", []string{})))
		if err != nil {
			return 1, s.sure(ctx, "replay", id, m.Rev, rev, err)
		}
		return res.MatchedCount, nil
	})
}

// DiscardDead implements queue.DeadLetters.
func (s *Store) DiscardDead(ctx context.Context, id string) error {
	return s.changeDead(ctx, "discard", id, func(ctx context.Context, m *message, filter bson.D) (int64, error) {
		res, err := s.messages.DeleteOne(ctx, filter)
		if err != nil {
			return 1, s.sure(ctx, "discard", id, m.Rev, "", err)
		}
		return res.DeletedCount, nil
	})
}

func (s *Store) changeDead(ctx context.Context, doing, id string, do func(context.Context, *message, bson.D) (int64, error)) error {
	call, leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	p := s.patience()
	for {
		m, err := s.findDead(call, id)
		if err != nil {
			return s.classify(ctx, doing, err)
		}
		n, err := do(call, m, bson.D{eq("_id", id), eq("rev", m.Rev), eq("tx", "")})
		if err == nil && n == 1 {
			s.ping(doing == "replay")
			return nil
		}
		if err == nil {
			err = s.clear(call, []mark{m.Mark}, p)
		}
		if err != nil {
			return s.classify(ctx, doing, err)
		}
	}
}
