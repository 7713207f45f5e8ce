package mongostore

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// d is short for a document with one field.
func d(key string, value any) bson.D { return bson.D{{Key: key, Value: value}} }

func in[V any](values []V) bson.D { return d("$in", append([]V{}, values...)) } // never null

func set(fields ...bson.E) bson.D { return d("$set", bson.D(fields)) }

func eq(key string, value any) bson.E { return bson.E{Key: key, Value: value} }

// change is a compare-and-set of one document: filter finds it only as it was.
type change struct {
	id     string
	filter bson.D
	update bson.D
	// done tells whether a document, as it is found afterwards, has been changed by
	// this. Each change sets a token that no other does.
	done func(primaryView) bool
}

// primaryView is what tells who changed a document.
type primaryView struct {
	ID  string   `bson:"_id"`
	Rev string   `bson:"rev"`
	Tx  string   `bson:"tx"`
	Txs []string `bson:"txs"`
}

func byTx(tx string) func(primaryView) bool {
	return func(v primaryView) bool { return v.Tx == tx }
}

// swap makes many compare-and-sets, each on its own, and tells which were made and
// what went wrong with which. They travel as unordered commands; one only says how many
// it made, and if that is not all of them, they are read back. All who change the same
// documents do so in the order of their ids: DocumentDB's engine on PostgreSQL lets go
// of none of them before the command's end.
func (s *Store) swap(ctx context.Context, coll *mongo.Collection, changes []change) (made []bool, errs []error) {
	made, errs = make([]bool, len(changes)), make([]error, len(changes))
	order := make([]int, len(changes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(changes[i].id, changes[j].id) })
	parts := slices.Collect(slices.Chunk(order, statements))
	_ = each(len(parts), func(i int) error {
		some := make([]change, len(parts[i]))
		for j, at := range parts[i] {
			some[j] = changes[at]
		}
		did, failed := make([]bool, len(some)), make([]error, len(some))
		s.swapMany(ctx, coll, some, did, failed)
		for j, at := range parts[i] {
			made[at], errs[at] = did[j], failed[j]
		}
		return nil
	})
	return made, errs
}

// statements is how many updates one command has at most. FerretDB 1 keeps a connection
// to its engine for each until all are done, of 100, and hangs when it has none left.
const statements = 50

func (s *Store) swapMany(ctx context.Context, coll *mongo.Collection, changes []change, made []bool, errs []error) {
	if len(changes) == 1 {
		s.swapSingly(ctx, coll, changes, made, errs)
		return
	}
	models := make([]mongo.WriteModel, len(changes))
	for i, c := range changes {
		models[i] = mongo.NewUpdateOneModel().SetFilter(c.filter).SetUpdate(c.update)
	}
	res, refused := coll.BulkWrite(ctx, models, options.BulkWrite().SetOrdered(false))
	if refused == nil && res.MatchedCount == int64(len(changes)) {
		for i := range made {
			made[i] = true
		}
		return
	}
	err := refused
	if refused == nil || answered(refused) {
		err = s.readBack(ctx, coll, changes, made)
	}
	switch {
	case err != nil:
		for i := range errs {
			errs[i] = err
		}
	case refused != nil:
		// One of them is at fault, and some servers do none behind it.
		s.swapSingly(ctx, coll, changes, made, errs)
	}
}

// readBack finds out which changes were made.
func (s *Store) readBack(ctx context.Context, coll *mongo.Collection, changes []change, made []bool) error {
	ids := make([]string, len(changes))
	for i, c := range changes {
		ids[i] = c.id
	}
	views, err := all[primaryView](ctx, coll, d("_id", in(ids)), options.Find().SetProjection(view()))
	if err != nil {
		return err
	}
	found := make(map[string]primaryView, len(views))
	for _, v := range views {
		found[v.ID] = v
	}
	for i, c := range changes {
		v, ok := found[c.id]
		made[i] = ok && c.done(v)
	}
	return nil
}

func view() bson.D {
	return bson.D{eq("_id", int32(1)), eq("rev", int32(1)), eq("tx", int32(1)), eq("txs", int32(1))}
}

// atOnce is how many single statements are on their way at a time.
const atOnce = 4

// swapSingly makes those that are not made, each by a command of its own.
func (s *Store) swapSingly(ctx context.Context, coll *mongo.Collection, changes []change, made []bool, errs []error) {
	_ = each(len(changes), func(i int) error {
		if made[i] {
			return nil
		}
		met := false
		errs[i] = s.repeat(ctx, func() error {
			res, err := coll.UpdateOne(ctx, changes[i].filter, changes[i].update)
			if made[i] = err == nil && res.MatchedCount == 1; err == nil && met && !made[i] {
				return s.readBack(ctx, coll, changes[i:i+1], made[i:i+1])
			}
			met = met || conflicted(err)
			return err
		})
		return nil
	})
}

// updateMany changes what a filter finds and tells how many it found.
func (s *Store) updateMany(ctx context.Context, coll *mongo.Collection, filter, update bson.D) (n int64, err error) {
	err = s.repeat(ctx, func() error {
		res, err := coll.UpdateMany(ctx, filter, update)
		if err == nil {
			n = res.MatchedCount
		}
		return err
	})
	return n, err
}

// deleteMany removes what a filter finds and tells how many that were.
func (s *Store) deleteMany(ctx context.Context, coll *mongo.Collection, filter bson.D) (n int64, err error) {
	err = s.repeat(ctx, func() error {
		res, err := coll.DeleteMany(ctx, filter)
		if err == nil {
			n = res.DeletedCount
		}
		return err
	})
	return n, err
}

// repeat sends a command again that the server broke off because it met another one,
// until patience ends. f finds only what still has to be changed.
func (s *Store) repeat(ctx context.Context, f func() error) error {
	p := s.patience()
	for {
		err := f()
		if !conflicted(err) || p.over() || p.wait(ctx) != nil {
			return err
		}
	}
}

// each calls f for 0 to n-1, some at a time, and joins the errors.
func each(n int, f func(i int) error) error {
	if n == 1 {
		return f(0)
	}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for lane := range min(n, atOnce) {
		wg.Go(func() {
			for i := lane; i < n; i += atOnce {
				errs[i] = f(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// all reads what a filter finds. The first answer holds as much as one may. What is not
// as this program writes it is a CorruptError.
func all[V any](ctx context.Context, coll *mongo.Collection, filter bson.D, opts ...options.Lister[options.FindOptions]) ([]V, error) {
	out, damaged, err := intact[V](ctx, coll, filter, opts...)
	if err == nil && len(damaged) > 0 {
		err = damaged[0]
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// intact is all where what somebody else has written, or damaged, must not keep the
// rest from being read.
func intact[V any](ctx context.Context, coll *mongo.Collection, filter bson.D, opts ...options.Lister[options.FindOptions]) (out []V, damaged []*stabilize.CorruptError, err error) {
	cursor, err := coll.Find(ctx, filter, append(opts, options.Find().SetBatchSize(batchSize))...)
	if err != nil {
		return nil, nil, err
	}
	var found []bson.Raw
	if err := cursor.All(ctx, &found); err != nil {
		return nil, nil, err
	}
	for _, raw := range found {
		var v V
		if err := bson.Unmarshal(raw, &v); err != nil {
			damaged = append(damaged, corrupt(coll, raw.Lookup("_id"), err))
			continue
		}
		out = append(out, v)
	}
	return out, damaged, nil
}

// one reads the document of an id. mongo.ErrNoDocuments, and CorruptError.
func one[V any](ctx context.Context, coll *mongo.Collection, filter bson.D, opts ...options.Lister[options.FindOneOptions]) (v V, err error) {
	raw, err := coll.FindOne(ctx, filter, opts...).Raw()
	if err != nil {
		return v, err
	}
	if err := bson.Unmarshal(raw, &v); err != nil {
		return v, corrupt(coll, raw.Lookup("_id"), err)
	}
	return v, nil
}

func corrupt(coll *mongo.Collection, id bson.RawValue, cause error) *stabilize.CorruptError {
	text, ok := id.StringValueOK()
	if !ok {
		text = id.String() // another program's
	}
	return &stabilize.CorruptError{Table: coll.Name(), ID: text, Cause: cause}
}

// errForeign is the cause of a CorruptError about a document that this program cannot
// have written.
var errForeign = errors.New("it was not written by this program")

// batchSize is far more than a listing usually has: one round trip.
const batchSize = 10000
