package memstore

import (
	"context"
	"slices"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// EventLog implements persistence.EventKeeper.
func (s *Store) EventLog() events.Log { return eventLog{s} }

// eventLog is the feed of Data. Its events are never changed.
type eventLog struct{ s *Store }

// newEvents returns the commit's own copy of its events.
func newEvents(evs []events.Event) []*events.Event {
	if len(evs) == 0 {
		return nil
	}
	out := make([]*events.Event, len(evs))
	for i := range evs {
		e := evs[i].Clone()
		e.At = stabilize.Instant(e.At)
		out[i] = &e
	}
	return out
}

// record puts events at the end of the feed.
func (d *Data) record(o *owner, evs []*events.Event) {
	for _, e := range evs {
		d.recorded++
		e.Position = events.MakePosition(d.recorded)
	}
	d.feed = append(d.feed, evs...)
	o.events = append(o.events, evs...)
}

// forget takes an owner's events out of the feed.
func (d *Data) forget(o *owner) {
	if len(o.events) == 0 {
		return
	}
	gone := make(map[*events.Event]bool, len(o.events))
	for _, e := range o.events {
		gone[e] = true
	}
	from := after(d.feed, o.events[0].Position) - 1
	kept := slices.DeleteFunc(d.feed[from:], func(e *events.Event) bool { return gone[e] })
	d.feed, o.events = d.feed[:from+len(kept)], nil
}

// after returns the index of the first event behind a position.
func after(feed []*events.Event, p events.Position) int {
	at, found := slices.BinarySearchFunc(feed, p, func(e *events.Event, p events.Position) int {
		switch {
		case e.Position < p:
			return -1
		case e.Position > p:
			return 1
		}
		return 0
	})
	if found {
		at++
	}
	return at
}

func (l eventLog) check(ctx context.Context, q *events.Query) error {
	if err := l.s.begin(ctx); err != nil {
		return err
	}
	if err := q.Check(); err != nil {
		return err
	}
	for _, p := range []events.Position{q.After, q.Before} {
		if _, err := p.Numbers(1); err != nil {
			return err
		}
	}
	return nil
}

// within returns the events among which a query chooses. Data is locked.
func (d *Data) within(q *events.Query) []*events.Event {
	feed := d.feed
	if q.WorkflowID != "" {
		if feed = nil; d.owners[q.WorkflowID] != nil {
			feed = d.owners[q.WorkflowID].events
		}
	}
	feed = feed[after(feed, q.After):]
	if q.Before == "" {
		return feed
	}
	to := after(feed, q.Before)
	if to > 0 && feed[to-1].Position == q.Before {
		to--
	}
	return feed[:to]
}

// Read implements events.Log.
func (l eventLog) Read(ctx context.Context, q events.Query) (events.Page, error) {
	if err := l.check(ctx, &q); err != nil {
		return events.Page{}, err
	}
	page := events.Page{Next: q.After}
	if q.Descending {
		page.Next = q.Before
	}
	l.s.data.mu.Lock()
	defer l.s.data.mu.Unlock()
	feed := l.s.data.within(&q)
	for i, e := range feed {
		if q.Descending {
			e = feed[len(feed)-1-i]
		}
		page.Next = e.Position
		if !q.Selects(e) {
			continue
		}
		if page.Events = append(page.Events, e.Clone()); len(page.Events) == q.Limit {
			break
		}
	}
	return page, nil
}

// Count implements events.Log.
func (l eventLog) Count(ctx context.Context, q events.Query) (n int64, err error) {
	if err := l.check(ctx, &q); err != nil {
		return 0, err
	}
	l.s.data.mu.Lock()
	defer l.s.data.mu.Unlock()
	for _, e := range l.s.data.within(&q) {
		if q.Selects(e) {
			n++
		}
	}
	return n, nil
}

// Get implements events.Log.
func (l eventLog) Get(ctx context.Context, id string) (*events.Event, error) {
	if err := l.s.begin(ctx); err != nil {
		return nil, err
	}
	l.s.data.mu.Lock()
	defer l.s.data.mu.Unlock()
	if of, err := events.ParseID(id); err == nil {
		if o := l.s.data.owners[of.WorkflowID]; o != nil {
			for _, e := range o.events {
				if e.ID == id {
					found := e.Clone()
					return &found, nil
				}
			}
		}
	}
	return nil, &stabilize.NotFoundError{Kind: "event", ID: id}
}

// Last implements events.Log.
func (l eventLog) Last(ctx context.Context) (events.Position, error) {
	if err := l.s.begin(ctx); err != nil {
		return "", err
	}
	l.s.data.mu.Lock()
	defer l.s.data.mu.Unlock()
	if n := len(l.s.data.feed); n > 0 {
		return l.s.data.feed[n-1].Position, nil
	}
	return "", nil
}

var _ persistence.EventKeeper = (*Store)(nil)
