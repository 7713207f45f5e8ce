package mongostore

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// What a commit prepares before it is decided, in documents that are not its
// primary: each gets its mark, by compare-and-set.

// read looks up the workflows that are not remembered.
func (s *Store) read(ctx context.Context, works []*work) error {
	var ids []string
	for _, w := range works {
		if w.names() && (w.look || w.doc == nil && w.c.Expect > 0) {
			ids = append(ids, w.c.WorkflowID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	found, err := all[workflow](ctx, s.workflows, d("_id", in(ids)), options.Find().SetProjection(withoutBodies()))
	if err != nil {
		return err
	}
	byID := make(map[string]*aggregate, len(found))
	for i := range found {
		byID[found[i].ID] = found[i].aggregate()
	}
	for _, w := range works {
		if w.names() && (w.look || w.doc == nil && w.c.Expect > 0) {
			w.doc, w.look = byID[w.c.WorkflowID], false
			if w.doc != nil {
				w.doc.fresh = true
			}
		}
	}
	return nil
}

// plan checks what the workflow alone tells, and makes the messages.
func (s *Store) plan(ctx context.Context, works []*work) error {
	live, err := s.live(ctx, works)
	if err != nil {
		return err
	}
	n := 0
	for _, w := range works {
		if w.names() {
			w.checkWorkflow()
		}
		if w.state == going {
			n += len(w.enc.Messages)
		}
	}
	seq, err := s.count(ctx, metaSeq, n)
	if err != nil {
		return err
	}
	now := s.now()
	for _, w := range still(works) {
		dropped := map[string]int{}
		for _, r := range w.c.Handled {
			dropped[r.ID] = len(w.drops)
			w.drops = append(w.drops, drop{id: r.ID, token: r.Token})
		}
		for _, id := range w.c.Discard {
			if _, twice := dropped[id]; !twice {
				dropped[id] = len(w.drops)
				w.drops = append(w.drops, drop{id: id})
			}
		}
		for i := range w.enc.Messages {
			m := newMessage(&w.enc.Messages[i], live, now, seq)
			seq++
			if at, ok := dropped[m.ID]; ok {
				w.drops[at].next = m
			} else {
				w.births = append(w.births, m)
			}
		}
		w.choosePrimary()
		for _, m := range w.births {
			w.markBirth(m)
		}
	}
	return nil
}

func (w *work) markBirth(m *message) {
	if w.direct {
		return
	}
	m.Born, m.Q, m.Mark, m.Rev = m.Q, qUnborn, w.mark, w.mark.Tx
}

// checkWorkflow compares the commit with what is stored.
func (w *work) checkWorkflow() {
	var version int64
	var created time.Time
	if a := w.doc; a != nil {
		if a.mark.Tx != "" {
			w.blocked, w.state, w.look = append(w.blocked, a.mark), again, true
			return
		}
		version, created = a.version, a.created
	}
	err := w.c.CheckVersion(version, created)
	if err == nil && w.doc != nil {
		err = w.doc.checkStages(w.c)
	}
	switch {
	case err == nil:
	case w.doc != nil && !w.doc.fresh:
		w.state, w.look = again, true // what is remembered may be out of date
	default:
		w.fail(err)
	}
}

func (a *aggregate) checkStages(c *persistence.Commit) error {
	for _, st := range c.Stages {
		if k, ok := a.stages[st.ID]; ok {
			if err := persistence.CheckStage(k.stage(st.ID), st); err != nil {
				return err
			}
		}
	}
	for _, id := range c.Removed {
		if _, ok := a.stages[id]; !ok {
			return stabilize.Invalid("commit removed", "workflow %q has no stage %q", c.WorkflowID, id)
		}
	}
	return nil
}

// live returns which of the workers that commits lease messages to are alive.
func (s *Store) live(ctx context.Context, works []*work) (map[string]bool, error) {
	ids := map[string]bool{}
	for _, w := range works {
		for i := range w.enc.Messages {
			if l := w.enc.Messages[i].Lease; l != nil {
				ids[l.Worker] = true
			}
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	var list []string
	for id := range ids {
		list = append(list, id)
	}
	found, err := all[worker](ctx, s.workers, bson.D{eq("_id", in(list)), eq("expires", d("$gt", micros(s.now())))})
	live := make(map[string]bool, len(found))
	for _, w := range found {
		live[w.ID] = true
	}
	return live, err
}

func newMessage(e *queue.Encoded, live map[string]bool, now time.Time, seq int64) *message {
	m := &message{
		ID: e.ID, Rev: e.ID, Q: rest(int32(e.Lane), 0, int64(e.MaxAttempts)), Due: micros(queue.DueAt(e.At, now)), Seq: seq,
		Created: micros(now), Workflow: e.WorkflowID, Kind: e.Kind, Lane: int32(e.Lane), Max: int64(e.MaxAttempts),
		Body: string(e.Body), Txs: []string{},
	}
	if l := e.Lease; l != nil && live[l.Worker] {
		m.Q, m.Worker, m.Token, m.Attempts = qLeased, l.Worker, storedGiven(l.Token), 1
		m.Back = rest(m.Lane, 1, m.Max)
	}
	return m
}

// choosePrimary says which document decides.
func (w *work) choosePrimary() {
	switch {
	case w.names():
		w.mark.Of, w.mark.At = ofWorkflows, w.c.WorkflowID
		if w.doc != nil {
			w.mark.Exp = w.doc.rev
			w.stub = w.doc.version == 0
		}
	case len(w.births)+len(w.drops) <= 1 && (len(w.drops) == 0 || w.drops[0].next == nil):
		w.direct = true
	default:
		w.mark.Of, w.mark.At, w.mark.Exp = ofSteps, w.mark.Tx, w.mark.Tx+"-"
	}
}

// alone reports whether the workflow's document is all that the commit writes.
func (w *work) alone() bool {
	return len(w.births)+len(w.drops) == 0 && (w.c.Admission == nil)
}

func stubFilter(id, rev string) bson.D {
	return bson.D{eq("_id", id), eq("rev", rev), eq("version", int64(0))}
}

// placePrimaries makes the documents that decide where there are none: a step of
// its own for what names no workflow, and for a creation that writes more than the
// workflow a document that is no workflow yet. What decides must be an update of
// what is there: an insertion could not be kept from coming late.
func (s *Store) placePrimaries(ctx context.Context, works []*work) error {
	var steps, stubs []any
	var creating []*work
	for _, w := range works {
		switch {
		case w.direct:
		case !w.names():
			w.placed = true
			steps = append(steps, primary{ID: w.mark.At, Rev: w.mark.Exp, Txs: []string{}})
		case w.doc == nil && !w.alone():
			w.mark.Exp = w.mark.Tx + "-"
			for _, m := range w.births {
				m.Mark = w.mark
			}
			w.stub = true
			creating = append(creating, w)
			stubs = append(stubs, workflow{ID: w.c.WorkflowID, Rev: w.mark.Exp, Txs: []string{}, Stages: map[string]stage{}, Keys: []string{}})
		}
	}
	if len(steps) > 0 {
		if _, err := s.steps.InsertMany(ctx, steps, unordered()); err != nil {
			return err
		}
	}
	if len(stubs) == 0 {
		return nil
	}
	taken, err := inserted(s.workflows.InsertMany(ctx, stubs, unordered()))
	if err != nil {
		return err
	}
	for _, i := range taken { // there is one: it is looked at
		w := creating[i]
		w.stub, w.look, w.state = false, true, again
	}
	return nil
}

func unordered() *options.InsertManyOptionsBuilder { return options.InsertMany().SetOrdered(false) }

// inserted returns which of the documents were not inserted because there is one of
// that id. Any other error is returned.
func inserted(_ *mongo.InsertManyResult, err error) (taken []int, _ error) {
	if err == nil {
		return nil, nil
	}
	many, ok := errors.AsType[mongo.BulkWriteException](err)
	if !ok || many.WriteConcernError != nil {
		return nil, err
	}
	for _, e := range many.WriteErrors {
		if e.Code != codeDuplicateKey {
			return nil, err
		}
		taken = append(taken, e.Index)
	}
	return taken, nil
}

// placeDrops marks the messages that are removed: each must be held by the token it
// is acknowledged with.
func (s *Store) placeDrops(ctx context.Context, works []*work) error {
	type place struct {
		w  *work
		at int
	}
	var changes []change
	var places []place
	for _, w := range works {
		for i := range w.drops {
			if w.direct {
				continue
			}
			w.placed = true
			dr := &w.drops[i]
			fields := []bson.E{eq("tx", w.mark.Tx), eq("of", w.mark.Of), eq("at", w.mark.At), eq("exp", w.mark.Exp)}
			if dr.next != nil {
				fields = append(fields, eq("next", dr.next))
			}
			changes = append(changes, change{id: dr.id, filter: dr.filter(), update: set(fields...), done: byTx(w.mark.Tx)})
			places = append(places, place{w, i})
		}
	}
	made, err := s.swap(ctx, s.messages, changes)
	if err != nil {
		return err
	}
	var missed []string
	for i := range places {
		if !made[i] {
			missed = append(missed, changes[i].id)
		}
	}
	if len(missed) == 0 {
		return nil
	}
	found, err := s.glance(ctx, missed)
	if err != nil {
		return err
	}
	gone := map[*work]map[int]bool{}
	for i, p := range places {
		if made[i] {
			continue
		}
		m, there := found[changes[i].id]
		if p.w.missed(p.at, m, there) {
			if gone[p.w] == nil {
				gone[p.w] = map[int]bool{}
			}
			gone[p.w][p.at] = true
		}
	}
	for w, at := range gone {
		w.ignore(at)
	}
	return nil
}

func (dr *drop) filter() bson.D {
	if dr.token != "" {
		return bson.D{eq("_id", dr.id), eq("token", d("$in", stored(dr.token, dr.id))), eq("tx", "")}
	}
	return bson.D{eq("_id", dr.id), eq("q", in(append(free(), qLeased))), eq("tx", "")}
}

// missed says why a message was not marked; ignored: there is nothing to discard.
func (w *work) missed(at int, m message, there bool) (ignored bool) {
	dr := &w.drops[at]
	switch {
	case w.state == over:
	case there && m.Mark.Tx != "":
		w.blocked, w.state = append(w.blocked, m.Mark), again
	case dr.token != "" && (!there || told(m.Token, m.ID) != dr.token):
		w.fail(&stabilize.LeaseLostError{Kind: "message", ID: dr.id})
	case dr.token == "" && (!there || m.Q == qDead):
		return true
	default:
		w.state = again // it was just settled
	}
	return false
}

// ignore forgets the drops that found nothing. What was to take their place comes
// as any other message.
func (w *work) ignore(gone map[int]bool) {
	var kept []drop
	for i, dr := range w.drops {
		switch {
		case !gone[i]:
			kept = append(kept, dr)
		case dr.next != nil:
			w.markBirth(dr.next)
			w.births = append(w.births, dr.next)
		}
	}
	w.drops = kept
}

// glance reads what tells why messages could not be had.
func (s *Store) glance(ctx context.Context, ids []string) (map[string]message, error) {
	found, err := all[message](ctx, s.messages, d("_id", in(ids)), options.Find().SetProjection(append(marks(), eq("q", int32(1)), eq("token", int32(1)))))
	if err != nil {
		return nil, err
	}
	out := make(map[string]message, len(found))
	for _, m := range found {
		out[m.ID] = m
	}
	return out, nil
}

// placeBirths stores the new messages, unborn.
func (s *Store) placeBirths(ctx context.Context, works []*work) error {
	var docs []any
	var owners []*work
	for _, w := range works {
		if w.direct {
			continue
		}
		for _, m := range w.births {
			w.placed = true
			docs = append(docs, m)
			owners = append(owners, w)
		}
	}
	return s.insertMessages(ctx, docs, owners)
}

func (s *Store) insertMessages(ctx context.Context, docs []any, owners []*work) error {
	if len(docs) == 0 {
		return nil
	}
	taken, err := inserted(s.messages.InsertMany(ctx, docs, unordered()))
	if err != nil || len(taken) == 0 {
		return err
	}
	ids := make([]string, len(taken))
	for i, at := range taken {
		ids[i] = docs[at].(*message).ID
	}
	found, err := s.glance(ctx, ids)
	if err != nil {
		return err
	}
	for i, at := range taken {
		w := owners[at]
		m, there := found[ids[i]]
		switch {
		case w.state == over:
		case there && m.Mark.Tx == "":
			w.fail(&stabilize.ExistsError{Kind: "message", ID: ids[i]})
		case there && m.Mark.Tx != w.mark.Tx:
			w.blocked, w.state = append(w.blocked, m.Mark), again
		case !there:
			w.state = again
		}
	}
	return nil
}
