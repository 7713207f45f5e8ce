package commonground

import (
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/mongoproxy"
)

// ErrOutside is what the errors of Check wrap.
var ErrOutside = errors.New("outside of the common ground")

// MaxStatements is the most updates, or deletions, that one command may have:
// FerretDB 1 never answers one of 200 updates.
const MaxStatements = 100

// Check returns nil or an error that matches ErrOutside and says which part of the
// command is not understood by every server. What drivers send of their own accord
// is understood.
func Check(c mongoproxy.Command) error {
	if c.Background() {
		return nil
	}
	fields, ok := commands()[c.Name]
	if !ok {
		return fmt.Errorf("%s: %w", c.Name, ErrOutside)
	}
	if err := each(c.Body, func(key string, v bson.RawValue) error {
		rule, ok := fields[key]
		if !ok {
			rule, ok = every()[key]
		}
		return apply(rule, ok, v)
	}); err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	return nil
}

// rule judges the value of a field; nil takes any.
type rule func(bson.RawValue) error

type rules map[string]rule

// every lists the fields that all commands may have.
func every() rules {
	return rules{
		"$db": nil, "lsid": nil, "$clusterTime": nil, "$readPreference": nil, "maxTimeMS": nil,
		"txnNumber":    nil, // of a retryable write; those of transactions have more
		"readConcern":  document(rules{"level": not("snapshot"), "afterClusterTime": nil}),
		"writeConcern": document(rules{"w": acknowledged, "j": nil, "wtimeout": nil}),
	}
}

// commands lists the commands and their fields.
func commands() map[string]rules {
	return map[string]rules{
		"insert": {"insert": nil, "ordered": nil, "documents": list(0, plainDocument)},
		"update": {"update": nil, "ordered": nil, "updates": list(MaxStatements,
			document(rules{"q": filter, "u": update, "multi": nil, "upsert": is(false)}))},
		"delete":        {"delete": nil, "ordered": nil, "deletes": list(MaxStatements, document(rules{"q": filter, "limit": nil}))},
		"findAndModify": {"findAndModify": nil, "query": filter, "update": update, "remove": nil, "new": nil, "upsert": is(false)},
		"find": {"find": nil, "filter": filter, "sort": members(directions), "projection": members(shown),
			"limit": nil, "skip": nil, "batchSize": nil, "singleBatch": nil},
		"getMore":   {"getMore": nil, "collection": nil, "batchSize": nil},
		"count":     {"count": nil, "query": filter, "limit": nil, "skip": nil},
		"aggregate": {"aggregate": nil, "pipeline": counting, "cursor": nil},
		"create":    {"create": nil},
		// FerretDB 1 drops the connection when two are made at once for the second time.
		"createIndexes":   {"createIndexes": nil, "indexes": list(1, document(rules{"key": members(directions), "name": nil, "unique": nil}))},
		"listIndexes":     {"listIndexes": nil, "cursor": nil},
		"listCollections": {"listCollections": nil, "filter": filter, "nameOnly": nil, "cursor": nil},
	}
}

// filters lists the operators of filters that stand with a field.
func filters() rules {
	return rules{
		"$eq": plain, "$ne": plain, "$gt": plain, "$gte": plain, "$lt": plain, "$lte": plain,
		"$in": list(0, plain), "$nin": list(0, plain), "$exists": nil, "$not": members(operator),
	}
}

// updates lists the operators of updates.
func updates() rules {
	return rules{
		"$set": members(path, value(plain)), "$unset": members(path), "$inc": members(path),
		"$push": members(path, value(pushed)),
	}
}
