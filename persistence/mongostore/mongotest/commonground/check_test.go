package commonground_test

import (
	"errors"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/commonground"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/mongoproxy"
)

// check judges a command that is written as extended JSON.
func check(t *testing.T, text string) error {
	t.Helper()
	var doc bson.D
	if err := bson.UnmarshalExtJSON([]byte(text), false, &doc); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	raw, err := bson.Marshal(append(doc, bson.E{Key: "$db", Value: "db"}))
	if err != nil {
		t.Fatal(err)
	}
	return commonground.Check(mongoproxy.Command{Name: doc[0].Key, Database: "db", Body: raw})
}

func updates(n int) string {
	return `{"update": "c", "ordered": false, "updates": [` + strings.Repeat(`{"q": {"_id": 1}, "u": {"$set": {"x": 1}}},`, n-1) +
		`{"q": {"_id": 1}, "u": {"$set": {"x": 1}}}]}`
}

func TestCheckTakes(t *testing.T) {
	for name, command := range map[string]string{
		"compare and set": `{"update": "c", "updates": [{"q": {"_id": "w", "rev": 1}, "u": {"$set": {"stages.a.status": 1,
			"outbox": [{"id": "m"}], "due": null}, "$unset": {"old.x": ""}, "$inc": {"rev": 1}}}]}`,
		"no upsert":           `{"update": "c", "updates": [{"q": {"_id": "w"}, "u": {"$set": {"x": 1}}, "upsert": false, "multi": true}]}`,
		"push of several":     `{"update": "c", "updates": [{"q": {"_id": "w"}, "u": {"$push": {"outbox": {"$each": [1, {"x": 1}]}}}}]}`,
		"push of one":         `{"update": "c", "updates": [{"q": {"_id": "w"}, "u": {"$push": {"outbox": {"x": 1}}}}]}`,
		"replacing":           `{"update": "c", "updates": [{"q": {"_id": "w"}, "u": {"_id": "w", "rev": 2}}]}`,
		"a batch":             updates(commonground.MaxStatements),
		"insert":              `{"insert": "c", "documents": [{"_id": 1, "payload": "{\"$a.b\":1}"}], "txnNumber": 1, "lsid": {"id": "s"}}`,
		"delete":              `{"delete": "c", "deletes": [{"q": {"_id": {"$in": [1, 2]}}, "limit": 0}], "writeConcern": {"w": "majority"}}`,
		"find and modify":     `{"findAndModify": "c", "query": {"_id": 1}, "update": {"$inc": {"rev": 1}}, "new": true}`,
		"find":                `{"find": "c", "filter": {"due": {"$lte": 1}, "$or": [{"lease": null}, {"lease": {"$lt": 2}}]}, "sort": {"due": 1, "_id": -1}, "projection": {"_id": 1, "a.b": true}, "limit": 8}`,
		"negation":            `{"find": "c", "filter": {"a": {"$not": {"$gt": 1}}}}`,
		"further documents":   `{"getMore": 7, "collection": "c", "batchSize": 10}`,
		"count":               `{"aggregate": "c", "pipeline": [{"$match": {"a": 1}}, {"$group": {"_id": 1, "n": {"$sum": 1}}}], "cursor": {}}`,
		"unique index":        `{"createIndexes": "c", "indexes": [{"key": {"due": 1}, "name": "due", "unique": true}]}`,
		"collections":         `{"listCollections": 1, "filter": {"name": "c"}, "nameOnly": true}`,
		"end of sessions":     `{"endSessions": []}`,
		"majority of readers": `{"find": "c", "filter": {}, "readConcern": {"level": "majority"}}`,
	} {
		if err := check(t, command); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	for name, c := range map[string]struct{ command, says string }{
		"unknown command":      {`{"distinct": "c"}`, "distinct"},
		"bulk write of 8.0":    {`{"bulkWrite": 1}`, "bulkWrite"},
		"transaction":          {`{"insert": "c", "documents": [], "startTransaction": true, "autocommit": false}`, "startTransaction"},
		"upsert":               {`{"update": "c", "updates": [{"q": {"_id": 1}, "u": {"$set": {"x": 1}}, "upsert": true}]}`, "upsert"},
		"array filters":        {`{"update": "c", "updates": [{"q": {"_id": 1}, "u": {"$set": {"x": 1}}, "arrayFilters": []}]}`, "arrayFilters"},
		"sorted update":        {`{"update": "c", "updates": [{"q": {"_id": 1}, "u": {"$set": {"x": 1}}, "sort": {"a": 1}}]}`, "sort"},
		"pipeline update":      {`{"update": "c", "updates": [{"q": {"_id": 1}, "u": [{"$set": {"x": 1}}]}]}`, "u: a array"},
		"positional":           {`{"update": "c", "updates": [{"q": {"_id": 1}, "u": {"$set": {"a.$.b": 1}}}]}`, "a.$.b"},
		"all positional":       {`{"update": "c", "updates": [{"q": {"_id": 1}, "u": {"$set": {"a.$[].b": 1}}}]}`, "a.$[].b"},
		"empty part of a path": {`{"update": "c", "updates": [{"q": {"_id": 1}, "u": {"$unset": {"a..b": 1}}}]}`, "a..b"},
		"path of a filter":     {`{"delete": "c", "deletes": [{"q": {"a.$": 1}, "limit": 1}]}`, "a.$"},
		"slice":                {`{"update": "c", "updates": [{"q": {"_id": 1}, "u": {"$push": {"a": {"$each": [1], "$slice": -5}}}}]}`, "$slice"},
		"pull":                 {`{"update": "c", "updates": [{"q": {"_id": 1}, "u": {"$pull": {"a": {"x": 1}}}}]}`, "$pull"},
		"add to set":           {`{"update": "c", "updates": [{"q": {"_id": 1}, "u": {"$addToSet": {"a": 1}}}]}`, "$addToSet"},
		"server's clock":       {`{"update": "c", "updates": [{"q": {"_id": 1}, "u": {"$currentDate": {"a": true}}}]}`, "$currentDate"},
		"dots in a name":       {`{"update": "c", "updates": [{"q": {"_id": 1}, "u": {"$set": {"a": {"b.c": 1}}}}]}`, "b.c"},
		"dollar in a name":     {`{"insert": "c", "documents": [{"_id": 1, "a": [{"$b": 1}]}]}`, "$b"},
		"empty name":           {`{"insert": "c", "documents": [{"": 1}]}`, "name"},
		"no validation":        {`{"insert": "c", "documents": [], "bypassDocumentValidation": true}`, "bypassDocumentValidation"},
		"large batch":          {updates(commonground.MaxStatements + 1), "more than 100"},
		"unacknowledged":       {`{"insert": "c", "documents": [], "writeConcern": {"w": 0}}`, "unacknowledged"},
		"snapshot":             {`{"find": "c", "readConcern": {"level": "snapshot"}}`, "snapshot"},
		"expression":           {`{"find": "c", "filter": {"$expr": {"$eq": ["$a", 1]}}}`, "$expr"},
		"expression deep":      {`{"find": "c", "filter": {"$or": [{"$and": [{"$where": "1"}]}]}}`, "$where"},
		"element match":        {`{"find": "c", "filter": {"a": {"$elemMatch": {"x": 1}}}}`, "$elemMatch"},
		"operator after one":   {`{"find": "c", "filter": {"a": {"$gt": 1, "$mod": [2, 1]}}}`, "$mod"},
		"negated":              {`{"find": "c", "filter": {"a": {"$not": {"$size": 1}}}}`, "$size"},
		"regular expression":   {`{"find": "c", "filter": {"a": {"$regularExpression": {"pattern": "x", "options": ""}}}}`, "regular"},
		"hint":                 {`{"find": "c", "hint": "x"}`, "hint"},
		"collation":            {`{"find": "c", "collation": {"locale": "en"}}`, "collation"},
		"sorted by text":       {`{"find": "c", "sort": {"a": {"$meta": "textScore"}}}`, "sort"},
		"computed projection":  {`{"find": "c", "projection": {"a": {"$slice": 1}}}`, "projection"},
		"projection by path":   {`{"find": "c", "projection": {"a.$": 1}}`, "a.$"},
		"modified, projected":  {`{"findAndModify": "c", "query": {}, "update": {"$set": {"x": 1}}, "fields": {"x": 1}}`, "fields"},
		"modified, sorted":     {`{"findAndModify": "c", "query": {}, "update": {"$set": {"x": 1}}, "sort": {"x": 1}}`, "sort"},
		"sum of a field":       {`{"aggregate": "c", "pipeline": [{"$group": {"_id": 1, "n": {"$sum": "$x"}}}]}`, "$sum"},
		"groups":               {`{"aggregate": "c", "pipeline": [{"$group": {"_id": "$x", "n": {"$sum": 1}}}]}`, "_id"},
		"change stream":        {`{"aggregate": "c", "pipeline": [{"$changeStream": {}}]}`, "$changeStream"},
		"partial index":        {`{"createIndexes": "c", "indexes": [{"key": {"a": 1}, "name": "x", "partialFilterExpression": {}}]}`, "partialFilterExpression"},
		"index that expires":   {`{"createIndexes": "c", "indexes": [{"key": {"a": 1}, "name": "x", "expireAfterSeconds": 1}]}`, "expireAfterSeconds"},
		"hashed index":         {`{"createIndexes": "c", "indexes": [{"key": {"a": "hashed"}, "name": "x"}]}`, "direction"},
		"two indexes at once":  {`{"createIndexes": "c", "indexes": [{"key": {"a": 1}, "name": "x"}, {"key": {"b": 1}, "name": "y"}]}`, "more than 1"},
	} {
		err := check(t, c.command)
		if !errors.Is(err, commonground.ErrOutside) {
			t.Errorf("%s: %v", name, err)
		} else if !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: the error does not say %q: %v", name, c.says, err)
		}
	}
}
