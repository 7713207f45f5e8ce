// Package pgtest gives tests a PostgreSQL server: the one that the environment
// variable STABILIZE_TEST_POSTGRES_DSN names, or a cluster of their own from the
// binaries on this machine, which is gone with them. A server that can be had
// neither way is an error and never a skip.
//
// It is for tests only and may import the standard library and pgx.
//
// Where to start reading: server.go.
package pgtest
