package difftest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// commit is one batch.
type commit struct {
	by
	changes []change
}

// change is what one commit of a batch changes.
type change struct {
	id        string // of the workflow; empty: none
	expect    int
	header    *header // creations have one in any case
	stages    []stage
	removed   []string // refs
	handled   []receipt
	discard   []string
	messages  []message
	admission *persistence.Admission
}

// What a change expects.
const (
	fitting   = iota // the present version, or nothing: then it creates
	creating         // that there is nothing, be it so or not
	stale            // the version before the present one
	ahead            // the version after it
	follows          // what the change before it in the batch leaves
	expecting        // how many there are
)

// header is how a header becomes. What is not said stays, or is plain.
type header struct {
	fill    int  // not 0: every field is filled, from this seed
	status  int  // picks one that may follow; 0 stays
	ends    bool // of those that may follow it picks an end
	started int  // picks an instant; 0: has not started
	app     string
	config  string
	reborn  bool // changes the time of creation, which is refused
}

// stage is a stage changed, or added where there is none with that ref.
type stage struct {
	ref   string
	fill  int
	place int  // of an added one
	moved bool // changes the position, which is refused
}

func (o commit) String() string {
	texts := make([]string, len(o.changes))
	for i, c := range o.changes {
		texts[i] = c.String()
	}
	return fmt.Sprintf("commit %s%s", strings.Join(texts, " || "), o.by)
}

func (c change) String() string {
	parts := []string{"no workflow"}
	if c.id != "" {
		parts[0] = c.id + [...]string{"", " as a new one", " decided on a stale version", " decided on a version to come", " from there on"}[c.expect]
	}
	if h := c.header; h != nil {
		text := fmt.Sprintf("header(status %d, started %d, app %q, config %q", h.status, h.started, h.app, h.config)
		if h.fill != 0 {
			text += fmt.Sprintf(", filled from %d", h.fill)
		}
		if h.ends {
			text += ", an end"
		}
		if h.reborn {
			text += ", created at another time"
		}
		parts = append(parts, text+")")
	}
	for _, s := range c.stages {
		text := "stage " + s.ref
		if s.fill != 0 {
			text += fmt.Sprintf(" filled from %d", s.fill)
		}
		if s.moved {
			text += " moved"
		}
		parts = append(parts, text)
	}
	add := func(n int, what, list string) {
		if n > 0 {
			parts = append(parts, what+" "+list)
		}
	}
	add(len(c.removed), "without stage", strings.Join(c.removed, ", "))
	add(len(c.handled), "handled", receiptsText(c.handled))
	add(len(c.discard), "discards", strings.Join(c.discard, ", "))
	add(len(c.messages), "sends", messagesText(c.messages))
	if a := c.admission; a != nil {
		parts = append(parts, fmt.Sprintf("%s under %s, limit %d", [...]string{"?", "takes a place", "waits for a place", "leaves"}[a.Op], a.Key, a.Limit))
	}
	return strings.Join(parts, ", ")
}

// simpler returns the commit with one part less, each in turn.
func (o commit) simpler() []op {
	var out []op
	with := func(i int, f func(c *change)) {
		s := commit{o.by, slices.Clone(o.changes)}
		f(&s.changes[i])
		out = append(out, s)
	}
	for i, c := range o.changes {
		if len(o.changes) > 1 {
			out = append(out, commit{o.by, slices.Delete(slices.Clone(o.changes), i, i+1)})
		}
		if c.header != nil {
			with(i, func(c *change) { c.header = nil })
			if c.header.fill != 0 {
				with(i, func(c *change) { h := *c.header; h.fill = 0; c.header = &h })
			}
		}
		if c.admission != nil {
			with(i, func(c *change) { c.admission = nil })
		}
		for j := range c.stages {
			with(i, func(c *change) { c.stages = slices.Delete(slices.Clone(c.stages), j, j+1) })
			if c.stages[j].fill != 0 {
				with(i, func(c *change) { c.stages = slices.Clone(c.stages); c.stages[j].fill = 0 })
			}
		}
		for j := range c.removed {
			with(i, func(c *change) { c.removed = slices.Delete(slices.Clone(c.removed), j, j+1) })
		}
		for j := range c.handled {
			with(i, func(c *change) { c.handled = slices.Delete(slices.Clone(c.handled), j, j+1) })
		}
		for j := range c.discard {
			with(i, func(c *change) { c.discard = slices.Delete(slices.Clone(c.discard), j, j+1) })
		}
		for j := range c.messages {
			with(i, func(c *change) { c.messages = slices.Delete(slices.Clone(c.messages), j, j+1) })
		}
	}
	return out
}

func (o commit) on(p *player) func(*side) result {
	was := make([]*stabilize.Workflow, len(o.changes))
	for i, c := range o.changes {
		if c.id != "" {
			was[i] = p.snapshot(c.id)
		}
	}
	return func(s *side) result {
		cs, kept := make([]*persistence.Commit, len(o.changes)), make([]*persistence.Commit, len(o.changes))
		for i, c := range o.changes {
			var before *persistence.Commit
			if i > 0 {
				before = cs[i-1]
			}
			cs[i] = c.build(p, s, was[i], before)
			kept[i] = clone(cs[i])
		}
		errs := o.of(s).CommitBatch(p.ctx, cs)
		if d := kit.Diff(kept, cs); s == p.candidate && d != "" {
			return result{Class: "the store has changed what it was given: " + d}
		}
		if len(errs) != len(cs) {
			return result{Class: fmt.Sprintf("%d errors for %d commits", len(errs), len(cs))}
		}
		if len(errs) == 1 {
			if errs[0] == nil {
				s.learn(cs[0])
			}
			return o.changes[0].refused(errs[0])
		}
		all := make([]result, len(errs))
		for i, err := range errs {
			if all[i] = o.changes[i].refused(err); err == nil {
				s.learn(cs[i])
			}
		}
		return result{Value: all}
	}
}

func clone(c *persistence.Commit) *persistence.Commit {
	out := *c
	if c.Header != nil {
		out.Header = c.Header.Clone()
	}
	out.Stages = slices.Clone(c.Stages)
	for i, st := range out.Stages {
		out.Stages[i] = st.Clone()
	}
	out.Removed, out.Handled, out.Discard = slices.Clone(c.Removed), slices.Clone(c.Handled), slices.Clone(c.Discard)
	out.Messages, out.Events = slices.Clone(c.Messages), slices.Clone(c.Events)
	if c.Admission != nil {
		same := *c.Admission
		out.Admission = &same
	}
	return &out
}

// refused is failed for a commit. Which of several reasons is told is the
// store's own business.
func (c change) refused(err error) result {
	r := failed(err)
	add := func(yes bool, classes ...error) {
		for _, class := range classes {
			if yes {
				r.or = append(r.or, class.Error())
			}
		}
	}
	moved := slices.ContainsFunc(c.stages, func(s stage) bool { return s.moved })
	add(len(c.removed) > 0 || moved || c.header != nil && c.header.reborn, stabilize.ErrInvalid)
	add(c.expect == stale || c.expect == ahead || c.expect == follows, stabilize.ErrConflict)
	add(len(c.handled) > 0, stabilize.ErrLeaseLost)
	add(slices.ContainsFunc(c.messages, func(m message) bool { return m.id != "" }), stabilize.ErrExists)
	add(c.admission != nil, stabilize.ErrNoPlace, stabilize.ErrPlaceFree)
	return r
}

// build makes the commit for one side, decided on a snapshot, nil if there is no
// such workflow, or on the commit before.
func (c change) build(p *player, s *side, was *stabilize.Workflow, before *persistence.Commit) *persistence.Commit {
	out := &persistence.Commit{Handled: receiptsOf(c.handled, s), Messages: outgoing(p, s, c.messages)}
	for _, name := range c.discard {
		out.Discard = append(out.Discard, s.id(name))
	}
	if c.id == "" {
		return out
	}
	out.WorkflowID = c.id
	if was != nil {
		out.Expect = was.Version
	}
	switch {
	case c.expect == creating:
		out.Expect = 0
	case c.expect == stale && out.Expect > 1:
		out.Expect--
	case c.expect == ahead:
		out.Expect++
	case c.expect == follows && before != nil && before.WorkflowID == c.id:
		out.Expect = before.Expect + 1
	}
	if a := c.admission; a != nil {
		same := *a
		out.Admission = &same
	}
	if h := c.header; h != nil || out.Expect == 0 {
		if h == nil {
			h = &header{app: "app"}
		}
		out.Header = h.build(p, c, was)
	}
	for _, st := range c.stages {
		out.Stages = append(out.Stages, st.build(p, c.id, was))
	}
	if was == nil { // a creation has them in order
		slices.SortFunc(out.Stages, func(a, b *stabilize.Stage) int { return a.Position - b.Position })
	}
	if out.Expect > 0 {
		for _, ref := range c.removed {
			out.Removed = append(out.Removed, c.id+"/"+ref)
		}
	}
	c.tell(p, out, was)
	return out
}

// tell gives the commit one event, which is looked for by its id.
func (c change) tell(p *player, out *persistence.Commit, was *stabilize.Workflow) {
	var created time.Time
	switch {
	case out.Header != nil:
		created = out.Header.CreatedAt
	case was != nil:
		created = was.CreatedAt
	}
	typ := events.StageStarted
	if len(c.messages) > 0 {
		typ = events.TaskStarted
	}
	out.Events = []events.Event{{Type: typ, Reason: fmt.Sprint("of ", len(c.stages)), At: p.now()}}
	events.Stamp(out.Events, out.WorkflowID, created, out.Expect+1)
}

func (h *header) build(p *player, c change, was *stabilize.Workflow) *stabilize.Header {
	out := &stabilize.Header{Name: "of the comparison", Reason: fmt.Sprint("of ", len(c.messages))}
	if h.fill != 0 {
		out = p.filled.header(h.fill)
		out.LimitConcurrent = h.config != ""
	}
	out.ID, out.Application, out.ConfigID = c.id, h.app, h.config
	out.StartedAt = instant(h.started)
	may := []stabilize.Status{stabilize.NotStarted, stabilize.Running, stabilize.Buffered}
	out.CreatedAt = p.now()
	if was != nil {
		out.CreatedAt = was.CreatedAt
		may = slices.DeleteFunc(stabilize.Statuses(), func(s stabilize.Status) bool { return !was.Status.CanTransition(s) })
	}
	if ends := slices.DeleteFunc(slices.Clone(may), func(s stabilize.Status) bool { return !s.IsComplete() }); h.ends && len(ends) > 0 {
		may = ends
	}
	if h.reborn {
		out.CreatedAt = out.CreatedAt.Add(time.Hour)
	}
	out.Status = may[max(h.status-1, 0)%len(may)]
	if was != nil && h.status == 0 {
		out.Status = was.Status
	}
	// What takes a place runs, as it does for the engine; what waits does not.
	switch a := c.admission; {
	case a == nil:
	case a.Op == persistence.TakePlace && slices.Contains(may, stabilize.Running):
		out.Status = stabilize.Running
	case a.Op == persistence.WaitForPlace && slices.Contains(may, stabilize.Buffered):
		out.Status = stabilize.Buffered
	}
	return out
}

func (st stage) build(p *player, workflow string, was *stabilize.Workflow) *stabilize.Stage {
	out := kit.Stage(workflow, st.ref, st.place)
	if st.fill != 0 {
		full := p.filled.stage(st.fill)
		full.ID, full.Ref, full.Position, full.Round = out.ID, out.Ref, out.Position, 0
		out = full
	}
	if was != nil {
		if old := was.Stage(out.ID); old != nil {
			out.Position, out.Round = old.Position, old.Round
			if st.fill == 0 {
				out.Status, out.Outputs = stabilize.Running, old.Context
			}
		}
	}
	if st.moved {
		out.Position++
	}
	return out
}

// filled keeps headers and stages in which every field is set, by seed: to make
// one takes longer than what is done with it.
type filled struct {
	headers map[int]*stabilize.Header
	stages  map[int]*stabilize.Stage
}

func (f *filled) header(seed int) *stabilize.Header {
	if f.headers[seed] == nil {
		f.headers[seed] = filler(seed).Header("filled")
	}
	return f.headers[seed].Clone()
}

func (f *filled) stage(seed int) *stabilize.Stage {
	if f.stages[seed] == nil {
		f.stages[seed] = filler(seed).Stage("filled", "filled", 0)
	}
	return f.stages[seed].Clone()
}

func filler(seed int) *kit.Filler { return &kit.Filler{Env: &kit.Env{T: mustFill{}}, Seed: seed} }

// mustFill is told that a field cannot be filled, which is a mistake of this
// module that the clauses find first.
type mustFill struct{ conformance.T }

func (mustFill) Helper() {}
func (mustFill) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

// instant is one of a few, some of them close to each other; 0 is none.
func instant(pick int) time.Time {
	if pick == 0 {
		return time.Time{}
	}
	base := time.Date(2024, 2, 29, 23, 59, 59, 999_999_000, time.UTC)
	return base.Add([...]time.Duration{0, time.Microsecond, time.Second, time.Hour}[(pick-1)%4])
}
