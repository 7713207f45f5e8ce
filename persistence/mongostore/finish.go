package mongostore

import (
	"context"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// What follows a commit, or one that was broken off. All of it may be done by
// anybody, at the same time and again: each write finds only what still has the
// commit's mark. A commit's token leaves its primary only after it was finished.

// unmark is what takes a mark off.
func unmark(rev string, fields ...bson.E) bson.D {
	return bson.D{
		eq("$set", append(bson.D{eq("tx", ""), eq("rev", rev)}, fields...)),
		eq("$unset", d("next", "")),
	}
}

// finish does what is left to do of commits that are done.
func (s *Store) finish(ctx context.Context, txs []string) error {
	if len(txs) == 0 {
		return nil
	}
	for whole := false; !whole; {
		left, err := all[message](ctx, s.messages, d("tx", in(txs)), options.Find().SetProjection(
			bson.D{eq("_id", int32(1)), eq("q", int32(1)), eq("born", int32(1)), eq("tx", int32(1)), eq("next", int32(1))}))
		if err != nil {
			return err
		}
		told, err := all[marked](ctx, s.events, d("tx", in(txs)), options.Find().SetProjection(d("_id", int32(1))))
		if err != nil {
			return err
		}
		var e ending
		for i := range left {
			e.add(&left[i])
		}
		for i := range told {
			e.tell(told[i].ID)
		}
		if whole, err = s.end(ctx, txs, &e); err != nil {
			return err
		}
	}
	for whole := false; !whole; {
		gone, err := all[workflow](ctx, s.workflows, d("tx", in(txs)), options.Find().SetProjection(bson.D{eq("_id", int32(1)), eq("inc", int32(1)), eq("keys", int32(1))}))
		if err != nil {
			return err
		}
		if whole, err = s.finishDeletion(ctx, txs, gone); err != nil {
			return err
		}
	}
	seats, err := all[admission](ctx, s.admissions, d("tx", in(txs)))
	if err != nil {
		return err
	}
	for i := range seats {
		if err := s.endAdmission(ctx, &seats[i]); err != nil {
			return err
		}
	}
	_, err = s.deleteMany(ctx, s.steps, d("_id", in(txs)))
	return err
}

// ending is what becomes of a commit's messages when it is done.
type ending struct {
	births map[string][]string // ids of messages by the queue they come into
	drops  []string
	swaps  []*message // replaced by their Next
	events []string   // ids of documents of events, which are seen then
	count  int64      // of all of these
}

func (e *ending) tell(id string) {
	e.count++
	e.events = append(e.events, id)
}

func (e *ending) add(m *message) {
	e.count++
	switch {
	case m.Q == qUnborn:
		if e.births == nil {
			e.births = map[string][]string{}
		}
		e.births[m.Born] = append(e.births[m.Born], m.ID)
	case m.Next != nil:
		e.swaps = append(e.swaps, m)
	default:
		e.drops = append(e.drops, m.ID)
	}
}

// end does it. whole is false if the server does not say so of every message: somebody
// else was at it, or some are on their way from shard to shard, where a command for
// many documents can miss them.
func (s *Store) end(ctx context.Context, txs []string, e *ending) (whole bool, err error) {
	var jobs []func() error
	var done atomic.Int64
	for q, ids := range e.births {
		jobs = append(jobs, func() error {
			n, err := s.updateMany(ctx, s.messages, bson.D{eq("_id", in(ids)), eq("tx", in(txs)), eq("q", qUnborn)},
				set(eq("tx", ""), eq("q", q), eq("rev", s.token())))
			done.Add(n)
			return err
		})
	}
	if len(e.drops) > 0 {
		jobs = append(jobs, func() error {
			n, err := s.deleteMany(ctx, s.messages, bson.D{eq("_id", in(e.drops)), eq("tx", in(txs))})
			done.Add(n)
			return err
		})
	}
	if len(e.events) > 0 {
		jobs = append(jobs, func() error {
			n, err := s.updateMany(ctx, s.events, bson.D{eq("_id", in(e.events)), eq("tx", in(txs))}, set(eq("tx", "")))
			done.Add(n)
			return err
		})
	}
	for _, m := range e.swaps {
		jobs = append(jobs, func() error {
			res, err := s.messages.ReplaceOne(ctx, bson.D{eq("_id", m.ID), eq("tx", m.Mark.Tx)}, m.Next)
			if err == nil {
				done.Add(res.MatchedCount)
			}
			return err
		})
	}
	if len(jobs) == 0 {
		return true, nil
	}
	err = each(len(jobs), func(i int) error { return jobs[i]() })
	return done.Load() == e.count, err
}

// undo takes back what commits that will not be done have prepared.
func (s *Store) undo(ctx context.Context, txs []string) error {
	if len(txs) == 0 {
		return nil
	}
	if _, err := s.deleteMany(ctx, s.messages, bson.D{eq("tx", in(txs)), eq("q", qUnborn)}); err != nil {
		return err
	}
	if _, err := s.updateMany(ctx, s.messages, d("tx", in(txs)), unmark(s.token())); err != nil {
		return err
	}
	if _, err := s.deleteMany(ctx, s.events, d("tx", in(txs))); err != nil {
		return err
	}
	if err := s.undoAdmissions(ctx, txs); err != nil {
		return err
	}
	if _, err := s.updateMany(ctx, s.workflows, d("tx", in(txs)), set(eq("tx", ""), eq("rev", s.token()))); err != nil {
		return err
	}
	_, err := s.deleteMany(ctx, s.steps, d("_id", in(txs)))
	return err
}
