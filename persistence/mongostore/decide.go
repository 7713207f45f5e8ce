package mongostore

import (
	"cmp"
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// decide makes the one write by which each commit is done, or is not.
func (s *Store) decide(ctx context.Context, works []*work) {
	var creates, updates, steps, pushes, drops []*work
	for _, w := range works {
		switch {
		case w.direct && len(w.births) > 0:
			pushes = append(pushes, w)
		case w.direct && len(w.drops) > 0:
			drops = append(drops, w)
		case w.direct: // it changes nothing
		case !w.names():
			steps = append(steps, w)
		case w.doc == nil:
			creates = append(creates, w)
		default:
			updates = append(updates, w)
		}
	}
	s.decideCreations(ctx, creates)
	s.decideUpdates(ctx, s.workflows, updates, (*work).update)
	s.decideUpdates(ctx, s.steps, steps, func(w *work) bson.D {
		return set(eq("rev", w.mark.Tx), eq("txs", []string{w.mark.Tx}))
	})
	s.decidePushes(ctx, pushes)
	_ = each(len(drops), func(i int) error {
		switch err := s.decideDrop(ctx, drops[i]); {
		case err == nil:
		case conflicted(err):
			drops[i].state = again
		default:
			drops[i].fail(unknown(err))
		}
		return nil
	})
}

// decideUpdates compares and sets the primaries.
func (s *Store) decideUpdates(ctx context.Context, coll *mongo.Collection, works []*work, update func(*work) bson.D) {
	if len(works) == 0 {
		return
	}
	changes := make([]change, len(works))
	for i, w := range works {
		changes[i] = change{
			id: w.mark.At, filter: bson.D{eq("_id", w.mark.At), eq("rev", w.mark.Exp)}, update: update(w),
			done: func(v primaryView) bool { p := primary{Rev: v.Rev, Txs: v.Txs}; return p.judge(w.mark) == committed },
		}
	}
	made, errs := make([]bool, len(changes)), make([]error, len(changes))
	if coll == s.steps {
		// Read back afterwards it might be gone: finished by somebody else.
		s.swapSingly(ctx, coll, changes, made, errs)
	} else {
		made, errs = s.swap(ctx, coll, changes)
	}
	for i, w := range works {
		switch {
		case made[i]:
		case errs[i] != nil:
			s.probe(ctx, w, errs[i])
		default:
			w.look, w.state = true, again
		}
	}
}

// decideCreations inserts workflows.
func (s *Store) decideCreations(ctx context.Context, works []*work) {
	if len(works) == 0 {
		return
	}
	docs := make([]any, len(works))
	for i, w := range works {
		docs[i] = w.document()
	}
	taken, err := inserted(s.workflows.InsertMany(ctx, docs, unordered()))
	if err != nil {
		for _, w := range works {
			s.probe(ctx, w, err)
		}
		return
	}
	for _, i := range taken {
		works[i].look, works[i].state = true, again
	}
}

// decidePushes stores messages each of which is all that its commit writes.
func (s *Store) decidePushes(ctx context.Context, works []*work) {
	var births birth
	for _, w := range works {
		births.add(w, w.births)
	}
	err := s.insert(ctx, &births)
	if err == nil {
		err = s.takenIDs(ctx, &births)
	}
	if err != nil {
		for _, w := range works {
			s.probePush(ctx, w, err)
		}
	}
}

// decideDrop removes the one message that is all that a commit writes.
func (s *Store) decideDrop(ctx context.Context, w *work) error {
	dr := &w.drops[0]
	res, lost := s.messages.DeleteOne(ctx, dr.filter())
	if lost == nil && res.DeletedCount == 1 {
		return nil
	}
	found, err := s.glance(ctx, []string{dr.id})
	if err != nil {
		return cmp.Or(lost, err)
	}
	m, there := found[dr.id]
	if lost != nil {
		if there {
			return lost
		}
		return nil
	}
	if w.missed(0, m, there) {
		w.drops = nil
	}
	return nil
}

// unknown is the error of a write that may have been done.
func unknown(err error) error {
	if answered(err) {
		return err
	}
	return failure(stabilize.ErrUnknownOutcome, "commit", err)
}

// probing is how long a commit whose answer was lost is looked for.
const probing = 5 * time.Second

// probe finds out what became of a commit whose answer was lost: it is done if its
// token is there, and if not, it is kept from being done.
func (s *Store) probe(ctx context.Context, w *work, cause error) {
	ctx, cancel := context.WithTimeout(ctx, probing)
	defer cancel()
	p := s.patience()
	for {
		v, err := s.outcome(ctx, w)
		if err == nil {
			switch {
			case v == committed:
			case conflicted(cause):
				w.look, w.state = true, again
			case refused(cause):
				w.refuse(cause)
			case v == underway:
				w.fail(unknown(cause))
			default:
				w.fail(failure(stabilize.ErrTransient, "commit", cause))
			}
			return
		}
		if p.wait(ctx) != nil {
			w.fail(failure(stabilize.ErrUnknownOutcome, "commit", cause))
			return
		}
	}
}

func (s *Store) outcome(ctx context.Context, w *work) (verdict, error) {
	var now primary
	err := s.primaries(w.mark.Of).FindOne(ctx, d("_id", w.mark.At), options.FindOne().SetProjection(view())).Decode(&now)
	switch {
	case errors.Is(err, mongo.ErrNoDocuments) && w.mark.Exp == "" && w.placed:
		return s.breakOff(ctx, w.mark)
	case errors.Is(err, mongo.ErrNoDocuments):
		return underway, nil // not inserted yet, or finished and gone: nobody knows
	case err != nil:
		return underway, err
	}
	if v := now.judge(w.mark); v != underway {
		return v, nil
	}
	return s.breakOff(ctx, w.mark)
}

// sure finds out what became of the write of one message whose answer was lost. was
// is the rev that it was to find, now the one that it was to leave, "": none, the
// message was to go. A write that is not done is kept from coming late.
func (s *Store) sure(ctx context.Context, doing, id, was, now string, cause error) error {
	if answered(cause) {
		return cause
	}
	on, cancel := lasting(ctx)
	defer cancel()
	on, stop := context.WithTimeout(on, probing)
	defer stop()
	p := s.patience()
	for {
		var found primary
		err := s.messages.FindOne(on, d("_id", id), options.FindOne().SetProjection(view())).Decode(&found)
		switch {
		case errors.Is(err, mongo.ErrNoDocuments) && now == "", err == nil && found.Rev == now:
			return nil
		case errors.Is(err, mongo.ErrNoDocuments), err == nil && found.Rev != was:
			return failure(stabilize.ErrUnknownOutcome, doing, cause) // others went on from there
		case err == nil:
			var res *mongo.UpdateResult
			res, err = s.messages.UpdateOne(on, bson.D{eq("_id", id), eq("rev", was)}, set(eq("rev", s.token())))
			if err == nil && res.MatchedCount == 1 {
				return failure(stabilize.ErrTransient, doing, cause)
			}
		}
		if p.wait(on) != nil {
			return failure(stabilize.ErrUnknownOutcome, doing, cause)
		}
	}
}

// probePush finds out whether a message that was to be stored alone was.
func (s *Store) probePush(ctx context.Context, w *work, cause error) {
	if w.state != going {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, probing)
	defer cancel()
	var now primary
	err := s.messages.FindOne(ctx, d("_id", w.births[0].ID), options.FindOne().SetProjection(view())).Decode(&now)
	switch {
	case err == nil && now.Rev == w.mark.Tx:
	case err != nil && !errors.Is(err, mongo.ErrNoDocuments):
		w.fail(failure(stabilize.ErrUnknownOutcome, "commit", cause))
	case conflicted(cause):
		w.state = again
	case refused(cause):
		w.refuse(cause)
	default:
		w.fail(unknown(cause))
	}
}

// finishWorks does what is left to do of commits that are done, many in one call.
// What fails here is finished by whoever meets it.
func (s *Store) finishWorks(ctx context.Context, works []*work) {
	var e ending
	var txs []string
	var ended []string // steps
	for _, w := range works {
		if w.direct {
			continue
		}
		txs = append(txs, w.mark.Tx)
		for _, m := range w.births {
			e.add(m)
		}
		for i := range w.events {
			e.tell(w.events[i].ID)
		}
		for i := range w.drops {
			e.add(&message{ID: w.drops[i].id, Mark: w.mark, Next: w.drops[i].next})
		}
		if !w.names() {
			ended = append(ended, w.mark.Tx)
		}
	}
	whole, err := s.end(ctx, txs, &e)
	for _, w := range works {
		if err == nil && w.admit != nil && w.admit.placed {
			err = s.endAdmission(ctx, &w.admit.doc)
		}
	}
	if err == nil && whole && len(ended) > 0 {
		_, err = s.deleteMany(ctx, s.steps, d("_id", in(ended)))
	}
	for _, w := range works {
		if !w.names() {
			continue
		}
		w.adopt()
		if err == nil && whole {
			w.doc.settled[w.mark.Tx] = true
		}
		s.dropPayloads(ctx, w)
	}
}
