// Package mongotest gives tests a MongoDB server, or two: the one that the
// environment variable STABILIZE_TEST_MONGO_URI names; else, if a mongod is on the
// PATH, servers of their own, one standalone and one a replica set of one node; else
// FerretDB, from the Go module in the folder ferret, which is built when it is first
// asked for. The variable's value "ferretdb:" asks for FerretDB whatever is on the
// PATH. A server that cannot be had is an error and never a skip.
//
// What it starts ends with the test process, also when that is killed, and leaves
// nothing behind.
//
// FerretDB executes one command at a time, whoever sends it, without which its
// updates are not atomic. Servers of mongod's were written from its documentation:
// none was at hand when they were.
//
// A Link stands between a store and a server and breaks when it is told to; package
// commonground tells whether what went through it is understood by every server.
//
// Named is a server of the caller's. It is for tests, and what tests stores, only and may import the standard library, MongoDB's driver and the
// packages below it. It builds FerretDB from the sources of this module: from the
// module cache that folder is missing, and a test elsewhere must name a server.
//
// Where to start reading: server.go, then link.go.
package mongotest
