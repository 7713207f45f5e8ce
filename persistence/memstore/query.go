package memstore

import (
	"context"
	"slices"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

type found struct {
	place   persistence.Place
	header  *stabilize.Header
	version int64
}

// Query implements persistence.WorkflowStore.
func (s *Store) Query(ctx context.Context, q persistence.Query) (persistence.Page, error) {
	var page persistence.Page
	if err := s.begin(ctx); err != nil {
		return page, err
	}
	after, err := q.Check()
	if err != nil {
		return page, err
	}
	hits := s.find(&q, after)
	slices.SortFunc(hits, func(a, b found) int { return a.place.Compare(b.place) })
	if len(hits) > q.Limit {
		hits = hits[:q.Limit]
		page.Next = q.MakeToken(hits[q.Limit-1].place)
	}
	page.Workflows = make([]*stabilize.Header, len(hits))
	for i, h := range hits {
		page.Workflows[i] = headerAt(h.header, h.version)
	}
	return page, nil
}

func (s *Store) find(q *persistence.Query, after *persistence.Place) []found {
	s.data.mu.Lock()
	defer s.data.mu.Unlock()
	var hits []found
	for _, o := range s.data.workflows {
		h := o.workflow.header
		if !q.Selects(h) {
			continue
		}
		if p := persistence.PlaceOf(h); after == nil || p.Compare(*after) > 0 {
			hits = append(hits, found{place: p, header: h, version: o.workflow.version})
		}
	}
	return hits
}
