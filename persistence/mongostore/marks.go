package mongostore

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/oklog/ulid/v2"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// verdict is what is known of a commit that has marked documents.
type verdict uint8

const (
	underway verdict = iota // it may still be done
	committed
	broken // it is not done and never will be
)

// marked is a document with a mark, whichever it is.
type marked struct {
	ID   string `bson:"_id"`
	Mark mark   `bson:",inline"`
}

func marks() bson.D {
	return bson.D{eq("_id", int32(1)), eq("tx", int32(1)), eq("of", int32(1)), eq("at", int32(1)), eq("exp", int32(1))}
}

func (s *Store) primaries(of string) *mongo.Collection {
	switch of {
	case ofWorkflows:
		return s.workflows
	case ofMessages:
		return s.messages
	}
	return s.steps
}

// judge finds out about commits by their primaries, by token.
func (s *Store) judge(ctx context.Context, list []mark) (map[string]verdict, error) {
	out := make(map[string]verdict, len(list))
	byPlace := map[string][]mark{}
	for _, m := range list {
		if _, seen := out[m.Tx]; m.Tx != "" && !seen {
			out[m.Tx] = broken // unless found otherwise: a primary that is gone decides nothing any more
			if m.Exp == "" {
				out[m.Tx] = underway // a creation, not inserted yet
			}
			byPlace[m.Of] = append(byPlace[m.Of], m)
		}
	}
	for of, group := range byPlace {
		ids := make([]string, len(group))
		for i, m := range group {
			ids[i] = m.At
		}
		found, damaged, err := intact[primary](ctx, s.primaries(of), d("_id", in(ids)),
			options.Find().SetProjection(bson.D{eq("_id", int32(1)), eq("rev", int32(1)), eq("txs", int32(1))}))
		if err != nil {
			return nil, err
		}
		byID := make(map[string]primary, len(found))
		for _, p := range found {
			byID[p.ID] = p
		}
		for _, bad := range damaged { // nobody knows
			for _, m := range group {
				if m.At == bad.ID {
					out[m.Tx] = underway
				}
			}
		}
		for _, m := range group {
			if p, ok := byID[m.At]; ok {
				out[m.Tx] = p.judge(m)
			}
		}
	}
	return out, nil
}

func (p *primary) judge(m mark) verdict {
	for _, tx := range p.Txs {
		if tx == m.Tx {
			return committed
		}
	}
	if p.Rev == m.Exp {
		return underway
	}
	return broken
}

// breakOff makes sure that a commit under way will not be done: its primary gets
// another rev, on which it was not decided; that of a creation is put there, of
// version 0, so that the creation finds its id taken. It returns what became of it.
func (s *Store) breakOff(ctx context.Context, m mark) (verdict, error) {
	for {
		if m.Exp == "" {
			_, err := s.workflows.InsertOne(ctx, workflow{ID: m.At, Rev: s.token(), Txs: []string{}, Stages: map[string]stage{}, Keys: []string{}})
			if err == nil {
				return broken, nil
			}
			if !duplicate(err) {
				return underway, err
			}
			now, err := s.judge(ctx, []mark{m})
			if err != nil || now[m.Tx] != underway {
				return now[m.Tx], err
			}
			continue
		}
		res, err := s.primaries(m.Of).UpdateOne(ctx, bson.D{eq("_id", m.At), eq("rev", m.Exp)}, set(eq("rev", s.token())))
		if err != nil {
			return underway, err
		}
		if res.MatchedCount == 1 {
			return broken, nil
		}
		now, err := s.judge(ctx, []mark{m})
		if err != nil || now[m.Tx] != underway {
			return now[m.Tx], err
		}
		if _, err := one[primary](ctx, s.primaries(m.Of), d("_id", m.At), options.FindOne().SetProjection(view())); err != nil {
			return underway, err
		}
	}
}

// clear settles the commits that stand in the way: those that are done are
// finished, those that never will be are undone, and those under way are waited
// for, until patience ends: then they are broken off.
func (s *Store) clear(ctx context.Context, list []mark, p *patience) error {
	verdicts, err := s.judge(ctx, list)
	if err != nil {
		return err
	}
	var done, undo []string
	waits := false
	seen := map[string]bool{}
	for _, m := range list {
		if m.Tx == "" || seen[m.Tx] {
			continue
		}
		seen[m.Tx] = true
		v := verdicts[m.Tx]
		if v == underway && p.over() {
			if v, err = s.breakOff(ctx, m); err != nil {
				return err
			}
		}
		switch v {
		case committed:
			done = append(done, m.Tx)
		case broken:
			undo = append(undo, m.Tx)
		default:
			waits = true
		}
	}
	if err := s.finish(ctx, done); err != nil {
		return err
	}
	if err := s.undo(ctx, undo); err != nil {
		return err
	}
	if waits && len(done)+len(undo) == 0 {
		return p.wait(ctx)
	}
	return nil
}

// settleAtOnce is how many are looked up at a time.
const settleAtOnce = 1000

// stale is after how long, by the token's time and the clock, a commit under way is
// taken for one whose process died.
const stale = time.Minute

// settle finishes and undoes what crashes have left among the messages that a
// filter finds. done tells whether anything changed by it.
func (s *Store) settle(ctx context.Context, filter bson.D) (done bool, err error) {
	found, err := s.left(ctx, filter)
	if err != nil || len(found) == 0 {
		return false, err
	}
	return s.settleThese(ctx, found)
}

// left returns the marks on messages that a filter finds, but for those of this
// handle's commits: they would be finished twice.
func (s *Store) left(ctx context.Context, filter bson.D) ([]mark, error) {
	own, stop := s.flying.watch()
	found, _, err := intact[marked](ctx, s.messages, filter, options.Find().SetProjection(marks()).SetLimit(settleAtOnce))
	stop()
	if err != nil {
		return nil, err
	}
	var list []mark
	for _, f := range found {
		if !own[f.Mark.Tx] {
			list = append(list, f.Mark)
		}
	}
	return list, nil
}

// settleThese finishes and undoes what has left marks.
func (s *Store) settleThese(ctx context.Context, list []mark) (done bool, err error) {
	return s.settleDead(ctx, list, s.old)
}

// settleDead is settleThese; dead tells of what is under way whether it is broken off.
func (s *Store) settleDead(ctx context.Context, list []mark, dead func(tx string) bool) (done bool, err error) {
	if len(list) == 0 {
		return false, nil
	}
	verdicts, err := s.judge(ctx, list)
	if err != nil {
		return false, err
	}
	var finish, undo []string
	for _, m := range list {
		v, left := verdicts[m.Tx]
		if !left {
			continue
		}
		delete(verdicts, m.Tx)
		if v == underway && dead(m.Tx) {
			if v, err = s.breakOff(ctx, m); errors.Is(err, stabilize.ErrCorrupt) {
				continue // it stays as it is, and keeps nobody else
			} else if err != nil {
				return false, err
			}
		}
		switch v {
		case committed:
			finish = append(finish, m.Tx)
		case broken:
			undo = append(undo, m.Tx)
		}
	}
	if err := s.finish(ctx, finish); err != nil {
		return false, err
	}
	return len(finish)+len(undo) > 0, s.undo(ctx, undo)
}

func (s *Store) old(tx string) bool { return s.olderThan(tx, stale) }

func (s *Store) olderThan(tx string, age time.Duration) bool {
	id, err := ulid.ParseStrict(tx)
	return err != nil || s.now().Sub(id.Timestamp()) > age
}

// patience is how long a call waits for others. In real time, whatever the Clock
// says: so do the others.
type patience struct {
	until, end time.Time
	pause      time.Duration
}

func (s *Store) patience() *patience {
	now := time.Now()
	// Of two that wait for each other one shall lose patience first.
	first := s.cfg.Patience + time.Duration(rand.Int64N(int64(s.cfg.Patience)+1))
	return &patience{until: now.Add(first), end: now.Add(s.cfg.CallTimeout), pause: time.Millisecond}
}

// over reports whether it breaks off what it waits for.
func (p *patience) over() bool { return time.Now().After(p.until) }

// spent reports whether the call gives up.
func (p *patience) spent() bool { return time.Now().After(p.end) }

// wait waits a little, each time a little longer.
func (p *patience) wait(ctx context.Context) error {
	t := time.NewTimer(p.pause/2 + time.Duration(rand.Int64N(int64(p.pause))))
	defer t.Stop()
	p.pause = min(2*p.pause, 50*time.Millisecond)
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
