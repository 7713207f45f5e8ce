package sqlstore

import (
	"math"
	"slices"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// absent stands for NULL in an array of instants.
const absent = math.MinInt64

// commitSet is a plain batch as columns, one for each array of a statement.
type commitSet struct {
	work      []change
	now       int64
	claimable bool

	workers []string
	keys    []string // of admissions
	steps   map[int32]int
	parts   []*writes

	// What the verdict, and the statements beside those of the parts, ask for.
	commit  []int32
	id      []string
	expect  []int64
	headed  []bool
	created []int64

	handled struct {
		commit    []int32
		id, token []string
		receipt   []string // id as it was given
	}
	given struct {
		commit []int32
		id     []string
		freed  []bool
	}
	reused struct { // ids that may have died since they were judged
		commit []int32
		id     []string
	}
	removed struct {
		commit       []int32
		workflow, id []string
	}
	known stageColumns // stages of workflows that exist
	loose bool         // rows are written that others have not locked: not in their order

	events struct {
		commit       []int32
		workflow     []string
		version      []int64
		first, count []int32
		body         [][]byte
	}
}

// writes are what a part of the commits, in their order, changes; all of it is written
// by two statements. Only admissions cut a set in parts.
type writes struct {
	judged bool // the first commit has an admission, to be judged before
	first  int32

	create struct {
		commit              []int32
		id                  []string
		application, config []string
		status              []string
		sort, created       []int64
		header              [][]byte
	}
	begun  stageColumns // stages of what is created
	change struct {
		commit              []int32
		id                  []string
		expect              []int64
		removes, headed     []bool
		application, config []string
		status              []string
		sort, created       []int64
		header              [][]byte
		headers             int // that are changed
	}
	remove struct {
		commit       []int32
		workflow, id []string
	}
	drop struct {
		commit []int32
		id     []string
	}
	put     stageColumns
	handled struct {
		commit    []int32
		id, token []string
	}
	add struct {
		commit        []int32
		id, kind      []string
		lane          []int16
		workflow      []string
		due           []int64
		worker, token []string
		most          []int64
		body          [][]byte
	}
}

type stageColumns struct {
	commit          []int32
	workflow, id    []string
	version         []int64
	ref             []string
	round, position []int64
	body            [][]byte
}

func newCommitSet(work []change, now int64) *commitSet {
	set := &commitSet{work: work, now: now, parts: []*writes{{}}}
	for i := range work {
		work[i].err = nil
		set.collect(int32(i)) //nolint:gosec // a batch is no longer than that
	}
	slices.Sort(set.workers)
	set.workers = slices.Compact(set.workers)
	return set
}

func (set *commitSet) collect(n int32) {
	ch := &set.work[n]
	set.loose = set.loose || ch.Admission != nil || len(ch.Removed)+len(ch.Discard) > 0
	if ch.Admission != nil {
		set.keys = append(set.keys, ch.Admission.Key)
		set.parts = append(set.parts, &writes{judged: true, first: n})
	}
	w := set.parts[len(set.parts)-1]
	if ch.WorkflowID != "" {
		set.collectWorkflow(w, n, ch)
	}
	for _, r := range ch.Handled {
		id, token := textForm(r.ID), textForm(r.Token)
		set.handled.commit, w.handled.commit = append(set.handled.commit, n), append(w.handled.commit, n)
		set.handled.id, w.handled.id = append(set.handled.id, id), append(w.handled.id, id)
		set.handled.token, w.handled.token = append(set.handled.token, token), append(w.handled.token, token)
		set.handled.receipt = append(set.handled.receipt, r.ID)
	}
	for _, id := range ch.Discard {
		if slices.ContainsFunc(ch.Handled, func(r queue.Receipt) bool { return r.ID == id }) {
			continue // gone with its lease, or the commit is refused
		}
		w.drop.commit = append(w.drop.commit, n)
		w.drop.id = append(w.drop.id, textForm(id))
	}
	for i := range ch.enc.Messages {
		set.collectMessage(w, n, ch, &ch.enc.Messages[i])
	}
}

func (set *commitSet) collectMessage(w *writes, n int32, ch *change, m *queue.Encoded) {
	if m.Given {
		set.given.commit = append(set.given.commit, n)
		set.given.id = append(set.given.id, m.ID)
		set.given.freed = append(set.given.freed, ch.Frees(m.ID))
	}
	if ch.mayDie(m) {
		set.reused.commit = append(set.reused.commit, n)
		set.reused.id = append(set.reused.id, m.ID)
	}
	due := set.now
	if !m.At.IsZero() {
		due = max(due, micros(m.At))
	}
	worker := ""
	if m.Lease != nil {
		worker = textForm(m.Lease.Worker)
		set.workers = append(set.workers, worker)
	}
	a := &w.add
	a.commit = append(a.commit, n)
	a.id, a.kind, a.lane = append(a.id, m.ID), append(a.kind, m.Kind), append(a.lane, int16(m.Lane))
	a.workflow, a.due = append(a.workflow, m.WorkflowID), append(a.due, due)
	a.worker, a.token = append(a.worker, worker), append(a.token, leaseToken(m))
	a.most, a.body = append(a.most, int64(m.MaxAttempts)), append(a.body, m.Body)
}

func (set *commitSet) collectWorkflow(w *writes, n int32, ch *change) {
	h := ch.Header
	created := int64(absent)
	if h != nil {
		if us := maybeMicros(h.CreatedAt); us.Valid {
			created = us.Int64
		}
	}
	set.commit = append(set.commit, n)
	set.id, set.expect = append(set.id, ch.WorkflowID), append(set.expect, ch.Expect)
	set.headed, set.created = append(set.headed, h != nil), append(set.created, created)
	for _, id := range ch.Removed {
		set.removed.commit, w.remove.commit = append(set.removed.commit, n), append(w.remove.commit, n)
		set.removed.workflow, w.remove.workflow = append(set.removed.workflow, ch.WorkflowID), append(w.remove.workflow, ch.WorkflowID)
		set.removed.id, w.remove.id = append(set.removed.id, id), append(w.remove.id, id)
	}
	for _, row := range ch.enc.Events {
		e := &set.events
		e.commit, e.workflow, e.version = append(e.commit, n), append(e.workflow, ch.WorkflowID), append(e.version, ch.Expect+1)
		e.first, e.count = append(e.first, int32(row.First)), append(e.count, int32(row.Count)) //nolint:gosec // indexes
		e.body = append(e.body, row.Body)
	}
	if ch.Expect == 0 {
		c := &w.create
		c.commit, c.id = append(c.commit, n), append(c.id, ch.WorkflowID)
		c.application, c.config = append(c.application, textForm(h.Application)), append(c.config, textForm(h.ConfigID))
		c.status, c.sort = append(c.status, h.Status.String()), append(c.sort, persistence.PlaceOf(h).Start)
		c.created, c.header = append(c.created, created), append(c.header, ch.enc.Header)
		for i, st := range ch.Stages {
			w.begun.add(n, ch, st, ch.enc.Stages[i])
		}
		return
	}
	c := &w.change
	if h == nil {
		h = &stabilize.Header{} // its columns are not looked at
	} else {
		c.headers++
	}
	c.commit, c.id, c.expect = append(c.commit, n), append(c.id, ch.WorkflowID), append(c.expect, ch.Expect)
	c.removes, c.headed = append(c.removes, len(ch.Removed) > 0), append(c.headed, ch.Header != nil)
	c.created, c.header = append(c.created, created), append(c.header, ch.enc.Header)
	c.application, c.config = append(c.application, textForm(h.Application)), append(c.config, textForm(h.ConfigID))
	c.status, c.sort = append(c.status, h.Status.String()), append(c.sort, persistence.PlaceOf(h).Start)
	for i, st := range ch.Stages {
		w.put.add(n, ch, st, ch.enc.Stages[i])
		set.known.add(n, ch, st, nil)
	}
}

func (c *stageColumns) add(n int32, ch *change, st *stabilize.Stage, body []byte) {
	c.commit = append(c.commit, n)
	c.workflow, c.id = append(c.workflow, ch.WorkflowID), append(c.id, st.ID)
	c.version = append(c.version, ch.Expect+1)
	c.ref, c.round = append(c.ref, textForm(st.Ref)), append(c.round, int64(st.Round))
	c.position, c.body = append(c.position, int64(st.Position)), append(c.body, body)
}
