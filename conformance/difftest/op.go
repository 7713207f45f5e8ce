package difftest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// op is one operation. It means something in whatever state it is played, so
// that those before it can be left out.
type op interface {
	// String is a line for people.
	String() string
	// on looks at the oracle, before anything is changed, and returns what is
	// then done on each side.
	on(p *player) func(s *side) result
}

// by is the handle an operation goes through.
type by int

func (b by) String() string {
	if b == 1 {
		return " (second handle)"
	}
	return ""
}

func (b by) of(s *side) persistence.Store { return s.handles[b] }

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

// read makes the result of a call that returns a value.
func read(value any, err error) result {
	if err != nil {
		return failed(err)
	}
	return result{Value: value}
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
	r, ok := handle.of(s).(persistence.Refresher)
	if _, both := handle.of(p.candidate).(persistence.Refresher); !ok || !both || since < 0 {
		return result{}
	}
	d, err := r.Refresh(p.ctx, id, since)
	return read(d, err)
}

type remove struct {
	by
	ids []string
}

func (o remove) String() string { return fmt.Sprintf("delete %s%s", strings.Join(o.ids, ", "), o.by) }
func (o remove) on(p *player) func(*side) result {
	return func(s *side) result { return failed(o.of(s).Delete(p.ctx, o.ids...)) }
}

// prune removes those that are finished by headers as they were read now, or were
// changed so since.
type prune struct {
	by
	ids []string
	as  reading
}

// reading is how a header was read.
type reading int

const (
	asIs reading = iota
	before
	ofAnother
	unfinished // those too that are not
	readings
)

func (r reading) String() string {
	return [...]string{"", " by older headers", " by headers of earlier workflows", " whether finished or not"}[r]
}

func (o prune) String() string {
	return fmt.Sprintf("prune %s%s%s", strings.Join(o.ids, ", "), o.as, o.by)
}

func (o prune) on(p *player) func(*side) result {
	var headers []*stabilize.Header
	for _, id := range o.ids {
		h, err := p.oracle.harness.Store().Summary(p.ctx, id)
		if err != nil || !h.Status.IsComplete() && o.as != unfinished {
			continue
		}
		switch o.as {
		case before:
			h.Version--
		case ofAnother:
			h.CreatedAt = h.CreatedAt.Add(-stabilize.Precision)
		}
		headers = append(headers, h)
	}
	return func(s *side) result {
		n, err := o.of(s).Prune(p.ctx, headers...)
		return read(n, err)
	}
}

func (o prune) simpler() (out []op) {
	for i := range o.ids {
		if len(o.ids) > 1 {
			out = append(out, prune{o.by, slices.Delete(slices.Clone(o.ids), i, i+1), o.as})
		}
	}
	return out
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
		r, ok := o.of(s).(persistence.WaitingKeys)
		if _, both := o.of(p.candidate).(persistence.WaitingKeys); !ok || !both {
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

type advance struct{ d time.Duration }

func (o advance) String() string { return fmt.Sprintf("%s pass", o.d) }
func (o advance) on(p *player) func(*side) result {
	p.move(o.d)
	return func(*side) result { return result{} }
}

type reopen struct{}

func (reopen) String() string { return "reopen" }
func (reopen) on(p *player) func(*side) result {
	for _, s := range []*side{p.oracle, p.candidate} {
		s.harness.Reopen()
		s.handles = s.calm()
	}
	return func(*side) result { return result{} }
}

// version is the oracle's, 0 if there is no such workflow.
func (p *player) version(id string) int64 {
	h, err := p.oracle.harness.Store().Summary(p.ctx, id)
	if err != nil {
		return 0
	}
	return h.Version
}

// snapshot is the oracle's workflow, or nil.
func (p *player) snapshot(id string) *stabilize.Workflow {
	w, err := p.oracle.harness.Store().Load(p.ctx, id)
	if err != nil {
		return nil
	}
	return w
}

// errOf makes the cause of a release.
func errOf(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}

// due is a time for a message: the zero time, or now and a delay.
func (p *player) due(delay time.Duration) time.Time {
	if delay == 0 {
		return time.Time{}
	}
	return p.now().Add(delay)
}

// receipt names a delivery: of the message with that name, the last or the first
// that was seen, or one that never was; or the one so many back of all claimed.
type receipt struct {
	name  string
	which int
}

// The deliveries a receipt may mean.
const (
	forged = iota - 2
	first
	last
	back // 1 back is the last of all
)

func (r receipt) String() string {
	switch r.which {
	case forged:
		return r.name + " (by a token nobody gave)"
	case first:
		return r.name + " (by its first delivery)"
	case last:
		return r.name
	default:
		return fmt.Sprintf("what was claimed %d back", r.which)
	}
}

func (r receipt) of(s *side) queue.Receipt {
	if r.which >= back && r.which <= len(s.claimed) {
		return s.claimed[len(s.claimed)-r.which]
	}
	got := s.got[r.name]
	switch {
	case r.which == forged || len(got) == 0:
		return queue.Receipt{ID: s.id(r.name), Token: "never given"}
	case r.which == first:
		return got[0]
	default:
		return got[len(got)-1]
	}
}

func receiptsText(rs []receipt) string {
	texts := make([]string, len(rs))
	for i, r := range rs {
		texts[i] = r.String()
	}
	return strings.Join(texts, ", ")
}

func receiptsOf(rs []receipt, s *side) []queue.Receipt {
	out := make([]queue.Receipt, len(rs))
	for i, r := range rs {
		out[i] = r.of(s)
	}
	return out
}
