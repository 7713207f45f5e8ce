package sqlstore

import (
	"context"
	"crypto/rand"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// mostUnasked is for how long a worker that is dealt one workflow after the other does
// without asking the database what else there is.
const mostUnasked = 20 * time.Millisecond

// claimPostgres delivers what the worker was dealt, and asks the database unless it has
// just been asked.
func (s *Store) claimPostgres(ctx context.Context, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
	now, before, asked := micros(s.now()), s.pg.asked.Load(), room
	got := s.claimDealt(ctx, w, &room)
	if len(got) == 0 || s.pg.told.Load() || now-before >= mostUnasked.Microseconds() || now < before {
		stored, err := s.claimStored(ctx, w, room)
		switch {
		case err == nil:
			s.pg.asked.Store(now)
			for i := range stored {
				*roomOf(&room, queue.LaneOf(stored[i].Message))--
			}
			got = append(got, stored...)
		case len(got) == 0:
			return nil, err
		default:
			s.ping(true) // asked again by the next claim, which says what is wrong
		}
	}
	if worker := textForm(w.ID); s.pg.hands.fill(worker, asked, room, now) {
		s.setEar(ctx, worker)
	}
	return got, nil
}

// claimDealt delivers what the worker was dealt. What it has no room for it gives back, and
// what has waited for as long as its lease lasts it lets go: another may have it by now.
func (s *Store) claimDealt(ctx context.Context, w queue.Worker, room *queue.Room) (got []queue.Delivery) {
	since := micros(s.now().Add(-w.TTL))
	for _, m := range s.pg.hands.play(textForm(w.ID)) {
		if m.Created <= since {
			continue
		}
		of := roomOf(room, m.Lane)
		if *of == 0 {
			s.giveBack(ctx, m)
			continue
		}
		message, err := s.cfg.Messages.Decode(m.ID, m.Kind, m.Body)
		if err != nil {
			continue // given back with a heartbeat, and buried by whoever claims it
		}
		*of--
		g := takings{
			headers: map[string]aggregateRow{m.Workflow: {id: m.Workflow, version: 1, status: m.Status, body: m.Header}},
			stages:  map[string][]aggregateRow{},
		}
		for _, st := range m.Stages {
			g.stages[m.Workflow] = append(g.stages[m.Workflow], aggregateRow{id: st.ID, version: 1, body: st.Body, isStage: true})
		}
		got = append(got, queue.Delivery{
			ID: m.ID, Token: m.Token, Message: message, Due: fromMicros(m.Due), CreatedAt: fromMicros(m.Created),
			Attempts: 1, MaxAttempts: int(m.Most), Workflow: g.workflow(m.Workflow),
		})
	}
	return got
}

func roomOf(room *queue.Room, lane queue.Lane) *int {
	if lane == queue.Work {
		return &room.Work
	}
	return &room.Control
}

// claimStored is a claim of what is stored free.
func (s *Store) claimStored(ctx context.Context, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
	if s.pg.told.Swap(false) {
		got, sure, err := s.claimHasty(ctx, w, room)
		if sure || len(got) > 0 || err != nil {
			return got, err
		}
	}
	seen, err := s.peek(ctx, w)
	if err != nil || seen.idle(w, room) {
		return nil, err
	}
	return s.claimSet(ctx, w, room, seen)
}

// claimHasty is a claim after news of work: one statement that takes what is due,
// without looking first. sure: there was no more to do than that.
func (s *Store) claimHasty(ctx context.Context, w queue.Worker, room queue.Room) (got []queue.Delivery, sure bool, err error) {
	c := &claim{store: s}
	if sure, err = s.fillSet(ctx, c, w, room, true); err != nil {
		return nil, false, err
	}
	return c.deliveries(), sure, nil
}

// claimSet is a claim that has something to do. What it does for others it does
// first, and what shortens its own lease (another TTL, a clock that was set back); then one
// statement leases what is due and skips what another claims in the same moment.
func (s *Store) claimSet(ctx context.Context, w queue.Worker, room queue.Room, seen peeked) ([]queue.Delivery, error) {
	if left := seen.expires.Int64 - seen.now; seen.others || !seen.expires.Valid || left <= 0 || left > w.TTL.Microseconds() {
		var c *claim
		err := s.write(ctx, "claim", func(tx *wtx) error {
			c = &claim{batch: newBatch(tx, s.now()), store: s}
			if err := c.run(w, queue.Room{}); err != nil {
				return err
			}
			return tx.notify(c.claimable)
		})
		if err != nil {
			return nil, err
		}
		s.ping(c.claimable)
	}
	c := &claim{store: s}
	if _, err := s.fillSet(ctx, c, w, room, false); err != nil {
		return nil, err
	}
	return c.deliveries(), nil
}

// fillSet leases what there is room for and adds it to c. The room of what is dead is
// filled again, lane by lane: the notices of its dead letters are among what is claimed
// then.
func (s *Store) fillSet(ctx context.Context, c *claim, w queue.Worker, room queue.Room, hasty bool) (sure bool, err error) {
	spoiled, sure, err := s.fillOnce(ctx, c, w, &room, hasty)
	for lane := range spoiled {
		for err == nil && len(spoiled[lane]) > 0 {
			if err = s.burySpoiled(ctx, spoiled[lane]); err != nil {
				break
			}
			left := room
			if lane == int(queue.Control) {
				left.Work = 0
			} else {
				left.Control = 0
			}
			var more [2][]taken
			more, _, err = s.fillOnce(ctx, c, w, &left, false)
			spoiled[lane] = more[lane]
			if lane == int(queue.Control) {
				room.Control = left.Control
			} else {
				room.Work = left.Work
			}
		}
	}
	return sure, err
}

// fillOnce takes what it gets off the room. What cannot be decoded is returned, by
// lane.
func (s *Store) fillOnce(ctx context.Context, c *claim, w queue.Worker, room *queue.Room, hasty bool) (spoiled [2][]taken, sure bool, err error) {
	got, err := s.take(ctx, w, *room, hasty)
	if err != nil {
		return spoiled, false, err
	}
	for i := range got.messages {
		f := &got.messages[i]
		if f.Message, err = s.cfg.Messages.Decode(f.ID, f.kind, f.body); err != nil {
			f.spoiled = err
			spoiled[f.lane] = append(spoiled[f.lane], *f)
			continue
		}
		f.body = nil
		f.Workflow = got.workflow(f.workflow)
		c.found = append(c.found, f.found)
		if f.lane == queue.Control {
			room.Control--
		} else {
			room.Work--
		}
	}
	return spoiled, got.sure, nil
}

// takings are what the statement of a claim returns.
type takings struct {
	messages []taken
	headers  map[string]aggregateRow
	stages   map[string][]aggregateRow
	sure     bool
}

// taken is a message that was leased.
type taken struct {
	found

	lane    queue.Lane
	spoiled error // it cannot be decoded
}

func (s *Store) take(ctx context.Context, w queue.Worker, room queue.Room, hasty bool) (got *takings, err error) {
	if room.Control <= 0 && room.Work <= 0 {
		return &takings{}, nil
	}
	inner, leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if hasty {
		if _, err = s.ready(inner); err != nil {
			return nil, s.classify(ctx, "claim", err)
		}
		s.followClock(inner, s.r)
	}
	err = s.again(inner, func() error {
		got = &takings{headers: map[string]aggregateRow{}, stages: map[string][]aggregateRow{}}
		now := micros(s.now())
		return s.send(inner, "claim", func(b *pgx.Batch) {
			b.Queue(s.pg.set.take, w.ID, now+w.TTL.Microseconds(), now, int64(room.Control), int64(room.Work), rand.Text()+".", hasty).
				Query(func(rows pgx.Rows) error {
					for rows.Next() {
						if err := got.scan(rows); err != nil {
							return err
						}
					}
					return rows.Err()
				})
		})
	})
	if err != nil {
		return nil, s.classify(ctx, "claim", err)
	}
	slices.SortFunc(got.messages, func(a, b taken) int { return int(a.seq - b.seq) })
	return got, nil
}

// scan takes a row of the statement: a message, or what comes along with it.
func (g *takings) scan(row pgx.Rows) error {
	var what int32
	var due, created int64
	var lane int16
	var cause []byte
	t := taken{}
	err := row.Scan(&what, &t.seq, &t.ID, &t.kind, &lane, &t.workflow, &due, &created, &t.Attempts, &t.MaxAttempts, &cause, &t.body, &t.Token)
	if err != nil {
		return err
	}
	switch what {
	case 0:
		t.lane, t.LastError = queue.Lane(lane), string(cause) //nolint:gosec // as it was stored
		t.Due, t.CreatedAt = fromMicros(due), fromMicros(created)
		g.messages = append(g.messages, t)
	case 1:
		g.sure = true
	case 2:
		g.headers[t.workflow] = aggregateRow{id: t.ID, version: t.seq, status: t.kind, body: t.body}
	case 3:
		g.stages[t.workflow] = append(g.stages[t.workflow], aggregateRow{id: t.ID, version: t.seq, body: t.body, isStage: true})
	}
	return nil
}

// workflow returns what came along, once. What cannot be understood is left to Load,
// which says so.
func (g *takings) workflow(id string) *stabilize.Workflow {
	header, ok := g.headers[id]
	if !ok {
		return nil
	}
	delete(g.headers, id)
	h, err := header.header()
	if err != nil {
		return nil
	}
	w := &stabilize.Workflow{Header: *h, Stages: make([]*stabilize.Stage, len(g.stages[id]))}
	for i, r := range g.stages[id] {
		if w.Stages[i], err = persistence.DecodeStage(r.id, r.version, r.body); err != nil {
			return nil
		}
	}
	byPosition(w.Stages)
	w.Index()
	return w
}

// burySpoiled moves what was leased and cannot be decoded to the dead letters. The
// lease counts for nothing.
func (s *Store) burySpoiled(ctx context.Context, spoiled []taken) error {
	var claimable bool
	err := s.write(ctx, "claim", func(tx *wtx) error {
		c := &claim{batch: newBatch(tx, s.now()), store: s}
		for i := range spoiled {
			f := &spoiled[i]
			n, err := tx.change(stUncount, f.ID, f.Token)
			if err != nil {
				return err
			}
			if n == 0 {
				continue // its workflow was deleted, or we were slow
			}
			of := f.found
			of.Attempts--
			if err := c.bury(&of, queue.DeadUndecodable, f.spoiled.Error()); err != nil {
				return err
			}
		}
		claimable = c.claimable
		return tx.notify(claimable)
	})
	s.ping(err == nil && claimable)
	return err
}

// freeLapsedPostgres is freeLapsed among others who do the same: each frees what
// nobody else is freeing. The workers are locked first: whoever leases something to one of
// them now has to wait. A message that another transaction has locked, a caller's even, is
// not waited for: its worker stays, lapsed, for a later claim.
func (b *batch) freeLapsedPostgres() error {
	rows, err := b.tx.query(stLapsed, b.now)
	if err != nil {
		return err
	}
	defer rows.Close()
	var fences []int64
	for rows.Next() {
		var f int64
		if err := rows.Scan(&f); err != nil {
			return err
		}
		fences = append(fences, f)
	}
	if err := rows.Err(); err != nil || len(fences) == 0 {
		return err
	}
	n, err := b.tx.change(stFreeLapsed, fences)
	if err != nil {
		return err
	}
	b.claimable = b.claimable || n > 0
	_, err = b.tx.exec(stDropLapsed, fences)
	return err
}

// lockOthers takes, before the rows of the commits, what their admissions and
// leases depend on: the keys, and the workers.
func (b *batch) lockOthers(work []change) error {
	if b.tx.pg == nil {
		return nil // everything is locked
	}
	var keys, workers []string
	taking := false
	for i := range work {
		ch := &work[i]
		if a := ch.Admission; a != nil {
			taking = taking || a.Op != persistence.LeavePlace
			keys = append(keys, a.Key)
		}
		for j := range ch.enc.Messages {
			if l := ch.enc.Messages[j].Lease; l != nil {
				workers = append(workers, textForm(l.Worker))
			}
		}
	}
	if taking {
		if err := b.tx.checkIsolation(); err != nil {
			return err
		}
	}
	if len(keys) > 0 {
		if _, err := b.tx.exec(stLockKeys, keyLocks(b.tx.pg, keys)); err != nil {
			return err
		}
	}
	if len(workers) > 0 {
		if _, err := b.tx.exec(stLockWorkers, workers); err != nil {
			return err
		}
	}
	return nil
}
