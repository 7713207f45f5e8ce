package mongostore

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// EventLog implements persistence.EventKeeper. Each question begins with giving places
// to the events that have none yet; see feed.go.
func (s *Store) EventLog() events.Log { return eventLog{s} }

type eventLog struct{ s *Store }

// reading runs fn on what is seen of the feed.
func (l eventLog) reading(ctx context.Context, bad error, fn func(ctx context.Context, r persistence.EventReader) error) error {
	call, leave, err := l.s.enter(ctx, bad)
	if err != nil {
		return err
	}
	defer leave()
	seen, err := l.s.order(call)
	if err == nil {
		err = fn(call, persistence.EventReader{Rows: func(ctx context.Context, r persistence.EventRange) ([]persistence.EventRow, error) {
			return l.s.eventRows(ctx, r, seen)
		}})
	}
	return l.s.classify(ctx, "read events", err)
}

// Read implements events.Log.
func (l eventLog) Read(ctx context.Context, q events.Query) (page events.Page, err error) {
	err = l.reading(ctx, persistence.CheckEvents(&q), func(ctx context.Context, r persistence.EventReader) (err error) {
		page, err = r.Read(ctx, q)
		return err
	})
	return page, err
}

// Count implements events.Log.
func (l eventLog) Count(ctx context.Context, q events.Query) (n int64, err error) {
	err = l.reading(ctx, persistence.CheckEvents(&q), func(ctx context.Context, r persistence.EventReader) (err error) {
		n, err = r.Count(ctx, q)
		return err
	})
	return n, err
}

// Last implements events.Log.
func (l eventLog) Last(ctx context.Context) (last events.Position, err error) {
	err = l.reading(ctx, nil, func(ctx context.Context, r persistence.EventReader) (err error) {
		last, err = r.Last(ctx)
		return err
	})
	return last, err
}

// Get implements events.Log.
func (l eventLog) Get(ctx context.Context, id string) (e *events.Event, err error) {
	missing := &stabilize.NotFoundError{Kind: "event", ID: id}
	of, bad := events.ParseID(id)
	if bad != nil {
		bad = missing
	}
	err = l.reading(ctx, bad, func(ctx context.Context, _ persistence.EventReader) error {
		found, err := all[eventRow](ctx, l.s.events, bson.D{
			eq("wf", of.WorkflowID), eq("v", of.Version), eq("first", d("$lte", int64(of.Index))), eq("n", d("$gt", int64(0))),
		}, options.Find().SetSort(d("first", int32(-1))).SetLimit(1))
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return missing
		}
		e, err = found[0].row().FindEvent(id)
		return err
	})
	return e, err
}

func (r *eventRow) row() *persistence.EventRow {
	return &persistence.EventRow{
		EncodedEvents: persistence.EncodedEvents{First: int(r.First), Count: int(r.Count), Body: []byte(r.Body)},
		WorkflowID:    r.Workflow, Version: r.Version, Number: uint64(r.N), //nolint:gosec // numbers begin with 1
	}
}

// eventRows implements persistence.EventRows, of what is seen.
func (s *Store) eventRows(ctx context.Context, r persistence.EventRange, seen int64) ([]persistence.EventRow, error) {
	if r.From.Transaction > 0 {
		return nil, nil // there are no transactions
	}
	to := seen
	if r.To.Transaction == 0 {
		to = min(r.To.Number, seen)
	}
	filter := bson.D{eq("n", bson.D{eq("$gte", max(r.From.Number, 1)), eq("$lte", to)})}
	if r.WorkflowID != "" {
		filter = append(bson.D{eq("wf", r.WorkflowID)}, filter...)
	}
	opts := options.Find().SetSort(d("n", int32(1))).SetLimit(int64(r.Limit))
	if r.Descending {
		opts.SetSort(d("n", int32(-1)))
	}
	if r.Bare {
		opts.SetProjection(d("body", int32(0)))
	}
	found, err := all[eventRow](ctx, s.events, filter, opts)
	if err != nil {
		return nil, err
	}
	rows := make([]persistence.EventRow, len(found))
	for i := range found {
		rows[i] = *found[i].row()
	}
	return rows, nil
}

// tellEvents makes the documents of a commit's events, with its mark. The aggregate that
// comes of it is known.
func (w *work) tellEvents() {
	for i, e := range w.enc.Events {
		w.placed = true
		w.events = append(w.events, eventRow{
			ID: fmt.Sprintf("%s-%d", w.mark.Tx, i), Workflow: w.c.WorkflowID, Inc: w.change.inc, Version: w.change.version,
			First: int64(e.First), Count: int64(e.Count), Body: string(e.Body), Mark: w.mark,
		})
	}
}

// placeEvents stores events that nobody sees until their commits are done.
func (s *Store) placeEvents(ctx context.Context, works []*work) error {
	var docs []any
	size := 0
	send := func() error {
		if len(docs) == 0 {
			return nil
		}
		_, err := s.events.InsertMany(ctx, docs, unordered())
		docs, size = nil, 0
		return err
	}
	for _, w := range works {
		for i := range w.events {
			if size += len(w.events[i].Body); size > commandBytes || len(docs) == commandDocs {
				if err := send(); err != nil {
					return err
				}
			}
			docs = append(docs, &w.events[i])
		}
	}
	return send()
}
