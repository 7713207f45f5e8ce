//go:build unix

package commonground_test

import (
	"os"
	"slices"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/commonground"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/mongoproxy"
)

// servers are those of all tests of this package. TestMain stops them.
var servers mongotest.Servers

func TestMain(m *testing.M) {
	code := m.Run()
	servers.Stop()
	os.Exit(code)
}

// What Check takes, as the driver writes it, the servers that we have do as mongod's
// documentation says.
func TestCommonGroundOnServers(t *testing.T) {
	servers.Each(t, func(t *testing.T, s *mongotest.Server) {
		link := s.Link(t)
		link.Watch(func(c mongoproxy.Command) {
			if err := commonground.Check(c); err != nil {
				t.Error(err)
			}
		})
		client, err := mongo.Connect(options.Client().ApplyURI(link.URI()))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Disconnect(t.Context())
		c := client.Database(s.Database(t)).Collection("c")
		t.Run("writes", func(t *testing.T) { testWrites(t, c) })
		t.Run("finds", func(t *testing.T) { testFinds(t, c) })
		t.Run("batches", func(t *testing.T) { testBatches(t, c) })
		t.Run("indexes", func(t *testing.T) { testIndexes(t, c) })
	})
}

func testWrites(t *testing.T, c *mongo.Collection) {
	ctx := t.Context()
	insert := func(doc bson.M) {
		t.Helper()
		if _, err := c.InsertOne(ctx, doc); err != nil {
			t.Fatal(err)
		}
	}
	insert(bson.M{"_id": "w", "rev": 1, "stages": bson.M{"a": bson.M{"n": 1}, "b": 2}, "outbox": bson.A{1}})
	if _, err := c.InsertOne(ctx, bson.M{"_id": "w"}); !mongo.IsDuplicateKeyError(err) {
		t.Errorf("a second document of that id: %v", err)
	}
	for rev, matched := range map[int]int64{1: 1, 7: 0} {
		r, err := c.UpdateOne(ctx, bson.M{"_id": "w", "rev": rev}, bson.D{
			{Key: "$set", Value: bson.M{"stages.a.n": 5, "stages.c": bson.M{"x": "$y"}}}, {Key: "$unset", Value: bson.M{"stages.b": ""}},
			{Key: "$inc", Value: bson.M{"rev": 1}}, {Key: "$push", Value: bson.M{"outbox": bson.M{"$each": bson.A{2, 3}}}},
		})
		if err != nil || r.MatchedCount != matched {
			t.Errorf("from revision %d: %+v, %v", rev, r, err)
		}
	}
	var got struct {
		Rev    int
		Stages map[string]any
		Outbox []int
	}
	if err := c.FindOneAndUpdate(ctx, bson.M{"_id": "w"}, bson.M{"$inc": bson.M{"rev": 1}}, options.FindOneAndUpdate().SetReturnDocument(options.After)).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.Rev != 3 || len(got.Stages) != 2 || !slices.Equal(got.Outbox, []int{1, 2, 3}) {
		t.Errorf("the document is %+v", got)
	}
	if r, err := c.ReplaceOne(ctx, bson.M{"_id": "w", "rev": 3}, bson.M{"rev": 4}); err != nil || r.MatchedCount != 1 {
		t.Errorf("replacing: %+v, %v", r, err)
	}
	if r, err := c.DeleteOne(ctx, bson.M{"_id": "w", "rev": 4}); err != nil || r.DeletedCount != 1 {
		t.Errorf("deleting: %+v, %v", r, err)
	}
}

func testFinds(t *testing.T, c *mongo.Collection) {
	ctx := t.Context()
	for i, id := range []string{"a", "b", "c", "d", "e"} {
		doc := bson.M{"_id": id, "n": i, "deep": bson.M{"n": i}, "all": bson.A{i, i + 1}}
		if i%2 == 0 {
			doc["even"] = true
		}
		if _, err := c.InsertOne(ctx, doc); err != nil {
			t.Fatal(err)
		}
	}
	for want, filter := range map[string]bson.M{
		"c":     {"n": 2},
		"de":    {"n": bson.M{"$gt": 2}},
		"cd":    {"n": bson.M{"$gte": 2, "$lt": 4}},
		"ab":    {"n": bson.M{"$lte": 1}},
		"acde":  {"n": bson.M{"$ne": 1}},
		"bd":    {"even": bson.M{"$exists": false}},
		"ace":   {"even": bson.M{"$exists": true}},
		"be":    {"_id": bson.M{"$in": bson.A{"b", "e", "z"}}},
		"ade":   {"_id": bson.M{"$nin": bson.A{"b", "c"}}},
		"ad":    {"$or": bson.A{bson.M{"n": 0}, bson.M{"$and": bson.A{bson.M{"n": 3}, bson.M{"even": nil}}}}},
		"bcd":   {"$nor": bson.A{bson.M{"n": 0}, bson.M{"n": 4}}},
		"abc":   {"n": bson.M{"$not": bson.M{"$gt": 2}}},
		"e":     {"deep.n": 4},
		"bc":    {"all": 2},
		"abcde": {},
	} {
		var docs []struct {
			ID string `bson:"_id"`
			N  int
		}
		cursor, err := c.Find(ctx, filter, options.Find().SetSort(bson.D{{Key: "n", Value: 1}}).SetBatchSize(2).SetProjection(bson.M{"_id": 1}))
		if err == nil {
			err = cursor.All(ctx, &docs)
		}
		got := ""
		for _, doc := range docs {
			got += doc.ID
			if doc.N != 0 {
				t.Errorf("%v shows what was not asked for", filter)
			}
		}
		if err != nil || got != want {
			t.Errorf("%v finds %q, want %q, %v", filter, got, want, err)
		}
	}
	if n, err := c.CountDocuments(ctx, bson.M{"even": true}); err != nil || n != 3 {
		t.Errorf("counted %d, %v", n, err)
	}
	if r, err := c.DeleteMany(ctx, bson.M{}); err != nil || r.DeletedCount != 5 {
		t.Errorf("deleted %+v, %v", r, err)
	}
}

// A batch of as many statements as Check takes, half of which match nothing.
func testBatches(t *testing.T, c *mongo.Collection) {
	ctx := t.Context()
	var docs []any
	var writes, deletes []mongo.WriteModel
	for i := range commonground.MaxStatements {
		if i%2 == 0 {
			docs = append(docs, bson.M{"_id": i, "rev": 1})
		}
		writes = append(writes, mongo.NewUpdateOneModel().SetFilter(bson.M{"_id": i, "rev": 1}).SetUpdate(bson.M{"$inc": bson.M{"rev": 1}}))
		deletes = append(deletes, mongo.NewDeleteOneModel().SetFilter(bson.M{"_id": i, "rev": 2}))
	}
	unordered := options.InsertMany().SetOrdered(false)
	if _, err := c.InsertMany(ctx, docs, unordered); err != nil {
		t.Fatal(err)
	}
	_, err := c.InsertMany(ctx, append(docs, bson.M{"_id": "last"}), unordered)
	if !mongo.IsDuplicateKeyError(err) {
		t.Errorf("inserting again: %v", err)
	}
	if n, err := c.CountDocuments(ctx, bson.M{}); err != nil || n != int64(len(docs)+1) {
		t.Errorf("%d documents, %v", n, err)
	}
	if r, err := c.BulkWrite(ctx, writes, options.BulkWrite().SetOrdered(false)); err != nil || r.MatchedCount != int64(len(docs)) {
		t.Errorf("updates: %+v, %v", r, err)
	}
	if r, err := c.BulkWrite(ctx, deletes, options.BulkWrite().SetOrdered(false)); err != nil || r.DeletedCount != int64(len(docs)) {
		t.Errorf("deletions: %+v, %v", r, err)
	}
}

func testIndexes(t *testing.T, c *mongo.Collection) {
	ctx := t.Context()
	for range 2 {
		for _, index := range []mongo.IndexModel{
			{Keys: bson.D{{Key: "due", Value: 1}, {Key: "n", Value: -1}}, Options: options.Index().SetName("due")},
			{Keys: bson.D{{Key: "key", Value: 1}}, Options: options.Index().SetName("key").SetUnique(true)},
		} {
			if _, err := c.Indexes().CreateOne(ctx, index); err != nil {
				t.Error(err)
			}
		}
	}
	if all, err := c.Indexes().ListSpecifications(ctx); err != nil || len(all) != 3 {
		t.Errorf("%d indexes, %v", len(all), err)
	}
	if _, err := c.InsertOne(ctx, bson.M{"_id": 1, "key": "k"}); err != nil {
		t.Error(err)
	}
	if _, err := c.InsertOne(ctx, bson.M{"_id": 2, "key": "k"}); !mongo.IsDuplicateKeyError(err) {
		t.Errorf("a second document of that key: %v", err)
	}
	if names, err := c.Database().ListCollectionNames(ctx, bson.M{"name": "c"}); err != nil || !slices.Equal(names, []string{"c"}) {
		t.Errorf("collections: %v, %v", names, err)
	}
}
