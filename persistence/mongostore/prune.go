package mongostore

import (
	"context"
	"errors"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Prune implements persistence.WorkflowStore: as Delete does, of what is as it was
// read.
func (s *Store) Prune(ctx context.Context, finished ...*stabilize.Header) (removed int, err error) {
	call, leave, err := s.enter(ctx, persistence.CheckPrune(finished))
	if err != nil {
		return 0, err
	}
	defer leave()
	p := s.patience()
	for {
		removed, done, err := s.prune(call, finished)
		if err == nil && !done {
			if err = p.wait(call); err == nil && p.spent() {
				err = &failure{stabilize.ErrTransient, "prune", errors.New("others are at the same workflows without end")}
			}
		}
		if done || err != nil {
			return removed, s.classify(ctx, "prune", err)
		}
	}
}

func (s *Store) prune(ctx context.Context, finished []*stabilize.Header) (removed int, done bool, err error) {
	heads := make(map[string][]*stabilize.Header, len(finished))
	var ids []string
	for _, h := range finished {
		if heads[h.ID] == nil {
			ids = append(ids, h.ID)
		}
		heads[h.ID] = append(heads[h.ID], h)
	}
	docs, err := all[workflow](ctx, s.workflows, d("_id", in(ids)), options.Find().SetProjection(headerOnly()))
	if err != nil {
		return 0, false, err
	}
	// A mark whose commit died would keep its workflow for ever: nobody else may meet it.
	var marks []mark
	for i := range docs {
		marks = append(marks, docs[i].Mark)
	}
	if settled, err := s.settleThese(ctx, marks); err != nil || settled {
		return 0, false, err
	}
	var step mark
	for i := range docs {
		doc := &docs[i]
		asRead := func(h *stabilize.Header) bool { return persistence.IsAsRead(h, doc.Version, instant(doc.Created)) }
		if doc.Mark.Tx != "" || doc.Version == 0 || !slices.ContainsFunc(heads[doc.ID], asRead) {
			continue
		}
		if step.Tx == "" {
			if step, err = s.newStep(ctx); err != nil {
				return 0, false, err
			}
		}
		marked, err := s.markFinished(ctx, doc, step)
		if err != nil {
			s.undoStep(ctx, step)
			return 0, false, err
		}
		if marked {
			removed++
			s.known.forget(doc.ID)
		}
	}
	switch {
	case step.Tx == "":
		return 0, true, nil
	case removed == 0:
		s.undoStep(ctx, step)
		return 0, true, nil
	}
	done, err = s.remove(ctx, step, removed > 1)
	return removed, done, err
}

// markFinished marks a workflow for pruning, unless something is addressed to it or
// it changes at this moment. The messages are looked for when it has its mark: its
// own commits are out of the way then.
func (s *Store) markFinished(ctx context.Context, doc *workflow, m mark) (bool, error) {
	// Its tokens decide for others as long as they are not finished.
	if err := s.finish(ctx, doc.Txs); err != nil {
		return false, err
	}
	res, err := s.workflows.UpdateOne(ctx, bson.D{eq("_id", doc.ID), eq("rev", doc.Rev), eq("tx", "")},
		set(eq("tx", m.Tx), eq("of", m.Of), eq("at", m.At), eq("exp", m.Exp), eq("rev", s.token())))
	if err != nil || res.MatchedCount == 0 {
		return false, err
	}
	err = s.messages.FindOne(ctx, d("wf", doc.ID), options.FindOne().SetProjection(d("_id", int32(1)))).Err()
	if errors.Is(err, mongo.ErrNoDocuments) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	_, err = s.workflows.UpdateOne(ctx, bson.D{eq("_id", doc.ID), eq("tx", m.Tx)}, set(eq("tx", ""), eq("rev", s.token())))
	return false, err
}
