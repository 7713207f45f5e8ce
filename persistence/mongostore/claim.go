package mongostore

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// buried is for how long a worker's lease that has lapsed is remembered.
const buried = 10 * time.Minute

// Claim implements queue.Queue. What is due is looked up and then taken by one
// command, a compare-and-set of each message; whoever loses some looks for more.
func (s *Store) Claim(ctx context.Context, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
	call, leave, err := s.enter(ctx, cmp.Or(w.Check(), room.Check()))
	if err != nil {
		return nil, err
	}
	defer leave()
	// One after the other within a handle: they would only meet at the same messages.
	unlock, err := s.keys.lock(call, claiming)
	if err != nil {
		return nil, s.classify(ctx, "claim", err)
	}
	defer unlock()
	out, err := s.claim(call, w, room)
	if err != nil {
		return nil, s.classify(ctx, "claim", err)
	}
	return out, nil
}

// claiming is a name that no admission key has.
const claiming = "\x00claim"

func (s *Store) claim(ctx context.Context, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
	now := s.now()
	// What there may be to do is looked for all at once.
	var workers []worker
	var left []mark
	var found map[string][]message
	var damaged error
	err := eachAtOnce(
		func() (err error) {
			workers, _, err = intact[worker](ctx, s.workers, d("$or", bson.A{d("_id", w.ID), d("expires", d("$lte", micros(now)))}))
			return err
		},
		func() (err error) {
			left, err = s.left(ctx, d("tx", d("$gt", "")))
			return err
		},
		func() (err error) { found, damaged, err = s.look(ctx, now, room); return err },
	)
	if err != nil {
		return nil, err
	}
	settled, err := s.settleThese(ctx, left) // what dead processes had under way can be freed then
	if err != nil {
		return nil, err
	}
	fence, freed, err := s.renewAndFree(ctx, w, workers, now)
	if err != nil {
		return nil, err
	}
	if freed || settled {
		if found, damaged, err = s.look(ctx, now, room); err != nil {
			return nil, err
		}
	}
	if len(found[qSpent]) > 0 {
		if err := s.buryAll(ctx, found[qSpent], now); err != nil {
			return nil, err
		}
		if found, damaged, err = s.look(ctx, now, room); err != nil { // their notices
			return nil, err
		}
	}
	var taken []*delivery
	for q, n := range map[string]int{qControl: room.Control, qWork: room.Work} {
		got, err := s.take(ctx, worker{ID: w.ID, Fence: fence}, q, n, found[q], now)
		if err != nil {
			return nil, err // what was taken is delivered when the lease has lapsed, or is handed back
		}
		taken = append(taken, got...)
	}
	slices.SortFunc(taken, func(a, b *delivery) int {
		return cmp.Or(cmp.Compare(a.m.Due, b.m.Due), cmp.Compare(a.m.Seq, b.m.Seq))
	})
	if len(taken) == 0 && damaged != nil {
		return nil, damaged // it keeps nobody waiting, but somebody has to look at it
	}
	var out []queue.Delivery
	for _, t := range taken {
		out = append(out, queue.Delivery{
			ID: t.m.ID, Token: t.token, Message: t.decoded, Due: instant(t.m.Due), CreatedAt: instant(t.m.Created),
			Attempts: int(t.m.Attempts) + 1, MaxAttempts: int(t.m.Max), LastError: unquote(t.m.LastError),
		})
	}
	return out, nil
}

func eachAtOnce(jobs ...func() error) error {
	return each(len(jobs), func(i int) error { return jobs[i]() })
}

// renewAndFree renews the worker's lease, and then frees what lapsed workers hold.
// A lease with more than two thirds of its TTL left is not renewed.
func (s *Store) renewAndFree(ctx context.Context, w queue.Worker, workers []worker, now time.Time) (fence int64, freed bool, err error) {
	self := new(worker)
	lapsed := map[string]worker{}
	for _, other := range workers {
		if other.ID == w.ID {
			self = &other
		} else {
			lapsed[other.ID] = other
		}
	}
	fence = self.Fence
	left := time.Duration(self.Expires-micros(now)) * time.Microsecond
	if left <= w.TTL*2/3 || left > w.TTL {
		if fence, err = s.renew(ctx, w, self); err != nil {
			return 0, false, err
		}
	}
	if len(lapsed) == 0 {
		return fence, false, nil
	}
	some, _, err := intact[message](ctx, s.messages, bson.D{eq("worker", in(slices.Collect(maps.Keys(lapsed)))), eq("q", qLeased)},
		options.Find().SetProjection(append(marks(), eq("worker", int32(1)))).SetLimit(settleAtOnce))
	if err != nil {
		return 0, false, err
	}
	// What they have under way is not waited for. One that is only slow finds that out.
	if _, err := s.settleDead(ctx, marksOf(some), func(string) bool { return true }); err != nil {
		return 0, false, err
	}
	seen := map[string]bool{}
	for _, m := range some {
		if seen[m.Worker] {
			continue
		}
		seen[m.Worker] = true
		n, err := s.free(ctx, lapsed[m.Worker])
		if err != nil {
			return 0, false, err
		}
		freed = freed || n > 0
	}
	for _, lw := range lapsed {
		if lw.Expires <= micros(now.Add(-buried)) {
			if err := s.forgetWorker(ctx, lw); err != nil {
				return 0, false, err
			}
		}
	}
	return fence, freed, nil
}

// forgetWorker removes a lease that has lapsed long ago, unless messages are held under
// it, which a commit may have under way: nobody would free them.
func (s *Store) forgetWorker(ctx context.Context, w worker) error {
	err := s.messages.FindOne(ctx, d("worker", w.ID), options.FindOne().SetProjection(d("_id", int32(1)))).Err()
	if err == nil {
		return nil
	}
	if errors.Is(err, mongo.ErrNoDocuments) {
		// It may have come back meanwhile: then it is not as it was.
		_, err = s.workers.DeleteOne(ctx, bson.D{eq("_id", w.ID), eq("fence", w.Fence), eq("expires", w.Expires)})
	}
	return err
}

// spentAtOnce is how many of those without attempts left are looked up at a time.
const spentAtOnce = 200

// look returns what a claim may take, and what it has to bury, by queue: all queues
// by one query, unless there is so much that one could hide another. What is damaged is
// passed over; one is told.
func (s *Store) look(ctx context.Context, now time.Time, room queue.Room) (_ map[string][]message, damaged error, err error) {
	limits := map[string]int{qSpent: spentAtOnce}
	if room.Control > 0 {
		limits[qControl] = room.Control
	}
	if room.Work > 0 {
		limits[qWork] = room.Work
	}
	total := 0
	for _, n := range limits {
		total += n
	}
	found, damaged, err := s.oldest(ctx, now, slices.Collect(maps.Keys(limits)), total)
	if err != nil {
		return nil, nil, err
	}
	out := map[string][]message{}
	for _, m := range found {
		if len(out[m.Q]) < limits[m.Q] {
			out[m.Q] = append(out[m.Q], m)
		}
	}
	if len(found) < total {
		return out, damaged, nil
	}
	for q, n := range limits {
		if len(out[q]) < n {
			if out[q], err = s.due(ctx, now, q, n); err != nil {
				return nil, nil, err
			}
		}
	}
	return out, damaged, nil
}

// due returns the oldest messages of a queue that are due.
func (s *Store) due(ctx context.Context, now time.Time, q string, limit int) ([]message, error) {
	found, _, err := s.oldest(ctx, now, []string{q}, limit)
	return found, err
}

func (s *Store) oldest(ctx context.Context, now time.Time, queues []string, limit int) (found []message, damaged error, err error) {
	if limit <= 0 {
		return nil, nil, nil
	}
	q := eq("q", queues[0])
	if len(queues) > 1 {
		q = eq("q", in(queues))
	}
	for hidden := 0; ; {
		found, bad, err := intact[message](ctx, s.messages, bson.D{q, eq("due", d("$lte", micros(now))), eq("tx", "")},
			options.Find().SetSort(bson.D{eq("due", int32(1)), eq("seq", int32(1))}).SetLimit(int64(limit+hidden)))
		if err != nil {
			return nil, nil, err
		}
		found = slices.DeleteFunc(found, func(m message) bool {
			if m.Rev != "" {
				return false
			}
			bad = append(bad, &stabilize.CorruptError{Table: s.messages.Name(), ID: m.ID, Cause: errForeign})
			return true
		})
		if len(bad) == 0 {
			return found, nil, nil
		}
		if len(bad) <= hidden || len(found) >= limit {
			return found[:min(limit, len(found))], bad[0], nil
		}
		hidden = len(bad) // there may be good ones behind them
	}
}

// delivery is a message that was taken.
type delivery struct {
	m       *message // as it was before
	decoded queue.Message
	token   string
}

// take leases to a worker what is due in a queue until its room is full. What
// cannot be decoded dies, takes no room and stops nothing behind it.
func (s *Store) take(ctx context.Context, w worker, q string, room int, found []message, now time.Time) (taken []*delivery, err error) {
	for room > 0 && len(found) > 0 {
		more := len(found) >= room // there may be more behind them
		lost := 0
		groups := map[[2]int64][]*delivery{}
		for i := range found {
			m := &found[i]
			msg, err := s.cfg.Messages.Decode(m.ID, m.Kind, []byte(m.Body))
			if err != nil {
				if err := s.bury(ctx, m, queue.DeadUndecodable, err.Error(), now); err != nil {
					return taken, err
				}
				more = true // its notice
				continue
			}
			tries := [2]int64{m.Attempts, m.Max}
			groups[tries] = append(groups[tries], &delivery{m: m, decoded: msg})
		}
		for _, group := range groups {
			got, err := s.lease(ctx, w, group)
			taken = append(taken, got...)
			room, lost = room-len(got), lost+len(group)-len(got)
			if err != nil {
				return taken, err
			}
		}
		if room == 0 || !more {
			return taken, nil
		}
		if lost == 0 {
			if found, err = s.due(ctx, now, q, room); err != nil {
				return taken, err
			}
			continue
		}
		// Others are at the same messages. In the order of their places all would meet
		// at the first ones again and again.
		if found, err = s.due(ctx, now, q, room+crowd); err != nil {
			return taken, err
		}
		rand.Shuffle(len(found), func(i, j int) { found[i], found[j] = found[j], found[i] })
		found = found[:min(room, len(found))]
	}
	return taken, nil
}

// crowd is among how many more a claim that lost some looks for others.
const crowd = 32

// lease takes messages of equal attempts, those of them that are as they were found: a
// rev is of one write, so that the list may be one for all.
func (s *Store) lease(ctx context.Context, w worker, group []*delivery) (taken []*delivery, err error) {
	token := s.token()
	first := group[0].m
	ids, revs := make([]string, len(group)), make([]string, len(group))
	for i, g := range group {
		ids[i], revs[i], g.token = g.m.ID, g.m.Rev, claimed(token, g.m.ID)
	}
	n, err := s.updateMany(ctx, s.messages, bson.D{eq("_id", in(ids)), eq("rev", in(revs)), eq("tx", "")},
		bson.D{
			eq("$set", bson.D{eq("q", qLeased), eq("back", rest(first.Lane, first.Attempts+1, first.Max)), eq("worker", w.ID), eq("fence", w.Fence), eq("token", storedClaim(token)), eq("rev", token)}),
			eq("$inc", d("attempts", int64(1))),
		})
	lost := err
	switch {
	case err != nil && answered(err):
		return nil, err
	case err != nil: // the answer was lost, and it may have been done
	case n == int64(len(group)):
		return group, nil
	}
	won, err := all[marked](ctx, s.messages, bson.D{eq("_id", in(ids)), eq("token", storedClaim(token))}, options.Find().SetProjection(d("_id", int32(1))))
	if err != nil {
		return nil, err
	}
	mine := make(map[string]bool, len(won))
	for _, m := range won {
		mine[m.ID] = true
	}
	for _, g := range group {
		if mine[g.m.ID] {
			taken = append(taken, g)
		}
	}
	if len(taken) == 0 {
		err = lost
	}
	return taken, err
}
