package difftest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// The pools are small, so that operations meet. "W1" is there for case.
func workflowIDs() []string  { return []string{"w1", "w2", "w3", "w4", "W1"} }
func messageIDs() []string   { return []string{"m1", "m2", "m3", "m4", "m5"} }
func unnamedTexts() []string { return []string{"x1", "x2", "x3"} }
func workers() []string      { return []string{"ann", "bob", "quick"} }
func keys() []string         { return []string{"key", "Key"} }
func refs() []string         { return []string{"s1", "s2", "s10", "S1"} }
func applications() []string { return []string{"app", "app", "App", "app ", ""} }
func configs() []string      { return []string{"", "c1", "c2"} }
func delays() []time.Duration {
	return []time.Duration{0, 0, 0, -time.Hour, time.Microsecond, time.Second, 20 * time.Second}
}

func passes() []time.Duration {
	return []time.Duration{
		time.Microsecond, time.Second, time.Second, time.Second, 5 * time.Second, 5 * time.Second, 10 * time.Second,
		30 * time.Second, time.Minute, time.Hour,
	}
}

// generator draws operations.
type generator struct {
	*rand.Rand
	serial int // makes texts differ
	kinds  []kind
	total  int
}

// kind is a kind of operation and how often it comes.
type kind struct {
	weight int
	draw   func(by) op
}

// generate draws a sequence. With faults it is the same one, but for what becomes
// of it, and that commits go one by one: the outcome of each must be found out
// before the next.
func generate(seed uint64, steps int, faulty bool) []op {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0x5eed))} //nolint:gosec // it is to be repeated, not to be secret
	g.kinds = g.all()
	for i := range g.kinds {
		// Each sequence has its favourites, or rare things would never come in numbers.
		if k := &g.kinds[i]; g.oneIn(4) {
			k.weight *= 6
		}
		g.total += g.kinds[i].weight
	}
	ops := make([]op, steps)
	for i := range ops {
		ops[i] = g.op()
	}
	if faulty {
		for i, o := range ops {
			ops[i] = g.fated(o)
		}
	}
	return ops
}

func (g *generator) fated(o op) op {
	c, commits := o.(commit)
	if commits {
		c.changes = c.changes[:1]
		o = c
	}
	switch {
	case commits && g.oneIn(3):
		return fated{o, fate(g.IntN(int(fates)))}
	case g.oneIn(10):
		switch o.(type) {
		case load, summary, pages, page, next, push, claim, ack, release, giveBack, remove, prune:
			return fated{o, refused}
		}
	}
	return o
}

func (g *generator) pick(from []string) string { return from[g.IntN(len(from))] }
func (g *generator) oneIn(n int) bool          { return g.IntN(n) == 0 }
func (g *generator) handle() by                { return by(g.IntN(2)) }

// upTo returns between 0 and n things, few more often than many.
func upTo[V any](g *generator, n int, draw func() V) []V {
	var out []V
	for len(out) < n && g.oneIn(2) {
		out = append(out, draw())
	}
	return out
}

func (g *generator) op() op {
	n := g.IntN(g.total)
	for _, k := range g.kinds {
		if n -= k.weight; n < 0 {
			return k.draw(g.handle())
		}
	}
	panic("unreachable: the weights add up")
}

func (g *generator) all() []kind {
	return []kind{
		{30, func(h by) op { return g.commit(h) }},
		{14, func(h by) op { return commit{h, []change{g.seat()}} }},
		{5, func(h by) op { return commit{h, []change{g.ending()}} }},
		{8, func(h by) op { return push{h, append(upTo(g, 2, g.message), g.message())} }},
		{18, func(h by) op { return claim{h, g.pick(workers()), g.room()} }},
		{7, func(h by) op { return ack{h, append(upTo(g, 1, g.receipt), g.receipt())} }},
		{6, func(h by) op {
			return release{h, g.receipt(), delays()[g.IntN(len(delays()))], g.pick([]string{"", "it broke", "not \xff UTF-8"})}
		}},
		{4, func(h by) op { return giveBack{h, g.receipt()} }},
		{5, func(h by) op { return heartbeat{h, g.pick(workers())} }},
		{2, func(h by) op { return retire{h, g.pick(workers())} }},
		{4, func(h by) op { return pending{h, g.pick(append(workflowIDs(), "", "nobody"))} }},
		{3, func(h by) op { return depth{h} }},
		{4, func(h by) op { return listDead{h, g.pick([]string{"", "", oldestDead, g.name()}), 1 + g.IntN(4)} }},
		{6, func(h by) op { return replay{h, g.dead()} }},
		{4, func(h by) op { return discardDead{h, g.dead()} }},
		{5, func(h by) op { return load{h, g.pick(append(workflowIDs(), "nobody"))} }},
		{3, func(h by) op { return summary{h, g.pick(append(workflowIDs(), "nobody"))} }},
		{4, func(h by) op { return refresh{h, g.pick(workflowIDs()), int64(g.IntN(4))} }},
		{3, func(h by) op { return remove{h, append(upTo(g, 1, g.workflow), g.workflow())} }},
		{5, func(h by) op { return g.prune(h) }},
		{4, func(h by) op { return admissions{h, g.pick(keys())} }},
		{1, func(h by) op { return waitingKeys{h} }},
		{3, func(h by) op { return pages{h, g.query()} }},
		{4, func(h by) op { return page{h, g.query()} }},
		{5, func(h by) op { return next{h, g.oneIn(5)} }},
		{9, func(h by) op { return advance{passes()[g.IntN(len(passes()))]} }},
		{1, func(h by) op { return reopen{} }},
	}
}

func (g *generator) workflow() string { return g.pick(workflowIDs()) }

func (g *generator) prune(h by) op {
	ids := workflowIDs()
	g.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	o := prune{by: h, ids: ids[:1+g.IntN(len(ids))]}
	if g.oneIn(4) {
		o.as = reading(g.IntN(int(readings)))
	}
	return o
}

func (g *generator) room() queue.Room {
	switch g.IntN(6) {
	case 0:
		return queue.Room{Control: 1}
	case 1:
		return queue.Room{Work: 1}
	case 2:
		return queue.Room{Control: 2, Work: 1}
	case 3:
		return queue.Room{Control: -1}
	default:
		return queue.Room{Control: 10, Work: 10}
	}
}

// dead names a dead letter.
func (g *generator) dead() string {
	if g.oneIn(3) {
		return g.name()
	}
	return oldestDead
}

// name is one that a message may have.
func (g *generator) name() string {
	switch g.IntN(8) {
	case 0:
		return "unnamed " + g.pick(unnamedTexts())
	case 1:
		return "notice of " + g.pick(messageIDs())
	default:
		return g.pick(messageIDs())
	}
}

func (g *generator) receipt() receipt {
	r := receipt{g.name(), last}
	switch g.IntN(10) {
	case 0:
		r.which = first
	case 1:
		r.which = forged
	case 2, 3, 4, 5, 6:
		r.which = back + g.IntN(2)
	}
	return r
}

func (g *generator) message() message {
	g.serial++
	m := message{id: g.pick(messageIDs()), kind: g.IntN(kinds), text: fmt.Sprint("t", g.serial), delay: delays()[g.IntN(len(delays()))]}
	if m.kind == strange && g.oneIn(2) {
		m.kind = run
	}
	if m.kind != note && !g.oneIn(10) {
		m.about = g.workflow()
	}
	if g.oneIn(6) && m.kind != strange {
		m.id, m.text = "", g.pick(unnamedTexts())
	}
	if g.oneIn(2) {
		m.max = 1 + g.IntN(2)
	}
	if g.oneIn(40) {
		m.max = -1
	}
	return m
}

func (g *generator) query() persistence.Query {
	q := persistence.Query{Limit: g.IntN(4)}
	if g.oneIn(2) {
		return persistence.Query{Limit: 1 + g.IntN(2)}
	}
	if g.oneIn(2) {
		q.Application = g.pick(applications())
	}
	if g.oneIn(4) {
		q.ConfigID = g.pick(configs())
	}
	all := stabilize.Statuses()
	if g.oneIn(2) { // those that workflows mostly have
		all = []stabilize.Status{stabilize.NotStarted, stabilize.Running, stabilize.Buffered}
	}
	for range g.IntN(4) {
		q.Statuses = append(q.Statuses, all[g.IntN(len(all))])
	}
	if g.oneIn(3) {
		q.StartedFrom = instant(1 + g.IntN(4))
	}
	if g.oneIn(5) {
		q.StartedBefore = instant(1 + g.IntN(4))
	}
	if g.oneIn(30) {
		q.Limit = -1
	}
	return q
}

func (g *generator) commit(h by) op {
	o := commit{h, []change{g.change()}}
	for len(o.changes) < 3 && g.oneIn(5) {
		c := g.change()
		if g.oneIn(2) { // another of the same workflow
			c.id = o.changes[len(o.changes)-1].id
			if c.expect == fitting && g.oneIn(2) {
				c.expect = follows
			}
		}
		o.changes = append(o.changes, c)
	}
	for i := range o.changes {
		if c := &o.changes[i]; c.id == "" {
			c.header, c.stages, c.removed, c.admission = nil, nil, nil, nil
		}
	}
	return o
}

func (g *generator) change() change {
	c := change{id: g.workflow()}
	if g.oneIn(6) {
		c.id = ""
	}
	if g.oneIn(8) {
		c.expect = g.IntN(expecting)
	}
	if g.oneIn(2) {
		c.header = &header{
			fill: g.fill(), status: g.status(), started: g.IntN(5), app: g.pick(applications()), config: g.pick(configs()), reborn: g.oneIn(30),
		}
	}
	used := map[string]bool{}
	for _, st := range upTo(g, 3, g.stage) {
		if !used[st.ref] {
			used[st.ref] = true
			c.stages = append(c.stages, st)
		}
	}
	if ref := g.pick(refs()); g.oneIn(4) && (!used[ref] || g.oneIn(5)) {
		c.removed = []string{ref}
	}
	if g.oneIn(3) {
		c.handled = append(c.handled, g.receipt())
	}
	if g.oneIn(8) {
		c.discard = append(c.discard, g.name())
	}
	for _, m := range upTo(g, 3, g.message) {
		if m.id == "" || !used[m.id] || g.oneIn(20) {
			used[m.id] = true
			c.messages = append(c.messages, m)
		}
	}
	for i := range c.messages {
		if g.oneIn(4) {
			c.messages[i].worker = g.pick(workers())
		}
	}
	if g.oneIn(8) {
		c.admission = g.admission()
	}
	return c
}

// seat is a change about an admission and little else.
func (g *generator) seat() change {
	c := change{id: g.workflow(), admission: g.admission()}
	if !g.oneIn(5) {
		c.header = &header{status: g.status(), app: "app"}
	}
	if g.oneIn(4) {
		c.handled = []receipt{g.receipt()}
	}
	return c
}

// ending is a change that ends a workflow, and mostly leaves it few messages.
func (g *generator) ending() change {
	c := change{id: g.workflow(), header: &header{status: 1 + g.IntN(12), ends: true, started: g.IntN(5), app: g.pick(applications())}}
	for _, id := range messageIDs() {
		if !g.oneIn(3) {
			c.discard = append(c.discard, id, "notice of "+id)
		}
	}
	return c
}

func (g *generator) admission() *persistence.Admission {
	ops := []persistence.AdmissionOp{persistence.TakePlace, persistence.TakePlace, persistence.TakePlace, persistence.WaitForPlace, persistence.WaitForPlace, persistence.LeavePlace}
	limits := []int{1, 1, 1, 1, 2, 2, 3, 0}
	return &persistence.Admission{Op: ops[g.IntN(len(ops))], Key: g.pick(keys()), Limit: limits[g.IntN(len(limits))]}
}

// status is 0, to stay, in most cases.
func (g *generator) status() int {
	if !g.oneIn(3) {
		return 0
	}
	return g.IntN(13)
}

// fill is a seed in half of the cases.
func (g *generator) fill() int {
	if g.oneIn(2) {
		return 0
	}
	return 1 + g.IntN(20)
}

func (g *generator) stage() stage {
	g.serial++
	place := 500 + g.serial
	if g.oneIn(3) {
		place = 500 - g.serial
	}
	return stage{ref: g.pick(refs()), fill: g.fill(), place: place, moved: g.oneIn(40)}
}
