package mongostore

import (
	"cmp"
	"context"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Pending implements queue.Queue.
func (s *Store) Pending(ctx context.Context, workflowID string) ([]queue.Stored, error) {
	var bad error
	if workflowID != "" {
		bad = stabilize.CheckID("workflow id", workflowID)
	}
	call, leave, err := s.enter(ctx, bad)
	if err != nil {
		return nil, err
	}
	defer leave()
	var found []message
	err = s.again(call, func() (bool, error) {
		var err error
		if found, err = all[message](call, s.messages, d("wf", workflowID)); err != nil {
			return false, err
		}
		finished, err := s.finished(call, marksOf(found)...)
		return !finished, err
	})
	if err != nil {
		return nil, s.classify(ctx, "list pending messages", err)
	}
	found = slices.DeleteFunc(found, func(m message) bool { return m.Q == qUnborn || m.Q == qDead })
	slices.SortFunc(found, func(a, b message) int { return cmp.Or(cmp.Compare(a.Due, b.Due), cmp.Compare(a.Seq, b.Seq)) })
	lapsed, err := s.lapsed(call)
	if err != nil {
		return nil, s.classify(ctx, "list pending messages", err)
	}
	out := make([]queue.Stored, 0, len(found))
	for i := range found {
		m := &found[i]
		msg, _ := s.cfg.Messages.Decode(m.ID, m.Kind, []byte(m.Body)) // nil if it cannot be decoded, as documented
		out = append(out, queue.Stored{
			ID: m.ID, Message: msg, Kind: m.Kind, Due: instant(m.Due), Attempts: int(m.Attempts), MaxAttempts: int(m.Max),
			Leased: m.Q == qLeased && !slices.Contains(lapsed, m.Worker),
		})
	}
	return out, nil
}

// lapsed returns the workers whose leases have lapsed.
func (s *Store) lapsed(ctx context.Context) ([]string, error) {
	found, _, err := intact[worker](ctx, s.workers, d("expires", d("$lte", micros(s.now()))))
	ids := make([]string, len(found))
	for i, w := range found {
		ids[i] = w.ID
	}
	return ids, err
}

// counted is up to how many messages are counted one by one, as of one instant; more
// are counted by index, each kind on its own.
const counted = 10_000

// Depth implements queue.Queue.
func (s *Store) Depth(ctx context.Context) (queue.Depth, error) {
	call, leave, err := s.enter(ctx)
	if err != nil {
		return queue.Depth{}, err
	}
	defer leave()
	out, err := s.depth(call)
	if err != nil {
		return queue.Depth{}, s.classify(ctx, "count messages", err)
	}
	return out, nil
}

func (s *Store) depth(ctx context.Context) (out queue.Depth, err error) {
	now := micros(s.now())
	lapsed, err := s.lapsed(ctx)
	if err != nil {
		return out, err
	}
	many := false
	err = s.again(ctx, func() (done bool, err error) {
		out, many, done, err = s.depthOneByOne(ctx, now, lapsed)
		return done || many, err
	})
	if err != nil || !many {
		return out, err
	}
	if _, err := s.settle(ctx, d("tx", d("$gt", ""))); err != nil {
		return out, err
	}
	return s.depthByIndex(ctx, now, lapsed)
}

// depthOneByOne counts messages as the commits that have them under way are decided. It
// is not done if one of these was found to be over: it may have been finished meanwhile.
func (s *Store) depthOneByOne(ctx context.Context, now int64, lapsed []string) (out queue.Depth, many, done bool, err error) {
	projection := append(marks(), eq("q", int32(1)), eq("born", int32(1)), eq("due", int32(1)), eq("worker", int32(1)),
		eq("next.q", int32(1)), eq("next.due", int32(1)), eq("next.worker", int32(1)))
	found, damaged, err := intact[message](ctx, s.messages, bson.D{}, options.Find().SetLimit(counted+1).SetProjection(projection))
	if err != nil || len(found)+len(damaged) > counted {
		return out, err == nil, false, err
	}
	verdicts, err := s.judge(ctx, marksOf(found))
	if err != nil {
		return out, false, false, err
	}
	for i := range found {
		m := &found[i]
		switch {
		case verdicts[m.Mark.Tx] == broken:
			_, err := s.settleThese(ctx, marksOf(found))
			return out, false, false, err
		case verdicts[m.Mark.Tx] != committed:
		case m.Q == qUnborn:
			m.Q = m.Born
		case m.Next != nil:
			m = m.Next
		default: // it is gone
			continue
		}
		switch m.Q {
		case qDead:
			out.Dead++
		case qControl, qWork, qSpent, qLeased:
			out.Add(instant(m.Due), m.Q == qLeased && !slices.Contains(lapsed, m.Worker), instant(now))
		}
	}
	return out, false, true, nil
}

func (s *Store) depthByIndex(ctx context.Context, now int64, lapsed []string) (out queue.Depth, err error) {
	of := func(n *int, filter bson.D) func() error {
		return func() (err error) { *n, err = s.number(ctx, filter); return err }
	}
	due, later := eq("due", d("$lte", now)), eq("due", d("$gt", now))
	var silentReady, silentDelayed int
	nobody := eq("q", in(free()))
	silent := []bson.E{eq("q", qLeased), eq("worker", in(lapsed))}
	var oldest [2][]message
	first := func(at int, filter bson.D) func() error {
		return func() (err error) {
			oldest[at], err = all[message](ctx, s.messages, filter, options.Find().SetSort(d("due", int32(1))).SetLimit(1).SetProjection(d("due", int32(1))))
			return err
		}
	}
	jobs := []func() error{
		of(&out.Ready, bson.D{nobody, due}), of(&out.Delayed, bson.D{nobody, later}),
		of(&out.Leased, d("q", qLeased)), of(&out.Dead, d("q", qDead)), first(0, bson.D{nobody, due}),
	}
	if len(lapsed) > 0 {
		jobs = append(jobs, of(&silentReady, append(silent[:2:2], due)), of(&silentDelayed, append(silent[:2:2], later)), first(1, append(silent[:2:2], due)))
	}
	if err := eachAtOnce(jobs...); err != nil {
		return out, err
	}
	out.Ready, out.Delayed, out.Leased = out.Ready+silentReady, out.Delayed+silentDelayed, out.Leased-silentReady-silentDelayed
	for _, list := range oldest {
		for _, m := range list {
			if at := instant(m.Due); out.Oldest.IsZero() || at.Before(out.Oldest) {
				out.Oldest = at
			}
		}
	}
	return out, nil
}

// number counts messages by a command that every server has.
func (s *Store) number(ctx context.Context, filter bson.D) (int, error) {
	var out struct {
		N int64 `bson:"n"`
	}
	err := s.db.RunCommand(ctx, bson.D{eq("count", s.messages.Name()), eq("query", filter)}).Decode(&out)
	return int(out.N), err
}
