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
	found, damaged, err := intact[workflow](ctx, s.workflows, d("_id", in(ids)), options.Find().SetProjection(withoutBodies()))
	if err != nil {
		return err
	}
	byID := make(map[string]*aggregate, len(found))
	for i := range found {
		if found[i].Rev == "" {
			damaged = append(damaged, &stabilize.CorruptError{Table: s.workflows.Name(), ID: found[i].ID, Cause: errForeign})
			continue
		}
		byID[found[i].ID] = found[i].aggregate()
	}
	for _, bad := range damaged { // it keeps no other commit
		for _, w := range works {
			if w.c.WorkflowID == bad.ID {
				w.fail(bad)
			}
		}
	}
	for _, w := range still(works) {
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
	n := 0
	for _, w := range works {
		if w.names() {
			w.checkWorkflow()
		}
		if w.state == going && w.names() {
			w.choosePrimary()
			w.shape(s.cfg.Inline)
			s.checkSize(w)
		}
		if w.state == going {
			n += len(w.enc.Messages)
		}
	}
	var live map[string]int64
	var seq int64
	err := eachAtOnce(
		func() (err error) { live, err = s.live(ctx, works); return err },
		func() (err error) { seq, err = s.count(ctx, metaSeq, n); return err },
	)
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
			m := newMessage(&w.enc.Messages[i], w.mark.Tx, live, now, seq)
			seq++
			if at, ok := dropped[m.ID]; ok {
				w.drops[at].next = m
			} else {
				w.births = append(w.births, m)
			}
		}
		if !w.names() {
			w.choosePrimary()
		}
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
	m.Born, m.Q, m.Mark = m.Q, qUnborn, w.mark
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

// live returns the fences of those workers that commits lease messages to and that
// are alive.
func (s *Store) live(ctx context.Context, works []*work) (map[string]int64, error) {
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
	live := make(map[string]int64, len(found))
	for _, w := range found {
		live[w.ID] = w.Fence
	}
	return live, err
}

func newMessage(e *queue.Encoded, rev string, live map[string]int64, now time.Time, seq int64) *message {
	m := &message{
		ID: e.ID, Rev: rev, Q: rest(int32(e.Lane), 0, int64(e.MaxAttempts)), Due: micros(queue.DueAt(e.At, now)), Seq: seq,
		Created: micros(now), Workflow: e.WorkflowID, Kind: e.Kind, Lane: int32(e.Lane), Max: int64(e.MaxAttempts),
		Body: string(e.Body), Txs: []string{},
	}
	if l := e.Lease; l != nil && live[l.Worker] > 0 {
		m.Fence = live[l.Worker]
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

// placePrimaries makes a document that decides for each commit that names no
// workflow. That of a creation is the workflow itself, which is inserted last.
func (s *Store) placePrimaries(ctx context.Context, works []*work) error {
	var docs []any
	for _, w := range works {
		if !w.direct && !w.names() {
			w.placed = true
			docs = append(docs, primary{ID: w.mark.At, Rev: w.mark.Exp, Txs: []string{}})
		}
	}
	if len(docs) == 0 {
		return nil
	}
	_, err := s.steps.InsertMany(ctx, docs, unordered())
	return err
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
