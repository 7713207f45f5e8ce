// Package sqlstore is the store in an SQL database, through bun: workflows and the
// queue in one SQLite file, shared by any number of goroutines and processes on one
// host, or in PostgreSQL, by any number on any number of hosts. It implements
// persistence.Store and the optional powers persistence.Refresher,
// persistence.WaitingKeys, persistence.Watcher, persistence.Clocked,
// persistence.Pipelined, persistence.Trier, persistence.EventKeeper and queue.Notifier.
//
// A batch of commits is one database transaction. What every SQL database does
// alike is in commit.go, apply.go and the queue's files, the statements in
// statements.go. What is SQLite's own (how to open a file, how to take the write
// lock, what an error code means) is in sqlite.go. What is PostgreSQL's is in the
// files named so: how a database is opened, errors by SQLSTATE, statements where the
// dialects differ, commits and claims as sets in one round trip, notifications.
//
// Store.Within, in within.go, is the store within a transaction of the caller's.
//
// It may import stabilize, events, queue, persistence, bun, pgx, msgpack and modernc.org/sqlite.
//
// Where to start reading: config.go for opening, migrations for the tables,
// commit.go for the one way to change a workflow, postgres_commit.go for the way
// that PostgreSQL takes.
package sqlstore
