package mongostore

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

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

// Ack implements queue.Queue.
func (s *Store) Ack(ctx context.Context, receipts ...queue.Receipt) error {
	var bad error
	for _, r := range receipts {
		bad = errors.Join(bad, r.Check())
	}
	call, leave, err := s.enter(ctx, bad)
	if err != nil {
		return err
	}
	defer leave()
	lost := make([]error, len(receipts))
	err = each(len(receipts), func(i int) error {
		r := receipts[i]
		return s.hold(call, r, &lost[i], func(filter bson.D) (bool, error) {
			res, err := s.messages.DeleteOne(call, filter)
			if err == nil || answered(err) {
				return err == nil && res.DeletedCount == 1, err
			}
			found, looked := s.glance(call, []string{r.ID})
			if _, there := found[r.ID]; there || looked != nil {
				err = unknown(err)
			} else {
				err = nil // it is gone
			}
			return true, err
		})
	})
	if err != nil {
		return s.classify(ctx, "ack", err)
	}
	for _, err := range lost {
		if err != nil {
			return err
		}
	}
	return nil
}

// hold does something to a message that is held by a receipt. Where a commit has
// the message under way it waits for that.
func (s *Store) hold(ctx context.Context, r queue.Receipt, lost *error, do func(filter bson.D) (bool, error)) error {
	p := s.patience()
	for {
		var done bool
		err := s.repeat(ctx, func() (err error) {
			done, err = do(bson.D{eq("_id", r.ID), eq("token", d("$in", stored(r.Token, r.ID))), eq("tx", "")})
			return err
		})
		if err != nil || done {
			return err
		}
		found, err := s.glance(ctx, []string{r.ID})
		if err != nil {
			return err
		}
		m, there := found[r.ID]
		if !there || told(m.Token, m.ID) != r.Token {
			*lost = &stabilize.LeaseLostError{Kind: "message", ID: r.ID}
			return nil
		}
		if err := s.clear(ctx, []mark{m.Mark}, p); err != nil {
			return err
		}
		if p.spent() {
			return failure(stabilize.ErrTransient, "acknowledge", errors.New("others are at the message without end"))
		}
	}
}

// Release implements queue.Queue.
func (s *Store) Release(ctx context.Context, r queue.Receipt, at time.Time, cause error) error {
	text, bad := queue.CheckRelease(r, at, cause)
	call, leave, err := s.enter(ctx, bad)
	if err != nil {
		return err
	}
	defer leave()
	now := s.now()
	at = queue.DueAt(at, now)
	err = s.giveBack(call, r, func(*message) []bson.E { return []bson.E{eq("due", micros(at)), eq("error", quote(text))} })
	s.ping(err == nil && !at.After(now))
	return s.classify(ctx, "release", err)
}

// Return implements queue.Queue.
func (s *Store) Return(ctx context.Context, r queue.Receipt) error {
	call, leave, err := s.enter(ctx, r.Check())
	if err != nil {
		return err
	}
	defer leave()
	err = s.giveBack(call, r, func(m *message) []bson.E {
		m.Attempts--
		return []bson.E{eq("attempts", m.Attempts)}
	})
	s.ping(err == nil)
	return s.classify(ctx, "return", err)
}

// giveBack gives back what is held by a receipt; change tells what else becomes of it.
func (s *Store) giveBack(ctx context.Context, r queue.Receipt, change func(*message) []bson.E) error {
	var lost error
	err := s.hold(ctx, r, &lost, func(filter bson.D) (bool, error) {
		var m message
		err := s.messages.FindOne(ctx, filter).Decode(&m)
		if errors.Is(err, mongo.ErrNoDocuments) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		return s.back(ctx, &m, change(&m))
	})
	return errors.Join(err, lost)
}

// back puts a message into a queue where nobody holds it, its token void.
func (s *Store) back(ctx context.Context, m *message, fields []bson.E) (bool, error) {
	rev := s.token()
	fields = append(fields, eq("q", rest(m.Lane, m.Attempts, m.Max)), eq("worker", ""), eq("token", ""), eq("rev", rev))
	res, err := s.messages.UpdateOne(ctx, bson.D{eq("_id", m.ID), eq("rev", m.Rev), eq("tx", "")}, set(fields...))
	if err != nil {
		return true, s.sure(ctx, "give back", m.ID, m.Rev, rev, err)
	}
	return res.MatchedCount == 1, nil
}

// Heartbeat implements queue.Queue.
func (s *Store) Heartbeat(ctx context.Context, w queue.Worker) (out queue.Leases, err error) {
	call, leave, err := s.enter(ctx, w.Check())
	if err != nil {
		return out, err
	}
	defer leave()
	if out.Fence, err = s.renew(call, w, nil); err != nil {
		return queue.Leases{}, s.classify(ctx, "heartbeat", err)
	}
	err = s.again(call, func() (bool, error) {
		out.Held = nil
		held, err := all[message](call, s.messages, d("worker", w.ID), options.Find().SetProjection(append(marks(), eq("q", int32(1)), eq("token", int32(1)))))
		if err != nil {
			return false, err
		}
		finished, err := s.finished(call, marksOf(held)...)
		if err != nil || finished {
			return false, err
		}
		for _, m := range held {
			if m.Q == qLeased {
				out.Held = append(out.Held, queue.Receipt{ID: m.ID, Token: told(m.Token, m.ID)})
			}
		}
		return true, nil
	})
	if err != nil {
		return queue.Leases{}, s.classify(ctx, "heartbeat", err)
	}
	return out, nil
}

func marksOf(list []message) []mark {
	var out []mark
	for i := range list {
		if list[i].Mark.Tx != "" {
			out = append(out, list[i].Mark)
		}
	}
	return out
}

// renew keeps a worker's lease going, or gives it a new one under a higher fence.
// was is its document as it was just read, nil: it is to be read.
func (s *Store) renew(ctx context.Context, w queue.Worker, was *worker) (fence int64, err error) {
	for {
		if was == nil {
			was = new(worker)
			err := s.workers.FindOne(ctx, d("_id", w.ID)).Decode(was)
			if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
				return 0, err
			}
		}
		now := s.now() // behind what was read: a slow call must not cut short what a later one gave
		next := worker{ID: w.ID, Fence: was.Fence, Expires: micros(now.Add(w.TTL))}
		if was.Expires <= micros(now) {
			if next.Fence, err = s.count(ctx, metaFence, 1); err != nil {
				return 0, err
			}
		}
		if was.ID == "" {
			_, err := s.workers.InsertOne(ctx, next)
			if err == nil {
				return next.Fence, s.keep(ctx, next)
			}
			if !duplicate(err) {
				return 0, err
			}
		} else {
			res, err := s.workers.UpdateOne(ctx, bson.D{eq("_id", w.ID), eq("fence", was.Fence), eq("expires", was.Expires)},
				set(eq("fence", next.Fence), eq("expires", next.Expires)))
			if err != nil {
				return 0, err
			}
			if res.MatchedCount == 1 {
				if next.Fence != was.Fence {
					err = s.keep(ctx, next)
				}
				return next.Fence, err
			}
		}
		was = nil
	}
}

// keep brings what a worker held under an earlier lease under the present one: who
// has found that one lapsed, and frees what is held under it, does not find these.
func (s *Store) keep(ctx context.Context, w worker) error {
	_, err := s.updateMany(ctx, s.messages, bson.D{eq("worker", w.ID), eq("q", qLeased), eq("fence", d("$lt", w.Fence))}, set(eq("fence", w.Fence)))
	return err
}

// Retire implements queue.Queue. The tokens of what the worker held are void. Its
// lease stays for a while as one that has lapsed: a commit that found it alive may
// still bring it a message.
func (s *Store) Retire(ctx context.Context, id string) error {
	call, leave, err := s.enter(ctx, stabilize.CheckID("worker id", id))
	if err != nil {
		return err
	}
	defer leave()
	n, err := s.retire(call, id)
	s.ping(n > 0)
	return s.classify(ctx, "retire", err)
}

func (s *Store) retire(ctx context.Context, id string) (freed int64, err error) {
	for {
		var w worker
		err := s.workers.FindOne(ctx, d("_id", id)).Decode(&w)
		if errors.Is(err, mongo.ErrNoDocuments) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		res, err := s.workers.UpdateOne(ctx, bson.D{eq("_id", id), eq("fence", w.Fence), eq("expires", w.Expires)},
			set(eq("expires", min(w.Expires, micros(s.now())-1))))
		if err != nil {
			return 0, err
		}
		if res.MatchedCount == 1 {
			return s.free(ctx, w, eq("token", ""))
		}
	}
}

// free makes claimable what a worker holds under a lease that is over. What a commit
// has under way stays as it is: it is freed by the next claim, if the commit is not
// done.
func (s *Store) free(ctx context.Context, w worker, fields ...bson.E) (n int64, err error) {
	for _, q := range free() {
		some, err := s.updateMany(ctx, s.messages,
			bson.D{eq("worker", w.ID), eq("q", qLeased), eq("back", q), eq("fence", d("$lte", w.Fence)), eq("tx", "")},
			set(append(fields[:len(fields):len(fields)], eq("q", q), eq("worker", ""), eq("rev", s.token()))...))
		if err != nil {
			return n, err
		}
		n += some
	}
	return n, nil
}
