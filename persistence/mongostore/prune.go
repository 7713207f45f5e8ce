package mongostore

import (
	"context"
	"errors"
	"maps"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
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
				err = failure(stabilize.ErrTransient, "prune", errors.New("others are at the same workflows without end"))
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
	docs = slices.DeleteFunc(docs, func(doc workflow) bool {
		asRead := func(h *stabilize.Header) bool { return persistence.IsAsRead(h, doc.Version, instant(doc.Created)) }
		return doc.Mark.Tx != "" || doc.Version == 0 || !slices.ContainsFunc(heads[doc.ID], asRead)
	})
	if len(docs) == 0 {
		return 0, true, nil
	}
	step, err := s.newStep(ctx)
	if err != nil {
		return 0, false, err
	}
	removed, err = s.markFinished(ctx, docs, step)
	if err != nil || removed == 0 {
		s.undoStep(ctx, step)
		return 0, err == nil, err
	}
	for i := range docs {
		s.known.forget(docs[i].ID)
	}
	done, err = s.remove(ctx, step, removed > 1)
	return removed, done, err
}

// markFinished marks workflows for pruning, those left out to which something is
// addressed or that change at this moment, and returns how many. The messages are looked
// for when they have their marks: their own commits are out of the way then.
func (s *Store) markFinished(ctx context.Context, docs []workflow, m mark) (int, error) {
	made, err := s.markWorkflows(ctx, docs, m)
	if err != nil {
		return 0, err
	}
	var ids []string
	for i, doc := range docs {
		if made[i] {
			ids = append(ids, doc.ID)
		}
	}
	addressed, err := all[message](ctx, s.messages, d("wf", in(ids)), options.Find().SetProjection(d("wf", int32(1))))
	if err != nil || len(addressed) == 0 {
		return len(ids), err
	}
	keep := map[string]bool{}
	for _, found := range addressed {
		keep[found.Workflow] = true
	}
	n, err := s.updateMany(ctx, s.workflows, bson.D{eq("_id", in(slices.Collect(maps.Keys(keep)))), eq("tx", m.Tx)}, set(eq("tx", ""), eq("rev", s.token())))
	if err != nil || n != int64(len(keep)) {
		return 0, err
	}
	return len(ids) - len(keep), nil
}
