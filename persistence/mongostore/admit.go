package mongostore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// admitted is what an attempt has done to the document of an admission key: it
// holds what is to be there when the commit is done, and keeps others out until
// then.
type admitted struct {
	doc    admission
	placed bool
}

// placeAdmissions judges the requests and marks the documents of their keys.
func (s *Store) placeAdmissions(ctx context.Context, works []*work) error {
	for _, w := range works {
		if w.c.Admission == nil {
			continue
		}
		if err := s.placeAdmission(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) placeAdmission(ctx context.Context, w *work) error {
	a := w.c.Admission
	was, err := one[admission](ctx, s.admissions, d("_id", a.Key))
	missing := errors.Is(err, mongo.ErrNoDocuments)
	if err == nil && was.Rev == "" {
		err = &stabilize.CorruptError{Table: s.admissions.Name(), ID: a.Key, Cause: errForeign}
	}
	if errors.Is(err, stabilize.ErrCorrupt) {
		w.fail(err)
		return nil
	}
	if err != nil && !missing {
		return err
	}
	if was.Mark.Tx != "" {
		w.blocked, w.state = append(w.blocked, was.Mark), again
		return nil
	}
	next, err := s.request(ctx, w, &was)
	if err != nil || next == nil {
		return err
	}
	now := admission{Key: a.Key, Rev: w.mark.Tx, Holding: none(was.Holding), Waiting: none(was.Waiting), Mark: w.mark, Next: next}
	if err := s.checkDocument(fmt.Sprintf("the list of who holds and waits under %q", a.Key), now); err != nil {
		w.fail(err)
		return nil
	}
	w.admit = &admitted{doc: now, placed: true}
	w.placed = true
	if missing {
		_, err := s.admissions.InsertOne(ctx, now)
		if duplicate(err) {
			w.admit, w.state = nil, again
			return nil
		}
		return err
	}
	res, err := s.admissions.UpdateOne(ctx, bson.D{eq("_id", a.Key), eq("rev", was.Rev), eq("tx", "")},
		set(eq("rev", w.mark.Tx), eq("tx", w.mark.Tx), eq("of", w.mark.Of), eq("at", w.mark.At), eq("exp", w.mark.Exp), eq("next", next)))
	if err == nil && res.MatchedCount == 0 {
		w.admit, w.state = nil, again
	}
	return err
}

func none(list []seat) []seat {
	if list == nil {
		return []seat{}
	}
	return list
}

// request returns who is to hold and to wait under the key, nil if nothing changes.
func (s *Store) request(ctx context.Context, w *work, was *admission) (*seats, error) {
	a := w.c.Admission
	inc := w.mark.Tx
	if w.doc != nil && w.doc.version > 0 {
		inc = w.doc.inc
	}
	own := func(st seat) bool { return st.Workflow == w.c.WorkflowID && st.Inc == inc }
	next := &seats{Holding: slices.Clone(none(was.Holding)), Waiting: slices.Clone(none(was.Waiting))}
	if a.Op == persistence.LeavePlace {
		next.Holding, next.Waiting = slices.DeleteFunc(next.Holding, own), slices.DeleteFunc(next.Waiting, own)
		if len(next.Holding) == len(was.Holding) && len(next.Waiting) == len(was.Waiting) {
			return nil, nil
		}
		return next, nil
	}
	statuses, err := s.statuses(ctx, was.Holding, was.Waiting)
	if err != nil {
		return nil, err
	}
	next.Holding = slices.DeleteFunc(next.Holding, func(st seat) bool { return !statuses.holds(st) })
	next.Waiting = slices.DeleteFunc(next.Waiting, func(st seat) bool { return !statuses.waits(st) })
	if err := a.Check(w.c.WorkflowID, persistence.Admissions{Holding: names(next.Holding), Waiting: names(next.Waiting)}); err != nil {
		w.fail(err)
		return nil, nil
	}
	me := seat{Workflow: w.c.WorkflowID, Inc: inc, Limit: int64(a.Limit)}
	if a.Op == persistence.TakePlace {
		next.Waiting = slices.DeleteFunc(next.Waiting, own)
		if !slices.ContainsFunc(next.Holding, own) {
			next.Holding = append(next.Holding, me)
		}
	} else {
		next.Holding = slices.DeleteFunc(next.Holding, own)
		if at := slices.IndexFunc(next.Waiting, own); at >= 0 {
			next.Waiting[at].Limit = me.Limit
		} else {
			next.Waiting = append(next.Waiting, me)
		}
	}
	if slices.Equal(next.Holding, was.Holding) && slices.Equal(next.Waiting, was.Waiting) {
		return nil, nil
	}
	return next, nil
}

func names(list []seat) []string {
	var ids []string
	for _, st := range list {
		ids = append(ids, st.Workflow)
	}
	return ids
}

// owners is what is known of workflows that have places or turns.
type owners map[string]owner

type owner struct {
	ID      string `bson:"_id"`
	Inc     string `bson:"inc"`
	Version int64  `bson:"version"`
	Status  string `bson:"status"`
	Mark    mark   `bson:",inline"`
}

func (o owners) status(st seat) (stabilize.Status, bool) {
	w, there := o[st.Workflow]
	if !there || w.Inc != st.Inc || w.Version == 0 {
		return 0, false
	}
	status, err := stabilize.ParseStatus(w.Status)
	return status, err == nil
}

func (o owners) holds(st seat) bool {
	status, there := o.status(st)
	return there && persistence.HoldsPlace(status)
}

func (o owners) waits(st seat) bool {
	status, there := o.status(st)
	return there && persistence.KeepsTurn(status)
}

func (s *Store) statuses(ctx context.Context, lists ...[]seat) (owners, error) {
	var ids []string
	for _, list := range lists {
		ids = append(ids, names(list)...)
	}
	out := owners{}
	if len(ids) == 0 {
		return out, nil
	}
	found, err := all[owner](ctx, s.workflows, d("_id", in(ids)), options.Find().SetProjection(
		append(marks(), eq("inc", int32(1)), eq("version", int32(1)), eq("status", int32(1)))))
	if err != nil {
		return nil, err
	}
	var deleting []mark
	for _, w := range found {
		deleting = append(deleting, w.Mark)
	}
	verdicts, err := s.judge(ctx, deleting)
	if err != nil {
		return nil, err
	}
	for _, w := range found {
		if verdicts[w.Mark.Tx] != committed {
			out[w.ID] = w
		}
	}
	return out, nil
}

// endAdmission puts in place what a commit that is done has left in the document.
func (s *Store) endAdmission(ctx context.Context, a *admission) error {
	filter := bson.D{eq("_id", a.Key), eq("tx", a.Mark.Tx)}
	if a.Next == nil || len(a.Next.Holding)+len(a.Next.Waiting) == 0 {
		_, err := s.admissions.DeleteOne(ctx, filter)
		return err
	}
	_, err := s.admissions.UpdateOne(ctx, filter,
		unmark(s.token(), eq("holding", none(a.Next.Holding)), eq("waiting", none(a.Next.Waiting))))
	return err
}

// undoAdmissions takes the marks of commits that will not be done off.
func (s *Store) undoAdmissions(ctx context.Context, txs []string) error {
	list, err := all[admission](ctx, s.admissions, d("tx", in(txs)))
	if err != nil {
		return err
	}
	for i := range list {
		a := &list[i]
		filter := bson.D{eq("_id", a.Key), eq("tx", a.Mark.Tx)}
		if len(a.Holding)+len(a.Waiting) == 0 {
			_, err = s.admissions.DeleteOne(ctx, filter)
		} else {
			_, err = s.admissions.UpdateOne(ctx, filter, unmark(s.token()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Admissions implements persistence.WorkflowStore.
func (s *Store) Admissions(ctx context.Context, key string) (out persistence.Admissions, err error) {
	call, leave, err := s.enter(ctx, stabilize.CheckID("admission key", key))
	if err != nil {
		return out, err
	}
	defer leave()
	err = s.again(call, func() (bool, error) {
		out = persistence.Admissions{}
		doc, err := one[admission](call, s.admissions, d("_id", key))
		if errors.Is(err, mongo.ErrNoDocuments) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		if finished, err := s.finished(call, doc.Mark); err != nil || finished {
			return false, err
		}
		statuses, err := s.statuses(call, doc.Holding, doc.Waiting)
		if err != nil {
			return false, err
		}
		for _, st := range doc.Holding {
			if statuses.holds(st) {
				out.Holding = append(out.Holding, st.Workflow)
			}
		}
		for _, st := range doc.Waiting {
			if statuses.waits(st) {
				out.Waiting = append(out.Waiting, st.Workflow)
			}
		}
		return true, nil
	})
	return out, s.classify(ctx, "read admissions", err)
}

// WaitingKeys implements persistence.WaitingKeys.
func (s *Store) WaitingKeys(ctx context.Context) ([]persistence.WaitingKey, error) {
	call, leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	var keys []persistence.WaitingKey
	err = s.again(call, func() (bool, error) {
		keys = nil
		// A document that is not ours is nobody's turn; a commit under that key says so.
		docs, _, err := intact[admission](call, s.admissions, bson.D{}, options.Find().SetSort(d("_id", int32(1))))
		if err != nil {
			return false, err
		}
		for i := range docs {
			if finished, err := s.finished(call, docs[i].Mark); err != nil || finished {
				return false, err
			}
			statuses, err := s.statuses(call, docs[i].Waiting)
			if err != nil {
				return false, err
			}
			for _, st := range docs[i].Waiting {
				if statuses.waits(st) {
					keys = append(keys, persistence.WaitingKey{Key: docs[i].Key, Limit: int(st.Limit)})
					break
				}
			}
		}
		return true, nil
	})
	if err != nil {
		return nil, s.classify(ctx, "list waiting keys", err)
	}
	return keys, nil
}

// again calls f until it says that what it read is of one instant.
func (s *Store) again(ctx context.Context, f func() (done bool, err error)) error {
	p := s.patience()
	for {
		done, err := f()
		if done || err != nil {
			return err
		}
		if p.spent() {
			return failure(stabilize.ErrTransient, "read", errors.New("it changes without end"))
		}
		if err := p.wait(ctx); err != nil {
			return err
		}
	}
}

// finished finishes a commit that has marked what was read, if it is done: then it
// must be read again.
func (s *Store) finished(ctx context.Context, list ...mark) (bool, error) {
	verdicts, err := s.judge(ctx, list)
	if err != nil {
		return false, err
	}
	var txs []string
	for tx, v := range verdicts {
		if v == committed {
			txs = append(txs, tx)
		}
	}
	return len(txs) > 0, s.finish(ctx, txs)
}
