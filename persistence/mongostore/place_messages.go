package mongostore

import (
	"cmp"
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// placeMessages marks the messages that are removed, each of which must be held by
// the token it is acknowledged with, and stores the new ones, unborn.
func (s *Store) placeMessages(ctx context.Context, works []*work) error {
	var drops dropping
	var births birth
	for _, w := range works {
		if !w.direct {
			drops.add(w)
			births.add(w, w.births)
		}
	}
	err := eachAtOnce(
		func() error {
			var errs []error
			drops.made, errs = s.swap(ctx, s.messages, drops.changes)
			for i := range errs {
				errs[i] = s.tooLargeBeside(drops.owners[i].drops[drops.at[i]].next, errs[i])
			}
			return cmp.Or(errs...)
		},
		func() error { return s.insert(ctx, &births) },
	)
	if err != nil {
		return err
	}
	var late birth
	if err := s.missedDrops(ctx, &drops, &late); err != nil {
		return err
	}
	if err := s.takenIDs(ctx, &births); err != nil {
		return err
	}
	if err := s.insert(ctx, &late); err != nil {
		return err
	}
	return s.takenIDs(ctx, &late)
}

// dropping are messages to be marked.
type dropping struct {
	changes []change
	owners  []*work
	at      []int // which of its owner's drops
	made    []bool
}

func (ds *dropping) add(w *work) {
	for i := range w.drops {
		w.placed = true
		dr := &w.drops[i]
		fields := []bson.E{eq("tx", w.mark.Tx), eq("of", w.mark.Of), eq("at", w.mark.At), eq("exp", w.mark.Exp)}
		if dr.next != nil {
			fields = append(fields, eq("next", dr.next))
		}
		ds.changes = append(ds.changes, change{id: dr.id, filter: dr.filter(), update: set(fields...), done: byTx(w.mark.Tx)})
		ds.owners, ds.at = append(ds.owners, w), append(ds.at, i)
	}
}

// missedDrops finds out why messages could not be marked. New ones that were to take
// the place of what is not there are late.
func (s *Store) missedDrops(ctx context.Context, ds *dropping, late *birth) error {
	var missed []string
	for i, made := range ds.made {
		if !made {
			missed = append(missed, ds.changes[i].id)
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
	for i, w := range ds.owners {
		if ds.made[i] {
			continue
		}
		m, there := found[ds.changes[i].id]
		if w.missed(ds.at[i], m, there) {
			if gone[w] == nil {
				gone[w] = map[int]bool{}
			}
			gone[w][ds.at[i]] = true
		}
	}
	for w, at := range gone {
		if born := w.ignore(at); w.state == going {
			late.add(w, born)
		}
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
	case m.Q == "":
		w.fail(&stabilize.CorruptError{Table: "messages", ID: dr.id, Cause: errForeign})
	default:
		w.state = again // it was just settled
	}
	return false
}

// ignore forgets the drops that found nothing. What was to take their place comes
// as any other message.
func (w *work) ignore(gone map[int]bool) (born []*message) {
	var kept []drop
	for i, dr := range w.drops {
		switch {
		case !gone[i]:
			kept = append(kept, dr)
		case dr.next != nil:
			w.markBirth(dr.next)
			born = append(born, dr.next)
		}
	}
	w.drops, w.births = kept, append(w.births, born...)
	return born
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

// birth are messages to be inserted.
type birth struct {
	docs   []any
	owners []*work
	taken  []int // those whose ids are in use
}

func (b *birth) add(w *work, list []*message) {
	for _, m := range list {
		w.placed = w.placed || !w.direct
		b.docs, b.owners = append(b.docs, m), append(b.owners, w)
	}
}

func (s *Store) insert(ctx context.Context, b *birth) (err error) {
	if len(b.docs) > 0 {
		b.taken, err = inserted(s.messages.InsertMany(ctx, b.docs, unordered()))
	}
	return err
}

// takenIDs finds out who has the ids that are in use.
func (s *Store) takenIDs(ctx context.Context, b *birth) error {
	if len(b.taken) == 0 {
		return nil
	}
	ids := make([]string, len(b.taken))
	for i, at := range b.taken {
		ids[i] = b.docs[at].(*message).ID
	}
	found, err := s.glance(ctx, ids)
	if err != nil {
		return err
	}
	for i, at := range b.taken {
		w := b.owners[at]
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
