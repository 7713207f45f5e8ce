package memstore

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

const defaultLimit = 100

// place is where a workflow stands in the order of a query: those not started
// first, then by start, newest first, ties by id, descending.
type place struct {
	Started bool
	Micros  int64
	ID      string
}

func placeOf(h *stabilize.Header) place {
	p := place{ID: h.ID, Started: !h.StartedAt.IsZero()}
	if p.Started {
		p.Micros = h.StartedAt.UnixMicro()
	}
	return p
}

func (p place) compare(q place) int {
	if p.Started != q.Started {
		if p.Started {
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(q.Micros, p.Micros), strings.Compare(q.ID, p.ID))
}

type found struct {
	place   place
	header  *stabilize.Header
	version int64
}

// Query implements persistence.WorkflowStore.
func (s *Store) Query(ctx context.Context, q persistence.Query) (persistence.Page, error) {
	var page persistence.Page
	if err := s.begin(ctx); err != nil {
		return page, err
	}
	if err := checkQuery(q); err != nil {
		return page, err
	}
	var after *place
	if q.Token != "" {
		p, err := parseToken(q)
		if err != nil {
			return page, err
		}
		after = &p
	}
	limit := cmp.Or(q.Limit, defaultLimit)
	hits := s.find(q, after)
	slices.SortFunc(hits, func(a, b found) int { return a.place.compare(b.place) })
	if len(hits) > limit {
		hits = hits[:limit]
		page.Next = formatToken(q, hits[limit-1].place)
	}
	page.Workflows = make([]*stabilize.Header, len(hits))
	for i, h := range hits {
		page.Workflows[i] = headerAt(h.header, h.version)
	}
	return page, nil
}

func (s *Store) find(q persistence.Query, after *place) []found {
	s.data.mu.Lock()
	defer s.data.mu.Unlock()
	var hits []found
	for _, o := range s.data.workflows {
		h := o.workflow.header
		if !matches(q, h) {
			continue
		}
		if p := placeOf(h); after == nil || p.compare(*after) > 0 {
			hits = append(hits, found{place: p, header: h, version: o.workflow.version})
		}
	}
	return hits
}

func matches(q persistence.Query, h *stabilize.Header) bool {
	switch {
	case q.Application != "" && h.Application != q.Application,
		q.ConfigID != "" && h.ConfigID != q.ConfigID,
		len(q.Statuses) > 0 && !slices.Contains(q.Statuses, h.Status):
		return false
	case q.StartedFrom.IsZero() && q.StartedBefore.IsZero():
		return true
	case h.StartedAt.IsZero():
		return false
	}
	return !h.StartedAt.Before(q.StartedFrom) && (q.StartedBefore.IsZero() || h.StartedAt.Before(q.StartedBefore))
}

func checkQuery(q persistence.Query) error {
	if err := stabilize.CheckText("query application", q.Application); err != nil {
		return err
	}
	if err := stabilize.CheckText("query config id", q.ConfigID); err != nil {
		return err
	}
	for _, status := range q.Statuses {
		if !status.Valid() {
			return stabilize.Invalid("query status", "%s is not one", status)
		}
	}
	if !q.StartedFrom.IsZero() && !q.StartedBefore.IsZero() && q.StartedBefore.Before(q.StartedFrom) {
		return stabilize.Invalid("query bounds", "started before %s is before started from %s", q.StartedBefore, q.StartedFrom)
	}
	if q.Limit < 0 {
		return stabilize.Invalid("query limit", "%d is negative", q.Limit)
	}
	return nil
}
