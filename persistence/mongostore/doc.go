// Package mongostore is the store in a MongoDB database, or in one that speaks its
// protocol: a standalone server, a replica set, a sharded cluster (shard keys _id),
// DocumentDB, FerretDB. It implements persistence.Store and the optional powers
// persistence.Refresher, persistence.WaitingKeys, persistence.Watcher,
// persistence.Limits, persistence.Clocked, persistence.Pipelined,
// persistence.EventKeeper and queue.Notifier.
//
// # Why a commit is atomic
//
// No transaction of the database is used: not every server has them, and some take
// the commands and ignore them. All that is relied on is that an update of one
// document is atomic. A workflow with its stages is one document, and a commit is
// one update of it, found by _id and rev, the token of the last write, so that it
// finds nothing if anybody wrote in between. That document is the commit's primary.
//
// What a commit changes beside (messages that come and go, a place under an
// admission key) are other documents. They are marked before the update, with the
// commit's token, the primary and the rev that it must have, and the update puts the
// token into the primary's list txs. So one write decides about all of them:
//
//	marks ──(1)── update of the primary ──(2)── marks taken off ──(3)── token leaves txs
//
//	new message        q "unborn", nobody can claim it   →  in its queue
//	message handled    marked, held by its token          →  deleted
//	admission key      marked, next beside what is        →  next is what is
//	events             marked, nobody sees them           →  seen, when a reader has numbered them
//
// A crash at (1) leaves marks of a commit that was not done: the token is not in
// txs. Whoever meets one gives the primary another rev first, if it still has the one
// of the mark, so that the update can find nothing any more, and then takes the marks
// back. A crash at (2) or in the middle of the next step leaves marks of a commit that
// was done: whoever meets one does the rest. A crash at (3) leaves a token that is
// dropped by a later commit. All of these writes find only documents that still have
// the mark, so anybody may do them, at the same time, late, and again. Readers ask
// the primary too, so nobody sees a part of a commit. Between claim and commit
// a crash leaves a lease, which lapses; between the admission's mark and the update
// it leaves case (1): a place that was not taken.
//
// What names no workflow decides in a document of its own (steps), a message that
// dies decides about the notice of its death, and what is only one document needs no
// mark. The primary of a creation is the workflow, which is inserted; whoever breaks
// that off inserts a document of version 0, which is no workflow, in its place.
//
// A reply that was lost is found out about in the same way: the token is there, or
// the rev is moved so that it never will be.
//
// # What is where
//
//	workflows   a workflow: header, stages by id, rev, txs
//	messages    messages and dead letters, by id: an id is in use once
//	admissions  who holds and who waits under a key, one document per key
//	payloads    headers and stages larger than Config.Inline, until replaced
//	workers     worker leases
//	steps       primaries of commits that name no workflow, gone when these are done
//	events      events of commits, until their workflow is deleted
//	meta        version of the schema, counters, the order of events (feed.go)
//
// Bodies are JSON text as it was written, never BSON of their own. A document ends at
// 16 MB; what is larger than Config.MaxPayload is ErrTooLarge, and in a workflow of
// many stages the bodies are kept outside, so that a few ten thousand stages fit. What
// the server would not take is ErrTooLarge too, before it is sent: see size.go.
//
// # What it costs
//
// A batch of commits is seven commands, of which four wait for each other; under load
// that is about one for a step, and one document of a workflow. A commit sends only
// what it changes, but a server may write the whole document for it: with 1,000 stages
// of 600 bytes that is 700 KB. The figures are in docs/choosing-a-store.md, and those
// of another server are found by conformance/cmd/enginebench.
//
// Only what every server does alike is used: compare-and-set of one document,
// insertMany and deleteMany, simple filters, one index in a call. See errors.go for
// codes and labels, update.go for how many updates travel as one command.
//
// It may import stabilize, events, queue, persistence and MongoDB's driver.
//
// Where to start reading: model.go for the documents, commit.go for the way of a
// commit, marks.go for what others do about one that they meet.
package mongostore
