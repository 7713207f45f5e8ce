package sqlstore

import (
	"context"
	"database/sql/driver"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// absent stands for NULL in an array of instants.
const absent = math.MinInt64

// postgresBatches are in flight at a time: while one waits for the disk or is
// written, the next is made here.
const postgresBatches = 2

// plain reports that no commit depends on another of the batch: then all of them
// are checked and written by statements over the set, in one round trip. The rest
// goes the way of SQLite, one after the other under locks.
func plain(work []change) bool {
	seen := make(map[string]bool, 2*len(work))
	messages := make(map[string]bool, 2*len(work))
	for i := range work {
		ch := &work[i]
		if ch.WorkflowID != "" && seen[ch.WorkflowID] {
			return false
		}
		seen[ch.WorkflowID] = true
		own := make([]string, 0, len(ch.Handled)+len(ch.Discard)+len(ch.enc.Messages))
		for _, r := range ch.Handled {
			own = append(own, r.ID)
		}
		own = append(own, ch.Discard...)
		for j := range ch.enc.Messages {
			own = append(own, ch.enc.Messages[j].ID)
		}
		for _, id := range own {
			if messages[id] {
				return false
			}
		}
		for _, id := range own {
			messages[id] = true
		}
	}
	return true
}

// commitSet applies a plain batch; hasty: it does not wait for locks for long.
func (s *Store) commitSet(ctx context.Context, work []change, hasty bool) (claimable bool, err error) {
	inner, leave, err := s.enter(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	if _, err = s.ready(inner); err != nil {
		return false, s.classify(ctx, "commit", err)
	}
	if len(work) == 0 {
		return false, nil
	}
	s.followClock(inner, s.r)
	err = s.again(inner, func() error {
		set := newCommitSet(work, micros(s.now()))
		judge := !s.pg.trust.mayHope(set)
		err := s.sendSet(inner, set, judge, hasty)
		if !judge && doubted(err) {
			judge = true
			err = s.sendSet(inner, set, judge, hasty)
		}
		if judge {
			s.pg.trust.note(work)
		}
		claimable = set.claimable
		if hasty {
			err = asBlocked(err)
		}
		return err
	})
	return claimable, s.classify(ctx, "commit", err)
}

func (s *Store) sendSet(ctx context.Context, set *commitSet, judge, hasty bool) error {
	return s.send(ctx, "commit", func(b *pgx.Batch) { set.queue(b, s.pg, judge, hasty) })
}

// send sends statements together. They are one transaction, which the last of them
// commits.
func (s *Store) send(ctx context.Context, doing string, queue func(*pgx.Batch)) error {
	conn, err := s.w.DB.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return raw(conn, func(c *pgx.Conn) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case c.IsClosed():
			return driver.ErrBadConn
		}
		var b pgx.Batch
		if !s.pg.own {
			b.Queue(tuning, true)
		}
		queue(&b)
		return outcome(doing, c.SendBatch(ctx, &b).Close())
	})
}

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

// queue adds the statements to what is sent: the verdict, and the writes of the
// commits that it leaves; without it those of all. Admissions are judged one after
// the other, each when what the commits before it leave is written. hasty: no lock is
// waited for for long.
func (set *commitSet) queue(b *pgx.Batch, pg *postgres, judge, hasty bool) {
	t := &pg.set
	var wait any // for locks
	if hasty {
		wait = lockWait
	}
	when := func(n int, text string, args ...any) {
		if n == 0 {
			return
		}
		if wait != nil {
			b.Queue(limitWait, wait)
			wait = nil
		}
		b.Queue(text, args...)
	}
	h, g, r, k := &set.handled, &set.given, &set.removed, &set.known
	when(len(set.keys), t.keys, keyLocks(pg, set.keys))
	if set.loose {
		when(len(set.workers), t.workers, set.workers)
		when(len(set.id), t.workflows, set.id)
	}
	if judge {
		b.Queue(t.verdict, set.commit, set.id, set.expect, set.headed, set.created,
			h.commit, h.id, h.token, g.commit, g.id, g.freed, r.commit, r.workflow, r.id,
			k.commit, k.workflow, k.id, k.ref, k.round, k.position).QueryRow(set.verdict)
	}
	for _, w := range set.parts {
		if w.judged {
			a := set.work[w.first].Admission
			b.Queue(t.judge, w.first, textForm(a.Key), set.work[w.first].WorkflowID, int32(a.Op), int64(a.Limit)).QueryRow(func(row pgx.Row) error {
				return set.judged(row, w.first)
			})
		}
		r, d := &w.remove, &w.drop
		when(len(r.commit), t.remove, r.commit, r.workflow, r.id)
		when(len(d.commit), t.drop, d.commit, d.id)
		set.write(b, pg, w, judge, wait)
		wait = nil
	}
	if e := &set.events; len(e.commit) > 0 {
		b.Queue(t.events, e.commit, e.workflow, e.version, e.first, e.count, e.body)
	}
	when(len(set.reused.commit), t.buried, set.reused.commit, set.reused.id)
	if hasty && len(set.parts) > 1 { // the server's own lock on its notifications is waited for
		b.Queue(limitWait, "0")
	}
}

// write adds the statements of a part: for what is new, and for the rest with the
// messages of all.
func (set *commitSet) write(b *pgx.Batch, pg *postgres, w *writes, judge bool, wait any) {
	c, p, n, s, h, a := &w.change, &w.put, &w.create, &w.begun, &w.handled, &w.add
	moves := len(c.commit)+len(h.commit) > 0
	variant := writing{judged: judge, messages: len(a.commit) > 0}
	messages := []any{a.commit, a.id, a.kind, a.lane, a.workflow, a.due, a.worker, a.token, a.most, a.body, pg.channel, set.now, pg.self, set.workers, len(set.parts) == 1}
	free := func(row pgx.Row) error {
		var claimable bool
		err := row.Scan(nil, &claimable, nil, nil)
		set.claimable = set.claimable || claimable
		return err
	}
	if len(n.commit) > 0 {
		args := []any{wait, n.commit, n.id, n.application, n.config, n.status, n.sort, n.created, n.header,
			s.commit, s.workflow, s.id, s.ref, s.round, s.position, s.body}
		own := variant
		if own.messages = variant.messages && !moves; own.messages {
			args = append(args, messages...)
		}
		q := b.Queue(pg.set.begin[own], args...)
		if own.messages {
			q.QueryRow(free)
			variant.messages = false
		}
	}
	if !moves && !variant.messages {
		return
	}
	args := []any{wait, c.commit, c.id, c.expect, c.removes, c.headed, c.created, c.application, c.config, c.status, c.sort, h.commit, h.id, h.token}
	stages := []any{p.commit, p.workflow, p.id, p.version, p.ref, p.round, p.position, p.body}
	if variant.stages = len(p.commit) > 0 && len(p.commit) <= fewStages; variant.stages {
		args = append(args, stages...)
	}
	if variant.headers = c.headers > 0; variant.headers {
		args = append(args, c.header)
	}
	if variant.messages {
		args = append(args, messages...)
	}
	q := b.Queue(pg.set.move[variant], args...)
	if variant.messages {
		q.QueryRow(free)
	}
	if len(p.commit) > fewStages {
		b.Queue(pg.set.put[writing{judged: judge}], stages...)
	}
}

// fewStages are written by the same statement as the rest. More are written faster by one
// of their own.
const fewStages = 4

// verdict leaves in each refused commit why.
func (set *commitSet) verdict(row pgx.Row) error {
	var lost string
	var commits, steps []int32
	var items, facts []int64
	if err := row.Scan(&lost, &commits, &steps, &items, &facts); err != nil {
		return err
	}
	first := map[int32]int{}
	for i, n := range commits {
		j, seen := first[n]
		if !seen || steps[i] < steps[j] || steps[i] == steps[j] && items[i] < items[j] {
			first[n] = i
		}
	}
	set.steps = map[int32]int{}
	for n, i := range first {
		set.steps[n] = int(steps[i])
		set.work[n].err = set.refusal(&set.work[n], int(steps[i]), int(items[i])-1, facts[i])
	}
	return nil
}

func (set *commitSet) refusal(ch *change, step, item int, fact int64) error {
	switch step {
	case 1:
		var stored *version
		if fact != 0 { // versions begin with 1
			stored = &version{number: fact}
		}
		if err := checkVersion(ch, stored); err != nil {
			return err
		}
		return createdMoved(ch)
	case 2:
		return &stabilize.LeaseLostError{Kind: "message", ID: set.handled.receipt[item]}
	case 3:
		return &stabilize.ExistsError{Kind: "message", ID: set.given.id[item]}
	case 4:
		return notRemoved(ch, set.removed.id[item])
	default:
		return moved(set.known.id[item], set.known.ref[item], set.known.round[item], set.known.position[item])
	}
}
