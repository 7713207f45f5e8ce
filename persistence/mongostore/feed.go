package mongostore

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// How stored events get their places in the feed. No counter gives numbers that commits
// are seen in the order of, so events get theirs after the commit, by whoever reads: all
// that have none are listed, in order, in one document, by compare-and-set, then each is
// given the number that it has there, and then the document says that they all have.
// Readers look no further than it says. Anybody may do each step, at the same time,
// late, and again: an event is numbered only if it has none, and what its number is was
// decided once.

// eventRow is a document of the collection events: some events of one commit. N is its
// place in the feed, 0 as long as it has none.
type eventRow struct {
	ID       string `bson:"_id"`
	N        int64  `bson:"n"`
	Workflow string `bson:"wf"`
	Inc      string `bson:"inc"` // which workflow of that id: see workflow.Inc
	Version  int64  `bson:"v"`
	First    int64  `bson:"first"`
	Count    int64  `bson:"count"`
	Body     string `bson:"body"`
	Mark     mark   `bson:",inline"` // until the commit is known to be done
}

// feed is the document of meta that orders events.
type feed struct {
	ID    string   `bson:"_id"`
	Rev   string   `bson:"rev"`
	N     int64    `bson:"n"`     // all up to it have their numbers, and are seen
	Batch []string `bson:"batch"` // ids of those that have the next numbers, in order
}

// feedBatch is how many documents are numbered at a time.
const feedBatch = 1000

// order gives every event that has been committed a place, and returns up to which they
// are seen. What comes meanwhile is left to the next.
func (s *Store) order(ctx context.Context) (seen int64, err error) {
	for {
		f, err := one[feed](ctx, s.meta, d("_id", metaFeed))
		if errors.Is(err, mongo.ErrNoDocuments) {
			err = &stabilize.CorruptError{Table: "meta", ID: metaFeed, Cause: err}
		}
		if err != nil {
			return 0, err
		}
		if len(f.Batch) > 0 {
			if err := s.endBatch(ctx, &f); err != nil {
				return 0, err
			}
			continue
		}
		list, again, err := s.unnumbered(ctx)
		if err != nil {
			return 0, err
		}
		if len(list) == 0 && !again {
			return f.N, nil
		}
		if len(list) > 0 {
			next := feed{Rev: s.token(), N: f.N, Batch: list}
			made, err := s.turn(ctx, &f, &next)
			if err == nil && made {
				err = s.endBatch(ctx, &next)
			}
			if err != nil {
				return 0, err
			}
			if made && len(list) < feedBatch && !again {
				return next.N + int64(len(list)), nil
			}
		}
	}
}

// turn writes the feed's document, if it is as it was read.
func (s *Store) turn(ctx context.Context, was, next *feed) (bool, error) {
	var made bool
	err := s.repeat(ctx, func() error {
		res, err := s.meta.UpdateOne(ctx, bson.D{eq("_id", metaFeed), eq("rev", was.Rev)},
			set(eq("rev", next.Rev), eq("n", next.N), eq("batch", next.Batch)))
		made = err == nil && res.MatchedCount == 1
		return err
	})
	return made, err
}

// endBatch gives the events of a batch their numbers and says that they have them.
func (s *Store) endBatch(ctx context.Context, f *feed) error {
	models := make([]mongo.WriteModel, len(f.Batch))
	for i, id := range f.Batch {
		models[i] = mongo.NewUpdateOneModel().SetFilter(bson.D{eq("_id", id), eq("n", int64(0))}).SetUpdate(set(eq("n", f.N+1+int64(i))))
	}
	parts := slices.Collect(slices.Chunk(models, statements))
	err := each(len(parts), func(i int) error {
		return s.repeat(ctx, func() error {
			_, err := s.events.BulkWrite(ctx, parts[i], options.BulkWrite().SetOrdered(false))
			return err
		})
	})
	if err != nil {
		return err
	}
	_, err = s.turn(ctx, f, &feed{Rev: s.token(), N: f.N + int64(len(f.Batch)), Batch: []string{}})
	return err
}

// unnumbered returns the ids of events that have no number and whose commits are done,
// those of a workflow in their order and without a gap. again: others were settled, or
// there may be more.
func (s *Store) unnumbered(ctx context.Context) (ids []string, again bool, err error) {
	some, err := all[eventRow](ctx, s.events, d("n", int64(0)), options.Find().SetProjection(d("wf", int32(1))).SetLimit(feedBatch))
	if err != nil || len(some) == 0 {
		return nil, false, err
	}
	var workflows []string
	for i := range some {
		workflows = append(workflows, some[i].Workflow)
	}
	slices.Sort(workflows)
	workflows = slices.Compact(workflows)
	// Looked at once more: what was stored before one of them is there by now.
	own, stop := s.flying.watch()
	list, err := all[eventRow](ctx, s.events, bson.D{eq("wf", in(workflows)), eq("n", int64(0))},
		options.Find().SetProjection(d("body", int32(0))).SetSort(bson.D{eq("v", int32(1)), eq("first", int32(1))}).SetLimit(feedBatch))
	stop()
	if err != nil {
		return nil, false, err
	}
	var left []mark
	for i := range list {
		if m := list[i].Mark; m.Tx != "" && !own[m.Tx] && s.olderThan(m.Tx, s.cfg.Patience) {
			left = append(left, m)
		}
	}
	if settled, err := s.settleThese(ctx, left); err != nil || settled {
		return nil, true, err
	}
	held := map[string]bool{} // workflows of which one must come first
	last := map[string]string{}
	type entry struct{ key, id string }
	var entries []entry
	for i := range list {
		row := &list[i]
		if held[row.Inc] = held[row.Inc] || row.Mark.Tx != ""; held[row.Inc] {
			continue
		}
		// Ids begin with the time of their commits, as the hosts know it.
		key := max(row.ID, last[row.Inc])
		last[row.Inc] = key
		entries = append(entries, entry{key, row.ID})
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Compare(a.key, b.key) })
	for _, e := range entries {
		ids = append(ids, e.id)
	}
	return ids, len(list) == feedBatch && len(ids) > 0, nil
}
