package mongostore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// schemaVersion is what this program writes. A change that an older program would
// not understand raises it.
const schemaVersion = 2

// Documents of meta.
const (
	metaSchema    = "schema"
	metaSeq       = "seq"       // order of storing messages
	metaFence     = "fence"     // fences of worker leases
	metaDeletions = "deletions" // deletions of several workflows
	metaFeed      = "feed"      // order of events, see feed
)

// counter is a document of meta.
type counter struct {
	ID string `bson:"_id"`
	N  int64  `bson:"n"`
}

// index is one that a query needs. None is unique but by _id, none is partial.
type index struct {
	of   func(*Store) *mongo.Collection
	keys bson.D
}

func indexes() []index {
	workflows := func(s *Store) *mongo.Collection { return s.workflows }
	messages := func(s *Store) *mongo.Collection { return s.messages }
	events := func(s *Store) *mongo.Collection { return s.events }
	up := func(names ...string) (keys bson.D) {
		for _, n := range names {
			keys = append(keys, bson.E{Key: n, Value: int32(1)})
		}
		return keys
	}
	return []index{
		{workflows, up("start", "_id")},
		{workflows, up("app", "start", "_id")},
		{workflows, up("config", "start", "_id")},
		{workflows, up("status", "start", "_id")},
		{workflows, up("tx")},
		{messages, up("q", "due", "seq")},
		{messages, up("q", "died", "seq")},
		{messages, up("wf", "due", "seq")},
		{messages, up("worker")},
		{messages, up("tx")},
		{func(s *Store) *mongo.Collection { return s.admissions }, up("tx")},
		{func(s *Store) *mongo.Collection { return s.payloads }, up("inc", "exp")},
		{events, up("n")},
		{events, up("wf", "n")},
		{events, up("tx")},
		{func(s *Store) *mongo.Collection { return s.workers }, up("expires")},
	}
}

// prepare looks at the server and at the schema, and brings it up to date if asked.
func (s *Store) prepare(ctx context.Context) error {
	if err := s.inspect(ctx); err != nil {
		return err
	}
	s.followClock(ctx)
	err := s.checkSchema(ctx)
	if errors.Is(err, stabilize.ErrSchemaMissing) {
		if !s.cfg.Migrate {
			return nil // every call will say so
		}
		err = s.migrate(ctx)
	}
	if err == nil {
		s.migrated.Store(true)
		err = s.sweep(ctx)
	}
	return err
}

// sweep removes what crashes left that nobody would meet: primaries of commits that
// were not done, without which they never will be, and of those that were not finished.
func (s *Store) sweep(ctx context.Context) error {
	var before ulid.ULID
	if err := before.SetTime(ulid.Timestamp(s.now().Add(-abandoned))); err != nil {
		return nil // a clock before 1970 has left nothing that is older
	}
	old := d("$lt", before.String())
	if _, err := s.steps.DeleteMany(ctx, bson.D{eq("_id", old), eq("txs", bson.A{})}); err != nil {
		return err
	}
	decided, err := all[primary](ctx, s.steps, d("_id", old), options.Find().SetLimit(settleAtOnce))
	if err != nil {
		return err
	}
	for _, p := range decided {
		if err := s.finish(ctx, p.Txs); err != nil {
			return err
		}
	}
	// Those of creations have no status, which is a short way to them.
	_, err = s.workflows.DeleteMany(ctx, bson.D{eq("status", ""), eq("version", int64(0)), eq("rev", old)})
	return err
}

// abandoned is after how long nobody can still be about to insert or to decide.
const abandoned = 24 * time.Hour

// inspect finds out whether the server gives the concern that is asked for.
func (s *Store) inspect(ctx context.Context) error {
	err := s.meta.FindOne(ctx, bson.D{{Key: "_id", Value: metaSchema}}).Err()
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return s.refused(err)
	}
	if err := s.measure(ctx); err != nil {
		return err
	}
	if s.cfg.Concern == Majority {
		return nil
	}
	// Only a write tells what the client asks for. This one finds nothing.
	res, err := s.meta.DeleteOne(ctx, d("_id", ""))
	if err == nil && !res.Acknowledged {
		err = stabilize.Invalid("config concern", "Local leaves it to the client, which asks for no answer to what it writes (w is 0)")
	}
	return err
}

// measure asks how large a document the server takes.
func (s *Store) measure(ctx context.Context) error {
	var hello struct {
		Largest int64 `bson:"maxBsonObjectSize"`
	}
	err := s.client.Database("admin").RunCommand(ctx, d("hello", int32(1))).Decode(&hello)
	if hello.Largest > 0 {
		s.largest = hello.Largest
	}
	return err
}

// refused says so when it is the concern that the server cannot give.
func (s *Store) refused(err error) error {
	if s.cfg.Concern == Majority && hasCode(err, codeNoSuchConcern, codeNoMajority, codeNoMajorityReads) {
		return stabilize.Invalid("config concern", "the server cannot give the majority that is asked for (%v); Local does without", err)
	}
	return err
}

// ready returns ErrSchemaMissing until the schema is there.
func (s *Store) ready(ctx context.Context) error {
	if s.migrated.Load() {
		return nil
	}
	s.opening.Lock()
	defer s.opening.Unlock()
	if s.migrated.Load() {
		return nil
	}
	err := s.checkSchema(ctx)
	if err == nil {
		s.migrated.Store(true)
	}
	return err
}

func (s *Store) checkSchema(ctx context.Context) error {
	found, err := one[counter](ctx, s.meta, d("_id", metaSchema))
	switch {
	case errors.Is(err, mongo.ErrNoDocuments), err == nil && found.N < schemaVersion:
		return fmt.Errorf("mongostore: the database %q has no collections of this program's version %d under the prefix %q: %w", s.cfg.Database, schemaVersion, s.cfg.Prefix, stabilize.ErrSchemaMissing)
	case err != nil:
		return err
	case found.N > schemaVersion:
		return fmt.Errorf("mongostore: the database is of version %d, this program knows %d: %w", found.N, schemaVersion, stabilize.ErrSchemaTooNew)
	}
	return nil
}

// migrate makes what is missing. Each step can be done again and by several at
// once; that it is complete is recorded last.
func (s *Store) migrate(ctx context.Context) error {
	for _, ix := range indexes() {
		// One in a call: not every server takes more, and repeating it is no error.
		if _, err := ix.of(s).Indexes().CreateOne(ctx, mongo.IndexModel{Keys: ix.keys}); err != nil {
			return s.refused(err)
		}
	}
	for _, id := range []string{metaSeq, metaFence, metaDeletions} {
		if _, err := s.meta.InsertOne(ctx, counter{ID: id}); err != nil && !duplicate(err) {
			return s.refused(err)
		}
	}
	if _, err := s.meta.InsertOne(ctx, feed{ID: metaFeed, Batch: []string{}}); err != nil && !duplicate(err) {
		return s.refused(err)
	}
	if err := s.recordSchema(ctx); err != nil {
		return s.refused(err)
	}
	return s.checkSchema(ctx)
}

// recordSchema says that the schema is as this program knows it.
func (s *Store) recordSchema(ctx context.Context) error {
	_, err := s.meta.InsertOne(ctx, counter{ID: metaSchema, N: schemaVersion})
	if !duplicate(err) {
		return err
	}
	_, err = s.meta.UpdateOne(ctx, bson.D{eq("_id", metaSchema), eq("n", d("$lt", int64(schemaVersion)))}, set(eq("n", int64(schemaVersion))))
	return err
}

// count raises a counter by n and returns the first of the n numbers.
func (s *Store) count(ctx context.Context, id string, n int) (first int64, err error) {
	if n == 0 {
		return 0, nil
	}
	var after counter
	err = s.meta.FindOneAndUpdate(ctx, bson.D{{Key: "_id", Value: id}},
		bson.D{{Key: "$inc", Value: bson.D{{Key: "n", Value: int64(n)}}}},
		options.FindOneAndUpdate().SetReturnDocument(options.After)).Decode(&after)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return 0, &stabilize.CorruptError{Table: "meta", ID: id, Cause: err}
	}
	return after.N - int64(n) + 1, err
}
