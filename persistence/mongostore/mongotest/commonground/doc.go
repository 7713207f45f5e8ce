// Package commonground tells whether a command is one that all servers that speak
// MongoDB's protocol execute as mongod does: mongod itself, alone, in a replica set or
// sharded, DocumentDB, and FerretDB 1 and 2. What is not known to be understood by all
// of them is refused: transactions, upserts, pipelines, positional operators,
// projections that compute, indexes with options, field names that some take apart.
//
// It is for tests only and may import the standard library, the BSON package of
// MongoDB's driver and mongoproxy.
//
// Where to start reading: check.go.
package commonground
