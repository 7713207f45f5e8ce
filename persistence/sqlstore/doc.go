// Package sqlstore is the store in an SQL database, through bun: workflows and
// the queue in one SQLite file, shared by any number of goroutines and
// processes on one host. It implements persistence.Store and the optional
// powers persistence.Refresher, persistence.WaitingKeys and queue.Notifier.
//
// A batch of commits is one database transaction. What every SQL database does
// alike is in commit.go, apply.go and the queue's files; what is SQLite's own
// (how to open a file, how to take the write lock, what an error code means)
// is in sqlite.go, and the statements in statements.go.
//
// It may import stabilize, queue, persistence, bun and modernc.org/sqlite.
//
// Where to start reading: config.go for opening, migrations for the tables,
// commit.go for the one way to change a workflow.
package sqlstore
