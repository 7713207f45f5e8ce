package mongostore

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Delete implements persistence.WorkflowStore. All that goes is marked, one document
// of steps decides, and then it is removed: a reader who meets a mark asks whether
// it is decided.
func (s *Store) Delete(ctx context.Context, ids ...string) error {
	call, leave, err := s.enter(ctx, persistence.CheckIDs(ids))
	if err != nil {
		return err
	}
	defer leave()
	if len(ids) == 0 {
		return nil
	}
	ids = slices.Clone(ids)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	for _, id := range ids {
		s.known.forget(id)
	}
	p := s.patience()
	for {
		done, blocked, err := s.delete(call, ids)
		if err == nil && !done {
			if err = s.clear(call, blocked, p); err == nil {
				err = p.wait(call)
			}
			if err == nil && p.spent() {
				err = failure(stabilize.ErrTransient, "delete", errors.New("others are at the same workflows without end"))
			}
		}
		if done || err != nil {
			return s.classify(ctx, "delete", err)
		}
	}
}

// delete is one try. It is not done when others' commits stand in the way.
func (s *Store) delete(ctx context.Context, ids []string) (done bool, blocked []mark, err error) {
	there, err := s.anything(ctx, ids)
	if err != nil || !there {
		return err == nil, nil, err
	}
	m, err := s.newStep(ctx)
	if err != nil {
		return false, nil, err
	}
	blocked, err = s.markAll(ctx, ids, m)
	if err != nil || len(blocked) > 0 {
		s.undoStep(ctx, m)
		return false, blocked, err
	}
	done, err = s.remove(ctx, m, len(ids) > 1)
	return done, nil, err
}

// newStep makes the document that decides about a deletion.
func (s *Store) newStep(ctx context.Context) (mark, error) {
	m := mark{Tx: s.token(), Of: ofSteps}
	m.At, m.Exp = m.Tx, m.Tx+"-"
	_, err := s.steps.InsertOne(ctx, primary{ID: m.At, Rev: m.Exp, Txs: []string{}})
	return m, err
}

func (s *Store) undoStep(ctx context.Context, m mark) {
	on, cancel := lasting(ctx)
	defer cancel()
	_ = s.undo(on, []string{m.Tx})
}

// remove decides that what is marked is gone, and removes it. It is not done if
// somebody lost patience with it.
func (s *Store) remove(ctx context.Context, m mark, several bool) (done bool, err error) {
	w := &work{attempt: attempt{mark: m, placed: true}}
	if several {
		// From here on a listing that began before is read again.
		_, err = s.count(ctx, metaDeletions, 1)
	}
	if err == nil {
		err = ctx.Err()
	}
	on, cancel := lasting(ctx)
	defer cancel()
	if err != nil {
		_ = s.undo(on, []string{m.Tx})
		return false, err
	}
	s.decideUpdates(on, s.steps, []*work{w}, func(w *work) bson.D {
		return set(eq("rev", m.Tx), eq("txs", []string{m.Tx}))
	})
	switch {
	case w.state == going:
		// What is not finished here, whoever meets it finishes.
		_ = s.finish(on, []string{m.Tx})
		return true, nil
	case w.err != nil && !errors.Is(w.err, stabilize.ErrUnknownOutcome):
		_ = s.undo(on, []string{m.Tx})
	case w.state == again: // somebody lost patience with it
		_ = s.undo(on, []string{m.Tx})
	}
	return false, w.err
}

// anything reports whether there is anything to delete. What keeps a creation that was
// broken off from being done late stays: that may still be on its way.
func (s *Store) anything(ctx context.Context, ids []string) (bool, error) {
	one := options.Find().SetProjection(d("_id", int32(1))).SetLimit(1)
	found, err := all[marked](ctx, s.workflows, bson.D{eq("_id", in(ids)), eq("version", d("$gt", int64(0)))}, one)
	if err != nil || len(found) > 0 {
		return len(found) > 0, err
	}
	found, err = all[marked](ctx, s.messages, d("wf", in(ids)), one)
	return len(found) > 0, err
}

// markAll marks the workflows, and all messages and dead letters addressed to them.
// The workflows first: their own commits are out of the way then.
func (s *Store) markAll(ctx context.Context, ids []string, m mark) (blocked []mark, err error) {
	docs, err := all[workflow](ctx, s.workflows, bson.D{eq("_id", in(ids)), eq("version", d("$gt", int64(0)))}, options.Find().SetProjection(headerOnly()))
	if err != nil {
		return nil, err
	}
	for i := range docs {
		if docs[i].Mark.Tx != "" {
			blocked = append(blocked, docs[i].Mark)
		}
	}
	if len(blocked) > 0 {
		return blocked, nil
	}
	made, err := s.markWorkflows(ctx, docs, m)
	if err != nil {
		return nil, err
	}
	if slices.Contains(made, false) { // one has changed; undone, and once more
		return []mark{m}, nil
	}
	if err := s.finishDead(ctx, ids); err != nil {
		return nil, err
	}
	for {
		if _, err := s.updateMany(ctx, s.messages, bson.D{eq("wf", in(ids)), eq("tx", "")}, set(m.fields(s.token())...)); err != nil {
			return nil, err
		}
		left, err := all[marked](ctx, s.messages, bson.D{eq("wf", in(ids)), eq("tx", d("$ne", m.Tx))}, options.Find().SetProjection(marks()))
		if err != nil || len(left) == 0 {
			return nil, err
		}
		for _, l := range left {
			if l.Mark.Tx != "" {
				blocked = append(blocked, l.Mark)
			}
		}
		if len(blocked) > 0 {
			return blocked, nil
		}
	}
}

// markWorkflows marks workflows that are to go, as they were read, and tells which.
func (s *Store) markWorkflows(ctx context.Context, docs []workflow, m mark) ([]bool, error) {
	var txs []string
	changes := make([]change, len(docs))
	for i, doc := range docs {
		txs = append(txs, doc.Txs...)
		changes[i] = change{
			id: doc.ID, filter: bson.D{eq("_id", doc.ID), eq("rev", doc.Rev), eq("tx", "")}, update: set(m.fields(s.token())...), done: byTx(m.Tx),
		}
	}
	// Their tokens decide for others as long as they are not finished.
	if err := s.finish(ctx, txs); err != nil || len(docs) == 0 {
		return nil, err
	}
	made, errs := s.swap(ctx, s.workflows, changes)
	return made, cmp.Or(errs...)
}

// fields are what a document that is to go gets.
func (m *mark) fields(rev string) []bson.E {
	return []bson.E{eq("tx", m.Tx), eq("of", m.Of), eq("at", m.At), eq("exp", m.Exp), eq("rev", rev)}
}

// finishDead delivers the notices of dead letters, which decide for them.
func (s *Store) finishDead(ctx context.Context, ids []string) error {
	dead, err := all[primary](ctx, s.messages, bson.D{eq("wf", in(ids)), eq("q", qDead)}, options.Find().SetProjection(view()))
	if err != nil {
		return err
	}
	var txs []string
	for _, p := range dead {
		txs = append(txs, p.Txs...)
	}
	return s.finish(ctx, txs)
}

// finishDeletion removes what goes with workflows whose deletion is decided, and
// the workflows last: as long as they are there the deletion is found. whole is as that
// of end.
func (s *Store) finishDeletion(ctx context.Context, txs []string, gone []workflow) (whole bool, err error) {
	if len(gone) == 0 {
		return true, nil
	}
	ids := make([]string, len(gone))
	incs := make([]string, len(gone))
	keys := map[string]bool{}
	for i := range gone {
		ids[i], incs[i] = gone[i].ID, gone[i].Inc
		for _, k := range gone[i].Keys {
			keys[k] = true
		}
	}
	for k := range keys {
		if err := s.leave(ctx, k, incs); err != nil {
			return false, err
		}
	}
	if _, err := s.deleteMany(ctx, s.payloads, d("inc", in(incs))); err != nil {
		return false, err
	}
	if _, err := s.deleteMany(ctx, s.events, bson.D{eq("wf", in(ids)), eq("inc", in(incs))}); err != nil {
		return false, err
	}
	n, err := s.deleteMany(ctx, s.workflows, bson.D{eq("_id", in(ids)), eq("tx", in(txs))})
	return err == nil && n == int64(len(ids)), err
}

// leave takes the places and turns of workflows that are gone off a key. What a
// commit has under way there is left to whoever comes next: they do not count.
func (s *Store) leave(ctx context.Context, key string, incs []string) error {
	p := s.patience()
	for {
		var a admission
		err := s.admissions.FindOne(ctx, d("_id", key)).Decode(&a)
		if errors.Is(err, mongo.ErrNoDocuments) {
			return nil
		}
		if err != nil {
			return err
		}
		if a.Mark.Tx != "" {
			if err := s.clear(ctx, []mark{a.Mark}, p); err != nil || p.spent() {
				return err
			}
			continue
		}
		own := func(st seat) bool { return slices.Contains(incs, st.Inc) }
		holding, waiting := slices.DeleteFunc(slices.Clone(a.Holding), own), slices.DeleteFunc(slices.Clone(a.Waiting), own)
		if len(holding) == len(a.Holding) && len(waiting) == len(a.Waiting) {
			return nil
		}
		filter := bson.D{eq("_id", key), eq("rev", a.Rev), eq("tx", "")}
		var n int64
		if len(holding)+len(waiting) == 0 {
			res, err := s.admissions.DeleteOne(ctx, filter)
			if err != nil {
				return err
			}
			n = res.DeletedCount
		} else {
			res, err := s.admissions.UpdateOne(ctx, filter, set(eq("rev", s.token()), eq("holding", none(holding)), eq("waiting", none(waiting))))
			if err != nil {
				return err
			}
			n = res.MatchedCount
		}
		if n == 1 {
			return nil
		}
	}
}
