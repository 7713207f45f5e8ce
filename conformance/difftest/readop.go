package difftest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// read makes the result of a call that returns a value.
func read(value any, err error) result {
	if err != nil {
		return failed(err)
	}
	return result{Value: value}
}

// power returns an optional one of a side's handle, if both sides have it. What makes a
// handle hostile may have one that the store lacks.
func power[P any](p *player, s *side, handle by) (P, bool) {
	has, ok := handle.of(s).(P)
	_, both := p.candidate.calm()[handle].(P)
	return has, ok && both
}

type load struct {
	by
	id string
}

func (o load) String() string { return fmt.Sprintf("load %s%s", o.id, o.by) }
func (o load) on(p *player) func(*side) result {
	return func(s *side) result {
		w, err := o.of(s).Load(p.ctx, o.id)
		return read(w, err)
	}
}

type summary struct {
	by
	id string
}

func (o summary) String() string { return fmt.Sprintf("summary of %s%s", o.id, o.by) }
func (o summary) on(p *player) func(*side) result {
	return func(s *side) result {
		h, err := o.of(s).Summary(p.ctx, o.id)
		return read(h, err)
	}
}

// refresh reads what changed since some versions before the present one.
type refresh struct {
	by
	id   string
	back int64
}

func (o refresh) String() string {
	return fmt.Sprintf("refresh %s since %d versions before the present one%s", o.id, o.back, o.by)
}

func (o refresh) on(p *player) func(*side) result {
	since := p.version(o.id) - o.back
	return func(s *side) result { return p.changed(s, o.by, o.id, since) }
}

// changed refreshes, if both sides can.
func (p *player) changed(s *side, handle by, id string, since int64) result {
	r, ok := power[persistence.Refresher](p, s, handle)
	if !ok || since < 0 {
		return result{}
	}
	d, err := r.Refresh(p.ctx, id, since)
	return read(d, err)
}

// watch asks which of some workflows have not ended, if both sides can.
type watch struct {
	by
	ids []string
}

func (o watch) String() string {
	return fmt.Sprintf("which have not ended of %s%s", strings.Join(o.ids, ", "), o.by)
}

func (o watch) on(p *player) func(*side) result {
	return func(s *side) result {
		w, ok := power[persistence.Watcher](p, s, o.by)
		if !ok {
			return result{}
		}
		found, err := w.Unfinished(p.ctx, o.ids...)
		slices.Sort(found)
		return read(found, err)
	}
}

// told gets the event of a workflow's last commit.
type told struct {
	by
	id string
}

func (o told) String() string { return fmt.Sprintf("last event of %s%s", o.id, o.by) }
func (o told) on(p *player) func(*side) result {
	return func(s *side) result {
		h, err := o.of(s).Summary(p.ctx, o.id)
		if err != nil {
			return failed(err)
		}
		e, err := persistence.EventLogOf(o.of(s)).Get(p.ctx, events.MakeID(o.id, h.CreatedAt, h.Version, 0))
		if err != nil {
			return failed(err)
		}
		e.Position = "" // a store's own
		return result{Value: e}
	}
}

type admissions struct {
	by
	key string
}

func (o admissions) String() string { return fmt.Sprintf("admissions under %s%s", o.key, o.by) }
func (o admissions) on(p *player) func(*side) result {
	return func(s *side) result {
		a, err := o.of(s).Admissions(p.ctx, o.key)
		return read(a, err)
	}
}

type waitingKeys struct{ by }

func (o waitingKeys) String() string { return fmt.Sprintf("keys with waiters%s", o.by) }
func (o waitingKeys) on(p *player) func(*side) result {
	return func(s *side) result {
		r, ok := power[persistence.WaitingKeys](p, s, o.by)
		if !ok {
			return result{}
		}
		keys, err := r.WaitingKeys(p.ctx)
		slices.SortFunc(keys, func(a, b persistence.WaitingKey) int { return strings.Compare(a.Key, b.Key) })
		return read(keys, err)
	}
}

// pages walks through all pages of a query.
type pages struct {
	by
	persistence.Query
}

func (o pages) String() string { return fmt.Sprintf("all pages of %s%s", queryText(o.Query), o.by) }
func (o pages) on(p *player) func(*side) result {
	return func(s *side) result {
		var all [][]*stabilize.Header
		for q := o.Query; ; {
			page, err := o.of(s).Query(p.ctx, q)
			if err != nil {
				return failed(err)
			}
			all = append(all, page.Workflows)
			if q.Token = page.Next; q.Token == "" || len(all) > 100 {
				return result{Value: all}
			}
		}
	}
}

// page reads a first page and keeps the token.
type page struct {
	by
	persistence.Query
}

func (o page) String() string { return fmt.Sprintf("first page of %s%s", queryText(o.Query), o.by) }
func (o page) on(p *player) func(*side) result {
	return func(s *side) result {
		page, err := o.of(s).Query(p.ctx, o.Query)
		if err == nil {
			s.asked, s.token = o.Query, page.Next
		}
		return read(paged{page.Workflows, page.Next != ""}, err)
	}
}

type paged struct {
	Workflows []*stabilize.Header
	More      bool
}

// next reads the page behind the last one, or asks for it with another query.
type next struct {
	by
	foreign bool
}

func (o next) String() string {
	if o.foreign {
		return fmt.Sprintf("another query with the last page's token%s", o.by)
	}
	return fmt.Sprintf("next page%s", o.by)
}

func (o next) on(p *player) func(*side) result {
	return func(s *side) result {
		if s.token == "" {
			return result{}
		}
		q := s.asked
		q.Token = s.token
		if o.foreign {
			q.ConfigID += " of another"
		}
		page, err := o.of(s).Query(p.ctx, q)
		if err == nil {
			s.token = page.Next
		}
		return read(paged{page.Workflows, page.Next != ""}, err)
	}
}

func queryText(q persistence.Query) string {
	var parts []string
	add := func(yes bool, format string, args ...any) {
		if yes {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(q.Application != "", "application %s", q.Application)
	add(q.ConfigID != "", "config %s", q.ConfigID)
	add(len(q.Statuses) > 0, "%v", q.Statuses)
	add(!q.StartedFrom.IsZero(), "started from %s", q.StartedFrom.Format(clockText))
	add(!q.StartedBefore.IsZero(), "started before %s", q.StartedBefore.Format(clockText))
	add(len(parts) == 0, "everything")
	add(true, "limit %d", q.Limit)
	return strings.Join(parts, ", ")
}

const clockText = "2006-01-02 15:04:05.000000"
