// Package enginebench measures the engine on a store, beside the raw limit of
// that store in the same run. The machine's speed cancels out of the ratio of
// the two, so runs on different or busy machines can be compared by it.
//
//	go run ./conformance/cmd/enginebench -dsn memory: -scenario all
//	go run ./conformance/cmd/enginebench -dsn postgres://user:password@localhost/bench -scenario B1,B2
//
// A store of one's own is measured by a program of one call, Main, which takes what
// opens it; it has no raw limit, and all else is the same:
//
//	go run ./mybench -scenario B2 -runs 3 -dir /mnt/disk
//
// The scenarios, all of tasks that do nothing:
//
//   - B1: 2,000 workflows of one task.
//   - B2: 200 chains of 10 stages.
//   - B3: 20 fan-outs: a first stage, 50 in parallel, a join (52 steps each).
//   - B4: one workflow of one task at a time on an idle engine.
//   - B5: B1 with 100,000 messages in the queue that are due much later.
//   - B6: a chain of 1,000 stages is created, loaded and run for its first 50
//     messages, and chains of 10 the same way for all of theirs. Ratio is the
//     cost per message of the long one, creating and loading included, to that
//     of the short one; StepRatio is the same from the first task's run to the
//     last's, without them.
//
// With -workers N, on all but memory, N more processes of the program run the
// tasks of B1 to B5, and the one that measures only starts workflows; with several
// numbers the scenarios are measured with each in turn and compared with the first.
// The end of a workflow is told by the worker that committed it, through a pipe and with
// the time, because a process that runs no workers learns of it by looking; what
// Engine.Wait makes of that is measured beside, in B4. SQLite tells no other process of new
// messages either: what B4 measures there is the interval of polling.
//
//	go run ./conformance/cmd/enginebench -dsn postgres://user:password@localhost/bench -scenario B1,B2,B4 -workers 1,2 -runs 5
//
// What the numbers are:
//
//   - A step is one run of a task. Workflows and steps per second count from the
//     first Start to the return of the last Wait; every workflow is waited for.
//     Latency, p50 and p95, is from the call of Start to the return of Wait, or, with
//     worker processes, to when the worker had committed the end; in B6 it is from Start
//     to the last message measured of the long chain.
//   - The raw limit does the writes of one step without an engine: compare and
//     set a workflow's version, put two stages of about 600 bytes, delete a
//     message, add one. Single: one step per commit, one after the other.
//     Grouped: 200 steps per commit. PostgreSQL also: single over 10 connections at
//     once, each on workflows of its own. Half of it is measured before the scenario
//     and half after. SQLite: database/sql with prepared statements on a file of
//     its own in the same directory, same pragmas, tables with nothing but their
//     keys. Memory: CommitBatch of an empty memstore. MongoDB: a step is one
//     compare-and-set of the workflow's document, which holds version, stages and
//     message; grouped, they travel in unordered commands of as many as the store
//     sends; also single over 10 connections; write concern as the store's.
//   - Commits per step are those the engine sent to the store, starts included;
//     how many batches (transactions) they travelled in, and how many claims
//     were made beside them, is in the table.
//   - Bytes per step are what the process handed to write system calls (wchar of
//     /proc/self/io): for SQLite frames of the write-ahead log and pages that
//     checkpoints copy from it. Where the system does not tell, it is the growth
//     of the database's files, which does not see what was overwritten. PostgreSQL:
//     the server's write-ahead log, whoever writes to it. MongoDB: what was sent to
//     the server. Memory: 0.
//   - Round trips per step are commands sent to MongoDB's server, claims and what
//     looks for work included; workflow writes per step are documents of workflows
//     that these insert or update. Other stores are not counted.
//   - Allocations (runtime.MemStats.Mallocs) and CPU time (getrusage, user and
//     system, garbage collection included) are of the whole process, which also
//     starts and waits, and of all worker processes; a server's are not among them. The table has the CPU time of a step of the grouped raw
//     limit beside it: on a busy machine these two say more than any rate.
//
// Each run has a database of its own in a new directory, removed afterwards: in
// the directory that the DSN's path names or lies in or -dir says, or in the
// system's directory for temporary files if there is none. The path itself is never
// written; one that names a file with content is refused. In PostgreSQL each run has a schema of its own
// in the database of the DSN, dropped afterwards; in MongoDB collections under a prefix of
// its own.
//
// The package may import everything but contrib.
//
// Where to start reading: scenario.go, then bench.go; crew.go and worker.go for
// worker processes. A store of this module is
// added in site.go, with its raw limit beside limit_sqlite.go.
package enginebench
