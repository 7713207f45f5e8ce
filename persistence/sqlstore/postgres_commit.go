package sqlstore

import (
	"context"
	"database/sql/driver"

	"github.com/jackc/pgx/v5"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// batches are in flight at a time: where the only worker is, the next is made while one
// waits for the disk or is written. Where others keep the server busy too, larger ones
// are cheaper for it.
func (p *postgres) batches() int {
	if p.hands.alone() {
		return 2
	}
	return 1
}

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
	messages := func(tokens []string, workersOrTold any) []any {
		return []any{a.commit, a.id, a.kind, a.lane, a.workflow, a.due, a.worker, tokens, a.most, a.body, pg.channel, set.now, pg.self, pg.hands.own(), workersOrTold, len(set.parts) == 1}
	}
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
			if !judge && len(set.workers) == 0 { // what is told is certain then, and the statement asks for no other worker
				if tokens, told := set.deal(w); told != "" {
					own.dealt = true
					args = append(args, messages(tokens, told)...)
				}
			}
			if !own.dealt {
				args = append(args, messages(a.token, set.workers)...)
			}
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
		args = append(args, messages(a.token, set.workers)...)
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
