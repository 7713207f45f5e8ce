package difftest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

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
