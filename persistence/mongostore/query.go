package mongostore

import (
	"context"
	"errors"
	"math"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Query implements persistence.WorkflowStore.
func (s *Store) Query(ctx context.Context, q persistence.Query) (persistence.Page, error) {
	after, bad := q.Check()
	call, leave, err := s.enter(ctx, bad)
	if err != nil {
		return persistence.Page{}, err
	}
	defer leave()
	var page persistence.Page
	missed := missed{}
	err = s.again(call, func() (done bool, err error) {
		page, done, err = s.page(call, &q, after, missed)
		return done, err
	})
	if err != nil {
		return persistence.Page{}, s.classify(ctx, "query", err)
	}
	return page, nil
}

// page reads a page. Of workflows that are deleted together it has all or none: it
// is read again when such a deletion came in between.
func (s *Store) page(ctx context.Context, q *persistence.Query, after *persistence.Place, missed missed) (page persistence.Page, done bool, err error) {
	before, err := s.deletions(ctx)
	if err != nil {
		return page, false, err
	}
	docs, err := all[workflow](ctx, s.workflows, filterOf(q, after), options.Find().SetProjection(headerOnly()).
		SetSort(bson.D{eq("start", int32(-1)), eq("_id", int32(-1))}).SetLimit(int64(min(q.Limit, math.MaxInt-1))+1))
	if err != nil {
		return page, false, err
	}
	var deleting []mark
	parts := make([]part, len(docs))
	for i := range docs {
		deleting = append(deleting, docs[i].Mark)
		parts[i] = docs[i].Header
	}
	// Also one that is decided no more, by a step that is gone: if what was read had its
	// mark, others may have been removed already.
	if settled, err := s.settleThese(ctx, deleting); err != nil || settled {
		return page, false, err
	}
	bodies, whole, err := s.bodies(ctx, parts, missed)
	if err != nil || !whole {
		return page, false, err
	}
	now, err := s.deletions(ctx)
	if err != nil || now != before {
		return page, false, err
	}
	page.Workflows = make([]*stabilize.Header, 0, min(q.Limit, len(docs)))
	for i := range docs {
		doc := &docs[i]
		if i == q.Limit {
			last := &docs[i-1]
			page.Next = q.MakeToken(persistence.Place{Start: last.Start, ID: last.ID})
			break
		}
		h, err := persistence.DecodeHeader(doc.ID, doc.Version, bodies.of(doc.Header))
		if err != nil {
			return persistence.Page{}, false, err
		}
		page.Workflows = append(page.Workflows, h)
	}
	return page, true, nil
}

// deletions counts the deletions of several workflows.
func (s *Store) deletions(ctx context.Context) (int64, error) {
	var c counter
	err := s.meta.FindOne(ctx, d("_id", metaDeletions)).Decode(&c)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return 0, &stabilize.CorruptError{Table: "meta", ID: metaDeletions, Cause: err}
	}
	return c.N, err
}

func filterOf(q *persistence.Query, after *persistence.Place) bson.D {
	filter := bson.D{eq("version", d("$gt", int64(0)))}
	if q.Application != "" {
		filter = append(filter, eq("app", q.Application))
	}
	if q.ConfigID != "" {
		filter = append(filter, eq("config", q.ConfigID))
	}
	if len(q.Statuses) > 0 {
		names := make([]string, len(q.Statuses))
		for i, st := range q.Statuses {
			names[i] = st.String()
		}
		filter = append(filter, eq("status", in(names)))
	}
	var start bson.D
	if !q.StartedFrom.IsZero() {
		start = append(start, eq("$gte", ceilMicros(q.StartedFrom)))
	}
	switch {
	case !q.StartedBefore.IsZero():
		start = append(start, eq("$lt", ceilMicros(q.StartedBefore)))
	case !q.StartedFrom.IsZero():
		start = append(start, eq("$lt", int64(persistence.NotStarted)))
	}
	if len(start) > 0 {
		filter = append(filter, eq("start", start))
	}
	if after != nil {
		filter = append(filter, eq("$or", bson.A{
			d("start", d("$lt", after.Start)),
			bson.D{eq("start", after.Start), eq("_id", d("$lt", after.ID))},
		}))
	}
	return filter
}

// ceilMicros is the first stored time that is not before t.
func ceilMicros(t time.Time) int64 {
	us := t.UnixMicro()
	if time.UnixMicro(us).Before(t) {
		us++
	}
	return us
}
